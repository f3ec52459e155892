"""workbench/vision/rgb.py: any image becomes RGB with 8 bits, in every place that reads files."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
import torchvision
from PIL import Image

from workbench.cli.errors import UserError
from workbench.vision.coco.pictures import open_coco
from workbench.vision.coco.prediction import read_image
from workbench.vision.files import Folder
from workbench.vision.rgb import as_rgb, read_rgb

RED, BLUE = (200, 30, 40), (10, 20, 230)


def noise(channels=3, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (13, 9, channels), np.uint8)
    return Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)


def pixels(image):
    assert image.mode == "RGB"
    return [tuple(each) for each in np.asarray(image).reshape(-1, 3).tolist()]


def png(kind, row, width, chunks=b""):
    """A PNG of one row with 16 bits a channel: `kind` is 0 for grey, 2 for colour."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, 16, kind, 0, 0, 0))
    content = chunk(b"IDAT", zlib.compress(b"\0" + np.asarray(row, ">u2").tobytes()))
    transparent = chunk(b"tRNS", chunks) if chunks else b""
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + header + transparent + content + chunk(b"IEND", b""))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff"])
def test_plain_images_are_what_they_were(channels, suffix, tmp_path):
    """As torchvision's loader, which the folders of images were read with before."""
    path = tmp_path / f"image{suffix}"
    noise(channels).save(path)
    ours, theirs = read_rgb(path), torchvision.datasets.folder.pil_loader(path)
    assert ours == theirs and ours.mode == "RGB" and ours.size == (9, 13)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "RGBX"])
def test_other_modes_are_converted_as_pillow_does(mode):
    image = noise().convert(mode)
    assert as_rgb(image).tobytes() == image.convert("RGB").tobytes()


def test_alpha_is_put_over_white():
    row = np.array([[(*RED, 255), (*RED, 0), (*RED, 51), (0, 0, 0, 128)]], np.uint8)
    mixed = [tuple(round((51 * each + 204 * 255) / 255) for each in RED), (127,) * 3]
    assert pixels(as_rgb(Image.fromarray(row))) == [RED, (255, 255, 255), *mixed]
    content = bytes([77, 255, 77, 0, 0, 128])
    grey, palette = (Image.frombytes(mode, (3, 1), content) for mode in ("LA", "PA"))
    palette.putpalette([each for grey in range(256) for each in (grey, 0, 0)])
    assert pixels(as_rgb(grey)) == [(77,) * 3, (255,) * 3, (127,) * 3]
    assert pixels(as_rgb(palette)) == [(77, 0, 0), (255,) * 3, (127,) * 3]


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "PA"])
def test_an_opaque_image_with_alpha_is_that_without(mode):
    image = noise(1).convert("LA" if mode in ("LA", "PA") else "RGBA").convert(mode)
    assert as_rgb(image).tobytes() == noise(1).convert("RGB").tobytes()


@pytest.mark.parametrize("transparency", [1, bytes([255, 0])])
@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_transparent_colours_of_a_palette_become_white(transparency, suffix, tmp_path, recwarn):
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *BLUE])
    image.putdata([0, 1, 0])
    path = tmp_path / f"image.{suffix}"
    image.save(path, transparency=transparency if suffix == "png" else 1)
    assert pixels(read_rgb(path)) == [RED, (255, 255, 255), RED]
    assert not recwarn.list


@pytest.mark.parametrize(("mode", "colours", "key"), [("RGB", (RED, BLUE), BLUE), ("L", (7, 8), 8)])
def test_a_colour_that_stands_for_transparent_becomes_white(mode, colours, key, tmp_path):
    image = Image.new(mode, (2, 1))
    image.putdata(colours)
    image.save(tmp_path / "image.png", transparency=key)
    shown = colours[0] if mode == "RGB" else (colours[0],) * 3
    assert pixels(read_rgb(tmp_path / "image.png")) == [shown, (255, 255, 255)]


GREYS = [0, 255, 256, 32768, 65280, 65535]
UPPER = [(value >> 8,) * 3 for value in GREYS]


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_greys_of_16_bits_are_not_cut_off(mode):
    kind = {"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]
    image = Image.frombytes(mode, (6, 1), np.array(GREYS, kind).tobytes())
    assert pixels(as_rgb(image)) == UPPER == [(each,) * 3 for each in (0, 0, 1, 128, 255, 255)]


def test_greys_of_16_bits_in_files_are_as_colours_of_16_bits(tmp_path):
    Image.fromarray(np.array([GREYS], np.uint16)).save(tmp_path / "image.tiff")
    (tmp_path / "image.pgm").write_bytes(b"P5 6 1 65535\n" + np.array(GREYS, ">u2").tobytes())
    assert pixels(read_rgb(tmp_path / "image.tiff")) == pixels(read_rgb(tmp_path / "image.pgm")) == UPPER
    assert pixels(as_rgb(Image.open(png(0, GREYS, 6)))) == UPPER
    assert pixels(as_rgb(Image.open(png(2, np.repeat(GREYS, 3), 6)))) == UPPER
    transparent = png(0, [256, 257, 65535], 3, struct.pack(">H", 257))
    assert pixels(as_rgb(Image.open(transparent))) == [(1,) * 3, (255,) * 3, (255,) * 3]


def test_an_8_bit_image_stored_with_16_is_the_same():
    image = noise(1)
    for factor in (256, 257):
        assert as_rgb(Image.fromarray(np.asarray(image).astype(np.uint16) * factor)) == image.convert("RGB")


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image.new("F", (2, 2), 0.5), "^its pixels are floating-point numbers, for which no white is known$"),
        (Image.new("I", (2, 2), 65536), "^its pixels go from 65536 to 65536, which neither 8 nor 16 bits hold$"),
        (Image.new("I", (2, 2), -1), "^its pixels go from -1 to -1, which neither 8 nor 16 bits hold$"),
    ],
)
def test_numbers_of_unknown_brightness_are_refused(image, said):
    with pytest.raises(ValueError, match=said):
        as_rgb(image)


# Where files are read


@pytest.fixture
def everywhere(tmp_path):
    """Save an image, and read it as a folder's image, as COCO's, and as one to predict from."""

    def read(image, **more):
        folder = tmp_path / "class/one"
        path = tmp_path / "coco/train2017/image.png"
        for each in (folder, path.parent, tmp_path / "coco/annotations", tmp_path / "coco/val2017"):
            each.mkdir(parents=True, exist_ok=True)
        for each in (path, folder / "image.png", tmp_path / "coco/val2017/image.png"):
            image.save(each, **more)
        content = {
            "images": [{"id": 1, "file_name": "image.png", "width": image.width, "height": image.height}],
            "annotations": [],
            "categories": [{"id": 1, "name": "cat"}],
        }
        for split in ("train", "val"):
            (tmp_path / f"coco/annotations/instances_{split}2017.json").write_text(json.dumps(content))
        coco = open_coco("coco", tmp_path, lambda _: lambda _: None, lambda _: True)
        upright = Image.fromarray(read_image(path).permute(1, 2, 0).numpy())
        return Folder(tmp_path / "class", "--limit-train", None)[0][0], coco.train[0][0], upright

    return read


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (2, 1), (*RED, 0)), (255, 255, 255)),
        (Image.new("RGBA", (2, 1), (*RED, 255)), RED),
        (Image.fromarray(np.full((1, 2), 1000, np.uint16)), (3, 3, 3)),
    ],
)
def test_one_answer_in_every_place(everywhere, image, expected):
    for each in everywhere(image):
        assert pixels(each) == [expected] * 2


def test_only_what_is_predicted_from_is_turned_upright(everywhere):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image = noise()
    folder, coco, upright = everywhere(image, exif=exif)
    assert folder.tobytes() == coco.tobytes() == image.tobytes()
    assert upright == image.rotate(-90, expand=True)


def test_an_image_to_predict_from_is_refused_in_one_line(tmp_path):
    path = tmp_path / "image.tiff"
    Image.new("F", (2, 2)).save(path)
    said = f"^{path} is no image that can be read .its pixels are floating-point numbers, for which no white is known.$"
    with pytest.raises(UserError, match=said):
        read_image(path)
