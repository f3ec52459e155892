"""Photographs, of the wheel and of the user's, and what is no photograph."""

import numpy as np
import pytest
from PIL import Image

from visualizations.shared.photographs import SAMPLES, photograph, short_name
from workbench.cli.errors import UserError


@pytest.mark.parametrize("name", SAMPLES)
def test_the_built_in_photographs(name):
    image = photograph(name)
    assert image.shape == (427, 640, 3) and image.dtype == np.float64
    assert 0 <= image.min() < 0.1 and 0.9 < image.max() <= 1
    assert np.array_equal(image, photograph(f"{name}.jpg"))


def pixels(mode):
    generator = np.random.default_rng(0)
    return {
        "RGB": generator.integers(0, 256, (9, 12, 3), dtype=np.uint8),
        "L": generator.integers(0, 256, (9, 12), dtype=np.uint8),
        "16 bits": generator.integers(0, 65536, (9, 12), dtype=np.uint16),
    }[mode]


@pytest.mark.parametrize("mode", ["RGB", "L", "16 bits"])
def test_a_file_gives_its_pixels(mode, tmp_path):
    given = pixels(mode)
    Image.fromarray(given).save(tmp_path / "mine.png")
    image = photograph(tmp_path / "mine.png")
    expected = given / np.iinfo(given.dtype).max
    assert image == pytest.approx(expected if given.ndim == 3 else np.stack([expected] * 3, axis=2), abs=1e-15)
    assert short_name(tmp_path / "mine.png") == "mine"


def test_a_photograph_taken_sideways_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(pixels("RGB")).save(tmp_path / "turned.png", exif=exif)
    assert photograph(tmp_path / "turned.png").shape == (12, 9, 3)


def test_what_is_transparent_lies_over_white(tmp_path):
    Image.new("RGBA", (9, 9), (200, 30, 40, 0)).save(tmp_path / "clear.png")
    assert (photograph(tmp_path / "clear.png") == 1).all()


def test_what_is_no_photograph_is_said_in_one_line(tmp_path):
    Image.new("RGB", (7, 30)).save(tmp_path / "tiny.png")
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "cut.png").write_bytes((tmp_path / "tiny.png").read_bytes()[:40])
    Image.new("L", (10000, 9000)).save(tmp_path / "huge.png")
    Image.new("F", (30, 30), 0.5).save(tmp_path / "floats.tiff")
    cases = [
        ("floats.tiff", "its pixels are floating-point numbers, for which no white is known"),
        ("tiny.png", "30 x 7 pixels"),
    ]
    cases += [("text.jpg", "cannot be read"), ("cut.png", "cannot be read")]
    cases += [("none.png", "there is no image"), (".", "cannot be read"), ("huge.png", "too large")]
    for name, words in cases:
        with pytest.raises(UserError, match=words) as error:
            photograph(tmp_path / name)
        assert "\n" not in str(error.value) and (name in str(error.value) or name == ".")
