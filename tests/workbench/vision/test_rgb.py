"""workbench/vision/rgb.py: any image becomes RGB with 8 bits, in every place that reads files."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
import torchvision
from PIL import Image, ImageOps

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


def same(image, other):
    """Whether the pixels are: an image's `==` compares what else its file says, too."""
    return (image.mode, image.size, image.tobytes()) == (other.mode, other.size, other.tobytes())


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


def tiff(values, bits, kind=1, white_is_zero=False):
    """A grey TIFF of one row, little-endian; `kind` is 1 for whole numbers, 2 for signed ones, 3 for floats."""
    content = values if isinstance(values, bytes) else values.tobytes()
    width, content = 8 * len(content) // bits, content + bytes(len(content) % 2)
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: 0 if white_is_zero else 1, 273: 8, 277: 1, 278: 1}
    entries = [struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in (tags | {339: kind}).items()]
    entries.insert(8, struct.pack("<HHII", 279, 4, 1, len(content)))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return io.BytesIO(b"II*\0" + struct.pack("<I", 8 + len(content)) + content + directory)


def test_greys_of_a_tiff_are_as_bright_as_its_bits_say():
    greys = np.array(GREYS, "<u2")
    assert pixels(as_rgb(Image.open(tiff(greys, 16)))) == UPPER
    inverted = [tuple(255 - each for each in rgb) for rgb in UPPER]
    assert pixels(as_rgb(Image.open(tiff(greys, 16, white_is_zero=True)))) == inverted
    packed = bytes.fromhex("00000f010800feffff")  # six greys of 12 bits
    assert pixels(as_rgb(Image.open(tiff(packed, 12)))) == [(each,) * 3 for each in (0, 0, 1, 128, 254, 255)]
    assert pixels(as_rgb(Image.open(tiff(bytes([0, 7, 255]), 8)))) == [(0,) * 3, (7,) * 3, (255,) * 3]


@pytest.mark.parametrize(("dtype", "kind"), [("<u4", 1), ("<i4", 2), ("<i2", 2)])
def test_whole_numbers_of_a_tiff_of_unknown_brightness_are_refused(dtype, kind):
    """Values to 255 in 32 bits would be black, were they taken for 16 bits."""
    image = Image.open(tiff(np.array([0, 100, 255], dtype), 8 * np.dtype(dtype).itemsize, kind))
    with pytest.raises(
        ValueError, match=r"^its pixels are signed integers or have 32 bits, for which no white is known$"
    ):
        as_rgb(image)


def test_floats_of_a_tiff_are_refused():
    with pytest.raises(ValueError, match=r"^its pixels are floating-point numbers, for which no white is known$"):
        as_rgb(Image.open(tiff(np.array([0, 0.5, 1], "<f4"), 32, 3)))


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

    def read(image, size=None, **more):
        width, height = size or image.size
        folder = tmp_path / "class/one"
        path = tmp_path / "coco/train2017/image.png"
        for each in (folder, path.parent, tmp_path / "coco/annotations", tmp_path / "coco/val2017"):
            each.mkdir(parents=True, exist_ok=True)
        for each in (path, folder / "image.png", tmp_path / "coco/val2017/image.png"):
            image.save(each, **more)
        content = {
            "images": [{"id": 1, "file_name": "image.png", "width": width, "height": height}],
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


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_an_image_is_turned_upright_as_pillow_turns_it(orientation, suffix, tmp_path):
    path = tmp_path / f"image.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise().save(path, exif=exif)
    with Image.open(path) as file:
        expected = ImageOps.exif_transpose(file)
    assert same(read_rgb(path), expected) and (expected.size == (13, 9)) == (orientation > 4)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0no TIFF at all", b"x"])
def test_broken_exif_data_leave_an_image_as_it_is(exif, tmp_path):
    noise().save(tmp_path / "image.png", exif=exif)
    assert same(read_rgb(tmp_path / "image.png"), noise())
    noise().save(tmp_path / "image.jpg", exif=exif)
    assert read_rgb(tmp_path / "image.jpg").size == (9, 13)


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif}


def test_every_place_turns_images_upright(everywhere):
    image = noise()
    upright = image.rotate(-90, expand=True)
    assert [same(each, upright) for each in everywhere(image, upright.size, **turned(6))] == [True] * 3


def test_an_image_that_was_annotated_as_it_is_stored_stays_so(everywhere):
    image = noise()
    folder, coco, predicted = everywhere(image, image.size, **turned(6))
    assert same(coco, image)
    assert same(folder, image.rotate(-90, expand=True)) and same(predicted, folder)


def test_an_annotated_image_that_is_turned_by_half_is_upright(everywhere):
    """Its size does not say how it was annotated; viewers show it upright."""
    image = noise()
    assert [same(each, image.rotate(180)) for each in everywhere(image, image.size, **turned(3))] == [True] * 3


def test_an_image_to_predict_from_is_refused_in_one_line(tmp_path):
    path = tmp_path / "image.tiff"
    Image.new("F", (2, 2)).save(path)
    said = f"^{path} is no image that can be read .its pixels are floating-point numbers, for which no white is known.$"
    with pytest.raises(UserError, match=said):
        read_image(path)
