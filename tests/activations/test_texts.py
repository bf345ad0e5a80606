"""Texts from a tokenizer of a library to labelled activations on disk: each row is the model on that text alone."""

import json

import numpy as np
import pytest
import torch

import neurolens as nl
from neurolens import Stimuli
from neurolens.activations import extract

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "dog", "on", "a", "mat"]
TEXTS = {"one": "the cat sat", "two": "a dog", "three": "the dog sat on the mat", "four": "cat"}


@pytest.fixture
def bert(tmp_path):
    """A small BERT with its tokenizer, as a repository of weights on disk."""
    transformers = pytest.importorskip("transformers", reason="the extra 'models' is not installed")
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        vocab_size=len(WORDS),
    )
    saved = transformers.AutoModel.from_config(config).eval()
    saved.save_pretrained(folder)
    return nl.load_model(f"transformers:{folder}"), saved, transformers.AutoTokenizer.from_pretrained(folder)


def test_a_transformer_reads_texts_under_its_own_tokenizer(bert, tmp_path):
    model, saved, tokenizer = bert
    n_words = [len(text.split()) for text in TEXTS.values()]
    stimuli = Stimuli.from_texts(TEXTS.values(), ids=TEXTS, metadata={"n_words": n_words})
    ops = ["encoder.layer.*.output.LayerNorm", "pooler"]
    acts = extract(model, stimuli, tmp_path / "acts.zarr", ops=ops, batch_size=3, progress=False)
    assert acts["pooler"].n_words.values.tolist() == n_words
    for name, text in TEXTS.items():
        tokens = tokenizer(text, return_tensors="pt")  # of this text alone, not padded
        with torch.no_grad():
            truth = saved(**tokens, output_hidden_states=True)
        length = tokens["input_ids"].shape[1]
        for number in (0, 1):
            found = acts[f"encoder.layer.{number}.output.LayerNorm"].sel(stimulus=name)
            assert found.dims == ("token", "feature")
            expected = truth.hidden_states[number + 1][0].numpy()
            np.testing.assert_allclose(found.values[:length], expected, rtol=1e-4, atol=1e-5)
        pooled = acts["pooler"].sel(stimulus=name).values
        np.testing.assert_allclose(pooled, truth.pooler_output[0].numpy(), rtol=1e-4, atol=1e-5)
    said = json.loads((tmp_path / "acts.zarr" / "zarr.json").read_text())["attributes"]["run"]
    assert "BertTokenizer" in said["preprocessing"]
