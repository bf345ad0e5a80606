"""Families of transformers: tiny configurations with random weights, made without a network."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import transformers
from torch import nn
from transformers import modeling_utils as _  # noqa: F401  loaded once, before processes are forked

# What a configuration may call its sizes. Only what the default configuration has is changed.
_NAMES: Mapping[int, str] = {
    32: """hidden_size d_model n_embd dim embed_dim embedding_size decoder_hidden_size hidden_dim projection_dim
        d_embed emb_dim encoder_hidden_dim text_embed_dim word_embed_proj_dim dim_model attention_hidden_size
        hidden_channels image_size conv_dim""",
    2: """num_hidden_layers n_layer num_layers n_layers encoder_layers decoder_layers num_encoder_layers
        num_decoder_layers decoder_num_hidden_layers n_encoder_layer num_block_layers num_hidden_groups
        num_key_value_heads num_kv_heads n_group topk_group eos_token_id num_conv_pos_embedding_groups
        num_experts_per_tok""",
    4: """num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads
        decoder_num_attention_heads num_encoder_attention_heads num_decoder_attention_heads num_frames num_experts
        num_local_experts n_routed_experts mamba_n_heads rotary_dim""",
    64: """intermediate_size n_inner d_ff ffn_dim encoder_ffn_dim decoder_ffn_dim d_inner ffn_hidden_size
        decoder_intermediate_size ffn_intermediate_size moe_intermediate_size dff feed_forward_hidden_size
        shared_expert_intermediate_size max_position_embeddings n_positions n_ctx max_source_positions
        max_target_positions""",
    8: "d_kv head_dim attention_head_size d_head mamba_d_head patch_size state_size",
    16: "num_conv_pos_embeddings",
    120: "vocab_size text_vocab_size entity_vocab_size",
    0: "pad_token_id",
    1: "bos_token_id decoder_start_token_id",
}
_SIZES = {name: size for size, names in _NAMES.items() for name in names.split()}


def shrink(config: Any, **exceptions: Any) -> Any:
    """A configuration of the same kind with small sizes, also in its parts, but for `exceptions`."""
    settings = {}
    for name, value in config.to_dict().items():
        part = getattr(config, name, None)
        if isinstance(part, transformers.PretrainedConfig):
            settings[name] = shrink(part).to_dict()
        elif name in _SIZES and isinstance(value, int):
            settings[name] = min(_SIZES[name], value) if value > 0 else value
        elif name in _SIZES and value is None and name.endswith("token_id"):
            settings[name] = _SIZES[name]
    return type(config)(**settings | exceptions)


_FAMILIES: Mapping[str, str] = {
    "text": """
        albert bart bert big_bird bigbird_pegasus biogpt blenderbot bloom camembert canine codegen
        cohere convbert cpmant ctrl data2vec-text deberta deberta-v2 distilbert electra ernie esm falcon
        falcon_mamba flaubert fnet fsmt gemma gemma2 gemma3_text glm gpt2 gpt_bigcode gpt_neo gpt_neox
        gptj granite ibert jamba jetmoe led llama longformer longt5 luke m2m_100 mamba mamba2 marian
        mbart megatron-bert mistral mixtral mobilebert modernbert mpnet mpt mra mt5 mvp nomic_bert
        nystromformer olmo olmo2 olmoe openai-gpt opt pegasus perceiver persimmon phi phi3 plbart
        prophetnet qwen2 qwen2_moe qwen3 qwen3_moe recurrent_gemma reformer rembert roberta
        roberta-prelayernorm roc_bert roformer rwkv splinter squeezebert stablelm starcoder2
        switch_transformers t5 umt5 xglm xlm xlm-roberta xlnet xmod yoso
    """,
    "images": """
        aimv2_vision_model beit bit blip chinese_clip clip clip_vision_model clipseg convnext convnextv2
        cvt data2vec-vision deit dinov2 dinov2_with_registers dinov3_vit dpt efficientnet flava focalnet
        glpn groupvit hiera ijepa imagegpt levit mobilenet_v1 mobilenet_v2 mobilevit mobilevitv2 owlvit
        poolformer pvt pvt_v2 regnet resnet sam_vision_model segformer siglip siglip_vision_model
        swiftformer swin swin2sr swinv2 timesformer videomae vilt vit vit_mae vit_msn vitdet vivit
        vjepa2 yolos
    """,
    "sound and series": """
        audio-spectrogram-transformer data2vec-audio encodec hubert patchtsmixer patchtst sew
        speech_to_text unispeech univnet wav2vec2 wav2vec2-conformer wavlm whisper
    """,
}
# What a family needs beside small sizes, or in their place.
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "efficientnet": {"hidden_dim": 2560},
    "esm": {"vocab_size": 120, "mask_token_id": 3},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "attention_layers": ["global", "local"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "levit": {"image_size": 224, "patch_size": 16},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "mobilevitv2": {"image_size": 64},
    "perceiver": {"num_latents": 8, "d_latents": 32, "num_self_attends_per_block": 2},
    "recurrent_gemma": {"num_hidden_layers": 3, "block_types": ["recurrent", "recurrent", "attention"]},
    "reformer": {
        "axial_pos_embds_dim": [16, 16],
        "axial_pos_shape": [2, 4],
        "local_attn_chunk_length": 4,
        "lsh_attn_chunk_length": 4,
    },
    "swin": {"embed_dim": 24, "depths": [2, 2], "num_heads": [3, 6], "window_size": 4, "patch_size": 4},
    "swin2sr": {"embed_dim": 24, "depths": [2, 2], "num_heads": [3, 3], "window_size": 4, "patch_size": 1},
    "swinv2": {"embed_dim": 24, "depths": [2, 2], "num_heads": [3, 6], "window_size": 4, "patch_size": 4},
    "vjepa2": {"crop_size": 32, "frames_per_clip": 4, "pred_hidden_size": 32, "pred_num_attention_heads": 4},
    "xmod": {"default_language": "en_XX"},
}


def list_models() -> dict[str, str]:
    """Families, with what each reads."""
    return {name: kind for kind, names in _FAMILIES.items() for name in names.split()}


def build(name: str) -> tuple[nn.Module, Any]:
    """A model of a family, and a batch of two stimuli."""
    transformers.logging.set_verbosity_error()
    config = shrink(transformers.AutoConfig.for_model(name), **_SETTINGS.get(name, {}))
    model = transformers.AutoModel.from_config(config)
    wanted = set(inspect.signature(model.forward).parameters)
    if "input_ids" not in wanted:
        wanted.discard("attention_mask")
    return model, {name: make(config) for name, make in _INPUTS.items() if name in wanted}


def _find(config: Any, name: str, default: Any = None) -> Any:
    """A setting of the configuration, or of the part of it that sees or hears."""
    parts = [config, *(getattr(config, f"{part}_config", None) for part in ("vision", "audio", "text"))]
    found = (getattr(part, name, None) for part in parts)
    return next((value for value in found if value is not None), default)


def _make_ids(length: int) -> Callable[[Any], torch.Tensor]:
    return lambda config: torch.randint(3, 100, (2, length))


def _make_mask(config: Any) -> torch.Tensor:
    """The second text is shorter."""
    return torch.tensor([[1] * 8, [1] * 6 + [0] * 2])


def _make_pixels(config: Any) -> torch.Tensor:
    size = _find(config, "image_size", 32)
    height, width = size if isinstance(size, tuple | list) else (size, size)
    n_channels = _find(config, "num_channels", 3)
    shape = (2, n_channels, height, width)
    if config.model_type in ("timesformer", "videomae", "vivit"):
        shape = (2, config.num_frames, n_channels, height, width)
    return torch.randn(shape)


def _make_sound(config: Any) -> torch.Tensor:
    if hasattr(config, "num_mel_bins"):
        return torch.randn(2, config.max_length, config.num_mel_bins)
    shape = (2, 1, 640) if config.model_type == "encodec" else (2, 1600)
    return torch.randn(shape)


def _make_spectrum(config: Any) -> torch.Tensor:
    if config.model_type == "whisper":
        return torch.randn(2, config.num_mel_bins, 2 * config.max_source_positions)
    n_channels = _find(config, "input_feat_per_channel") or _find(config, "num_mel_bins", 80)
    return torch.randn(2, 48, n_channels)


_INPUTS: Mapping[str, Callable[[Any], Any]] = {
    "input_ids": _make_ids(8),
    "attention_mask": _make_mask,
    "decoder_input_ids": _make_ids(5),
    "pixel_values": _make_pixels,
    "input_values": _make_sound,
    "input_features": _make_spectrum,
    "inputs": lambda config: torch.randn(2, 10, config.d_model),
    "pixel_values_videos": lambda config: torch.randn(2, 4, 3, config.crop_size, config.crop_size),
    "past_values": lambda config: torch.randn(2, config.context_length, config.num_input_channels),
}
