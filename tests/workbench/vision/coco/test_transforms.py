"""workbench/vision/coco/transforms.py: images change together with what is in them.

The pictures here tell of each pixel where it was: red is three times its column, and green four times its row.
"""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from workbench.training.seeding import seed_everything
from workbench.vision.coco.targets import IGNORED
from workbench.vision.coco.transforms import DETECTION, MEAN, STD, detection_join, segmentation_join

HEIGHT, WIDTH = 60, 80
OBJECTS = {1: (4, 6, 31, 25), 7: (40, 10, 75, 51), 3: (8, 30, 27, 59)}  # label: x1 y1 x2 y2, each with a middle pixel
FILLED = torch.tensor([123, 117, 104])[:, None, None]
EVERY = pytest.mark.parametrize("augmentation", DETECTION)


def picture():
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[..., 0] = 3 * np.arange(WIDTH)
    pixels[..., 1] = 4 * np.arange(HEIGHT)[:, None]
    return Image.fromarray(pixels)


def target(boxes=None, labels=tuple(OBJECTS), masks=True):
    boxes = list(OBJECTS.values()) if boxes is None else boxes
    drawn = torch.zeros(len(boxes), HEIGHT, WIDTH, dtype=torch.bool)
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        drawn[number, round(y1) : round(y2), round(x1) : round(x2)] = True
    corners = torch.tensor(boxes, dtype=torch.float).reshape(-1, 4)
    return {
        "image_id": 5,
        "boxes": tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=(HEIGHT, WIDTH)),
        "labels": torch.tensor(labels, dtype=torch.int64),
    } | ({"masks": tv_tensors.Mask(drawn)} if masks else {})


def augmented(augmentation, seed, *given, min_size=50, max_size=1000):
    """A sample, whose image is uint8 again."""
    seed_everything(seed)
    image, made = detection_join(augmentation, min_size, max_size)(picture(), *(given or [target()]))
    assert type(image) is torch.Tensor and image.dtype == torch.float32 and 0 <= image.min() <= image.max() <= 1
    assert made["image_id"] == 5 and all(type(made[name]) is torch.Tensor for name in ("boxes", "labels"))
    return (image * 255).round().to(torch.uint8), made


def pixels_of(image, box):
    """Where in the image the pixels are that were in the box, bool (H, W)."""
    x, y = image[0] / 3 + 0.5, image[1] / 4 + 0.5
    x1, y1, x2, y2 = box
    return (x1 < x) & (x < x2) & (y1 < y) & (y < y2) & (image != FILLED).any(0)


def surrounding(pixels):
    """The box around pixels, as floats."""
    rows, columns = (torch.nonzero(pixels.any(axis)).flatten() for axis in (1, 0))
    return [float(each) for each in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]


@EVERY
def test_boxes_masks_and_labels_stay_with_their_pixels(augmentation, monkeypatch):
    """Of each object that is left; one is gone only if it, or for SSD its middle, is no longer in the image."""
    monkeypatch.setattr(v2, "RandomPhotometricDistort", v2.Identity)  # for then red and green say where a pixel was
    mirrored, sizes, gone = set(), set(), 0
    for seed in range(25):
        image, made = augmented(augmentation, seed)
        sizes.add(image.shape[1:])
        left = dict(zip(made["labels"].tolist(), zip(made["boxes"], made["masks"], strict=True), strict=True))
        assert made["masks"].shape[1:] == image.shape[1:] and made["masks"].dtype == torch.bool
        for label, (x1, y1, x2, y2) in OBJECTS.items():
            pixels = pixels_of(image, (x1, y1, x2, y2))
            if label in left:
                box, mask = left[label]
                assert box.tolist() == pytest.approx(surrounding(pixels), abs=1.5)
                border = 2 * (mask.any(0).sum() + mask.any(1).sum()) + 4
                assert (mask ^ pixels).sum() <= border and (pixels.sum() < 200 or (mask & pixels).sum() > border)
                row = image[0][pixels.any(1).nonzero()[0, 0]][pixels.any(0)]
                mirrored.add(bool(row[0] > row[-1]))
                continue
            gone += 1
            assert augmentation not in ("hflip", "multiscale")
            middle = (x1 + x2) // 2, (y1 + y2) // 2, (x1 + x2) // 2 + 1, (y1 + y2) // 2 + 1
            unseen = not pixels.any() or min(np.subtract(surrounding(pixels)[2:], surrounding(pixels)[:2])) < 2
            assert unseen or (augmentation != "lsj" and not pixels_of(image, middle).any())
    assert mirrored == {False, True}
    assert (len(sizes) > 5) == (augmentation in ("multiscale", "ssd", "ssdlite"))
    assert (gone > 0) == (augmentation in ("lsj", "ssd", "ssdlite"))


@EVERY
def test_an_image_without_objects_passes(augmentation):
    for seed in range(8):
        image, made = augmented(augmentation, seed, target((), ()))
        assert made["boxes"].shape == (0, 4) and made["labels"].shape == (0,)
        assert made["masks"].shape == (0, *image.shape[1:])


@EVERY
def test_boxes_without_masks_are_the_same(augmentation):
    for seed in range(4):
        (_, alone), (_, made) = (augmented(augmentation, seed, target(masks=masks)) for masks in (False, True))
        assert torch.equal(alone["boxes"], made["boxes"]) and torch.equal(alone["labels"], made["labels"])
        assert "masks" not in alone and len(made["masks"]) == len(alone["boxes"])


def test_boxes_without_area_go_with_their_labels_and_masks():
    boxes = [(5, 5, 5, 9), (2, 3, 20, 30), (7, 8, 20, 8.5), (40, 41, 60, 50), (9, 9, 9.2, 9.3)]
    _, made = augmented("hflip", 0, target(boxes, (1, 2, 3, 4, 5)))
    assert made["labels"].tolist() == [2, 4] and len(made["boxes"]) == 2
    for box, mask in zip(made["boxes"].tolist(), made["masks"], strict=True):
        assert surrounding(mask) == box


def test_only_ssd_changes_colours():
    def known(image):
        """Whether all colours are those of the picture, or around it."""
        where = image[0].int() % 3 + image[1].int() % 4 + image[2]
        return not (where.bool() & (image != FILLED).any(0)).any()

    for augmentation in ("hflip", "ssdlite"):
        assert all(known(augmented(augmentation, seed)[0]) for seed in range(12))
    assert sum(not known(augmented("ssd", seed)[0]) for seed in range(12)) > 6


@pytest.mark.parametrize(
    ("min_size", "expected"),
    [(50, range(30, 51, 2)), (100, range(60, 101, 4)), (800, range(480, 801, 32))],
)
def test_multiscale_draws_the_shorter_side(min_size, expected):
    found = set()
    for seed in range(8 if min_size == 800 else 80):
        image, _ = augmented("multiscale", seed, min_size=min_size, max_size=2000)
        found.add(image.shape[1])
        assert image.shape[2] == pytest.approx(image.shape[1] * WIDTH / HEIGHT, abs=1)
    assert found <= set(expected) and (found == set(expected) or min_size == 800)
    for seed in range(8):  # the longer one is bounded
        assert max(augmented("multiscale", seed, min_size=100, max_size=100)[0].shape[1:]) <= 100


@pytest.mark.parametrize(("min_size", "side"), [(50, 64), (96, 123), (800, 1024)])
def test_lsj_makes_squares(min_size, side):
    assert augmented("lsj", 0, min_size=min_size)[0].shape == (3, side, side)


def test_validation_changes_nothing():
    given = target()
    image, made = detection_join(None, 10, 20)(picture(), given)
    assert torch.allclose(image, torch.from_numpy(np.array(picture())).permute(2, 0, 1) / 255, rtol=1e-6)
    assert made.keys() == given.keys() and made["image_id"] == 5
    for name in ("boxes", "labels", "masks"):
        assert type(made[name]) is torch.Tensor and torch.equal(made[name], given[name].as_subclass(torch.Tensor))


# Maps of classes

COLOURS = {0: (200, 30, 90), 1: (30, 220, 60), 20: (60, 90, 240), IGNORED: (250, 250, 40)}
CLASSES = np.zeros((HEIGHT, WIDTH), np.int64)
CLASSES[5:40, 8:30], CLASSES[20:55, 45:78], CLASSES[42:60, 0:20] = 1, 20, IGNORED


def coloured():
    """A picture with the colour of each pixel's class, and its map."""
    colours = np.zeros((256, 3), np.uint8)
    for number, colour in COLOURS.items():
        colours[number] = colour
    return Image.fromarray(colours[CLASSES]), tv_tensors.Mask(torch.from_numpy(CLASSES))


def segmented(base_size, crop_size, seed=0, **more):
    """A sample, whose image is from 0 to 255 again."""
    seed_everything(seed)
    image, classes = segmentation_join(base_size, crop_size, **more)(*coloured())
    assert type(image) is type(classes) is torch.Tensor
    assert image.dtype == torch.float32 and classes.dtype == torch.int64 and image.shape[1:] == classes.shape
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return 255 * (image * std[:, None, None] + mean[:, None, None]), classes


def check_colours(image, classes):
    """Where a class is on all sides, the image has its colour; and there are no other classes."""
    assert set(classes.unique().tolist()) <= {*COLOURS}
    windows = torch.nn.functional.pad(classes, (3, 3, 3, 3), value=-1).unfold(0, 7, 1).unfold(1, 7, 1)
    inside = windows.amax((-1, -2)) == windows.amin((-1, -2))
    assert inside.sum() > 0.1 * inside.numel()
    for number, colour in COLOURS.items():
        found = image[:, inside & (classes == number)].T
        padded = (found.abs() < 1).all(1) & (number == IGNORED)
        assert ((found - torch.tensor(colour)).abs() <= 2).all(1)[~padded].all()
    return inside


@pytest.mark.parametrize(("base_size", "crop_size"), [(60, 48), (30, 64), (96, 96), (41, 50)])
def test_image_and_map_are_cut_out_together(base_size, crop_size):
    for seed in range(12):
        image, classes = segmented(base_size, crop_size, seed)
        assert image.shape == (3, crop_size, crop_size)
        check_colours(image, classes)
        black = (image.abs() < 1).all(0)  # no class has this colour
        assert (classes[black] == IGNORED).all()


def test_the_whole_of_a_small_image_is_kept_and_padded():
    """Enlarged to at most 60 x 80 it is at the upper left of 100 x 100 pixels; some are mirrored."""
    shorter, mirrored = set(), set()
    for seed in range(60):
        image, classes = segmented(30, 100, seed)
        there = (image.abs() > 1).any(0)
        x, y, width, height = surrounding(there)
        assert x == y == 0 and there[: int(height), : int(width)].all() and (classes[~there] == IGNORED).all()
        assert width == pytest.approx(height * WIDTH / HEIGHT, abs=1)
        shorter.add(height)
        mirrored.add(bool((classes == 20).nonzero()[:, 1].float().mean() < width / 2))
        for number in (0, 1, 20):
            share = (classes == number).sum() / (width * height)
            assert share.item() == pytest.approx(np.mean(number == CLASSES), abs=0.04)
    assert min(shorter) in range(15, 19) and max(shorter) in range(55, 60) and mirrored == {False, True}


@pytest.mark.parametrize(("scales", "sides"), [((1.0, 1.0), {40}), ((0.8, 0.9), {32, 33, 34, 35})])
def test_the_shorter_side_is_drawn_between_the_scales(scales, sides):
    found = set()
    for seed in range(30):
        image, _ = segmented(40, 60, seed, scales=scales)
        found.add(int(surrounding((image.abs() > 1).any(0))[3]))
    assert found == sides


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_images_are_mirrored_with_a_probability(probability):
    for seed in range(12):
        seed_everything(seed)
        image, _ = detection_join("hflip", 50, 1000, probability)(picture(), target())
        assert bool(image[0, 0, 0] > image[0, 0, -1]) == bool(probability)
        _, classes = segmented(60, 80, seed, scales=(1.0, 1.0), hflip_prob=probability)
        assert bool((classes == 20).nonzero()[:, 1].float().mean() < 40) == bool(probability)


@pytest.mark.parametrize("base_size", [1, 2, 30, 60, 90])
def test_a_validation_image_is_resized_only(base_size):
    image, classes = segmented(base_size, None)
    assert tuple(classes.shape) == (base_size, base_size * 4 // 3)
    if base_size >= 30:
        inside = check_colours(image, classes)
        rows, columns = ((torch.arange(side) + 0.5) * HEIGHT / base_size for side in classes.shape)
        expected = torch.from_numpy(CLASSES)[rows.long()][:, columns.long()]
        assert (classes == expected)[inside].all()
    if base_size == HEIGHT:
        assert torch.equal(classes, torch.from_numpy(CLASSES))
        assert torch.allclose(image, torch.from_numpy(np.array(coloured()[0])).permute(2, 0, 1).float(), atol=1e-3)


def test_the_smallest_sizes_pass():
    assert all(segmented(1, 1, seed)[0].shape == (3, 1, 1) for seed in range(8))


def test_the_statistics_are_those_of_imagenet():
    assert (MEAN, STD) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
