"""workbench/vision/in_memory.py: augmentation by hand, and batches that any processes share."""

import itertools

import torch

from workbench.training.sampling import Sampling
from workbench.vision.datasets import Images
from workbench.vision.in_memory import InMemory, draw_shifts, shift_and_mirror


def cut_by_hand(image, row, column, mirror):
    channels, height, width = image.shape
    padded = torch.zeros(channels, height + 8, width + 8)
    padded[:, 4:-4, 4:-4] = image
    cut = padded[:, row : row + height, column : column + width]
    return cut.flip(2) if mirror else cut


def test_shift_and_mirror_by_hand():
    x = torch.randn(40, 3, 6, 9)  # channels that differ, so that they have to move together
    draws = draw_shifts(40, torch.Generator().manual_seed(0))
    expected = [cut_by_hand(image, *draw) for image, draw in zip(x, draws.tolist(), strict=True)]
    assert torch.equal(shift_and_mirror(x, draws), torch.stack(expected))


def test_all_shifts_are_drawn_equally_often():
    draws = draw_shifts(9000, torch.Generator().manual_seed(0))
    for column, values in enumerate((9, 9, 2)):
        counts = draws[:, column].bincount()
        assert len(counts) == values
        assert torch.allclose(counts / 9000, torch.tensor(1 / values), atol=0.02)


def in_memory(augment=True, **sampling):
    generator = torch.Generator().manual_seed(5)
    x, y = torch.randn(21, 3, 8, 8, generator=generator), torch.arange(21)
    images = Images(x, y, x[:7] + 1, y[:7], 21)
    return InMemory(images, augment), Sampling(**{"count": 21, "batch_size": 8, "seed": 2} | sampling), images


def batches(epoch, **keywords):
    data, sampling, _ = in_memory(**keywords)
    return list(data.training(sampling, epoch, 0))


def test_each_image_is_augmented_and_keeps_its_label():
    plain, augmented = (batches(1, augment=augment) for augment in (False, True))
    assert len(plain) == len(augmented) == 2
    changed = 0
    for ((x, y),), ((moved, moved_y),) in zip(plain, augmented, strict=True):
        assert torch.equal(y, moved_y)
        for image, cut in zip(x, moved, strict=True):
            draws = itertools.product(range(9), range(9), (False, True))
            assert any(torch.equal(cut, cut_by_hand(image, *each)) for each in draws)
            changed += not torch.equal(image, cut)
    assert changed > 10


def test_two_processes_share_the_batches_of_one():
    parts = [batches(3, process=process, processes=2, accumulation=2) for process in (0, 1)]
    for ((x, y),), *shares in zip(batches(3), *parts, strict=True):
        for process, share in enumerate(shares):
            assert len(share) == 2
            assert torch.equal(torch.cat([each for each, _ in share]), x[process::2])
            assert torch.equal(torch.cat([each for _, each in share]), y[process::2])


def test_validation_images_are_not_augmented_and_each_is_in_one_process():
    labels = []
    for process in (0, 1):
        data, sampling, images = in_memory(process=process, processes=2)
        for x, y in data.validation(sampling):
            labels.extend(y.tolist())
            assert torch.equal(x, images.val_x[y])
    assert sorted(labels) == list(range(7))
