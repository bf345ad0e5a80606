"""Every family of timm: a few small architectures of each, with small images and random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import nn

_SIZES = (64, 96, 112, 128, 160, 192)  # pixels; tried in this order, then the model's own
# A family is a file of timm.
_FAMILIES: Mapping[str, str] = {
    "beit": "beit_base_patch16_224 beitv2_base_patch16_224",
    "byoanet": "halonet_h1 eca_botnext26ts_256",
    "byobnet": "test_byobnet mobileone_s1 gernet_s repvgg_a0 regnetz_b16",
    "cait": "cait_xxs24_224 cait_s24_224",
    "coat": "coat_tiny coat_lite_tiny",
    "convit": "convit_tiny convit_small",
    "convmixer": "convmixer_768_32 convmixer_1024_20_ks9_p14",
    "convnext": "test_convnext convnext_zepto_rms convnextv2_atto convnext_tiny_hnf convnext_atto_ols",
    "cpubone": "cpubone_nano cpubone_t0",
    "crossvit": "crossvit_tiny_240 crossvit_9_240",
    "csatv2": "csatv2 csatv2_21m",
    "cspnet": "cs3darknet_focus_s cs3darknet_s",
    "cspnext": "cspnext_tiny cspnext_s",
    "davit": "davit_tiny davit_small",
    "deepseek_vit": "deepseek_vit_412m",
    "deit": "deit_tiny_patch16_224 deit_tiny_distilled_patch16_224",
    "densenet": "densenet121 densenetblur121d",
    "dla": "dla46x_c dla46_c",
    "dpn": "dpn48b dpn68",
    "edgenext": "edgenext_xx_small edgenext_x_small",
    "efficientformer": "efficientformer_l1 efficientformer_l3",
    "efficientformer_v2": "efficientformerv2_s0 efficientformerv2_s1",
    "efficientnet": """test_efficientnet mobilenetv2_035 mnasnet_small tinynet_e semnasnet_050
        mobilenet_edgetpu_100 mixnet_s tf_mixnet_s""",
    "efficientvim": "efficientvim_m1 efficientvim_m1_dist",
    "efficientvit_mit": "efficientvit_b0 efficientvit_b1",
    "efficientvit_msra": "efficientvit_m0 efficientvit_m1",
    "eva": """vit_tiny_patch16_dinov3_qkvb eva02_tiny_patch14_224 vit_pe_spatial_tiny_patch16_512
        vit_pe_core_tiny_patch16_384 vit_small_patch16_dinov3 vit_small_patch16_rope_224""",
    "fasternet": "fasternet_t0 fasternet_t1",
    "fastvit": "fastvit_t8 fastvit_t12",
    "focalnet": "focalnet_tiny_srf focalnet_tiny_lrf",
    "gcvit": "gcvit_xxtiny gcvit_xtiny",
    "gemma4_vit": "gemma4_vit_167m",
    "ghostnet": "ghostnet_050 ghostnetv3_050",
    "hardcorenas": "hardcorenas_b hardcorenas_a",
    "hgnet": "hgnetv2_b0 hgnetv2_b1",
    "hiera": "hiera_tiny_224 hiera_small_abswin_256",
    "hieradet_sam2": "sam2_hiera_tiny sam2_hiera_small",
    "hrnet": "hrnet_w18_small hrnet_w18_small_v2",
    "iformer": "iformer_t iformer_s",
    "inception_next": "inception_next_atto inception_next_tiny",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "inception_v4": "inception_v4",
    "lcnetv2": "lcnetv2_small lcnetv2_base",
    "levit": "levit_128s levit_conv_128s",
    "lowformer": "lowformer_b0 lowformer_b1",
    "mambaout": "test_mambaout mambaout_femto",
    "maxxvit": """test_coatnet maxvit_pico_rw_256 coatnet_pico_rw_224 coatnext_nano_rw_224
        maxxvit_rmlp_nano_rw_256""",
    "metaformer": "poolformerv2_s12 poolformer_s12",
    "mlp_mixer": "gmlp_ti16_224 gmixer_12_224",
    "mobilenetv3": """mobilenetv3_small_050 lcnet_035 mobilenetv4_conv_small_035 tf_mobilenetv3_small_075
        fbnetv3_b""",
    "mobilenetv5": "mobilenetv5_base",
    "mobilevit": "mobilevit_xxs mobilevitv2_050",
    "mvitv2": "mvitv2_tiny mvitv2_small",
    "naflexvit": "naflexvit_base_patch16_parfac_gap naflexvit_base_patch16_gap",
    "nasnet": "nasnetalarge",
    "nest": "nest_tiny nest_tiny_jx",
    "nextvit": "nextvit_small nextvit_base",
    "nfnet": "test_nfnet nf_regnet_b0 eca_nfnet_l0 nfnet_l0 dm_nfnet_f0",
    "pit": "pit_ti_224 pit_ti_distilled_224",
    "pnasnet": "pnasnet5large",
    "pvt_v2": "pvt_v2_b0 pvt_v2_b1",
    "qwen3_vit": "qwen3_vit_88m",
    "rdnet": "rdnet_tiny rdnet_small",
    "regnet": "regnetx_002 regnety_002 regnetz_005 regnetv_040 regnety_004",
    "repghost": "repghostnet_050 repghostnet_058",
    "repvit": "repvit_m1 repvit_m0_9",
    "res2net": "res2next50 res2net50_14w_8s",
    "resnest": "resnest14d resnest26d",
    "resnet": """test_resnet resnet10t resnet14t resnet18 resnetblur18 resnet18d seresnet18
        ecaresnext26t_32x4d""",
    "resnetv2": "resnetv2_18 resnetv2_18d",
    "rexnet": "rexnet_100 rexnetr_100",
    "selecsls": "selecsls42 selecsls60",
    "senet": "legacy_seresnet18 legacy_seresnext26_32x4d",
    "sequencer": "sequencer2d_s sequencer2d_m",
    "shvit": "shvit_s1 shvit_s2",
    "sknet": "skresnet18 skresnet34",
    "starnet": "starnet_s050 starnet_s100",
    "swiftformer": "swiftformer_xs swiftformer_s",
    "swin_transformer": "swin_tiny_patch4_window7_224 swin_s3_tiny_224",
    "swin_transformer_v2": "swinv2_tiny_window8_256 swinv2_base_window8_256",
    "swin_transformer_v2_cr": "swinv2_cr_tiny_224 swinv2_cr_small_224",
    "tiny_vit": "tiny_vit_5m_224 tiny_vit_11m_224",
    "tnt": "tnt_s_legacy_patch16_224 tnt_s_patch16_224",
    "tresnet": "tresnet_m tresnet_v2_l",
    "twins": "twins_svt_small twins_pcpvt_small",
    "vgg": "vgg11 vgg11_bn",
    "visformer": "visformer_tiny visformer_small",
    "vision_transformer": """test_vit vit_tiny_patch16_224 flexivit_small vit_small_patch14_dinov2
        vit_base_patch32_clip_224 vit_base_patch16_siglip_224 test_vit2 test_vit3
        beit3_base_patch16_224""",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224 vit_small_r26_s32_224",
    "vision_transformer_relpos": "test_vit_relpos vit_srelpos_small_patch16_224",
    "vision_transformer_sam": "samvit_base_patch16_224",
    "vitamin": "vitamin_small_224 vitamin_base_224",
    "volo": "volo_d1_224",
    "vovnet": "ese_vovnet19b_slim_dw ese_vovnet19b_slim",
    "xception": "legacy_xception",
    "xception_aligned": "xception41p xception41",
    "xcit": "xcit_nano_12_p8_224 xcit_nano_12_p16_224 xcit_tiny_12_p16_224",
}


def list_models() -> dict[str, str]:
    """Names, with the family."""
    return {name: family for family, names in _FAMILIES.items() for name in names.split()}


def build(name: str) -> tuple[nn.Module, Any]:
    """A model and two images of the smallest size it runs on."""
    config = timm.get_pretrained_cfg(name)
    own = config.input_size[-1]
    model = None
    for size in (*(size for size in _SIZES if size < own), own):
        images = torch.randn(2, 3, size, size)
        try:
            if config.fixed_input_size and size < own:
                model = timm.create_model(name, img_size=size)
            elif model is None or config.fixed_input_size:
                model = timm.create_model(name)
            with torch.no_grad():
                model.eval()(images)
        except Exception:  # each model has its own way to refuse a size
            continue
        return model, images
    raise RuntimeError(f"{name} runs on no size of images that was tried")
