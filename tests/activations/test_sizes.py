import pytest

from neurolens.activations.sizes import parse_bytes, say_bytes
from neurolens.errors import InputError


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (12, 12),
        ("12", 12),
        ("4 GB", 4_000_000_000),
        ("1.5mb", 1_500_000),
        (" 2 kB ", 2000),
        ("7b", 7),
        ("2 GiB", 2 * 1024**3),
    ],
)
def test_parse_bytes(text, number):
    assert parse_bytes(text) == number


@pytest.mark.parametrize("text", ["much", "", "-3 MB", "1.2.3 MB", "0", 0, -5, True])
def test_parse_bytes_refuses(text):
    with pytest.raises(InputError, match="memory="):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1234567, "1.23 MB"), (5e10, "50 GB"), (3e15, "3e+03 TB")],
)
def test_say_bytes(size, text):
    assert say_bytes(size) == text
