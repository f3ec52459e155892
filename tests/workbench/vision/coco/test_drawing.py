"""The pictures of objects and of maps of classes."""

import itertools

import pytest
import torch
from PIL import ImageDraw

from workbench.vision.coco.drawing import (
    CELL,
    IGNORED,
    LEAST,
    MOST,
    Objects,
    colour_of,
    draw_classes,
    draw_objects,
    grid,
    occurring,
)

NAMES = {1: "cat", 2: "dog", 3: "bird"}
GREY = 100


def plain(height, width, value=GREY):
    return torch.full((3, height, width), value, dtype=torch.uint8)


def objects(*found, masks=None, scores=None):
    """Make objects of (label, box)."""
    boxes = torch.tensor([box for _, box in found], dtype=torch.float).reshape(-1, 4)
    scores = None if scores is None else torch.tensor(scores)
    return Objects(boxes, torch.tensor([label for label, _ in found], dtype=torch.int64), scores, masks)


def has_colour(pixels, colour):
    """Say of each pixel of (3, ...) whether it has the colour."""
    return (pixels == torch.tensor(colour).reshape(3, *[1] * (pixels.dim() - 1))).all(0)


def tinted(class_id, value=GREY):
    return [round(0.5 * value + 0.5 * each) for each in colour_of(class_id)]


@pytest.fixture
def written(monkeypatch):
    """Collect what is written: text, ink, place and font size."""
    texts, write = [], ImageDraw.ImageDraw.text

    def text(draw, place, words, ink, font, *more):
        texts.append((words, ink, draw.textbbox(place, words, font, *more), font.size))
        write(draw, place, words, ink, font, *more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return texts


# Colours


def test_a_class_has_its_colour_in_every_picture():
    for label in (1, 2, 17):
        for box in ([50, 200, 300, 400], [100, 100, 500, 300]):
            picture = draw_objects(plain(480, 640), objects((label, box)), {})
            assert has_colour(picture[:, box[3] - 1, 300 - 200 : 300], colour_of(label)).all()
    classes = torch.full((480, 640), 17)
    classes[:, :300] = 0
    assert has_colour(draw_classes(plain(480, 640), classes, {})[:, 200, 600], tinted(17)).all()


def test_the_first_colours_are_well_apart_and_none_is_grey():
    colours = [torch.tensor(colour_of(each), dtype=torch.float) for each in range(1, 21)]
    assert min((a - b).norm() for a, b in itertools.combinations(colours, 2)) > 60
    assert min((a - torch.tensor(colour_of(IGNORED))).norm() for a in colours) > 60
    assert len({colour_of(each) for each in range(256)}) > 190


# Objects


def test_a_box_has_its_edges_within_it_and_nothing_else_changes():
    image = plain(480, 640)
    picture = draw_objects(image, objects((1, [100, 100, 300, 250])), {})
    assert picture.shape == image.shape and picture.dtype == torch.uint8
    changed = has_colour(picture, colour_of(1))
    assert changed[100, 100:300].all() and changed[249, 100:300].all()
    assert changed[100:250, 100].all() and changed[100:250, 299].all()
    assert changed.sum() == 200 * 150 - 196 * 146  # two pixels wide
    assert has_colour(picture[:, ~changed], [GREY] * 3).all()


def test_a_small_image_is_enlarged_and_its_boxes_and_masks_with_it():
    mask = torch.zeros(1, 96, 128, dtype=torch.bool)
    mask[0, 20:60, 30:90] = True
    picture = draw_objects(plain(96, 128), objects((2, [20, 10, 100, 80]), masks=mask), {})
    assert picture.shape == (3, 384, 512)
    assert has_colour(picture[:, 40, 80:400], colour_of(2)).all() and not has_colour(picture[:, 39], colour_of(2)).any()
    assert has_colour(picture[:, 319, 80:400], colour_of(2)).all()
    assert not has_colour(picture[:, 320], colour_of(2)).any()
    inside = picture[:, 80:240, 120:360]
    assert has_colour(inside[:, 0], colour_of(2)).all() and has_colour(inside[:, :, -1], colour_of(2)).all()
    assert has_colour(inside[:, 5:-5, 5:-5], tinted(2)).all()
    assert has_colour(picture[:, 50:80, 85:390], [GREY] * 3).all()  # between the box and the mask
    assert has_colour(picture[:, 80:240, 361:390], [GREY] * 3).all()


@pytest.mark.parametrize(
    ("height", "width", "factor"), [(96, 128, 4), (160, 96, 3), (479, 20, 2), (480, 100, 1), (20, 900, 1)]
)
def test_the_longer_side_has_the_least_number_of_pixels(height, width, factor):
    for picture in (
        draw_objects(plain(height, width), objects(), NAMES),
        draw_classes(plain(height, width), torch.zeros(height, width, dtype=torch.int64), NAMES),
    ):
        assert picture.shape == (3, factor * height, factor * width) and max(picture.shape) >= LEAST
        assert has_colour(picture, [GREY] * 3).all()


@pytest.mark.parametrize("masked", [False, True])
def test_without_objects_it_is_the_image(masked):
    image = torch.randint(0, 256, (3, 500, 400), dtype=torch.uint8)
    nothing = objects(masks=torch.zeros(0, 500, 400, dtype=torch.bool) if masked else None, scores=[])
    assert draw_objects(image, nothing, NAMES).equal(image)
    small = torch.zeros(3, 100, 120, dtype=torch.uint8)
    small[0, :, 60:] = 200
    enlarged = draw_objects(small, nothing, NAMES)
    assert (enlarged[0, :, :230] < 10).all() and (enlarged[0, :, 250:] > 190).all() and not enlarged[1:].any()


def test_the_inputs_stay_as_they_are():
    image, classes = plain(480, 500), torch.full((480, 500), 2)
    found = objects((1, [10, 10, 200, 200]), masks=torch.ones(1, 480, 500, dtype=torch.bool), scores=[0.5])
    draw_objects(image, found, NAMES)
    draw_classes(image, classes, NAMES)
    grid([(image, image)], NAMES, "title")
    assert image.equal(plain(480, 500)) and classes.eq(2).all()
    assert found.masks.all() and found.boxes.tolist() == [[10, 10, 200, 200]]


@pytest.mark.parametrize("scores", [[0.9, 0.2], [0.2, 0.9]])
def test_the_highest_score_is_on_top(scores, written):
    masks = torch.zeros(2, 480, 640, dtype=torch.bool)
    masks[0, 100:300, 100:300] = True
    masks[1, 200:400, 200:400] = True
    found = objects((1, [100, 100, 300, 300]), (2, [200, 200, 400, 400]), masks=masks, scores=scores)
    picture = draw_objects(plain(480, 640), found, NAMES)
    upper, lower = (1, 2) if scores[0] > scores[1] else (2, 1)
    assert has_colour(picture[:, 250, 250], tinted(upper)).all()
    assert has_colour(picture[:, 150, 150], tinted(1)).all() and has_colour(picture[:, 350, 350], tinted(2)).all()
    assert has_colour(picture[:, 290, 200 if upper == 2 else 299], colour_of(upper)).all()
    assert not has_colour(picture[:, 210:290, 210:290], tinted(lower)).any()
    assert [text for text, *_ in written] == [f"{NAMES[lower]} 0.20", f"{NAMES[upper]} 0.90"]


def test_two_of_a_class_have_an_outline_between_them():
    masks = torch.zeros(2, 480, 640, dtype=torch.bool)
    masks[0, 100:300, 100:200] = True
    masks[1, 100:300, 200:300] = True
    picture = draw_objects(plain(480, 640), objects((1, [0] * 4), (1, [0] * 4), masks=masks), {})
    assert has_colour(picture[:, 150:250, 199:201], colour_of(1)).all()
    assert has_colour(picture[:, 150:250, 150], tinted(1)).all()


def test_of_the_ground_truth_the_smaller_object_is_on_top():
    masks = torch.zeros(2, 480, 640, dtype=torch.bool)
    masks[0, 200:240, 200:240] = True
    masks[1] = True
    picture = draw_objects(plain(480, 640), objects((1, [200, 200, 240, 240]), (2, [0, 0, 640, 480]), masks=masks), {})
    assert has_colour(picture[:, 220, 220], tinted(1)).all()


def test_it_draws_the_best_of_many(written):
    scores = [each / 100 for each in range(MOST + 20)]
    draw_objects(plain(480, 640), objects(*[(1, [0, 0, 9, 9])] * (MOST + 20), scores=scores), NAMES)
    assert [text for text, *_ in written] == [f"cat {each:.2f}" for each in scores[20:]]


def test_boxes_that_are_no_numbers_are_left_out(written):
    found = objects((1, [float("nan")] * 4), (2, [0, 0, float("inf"), 9]), (3, [-1e30, -5, 1e30, 9]), scores=[0.9] * 3)
    draw_objects(plain(480, 640), found, NAMES)
    assert [text for text, *_ in written] == ["bird 0.90"]


def test_a_box_that_goes_beyond_the_image_ends_at_its_border():
    picture = draw_objects(plain(480, 640), objects((1, [-20, -20, 700, 500])), {})
    changed = has_colour(picture, colour_of(1))
    assert changed[:, [0, 1, -2, -1]].all() and changed[[0, 1, -2, -1]].all()
    assert not changed[2:-2, 2:-2].any()


# Tags


def test_a_tag_is_above_its_box_in_the_colour_of_its_class(written):
    picture = draw_objects(plain(480, 640), objects((1, [100, 100, 300, 250]), scores=[0.934]), NAMES)
    (text, _, (left, top, right, bottom), _) = written[0]
    assert text == "cat 0.93"
    assert 100 <= left < 110 and top > 75 and bottom < 100
    tag = picture[:, 84:99, 100 : int(right) + 1]
    assert has_colour(tag, colour_of(1)).float().mean() > 0.5
    assert has_colour(tag[:, :, 0], colour_of(1)).all()


@pytest.mark.parametrize(("label", "ink"), [(1, "white"), (3, "white"), (4, "black"), (6, "black")])
def test_its_text_contrasts_with_the_colour(label, ink, written):
    draw_objects(plain(480, 640), objects((label, [100, 100, 300, 250])), {label: "it"})
    light = sum(share * each for share, each in zip((0.3, 0.59, 0.11), colour_of(label), strict=True))
    assert (light > 128) == (ink == "black")
    assert written[0][1] == ink


@pytest.mark.parametrize(
    "box", [[0, 0, 50, 40], [600, 0, 640, 90], [610, 450, 640, 480], [-20, -20, 700, 500], [700, 500, 900, 600]]
)
def test_a_tag_stays_within_the_picture(box, written):
    image = plain(480, 640)
    assert draw_objects(image, objects((2, box), scores=[0.5]), NAMES).shape == image.shape
    (left, top, right, bottom) = written[0][2]
    assert min(left, top) >= 0 and right <= 640 and bottom <= 480


def test_tags_make_room_for_each_other(written):
    boxes = [(label, [100, 100, 300, 300]) for label in (1, 2, 3)]
    draw_objects(plain(480, 640), objects(*boxes, scores=[0.5, 0.6, 0.7]), NAMES)
    places = [place for *_, place, _ in written]
    assert all(a[3] <= b[1] or b[3] <= a[1] for a, b in itertools.combinations(places, 2))
    assert written[-1][0] == "bird 0.70" and places[-1][3] < 100  # the best one has the best place


def test_tags_come_after_all_boxes():
    found = objects((1, [100, 100, 300, 250]), (2, [150, 40, 300, 250]), scores=[0.2, 0.9])
    picture = draw_objects(plain(480, 640), found, NAMES)
    assert has_colour(picture[:, 60:80, 150:152], colour_of(2)).all()  # the second box's edge,
    assert not has_colour(picture[:, 87:99, 150:152], colour_of(2)).any()  # which goes on below the first one's tag
    assert has_colour(picture[:, 87:99, 100:102], colour_of(1)).all()


def test_without_a_name_or_a_score_there_is_less_to_read(written):
    draw_objects(plain(480, 640), objects((9, [100, 100, 300, 250])), NAMES)
    assert written == []
    draw_objects(plain(480, 640), objects((9, [100, 100, 300, 250]), scores=[0.5]), NAMES)
    draw_objects(plain(480, 640), objects((1, [100, 100, 300, 250])), NAMES)
    assert [text for text, *_ in written] == ["0.50", "cat"]


def test_text_and_lines_grow_with_the_image(written):
    found = objects((1, [200, 300, 1000, 900]))
    small, large = draw_objects(plain(480, 480), found, NAMES), draw_objects(plain(1000, 2400), found, NAMES)
    assert [size for *_, size in written] == [12, 60]
    assert has_colour(large[:, 600, 200:240], colour_of(1)).sum() == 10
    assert has_colour(small[:, 450, 200:240], colour_of(1)).sum() == 2


# Maps of classes


def test_classes_are_tinted_and_the_background_is_not():
    image = torch.randint(0, 256, (3, 480, 640), dtype=torch.uint8)
    classes = torch.zeros(480, 640, dtype=torch.int64)
    classes[100:200, 100:300], classes[300:400, 50:150], classes[:, 600:] = 2, 254, IGNORED
    picture = draw_classes(image, classes, {})
    assert picture[:, classes == 0].equal(image[:, classes == 0])
    for each, rows, columns in ((2, slice(102, 198), slice(102, 298)), (254, slice(302, 398), slice(52, 148))):
        wanted = 0.5 * image[:, rows, columns] + 0.5 * torch.tensor(colour_of(each))[:, None, None]
        assert (picture[:, rows, columns] - wanted).abs().max() <= 0.5
    assert has_colour(picture[:, 100, 100:300], colour_of(2)).all()
    grey = picture[:, :, 602:].float() - image[:, :, 602:].float() / 2
    assert (grey - 64).abs().max() <= 0.5


def test_a_small_map_is_enlarged_with_its_image():
    classes = torch.zeros(96, 128, dtype=torch.int64)
    classes[:, 64:] = 3
    picture = draw_classes(plain(96, 128), classes, {})
    assert has_colour(picture[:, :, :256], [GREY] * 3).all()
    assert has_colour(picture[:, :, 260:], tinted(3)).all()


def test_a_class_is_named_where_it_is_widest(written):
    classes = torch.zeros(480, 640, dtype=torch.int64)
    classes[100:102, :], classes[200:300, 100:300], classes[0:100, 500:] = 1, 1, 2
    classes[399:402, 399:402], classes[400:, :50] = 3, IGNORED
    picture = draw_classes(plain(480, 640), classes, {**NAMES, 0: "background", IGNORED: "void"})
    assert sorted(text for text, *_ in written) == ["cat", "dog"]  # of 3 there is but a speck
    for text, _, (left, top, right, bottom), _ in written:
        assert abs((top + bottom) / 2 - {"cat": 250, "dog": 50}[text]) < 6
        assert {"cat": 145, "dog": 545}[text] < (left + right) / 2 < {"cat": 255, "dog": 595}[text]
    assert has_colour(picture[:, 242:258, 100:300], colour_of(1)).any()


def test_the_legend_has_the_classes_that_occur():
    maps = [torch.tensor([[0, 1], [1, 0]]), torch.tensor([[0, 3], [IGNORED, 77]])]
    assert occurring({0: "background", **NAMES}, maps) == {1: "cat", 3: "bird", IGNORED: "not labelled"}
    assert occurring(NAMES, maps[:1]) == {1: "cat"}


# Grids and files


def find(sheet, picture):
    """Return the places, left and top, where the picture is, pixel by pixel."""
    _, height, width = picture.shape
    there = has_colour(sheet, picture[:, 0, 0].tolist()).nonzero().tolist()
    return [(x, y) for y, x in there if sheet[:, y : y + height, x : x + width].equal(picture)]


def test_a_grid_has_truth_and_prediction_side_by_side(written):
    pictures = [torch.randint(0, 256, (3, 60 + 10 * each, 300), dtype=torch.uint8) for each in range(4)]
    sheet = grid([(pictures[0], pictures[1]), (pictures[2], pictures[3])], None, "a title")
    places = [find(sheet, each) for each in pictures]
    assert all(len(each) == 1 for each in places)
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (each[0] for each in places)
    assert x0 == x2 and x1 == x3 and x1 >= x0 + 300
    assert y0 == y1 and y2 == y3 and y2 >= y0 + 70
    texts = {text: place for text, _, place, _ in written}
    assert set(texts) == {"a title", "ground truth", "prediction"}
    assert texts["a title"][3] < texts["ground truth"][1] and texts["ground truth"][3] <= y0
    assert x0 <= texts["ground truth"][0] < x0 + 10 and x1 <= texts["prediction"][0] < x1 + 10
    assert has_colour(sheet[:, -5:], [255] * 3).all()


def test_four_photographs_make_a_grid_of_modest_size():
    pair = plain(1000, 2000), plain(1000, 2000)
    assert grid([pair], None, "").shape[2] < 2 * CELL + 50
    _, height, width = grid([pair] * 4, None, "").shape
    assert 4 * CELL < width < 4 * CELL + 100 and CELL < height < 2 * CELL
    assert grid([pair] * 3, None, "").shape == (3, height, width)


def test_narrow_pictures_leave_room_for_the_title(written):
    title = "Faster R-CNN, fashion_scenes, LeakyReLU, seed 12: validation images"
    sheet = grid([(plain(480, 10), plain(480, 10))], NAMES, title)
    assert written[0][2][2] < sheet.shape[2] < 2 * CELL


def test_its_legend_has_the_colours_of_the_classes(written):
    pair = plain(100, 200, 255), plain(100, 200, 255)
    without, sheet = grid([pair], None, "title"), grid([pair], {1: "cat", 3: "bird", IGNORED: "not labelled"}, "title")
    assert sheet.shape[1] > without.shape[1] and sheet.shape[2] == without.shape[2]
    for text, _, (left, top, _, _), _ in written[-3:]:
        label = {"cat": 1, "bird": 3, "not labelled": IGNORED}[text]
        assert has_colour(sheet[:, round(top), round(left) - 2], colour_of(label)).all() and top > without.shape[1] - 12
    assert [text for text, *_ in written[-3:]] == ["cat", "bird", "not labelled"]
    assert not has_colour(sheet, colour_of(2)).any()
