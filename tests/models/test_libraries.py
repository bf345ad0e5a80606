"""Libraries that are an extra: small models made here, so that nothing is downloaded."""

import numpy as np
import pytest
import torch
from PIL import Image

import neurolens as nl
from neurolens.errors import ModelError, StimulusError

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8))


@pytest.fixture
def transformers():
    return pytest.importorskip("transformers", reason="the extra 'models' is not installed")


@pytest.fixture
def open_clip():
    return pytest.importorskip("open_clip", reason="the extra 'models' is not installed")


SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.mark.parametrize("pretrained", [True, False])
def test_transformers_vision(transformers, tmp_path, pretrained):
    config = transformers.ViTConfig(**SMALL, image_size=32, patch_size=8)
    saved = transformers.AutoModel.from_config(config)
    saved.save_pretrained(tmp_path)
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    model = nl.load_model(f"transformers:{tmp_path}", pretrained=pretrained)
    pixels = model.preprocess(IMAGE)["pixel_values"]
    assert torch.equal(pixels, processor(images=IMAGE, return_tensors="pt")["pixel_values"][0])
    same = [torch.equal(a, b) for a, b in zip(model.module.parameters(), saved.parameters(), strict=True)]
    assert all(same) == pretrained


def test_transformers_text(transformers, tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    saved = transformers.AutoModel.from_config(transformers.BertConfig(**SMALL, vocab_size=len(words)))
    saved.save_pretrained(tmp_path)
    model = nl.load_model(f"transformers:{tmp_path}")
    tokens = model.preprocess("the cat")
    assert tokens["input_ids"].tolist()[:5] == [2, 5, 6, 3, 0]
    assert tokens["attention_mask"].sum() == 4
    with torch.no_grad():
        output = model.module(**{name: value[None] for name, value in tokens.items()})
    assert output.last_hidden_state.shape == (1, 128, 16)
    with pytest.raises(StimulusError, match="202 tokens"):
        model.preprocess("the cat " * 100)


def test_open_clip(open_clip):
    model = nl.load_model("open_clip:RN50", pretrained=False, seed=0)
    expected = open_clip.create_model_and_transforms("RN50", pretrained=None)[2]
    assert torch.equal(model.preprocess(IMAGE), expected(IMAGE))
    with pytest.raises(ModelError, match="'openai'"):
        nl.load_model("open_clip:RN50/opnai")
