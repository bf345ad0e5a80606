import numpy as np
import pytest
from PIL import Image

from neurolens.stimuli import to_rgb
from neurolens.stimuli.images import check_image, read_image

RED = (250, 10, 20)


@pytest.mark.parametrize(
    "mode", ["RGB", "RGBA", "P", "L", "LA", "1", "CMYK", "YCbCr", "HSV", "PA", "I;16", "I"]
)
def test_every_mode_becomes_rgb_of_the_same_size(mode):
    image = (
        Image.new("RGB", (5, 3), RED).convert("L").convert(mode) if mode in ("1", "I;16", "I", "LA") else None
    )
    converted = to_rgb(image if image is not None else Image.new("RGB", (5, 3), RED).convert(mode))
    assert (converted.mode, converted.size) == ("RGB", (5, 3))


@pytest.mark.parametrize(
    ("mode", "tolerance"), [("RGB", 0), ("RGBA", 0), ("P", 5), ("CMYK", 1), ("YCbCr", 3)]
)
def test_colours_survive_the_conversion(tmp_path, mode, tolerance):
    extension = {"CMYK": "jpg", "YCbCr": "jpg", "P": "png"}.get(mode, "png")
    path = tmp_path / f"image.{extension}"
    source = Image.new("RGB", (16, 16), RED)
    source = source.quantize(16) if mode == "P" else source.convert(mode)
    source.save(path, **({"quality": 100} if extension == "jpg" else {}))
    difference = np.abs(np.asarray(read_image(path)).astype(int) - np.array(RED)).max()
    assert difference <= tolerance


@pytest.mark.parametrize("alpha", [0, 64, 255])
def test_transparency_is_composited_on_mid_grey(alpha):
    pixel = to_rgb(Image.new("RGBA", (1, 1), (*RED, alpha))).getpixel((0, 0))
    expected = [(alpha * c + (255 - alpha) * 128) / 255 for c in RED]
    np.testing.assert_allclose(pixel, expected, atol=1)


def test_a_transparent_palette_entry_shows_grey(tmp_path):
    image = Image.new("P", (2, 2), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "palette.png", transparency=0)
    assert read_image(tmp_path / "palette.png").getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_16_bit_grey_levels_are_scaled_not_clipped(tmp_path, extension):
    levels = np.array([[0, 257, 25700, 65535]], dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / f"deep.{extension}")
    read = np.asarray(read_image(tmp_path / f"deep.{extension}"))
    np.testing.assert_array_equal(read[0, :, 0], [0, 1, 100, 255])


@pytest.mark.parametrize(("mode", "value"), [("F", 0.5), ("I", 70000), ("I", -1)])
def test_levels_without_a_range_are_refused(mode, value):
    with pytest.raises(ValueError, match=r"floating-point|beyond 16 bits"):
        to_rgb(Image.new(mode, (2, 2), value))


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [(1, (0, 0)), (2, (1, 0)), (3, (1, 2)), (4, (0, 2)), (6, (2, 0)), (8, (0, 1))],
)
def test_exif_orientation_is_applied(tmp_path, orientation, corner):
    image = Image.new("RGB", (2, 3))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    upright = read_image(tmp_path / "turned.png")
    assert upright.getpixel(corner) == (255, 255, 255)
    assert np.asarray(upright).any(axis=2).sum() == 1


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "moving.gif").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_the_quick_check_of_a_jpeg_finds_what_reading_it_finds(tmp_path, progressive, damage):
    rng = np.random.default_rng(7)
    file = tmp_path / "photo.jpg"
    smooth = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(smooth).resize((160, 120)).save(file, quality=90, progressive=progressive)
    whole = file.read_bytes()
    verdicts = []
    for _ in range(40):
        content = bytearray(whole)
        place = rng.integers(1, len(content) if damage == "cut" else 700)  # tables and first rows
        content[place:] = b"" if damage == "cut" else rng.bytes(60) + content[place + 60 :]
        file.write_bytes(content)
        said = [_say_problem(check_image, file), _say_problem(read_image, file)]
        assert said[0] == said[1]
        verdicts.append(said[0])
    assert sum(map(bool, verdicts)) >= (35 if damage == "cut" else 6)


def _say_problem(read, file):
    try:
        read(file)
    except ValueError as error:
        return str(error)
    return ""
