"""Stores that were begun by an earlier version: taken up where only an attr was added since, else told what to do."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from neurolens.activations import extract
from neurolens.activations import open as open_activations
from neurolens.errors import ResumeError
from neurolens.stimuli import Stimuli

ROWS = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
OPTIONS = {"batch_size": 2, "progress": False}


class Net(nn.Module):
    """Raises at one stimulus as long as it is told to."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(4, 3)
        self.broken_at = float(ROWS[4, 0])

    def forward(self, x):
        if self.broken_at in x[:, 0].tolist():
            raise ArithmeticError
        return self.fc(x).relu()


@pytest.fixture
def begun(tmp_path):
    """A run that stopped before its last block; and the model, mended."""
    model = Net().eval()
    with pytest.raises(ArithmeticError):
        extract(model, stimuli(), tmp_path / "acts.zarr", **OPTIONS)
    model.broken_at = None
    return tmp_path / "acts.zarr", model


def stimuli():
    return Stimuli.from_array(ROWS, ids=list("abcdef"))


def edit_attrs(store, change):
    """Change the attributes of every activation on disk, as another version would have written them."""
    for file in store.rglob("activation/zarr.json"):
        metadata = json.loads(file.read_text())
        change(metadata["attributes"])
        file.write_text(json.dumps(metadata, indent=2))


def test_a_run_that_was_begun_before_parents_were_noted_is_taken_up(begun):
    store, model = begun
    edit_attrs(store, lambda attrs: attrs.pop("parents"))
    before = {file: file.read_bytes() for file in store.rglob("activation/*")}
    acts = extract(model, stimuli(), store, **OPTIONS)
    assert {file: file.read_bytes() for file in before} == before  # nothing of it was written again
    with torch.no_grad():
        np.testing.assert_array_equal(acts["fc"].values, model.fc(ROWS).numpy())
    assert acts["relu"].stimulus.values.tolist() == list("abcdef")
    assert not any("parents" in array.attrs for array in acts.values())
    assert acts.verify().is_sound


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda attrs: attrs.update(parents=["elsewhere"]), r"attr 'parents' was \['elsewhere'\] and is now"),
        (lambda attrs: attrs.pop("depth"), "attr 'depth' was None and is now"),
        (lambda attrs: attrs.update(more=1), "attr 'more' was 1 and is now None"),
        (
            lambda attrs: attrs.update(neurolens_version="0.0.1"),
            r"begun with neurolens 0\.0\.1, and this is .*Take it up with that one, or .*incomplete=True",
        ),
    ],
    ids=["other parents", "one less", "one more", "other version"],
)
def test_what_else_differs_is_named_and_nothing_is_changed(begun, change, said):
    store, model = begun
    edit_attrs(store, change)
    before = {file: file.read_bytes() for file in store.rglob("*") if file.is_file()}
    with pytest.raises(ResumeError, match=said):
        extract(model, stimuli(), store, **OPTIONS)
    assert {file: file.read_bytes() for file in store.rglob("*") if file.is_file()} == before
    assert open_activations(store, incomplete=True)["fc"].sizes["stimulus"] == 4


def test_a_finished_store_of_another_version_is_opened_and_found_complete(begun):
    store, model = begun
    whole = extract(model, stimuli(), store, **OPTIONS)["fc"].values
    edit_attrs(store, lambda attrs: (attrs.update(neurolens_version="0.0.1"), attrs.pop("parents")))
    np.testing.assert_array_equal(open_activations(store)["fc"].values, whole)
    np.testing.assert_array_equal(extract(model, stimuli(), store, **OPTIONS)["fc"].values, whole)
