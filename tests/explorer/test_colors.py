"""Colours of the page, as eyes see them that lack one kind of cone."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import neurolens.explorer
from neurolens.explorer.outline import FAMILIES

# From linear RGB to linear RGB, at full severity: Machado et al. 2009, doi:10.1109/TVCG.2009.113.
EYES = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def read_colors():
    text = (Path(neurolens.explorer.__file__).parent / "page" / "colors.js").read_text(encoding="utf-8")
    colors = {
        theme: re.findall("#[0-9a-f]{6}", re.search(rf"{theme}: \[(.*?)\]", text)[1])
        for theme in ("light", "dark")
    }
    return colors | {"scale": re.findall("#[0-9a-f]{6}", re.search(r"VIRIDIS = \[(.*?)\]", text)[1])}


def see(color, eye):
    """The CIE L*a*b* coordinates of a colour, under D65."""
    parts = np.array([int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    x, y, z = XYZ @ np.clip(np.array(EYES[eye]) @ linear, 0, 1) / XYZ.sum(axis=1)
    f = [np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_kinds_of_functions_are_told_apart(theme, eye):
    colors = read_colors()[theme]
    assert len(colors) == len(FAMILIES)
    seen = dict(zip(FAMILIES, (see(color, eye) for color in colors), strict=True))
    apart = {pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]]) for pair in combinations(FAMILIES, 2)}
    assert min(apart.values()) > 12, min(apart, key=apart.get)  # 2.3 is just noticeable


@pytest.mark.parametrize("eye", EYES)
def test_the_scale_grows_lighter(eye):
    lightness = [see(color, eye)[0] for color in read_colors()["scale"]]
    assert np.diff(lightness).min() > 3
