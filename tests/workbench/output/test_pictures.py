import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from workbench.cli.errors import UserError
from workbench.output.pictures import grid, save_animation, save_picture


def random_image(channels=3, height=30, width=40):
    return torch.randint(0, 256, (channels, height, width), dtype=torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_stored_as_png(channels, tmp_path):
    image = random_image(channels)
    save_picture(tmp_path / "picture.png", image)
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.format == "PNG" and pil_to_tensor(picture).equal(image)


def test_what_cannot_be_written_is_an_error_of_the_user(tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        save_picture(tmp_path / "missing" / "picture.png", random_image())
    with pytest.raises(UserError, match="cannot write"):
        save_animation(tmp_path / "missing" / "picture.gif", [random_image(), random_image()])


def test_an_animation_has_every_frame_and_rests_at_the_end(tmp_path):
    shades = (0, 60, 130, 255)
    save_animation(tmp_path / "a.gif", [torch.full((1, 8, 8), each, dtype=torch.uint8) for each in shades], 0.05, 1.5)
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 4 and animation.info["loop"] == 0
        found = []
        for frame in range(4):
            animation.seek(frame)
            found.append((animation.convert("L").getpixel((3, 3)), animation.info["duration"]))
    assert found == [(0, 50), (60, 50), (130, 50), (255, 1500)]


def test_a_grid_has_each_image_in_its_place():
    images = torch.stack([torch.full((3, 70, 64), shade, dtype=torch.uint8) for shade in (10, 20, 30, 40, 50)])
    sheet = grid(images)  # three columns, two rows, gaps of 2 pixels
    assert sheet.shape == (3, 2 * 72 + 2, 3 * 66 + 2) and sheet.dtype == torch.uint8
    for number, shade in enumerate((10, 20, 30, 40, 50)):
        row, column = divmod(number, 3)
        top, left = 2 + row * 72, 2 + column * 66
        assert (sheet[:, top : top + 70, left : left + 64] == shade).all()
    assert (sheet[:, 74:, 134:] == 255).all() and (sheet[:, :2] == 255).all()
    assert grid(images, columns=5).shape == (3, 74, 5 * 66 + 2)


def test_small_images_are_drawn_larger_each_pixel_alike():
    image = random_image(1, 28, 30)
    sheet = grid(torch.stack([image, image]))
    assert sheet.shape == (3, 3 * 28 + 4, 2 * 3 * 30 + 6)  # 3 is the first factor that makes 64 pixels of 28
    for left in (2, 94):
        for offset in range(3):
            assert sheet[:, 2 + offset : 86 : 3, left + offset : left + 90 : 3].equal(image.expand(3, -1, -1))
