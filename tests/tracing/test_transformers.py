"""Language and vision transformers of the transformers library: tiny, with random weights, proven whole."""

import pytest
import torch

import neurolens as nl

transformers = pytest.importorskip("transformers", reason="the extra 'models' is not installed")

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
WORDS = SMALL | {"vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def ids(length=7):
    return torch.randint(3, 100, (2, length), generator=torch.Generator().manual_seed(0))


def bert():
    model = transformers.BertModel(transformers.BertConfig(**WORDS))
    return model, {"input_ids": ids(), "attention_mask": torch.ones(2, 7, dtype=torch.long)}


def gpt2():
    config = transformers.GPT2Config(
        n_embd=32, n_layer=2, n_head=2, vocab_size=100, bos_token_id=1, eos_token_id=2
    )
    return transformers.GPT2LMHeadModel(config), {"input_ids": ids()}


def llama():
    return transformers.LlamaModel(transformers.LlamaConfig(**WORDS, num_key_value_heads=1)), {
        "input_ids": ids()
    }


def t5():
    config = transformers.T5Config(d_model=32, num_layers=2, num_heads=2, d_ff=64, vocab_size=100, d_kv=16)
    return transformers.T5Model(config), {"input_ids": ids(), "decoder_input_ids": ids(5)}


def vit():
    config = transformers.ViTConfig(**SMALL, image_size=32, patch_size=8)
    return transformers.ViTModel(config), torch.randn(2, 3, 32, 32)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("build", [bert, gpt2, llama, t5, vit])
def test_traced_labelled_and_proven(build):
    torch.manual_seed(0)
    model, inputs = build()
    model.eval()
    with torch.no_grad():
        traced = nl.trace(model, inputs)
        plain = model(**inputs) if isinstance(inputs, dict) else model(inputs)
        assert traced.validate()
    first = next(key for key, value in plain.items() if isinstance(value, torch.Tensor))
    array = traced[f"output[{first}]"].activation
    assert array.dims[0] == "stimulus"
    assert torch.equal(traced[f"output[{first}]"].tensor, plain[first])
