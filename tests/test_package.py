"""The package as a whole: what it exports, and what importing it costs."""

import subprocess
import sys

import neurolens as nl


def test_every_public_name_resolves():
    for name in nl.__all__:
        assert getattr(nl, name) is not None


def test_at_most_25_public_names():
    assert len(nl.__all__) <= 25


def test_import_alone_is_light():
    heavy = ("torch", "sklearn", "xarray", "zarr")
    code = f"import sys, neurolens; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
