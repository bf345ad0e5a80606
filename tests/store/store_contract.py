"""What every store must hold, however it came about; and a small run that makes one."""

import hashlib
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from neurolens.store import StoreWriter, create_store, open_store

IDS = tuple(f"bild {i:02d} é" for i in range(11))
STIMULI = {
    "stimulus": list(IDS),
    "category": ("stimulus", np.array(["face", "house"] * 5 + ["face"], dtype=object)),
    "size": ("stimulus", np.linspace(0, 1, 11)),
    "human": ("stimulus", np.arange(11) % 2 == 0),
}
ATTRS = {"model": "net", "weights": "abc", "preprocessing": "none"}


@dataclass(frozen=True)
class Expected:
    """Arrays a store must hold, made anew from a seed, so that no store is its own truth."""

    ids: tuple[str, ...] = IDS
    arrays: dict[str, xr.DataArray] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)


def make_expected() -> Expected:
    rng = np.random.default_rng(0)

    def array(dims, shape, dtype, *, labelled=True, **attrs):
        values = np.maximum(rng.standard_normal(shape) * 5, 0).astype(dtype)
        coords = {d: np.arange(n) for d, n in zip(dims, shape, strict=True) if d != "stimulus" and labelled}
        if "stimulus" in dims:
            coords |= STIMULI
        return xr.DataArray(values, dims=dims, coords=coords, attrs=attrs)

    arrays = {
        "input": array(("stimulus", "channel", "y", "x"), (11, 3, 4, 4), "float32", step=0, depth=0.0),
        "layer1.0.conv.conv2d": array(("stimulus", "channel", "y", "x"), (11, 5, 3, 2), "float32", step=1),
        "layer1.0.relu": array(("stimulus", "pass", "unit"), (11, 2, 6), "float16", step=2),
        "mask": array(("stimulus", "unit"), (11, 4), "bool", step=3),
        "fft": array(("stimulus", "unit"), (11, 4), "complex64", step=4),
        "pos_embed": array(("token", "feature"), (5, 3), "float32", step=5),
        "scale": array((), (), "float64", step=6),
        "count": array(("stimulus",), (11,), "int64", step=7, labelled=False),
    }
    arrays["layer1.0.relu"] = arrays["layer1.0.relu"].assign_coords({"pass": [1, 2]})
    return Expected(arrays=arrays, aliases={"layer1": "layer1.0.relu", "first": "layer1.0.relu:1"})


def declare_all(writer: StoreWriter, expected: Expected) -> None:
    for address, array in expected.arrays.items():
        writer.declare(
            address,
            dims=tuple(map(str, array.dims)),
            shape=array.shape,
            dtype=array.dtype,
            attrs=array.attrs,
            coords={n: c.variable for n, c in array.coords.items() if "stimulus" not in c.dims},
        )


def block_of(writer: StoreWriter, expected: Expected, index: int) -> dict[str, np.ndarray]:
    part = writer.block_slice(index)
    return {
        address: array.values[part] if "stimulus" in array.dims else array.values
        for address, array in expected.arrays.items()
    }


def write_all(path: Path, expected: Expected, *, resume: bool = True) -> None:
    """A whole run, or what is left of one."""
    with create_store(path, stimuli=STIMULI, attrs=ATTRS, block_size=4, resume=resume) as writer:
        declare_all(writer, expected)
        for name, address in expected.aliases.items():
            writer.alias(name, address)
        for index in writer.missing_blocks():
            writer.write_block(index, block_of(writer, expected, index))
        writer.finish()


def check_store(path: Path, expected: Expected) -> None:
    """Read with neurolens, with xarray alone, and with zarr alone: all give what was written."""
    store = open_store(path)
    assert list(store) == list(expected.arrays), "in order of execution"
    assert store.missing == ()
    tree = xr.open_datatree(path, engine="zarr")
    group = zarr.open_group(path, mode="r")
    for address, array in store.items():
        truth = expected.arrays[address]
        assert array.name == address
        xr.testing.assert_identical(array.rename(None), truth)
        assert array.dtype == truth.dtype
        path_in_tree = store.entries[address].path
        plain = tree[path_in_tree]["activation"]
        assert plain.dims == truth.dims
        assert plain.attrs == truth.attrs
        np.testing.assert_array_equal(plain.values, truth.values)
        if "stimulus" in truth.dims:
            assert plain["stimulus"].values.tolist() == list(expected.ids)
        np.testing.assert_array_equal(group[f"{path_in_tree}/activation"][...], truth.values)
    for name, address in expected.aliases.items():
        assert name in store
        np.testing.assert_array_equal(store[name].values, _resolve(expected, address).values)
    assert not [
        p for p in path.rglob("*") if p.name.endswith((".partial", ".lock")) or "blocks_done" in p.name
    ]
    assert not list(path.parent.glob(f".{path.name}*")), "nothing is left beside the store"


def _resolve(expected: Expected, address: str) -> xr.DataArray:
    name, _, number = address.partition(":")
    return expected.arrays[name].sel({"pass": int(number)}) if number else expected.arrays[name]


def fingerprint(path: Path) -> dict[str, str]:
    """Every file of a folder, by the hash of its bytes."""
    return {
        file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def run_python(code: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter where every warning is an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=check,
        cwd=Path(__file__).parent,
        timeout=60,
    )
