"""Draw the 80 images of `shapes80` and simulate the responses of its two regions.

    python datasets/shapes80/make.py [folder]

writes `images.png` (a sheet, one kind a row) and `responses.npz` (float32) beside this file, or into
`folder`. Everything is seeded: the same versions of Pillow, NumPy and scikit-learn give the same files to
the bit.
"""

from __future__ import annotations

import colorsys
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

KINDS = ("face", "fish", "tree", "house", "star", "car", "three", "seven")
ANIMATE = ("face", "fish")
DIGITS = {"three": 3, "seven": 7}
N_EACH = 10
SIDE = 160  # pixels
FINE = 4  # images are drawn this many times larger and reduced, which smooths their edges
SEED = 2008

N_SUBJECTS = 6
N_VOXELS = 300
NOISE = {"simulated_early": 1.0, "simulated_late": 1.0}  # standard deviations; every voxel's signal has 1

Floats = NDArray[np.float64]
Shade = tuple[int, int, int]


def shade(hue: float, saturation: float, value: float) -> Shade:
    """Return a colour as 8-bit RGB."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


class Pen:
    """Draws in a unit square onto a transparent canvas, in four shades of one hue."""

    def __init__(self, side: int, hue: float) -> None:
        self.side = side
        self.canvas = Image.new("RGBA", (side, side), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.canvas)
        self.main = shade(hue, 0.75, 0.85)
        self.deep = shade(hue + 0.06, 0.85, 0.5)
        self.light = shade(hue, 0.1, 0.98)
        self.dark = shade(hue, 0.5, 0.12)

    def ellipse(self, x: float, y: float, width: float, height: float, fill: Shade) -> None:
        """Fill an ellipse about (x, y)."""
        s = self.side
        box = ((x - width / 2) * s, (y - height / 2) * s, (x + width / 2) * s, (y + height / 2) * s)
        self._draw.ellipse(box, fill=(*fill, 255))

    def polygon(self, corners: list[tuple[float, float]], fill: Shade) -> None:
        """Fill a polygon."""
        self._draw.polygon([(x * self.side, y * self.side) for x, y in corners], fill=(*fill, 255))

    def box(self, left: float, top: float, right: float, bottom: float, fill: Shade) -> None:
        """Fill a rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], fill)

    def arc(self, x: float, y: float, width: float, height: float, start: float, end: float) -> None:
        """Draw a dark arc about (x, y), from `start` to `end` degrees."""
        s = self.side
        box = ((x - width / 2) * s, (y - height / 2) * s, (x + width / 2) * s, (y + height / 2) * s)
        self._draw.arc(box, start, end, fill=(*self.dark, 255), width=round(0.035 * s))


def draw_face(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a head with hair, eyes, nose and mouth."""
    width, gap, smile = rng.uniform(0.68, 0.8), rng.uniform(0.14, 0.18), rng.uniform(0.14, 0.3)
    for side in (-1, 1):
        pen.ellipse(0.5 + side * width / 2, 0.52, 0.13, 0.2, pen.main)
    pen.ellipse(0.5, 0.44, width + 0.06, 0.86, pen.deep)
    pen.ellipse(0.5, 0.55, width, 0.86, pen.main)
    for side in (-1, 1):
        pen.ellipse(0.5 + side * gap, 0.47, 0.17, 0.11, pen.light)
        pen.ellipse(0.5 + side * gap, 0.47, 0.08, 0.09, pen.dark)
        pen.arc(0.5 + side * gap, 0.42, 0.2, 0.12, 200, 340)
    pen.polygon([(0.5, 0.5), (0.55, 0.66), (0.45, 0.66)], pen.deep)
    pen.arc(0.5, 0.72, 0.34, smile, 15, 165)


def draw_fish(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a body with tail, fins, gill and eye; it may swim to either side."""
    height, tail = rng.uniform(0.4, 0.56), rng.uniform(0.2, 0.28)
    pen.polygon([(0.66, 0.5), (0.99, 0.5 - tail), (0.91, 0.5), (0.99, 0.5 + tail)], pen.deep)
    pen.polygon([(0.3, 0.36), (0.44, 0.5 - height / 2 - 0.13), (0.66, 0.4)], pen.deep)
    pen.polygon([(0.4, 0.64), (0.5, 0.5 + height / 2 + 0.1), (0.6, 0.6)], pen.deep)
    pen.ellipse(0.4, 0.5, 0.78, height, pen.main)
    pen.arc(0.26, 0.5, 0.12, height * 0.7, 280, 80)
    for x in (0.45, 0.57):
        pen.arc(x, 0.5, 0.08, height * 0.5, 280, 80)
    pen.ellipse(0.15, 0.45, 0.09, 0.09, pen.light)
    pen.ellipse(0.145, 0.45, 0.05, 0.05, pen.dark)
    if rng.random() < 0.5:
        pen.canvas = pen.canvas.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def draw_tree(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a trunk with branches under a crown of blobs and leaves."""
    pen.polygon([(0.46, 0.5), (0.54, 0.5), (0.59, 1), (0.41, 1)], pen.deep)
    pen.polygon([(0.5, 0.72), (0.5, 0.65), (0.74, 0.42), (0.77, 0.46)], pen.deep)
    pen.polygon([(0.5, 0.76), (0.5, 0.69), (0.26, 0.45), (0.23, 0.49)], pen.deep)
    centres = [(0.28, 0.4), (0.72, 0.4), (0.36, 0.2), (0.64, 0.2), (0.5, 0.32)]
    for x, y in centres:
        dx, dy = rng.uniform(-0.04, 0.04, 2)
        pen.ellipse(x + dx, y + dy, rng.uniform(0.38, 0.48), rng.uniform(0.32, 0.4), pen.main)
    for _ in range(40):
        angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
        x, y = 0.5 + 0.34 * radius * np.cos(angle), 0.3 + 0.22 * radius * np.sin(angle)
        pen.ellipse(x, y, 0.05, 0.035, pen.deep if rng.random() < 0.6 else pen.light)


def draw_house(pen: Pen, rng: np.random.Generator) -> None:
    """Draw walls, a roof with a chimney, a door and two windows with bars."""
    eaves, door = rng.uniform(0.36, 0.44), rng.uniform(0.42, 0.58)
    pen.box(0.68, 0.08, 0.8, 0.36, pen.dark)
    pen.box(0.12, eaves, 0.88, 1, pen.main)
    pen.polygon([(0.02, eaves), (0.5, 0.02), (0.98, eaves)], pen.deep)
    pen.box(door - 0.09, 0.68, door + 0.09, 1, pen.dark)
    for x in (0.26, 0.74):
        y = eaves + 0.16
        pen.box(x - 0.09, y - 0.08, x + 0.09, y + 0.08, pen.light)
        pen.box(x - 0.012, y - 0.08, x + 0.012, y + 0.08, pen.dark)
        pen.box(x - 0.09, y - 0.012, x + 0.09, y + 0.012, pen.dark)


def draw_star(pen: Pen, rng: np.random.Generator) -> None:
    """Draw five points, with a darker rim."""
    inner = rng.uniform(0.36, 0.46)
    for radius, fill in ((0.5, pen.deep), (0.4, pen.main)):
        corners = []
        for k in range(10):
            r = radius * (1 if k % 2 == 0 else inner)
            corners.append((0.5 + r * np.sin(np.pi * k / 5), 0.53 - r * np.cos(np.pi * k / 5)))
        pen.polygon(corners, fill)


def draw_car(pen: Pen, rng: np.random.Generator) -> None:
    """Draw a body with cabin, windows, lamp and two wheels; it may drive to either side."""
    roof, nose = rng.uniform(0.24, 0.3), rng.uniform(0.5, 0.54)
    pen.polygon([(0.2, 0.5), (0.33, roof), (0.66, roof), (0.82, 0.5)], pen.deep)
    pen.polygon([(0.26, 0.49), (0.36, roof + 0.05), (0.48, roof + 0.05), (0.48, 0.49)], pen.light)
    pen.polygon([(0.52, 0.49), (0.52, roof + 0.05), (0.64, roof + 0.05), (0.75, 0.49)], pen.light)
    pen.polygon([(0.02, 0.5), (0.84, 0.48), (0.98, nose + 0.04), (0.99, 0.72), (0.01, 0.72)], pen.main)
    pen.box(0.49, 0.5, 0.51, 0.7, pen.deep)
    pen.ellipse(0.94, 0.6, 0.07, 0.07, pen.light)
    for x in (0.24, 0.76):
        pen.ellipse(x, 0.72, 0.24, 0.24, pen.dark)
        pen.ellipse(x, 0.72, 0.11, 0.11, pen.light)
    if rng.random() < 0.5:
        pen.canvas = pen.canvas.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def draw_digit(pen: Pen, glyph: Floats) -> None:
    """Draw a handwritten digit of scikit-learn, 8 x 8 grey levels, smoothed to a shape with an edge."""
    ink = Image.fromarray(np.pad(glyph / 16, 1).astype(np.float32))
    smooth = np.asarray(ink.resize((pen.side, pen.side), Image.Resampling.BICUBIC))
    for level, fill in ((0.44, pen.deep), (0.54, pen.main)):
        mask = Image.fromarray(np.where(smooth > level, 255, 0).astype(np.uint8))
        pen.canvas.paste((*fill, 255), (0, 0), mask)


DRAW: dict[str, Callable[[Pen, np.random.Generator], None]] = {
    "face": draw_face,
    "fish": draw_fish,
    "tree": draw_tree,
    "house": draw_house,
    "star": draw_star,
    "car": draw_car,
}


def draw_grating(rng: np.random.Generator) -> Image.Image:
    """Draw a sinusoidal grating between two colours, of random orientation, frequency and phase."""
    angle, cycles, phase = rng.uniform(0, np.pi), rng.uniform(2, 9), rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * cycles * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    ends = [shade(rng.random(), rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.95)) for _ in range(2)]
    low, high = np.array(ends, dtype=float)
    return Image.fromarray(np.round(low + wave[..., None] * (high - low)).astype(np.uint8))


def draw_image(kind: str, rng: np.random.Generator, glyph: Floats | None) -> NDArray[np.uint8]:
    """Draw one object of random hue, size, tilt and place on a grating of its own, shape (160, 160, 3)."""
    background = draw_grating(rng)
    side = round(rng.uniform(0.60, 0.85) * SIDE)
    pen = Pen(side * FINE, rng.random())
    if glyph is None:
        DRAW[kind](pen, rng)
    else:
        draw_digit(pen, glyph)
    turned = pen.canvas.rotate(rng.uniform(-15, 15), Image.Resampling.BICUBIC)
    object_ = turned.resize((side, side), Image.Resampling.BOX)
    left, top = rng.integers(0, SIDE - side + 1, 2)
    background.paste(object_, (int(left), int(top)), object_)
    return np.asarray(background)


def choose_digits(digit: int) -> Floats:
    """Choose ten legible examples: every sixth of the sixty nearest to their mean, shape (10, 8, 8)."""
    digits = load_digits()
    examples = digits.images[digits.target == digit]
    distance = ((examples - examples.mean(0)) ** 2).sum((1, 2))
    return examples[np.argsort(distance, kind="stable")[: 6 * N_EACH : 6]]


def draw_images() -> NDArray[np.uint8]:
    """Draw all images, kinds in order, shape (80, 160, 160, 3), uint8."""
    glyphs = {kind: choose_digits(digit) for kind, digit in DIGITS.items()}
    images = []
    for kind in KINDS:
        for number in range(N_EACH):
            rng = np.random.default_rng([SEED, KINDS.index(kind), number])
            images.append(draw_image(kind, rng, glyphs[kind][number] if kind in glyphs else None))
    return np.stack(images)


def standardize(values: Floats) -> Floats:
    """Give every column mean 0 and standard deviation 1 over the stimuli."""
    return (values - values.mean(0)) / values.std(0)


def compute_low_level(images: NDArray[np.uint8]) -> Floats:
    """Compute colour by place (14 x 14 x 3) and Gabor energy (4 orientations, 3 scales), shape (80, n).

    Each unit is standardized over the stimuli; the two blocks have equal sums of squares.
    """
    colour = np.stack(
        [np.asarray(Image.fromarray(image).resize((14, 14), Image.Resampling.BOX)) for image in images]
    )
    blocks = [standardize(block.reshape(len(images), -1)) for block in (colour / 255, gabor_energy(images))]
    return np.concatenate([block / np.sqrt(block.shape[1]) for block in blocks], axis=1)


def gabor_energy(images: NDArray[np.uint8]) -> Floats:
    """Compute the energy of Gabor filters, summed over a grid of 14 x 14, shape (80, 12, 14, 14)."""
    grey = images.mean(-1) / 255
    spectra = np.fft.fft2(grey - grey.mean((1, 2), keepdims=True))
    fy, fx = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE), indexing="ij")
    edges = np.linspace(0, SIDE, 15).astype(int)[:-1]
    maps = []
    for frequency in (1 / 32, 1 / 16, 1 / 8):  # cycles a pixel
        for angle in np.arange(4) * np.pi / 4:
            dx, dy = fx - frequency * np.cos(angle), fy - frequency * np.sin(angle)
            # One-sided in frequency, so that the filtered image is complex: both phases at once.
            window = np.exp(-(dx**2 + dy**2) / (2 * (0.4 * frequency) ** 2))
            energy = np.abs(np.fft.ifft2(spectra * window)) ** 2
            maps.append(np.add.reduceat(np.add.reduceat(energy, edges, axis=1), edges, axis=2))
    return np.stack(maps, axis=1)


def compute_category() -> Floats:
    """Return one-hot kind and the two superordinate codes animate and digit, shape (80, 10)."""
    kinds = np.repeat(KINDS, N_EACH)
    codes = [kinds == kind for kind in KINDS] + [np.isin(kinds, ANIMATE), np.isin(kinds, list(DIGITS))]
    return np.stack(codes, axis=1).astype(float)


def simulate_region(features: Floats, noise: float, region: int) -> NDArray[np.float32]:
    """Simulate six subjects: random mixtures of features, standardized, then noise; (6, 80, 300)."""
    subjects = []
    for subject in range(N_SUBJECTS):
        rng = np.random.default_rng([SEED, 100 + region, subject])
        signal = standardize(features @ rng.standard_normal((features.shape[1], N_VOXELS)))
        subjects.append(signal + noise * rng.standard_normal(signal.shape))
    return np.stack(subjects).astype(np.float32)


def simulate_responses(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Simulate both regions, each of shape (6, 80, 300)."""
    features = {"simulated_early": compute_low_level(images), "simulated_late": compute_category()}
    return {
        name: simulate_region(values, NOISE[name], region)
        for region, (name, values) in enumerate(features.items())
    }


def make_sheet(images: NDArray[np.uint8]) -> Image.Image:
    """Tile the images, one kind a row."""
    rows = images.reshape(len(KINDS), N_EACH, SIDE, SIDE, 3)
    return Image.fromarray(rows.transpose(0, 2, 1, 3, 4).reshape(len(KINDS) * SIDE, N_EACH * SIDE, 3))


def main(folder: Path) -> None:
    """Write the sheet and the responses."""
    images = draw_images()
    make_sheet(images).save(folder / "images.png", optimize=True)
    np.savez_compressed(folder / "responses.npz", **simulate_responses(images))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
