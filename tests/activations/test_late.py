"""Models that branch: operations that first run after the first batch are stored, and named as ever."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from neurolens.activations import extract, stream
from neurolens.activations import open as open_activations
from neurolens.errors import AddressError, NeurolensWarning
from neurolens.stimuli import Stimuli


class Branches(nn.Module):
    """Three ways, by the sign and size of the batch; the last operation of one way is its own."""

    def __init__(self):
        super().__init__()
        self.broken = False

    def forward(self, x):
        if self.broken and x.tolist()[0] == [7.0, 8.0]:
            raise RuntimeError("stopped")
        if x.sum() < 0:
            x = torch.relu(-x)
        elif x.sum() > 20:
            x = torch.relu(x - 4)
            x = (x > 1).long().cumsum(1) + x
        x = x * 2
        if x.max() > 11:
            x = x.exp()
        return x


ROWS = torch.tensor(
    [[1.0, 2], [3, 4], [-1, -2], [-3, -4], [7, 8], [9, 6], [1, 2], [1, 1], [2, 2], [3, 1], [12, 1], [8, 9]]
)


def make_stimuli():
    return Stimuli.from_array(ROWS, ids=[f"s{i}" for i in range(len(ROWS))])


def read_files(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def run(store, model=None, **options):
    return extract(model or Branches(), make_stimuli(), store, batch_size=2, progress=False, **options)


def truth():
    """What each position gives, by numpy; NaN where it does not run."""
    x = ROWS.numpy().astype(float)
    nothing = np.full_like(x, np.nan)
    negative, large, wide = nothing.copy(), nothing.copy(), nothing.copy()
    count, end = nothing.copy(), nothing.copy()
    for start in range(0, len(x), 2):
        part = slice(start, start + 2)
        now = x[part]
        if now.sum() < 0:
            now = negative[part] = np.maximum(-now, 0)
        elif now.sum() > 20:
            now = large[part] = np.maximum(now - 4, 0)
            count[part] = (now > 1).cumsum(1)
            now = now + count[part]
        wide[part] = now = now * 2
        if now.max() > 11:
            end[part] = np.exp(now)
    return {"relu": negative, "relu_1": large, "cumsum": count, "mul": wide, "exp": end}


def test_they_are_stored_and_missing_where_they_did_not_run(tmp_path):
    acts = run(tmp_path / "a.zarr")
    for address, values in truth().items():
        np.testing.assert_allclose(acts[address].values, values, rtol=1e-6, err_msg=address)
        missing = [f"s{i}" for i in np.flatnonzero(np.isnan(values).any(1))]
        assert acts[address].attrs.get("missing_stimuli", []) == missing, address
    assert acts.verify().is_sound


def test_missing_integers_are_no_zeros(tmp_path):
    acts = run(tmp_path / "a.zarr")
    assert acts["cumsum"].attrs["traced_dtype"] == "int64"
    assert acts["cumsum"].dtype == np.float64
    assert acts["gt_2"].dtype == np.float32  # booleans
    tree = xr.open_datatree(tmp_path / "a.zarr", engine="zarr")  # and without neurolens
    np.testing.assert_array_equal(tree["cumsum/activation"].values, acts["cumsum"].values)


def is_wanted(op):
    return op.function in ("mul", "relu")


@pytest.mark.parametrize("op", ["*u*", is_wanted, "**"], ids=["glob", "function", "all"])
def test_they_are_chosen_by_patterns(tmp_path, op):
    acts = run(tmp_path / "a.zarr", ops=op)
    assert {"relu", "relu_1", "mul"} <= set(acts)
    assert (op == "**") == ("exp" in acts)
    assert (op is not is_wanted) == ("cumsum" in acts)
    np.testing.assert_allclose(acts["relu_1"].values, truth()["relu_1"])


@pytest.mark.parametrize(
    "op", ["exp", "ex*", lambda op: op.function == "exp"], ids=["name", "glob", "function"]
)
@pytest.mark.parametrize(
    "verb", [run, lambda store, ops: stream(Branches(), make_stimuli(), ops=ops, batch_size=2)]
)
def test_what_only_later_batches_run_must_be_matched_in_the_first_too(tmp_path, op, verb):
    with pytest.raises(
        AddressError, match=r"first batch runs \(the stimuli 's0' to 's1'\)\. .* put one of these"
    ):
        verb(tmp_path / "a.zarr", ops=op)
    assert not (tmp_path / "a.zarr").exists()
    assert "exp" in run(tmp_path / "a.zarr", ops="*p*")  # matches `input` in the first batch


def test_a_run_that_stopped_in_between_gives_the_same_names_and_bytes(tmp_path):
    run(tmp_path / "whole.zarr")
    model = Branches()
    model.broken = True  # at the block after the first branch was met
    with pytest.raises(RuntimeError, match="stopped"):
        run(tmp_path / "a.zarr", model)
    part = open_activations(tmp_path / "a.zarr", incomplete=True)
    assert "relu" in part
    assert "relu_1" not in part
    model.broken = False
    run(tmp_path / "a.zarr", model)
    assert read_files(tmp_path / "a.zarr") == read_files(tmp_path / "whole.zarr")


def test_a_stream_says_what_it_leaves_out():
    acts = stream(Branches(), make_stimuli(), ops="*u*", batch_size=2, progress=False)
    assert "relu" not in acts
    with pytest.warns(NeurolensWarning, match=r"from 's2' on.*'relu'.*extract, which stores them"):
        acts["mul"]
