"""Colours of categories: told apart whatever the colour vision."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb
from scipy.spatial.distance import pdist, squareform

import neurolens as nl
from neurolens.plot.thumbnails import choose_colors, count_rounds

# What is seen without one kind of cone, of linear sRGB: Machado, Oliveira & Fernandes (2009), severity 1.
VISION = {
    "all cones": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def see(colors, kind):
    """CIELAB (D65) of colours as an eye of this kind sees them."""
    values = np.array([to_rgb(color) for color in colors])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ VISION[kind].T, 0, 1) @ XYZ.T / [0.95047, 1, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("kind", VISION)
@pytest.mark.parametrize("n", [2, 6, 7, 10])
def test_colors_are_told_apart_by_every_eye_and_from_white(n, kind):
    seen = see(choose_colors(n), kind)
    assert pdist(seen).min() > 15  # of which 2 are just noticed side by side
    assert np.linalg.norm(seen - [100, 0, 0], axis=1).min() > 15


def test_measure_of_eyes_finds_what_is_confused():
    assert pdist(see(["#ff0000", "#886d00"], "deuteranopia")).min() < 25
    assert pdist(see(["#ff0000", "#886d00"], "all cones")).min() > 75
    wheel = [plt.get_cmap("turbo")((i + 0.5) / 10) for i in range(10)]
    assert pdist(see(wheel, "deuteranopia")).min() < 15
    np.testing.assert_allclose(see(["white", "black"], "all cones"), [[100, 0, 0], [0, 0, 0]], atol=0.02)


def test_color_and_round_together_name_a_category():
    looks = set(zip(choose_colors(25), count_rounds(25), strict=True))
    assert len(looks) == 25
    assert len(set(choose_colors(10))) == 10


@pytest.mark.parametrize("pictures", [False, True], ids=["points", "thumbnails"])
def test_more_categories_than_colors_differ_in_marker_or_frame(pictures):
    ids = [f"item{i}" for i in range(24)]
    square = squareform(pdist(np.random.default_rng(0).random((24, 3))))
    coords = {"stimulus": ids, "stimulus_b": ids, "kind": ("stimulus", [f"kind{i // 2}" for i in range(24)])}
    rdm = xr.DataArray(square, coords, ("stimulus", "stimulus_b"))
    images = nl.Stimuli.from_array(np.zeros((24, 8, 8, 3), "uint8"), ids=ids) if pictures else None
    ax = nl.plot.mds(rdm, by="kind", images=images)
    if pictures:
        looks = {(box.patch.get_edgecolor(), box.patch.get_linestyle()) for box in ax.artists}
    else:
        looks = {(line.get_color(), line.get_marker()) for line in ax.lines}
    assert len(looks) == 12
    plt.close("all")
