"""python -m tasks.image_classification.train: its schedules, its moving average, its images, against references."""

import io
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision import transforms

from tasks.image_classification.settings import Settings
from tasks.image_classification.task import epoch_rates
from tests.imagenet_miniature import jpeg
from tests.tasks.image_classification.small import (
    cross_entropy_by_hand,
    logits_of,
    loop_of,
    loss_and_input,
    timm_task,
    torchvision_task,
)
from workbench.cli.errors import UserError
from workbench.training.launch import Machine


def test_the_defaults_are_the_recipe_of_the_resnets():
    settings = Settings()
    assert (settings.epochs, settings.batch_size, settings.opt) == (90, 256, "sgd")
    assert (settings.lr, settings.momentum, settings.wd) == (0.1, 0.9, 1e-4)
    assert epoch_rates(settings) == pytest.approx([0.1] * 30 + [0.01] * 30 + [0.001] * 30)
    assert (settings.train_crop_size, settings.label_smoothing) == (224, 0)
    assert not (settings.model_ema or settings.amp or settings.ra_sampler or settings.auto_augment)


WARMED_UP = {"epochs": 8, "lr": 0.4, "lr_gamma": 0.5, "lr_warmup_epochs": 2, "lr_warmup_decay": 0.1}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"epochs": 300, "lr_warmup_method": "linear", "lr_warmup_epochs": 30, "lr_warmup_decay": 0.033},
            [0.1 * (0.033 + (1 - 0.033) * epoch / 30) for epoch in range(30)]
            + [0.05 * (1 + math.cos(math.pi * epoch / 270)) for epoch in range(270)],
        ),
        (WARMED_UP | {"lr_warmup_epochs": 0, "lr_min": 0.2}, [0.3 + 0.1 * math.cos(math.pi * i / 8) for i in range(8)]),
        (WARMED_UP | {"lr_scheduler": "exponentiallr"}, [0.04, 0.04, *(0.4 * 0.5**epoch for epoch in range(6))]),
        (WARMED_UP | {"lr_scheduler": "steplr", "lr_step_size": 3}, [0.04, 0.04, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2]),
        ({"epochs": 1, "lr": 0.5, "lr_warmup_epochs": 1}, [0.005]),  # to try a recipe: its first epoch
        ({"epochs": 1, "lr": 0.5, "lr_warmup_epochs": 30}, [0.005]),
        ({"epochs": 1, "lr_warmup_epochs": 1, "lr_warmup_decay": 1.0}, [0.1]),
    ],
)
def test_schedules_in_closed_form(settings, expected):
    assert epoch_rates(Settings(**{"lr_scheduler": "cosineannealinglr"} | settings)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lr_scheduler": "step_lr"}, "did you mean steplr"),
        ({"lr_warmup_method": "linaer"}, "did you mean linear"),
        ({"auto_augment": "imagnet"}, "did you mean imagenet"),
    ],
)
def test_settings_of_torchvisions_training_that_are_refused(wrong, said):
    with pytest.raises(UserError, match=said):
        Settings(**wrong)


def test_the_moving_average_is_torchvisions():
    """Its decay is given for one image and epoch; until warm-up ends it is a copy."""
    task = torchvision_task(batch_size=2, lr_warmup_epochs=2, model_ema=True, model_ema_steps=4)
    made = loop_of(task)
    assert made.steps_per_epoch == 8
    assert made.metrics[0].key == "ema_val_accuracy" and task.ema_every == 4
    weights, decays = made.model.classifier[1].weight, []
    for update in range(1, 8):
        average = made.ema.module.classifier[1].weight
        before = average.clone()
        with torch.no_grad():
            weights += 1
        made.ema.update(made.model, update)
        decays.append(((weights - average) / (weights - before)).mean().item())
    assert decays[:4] == [0] * 4  # two epochs of two updates
    assert decays[5:] == pytest.approx([1 - (1 - 0.99998) * 2 * 4 / 8] * 2, abs=1e-6)


def test_what_reaches_the_loop():
    task = torchvision_task(
        batch_size=8, gradient_accumulation_steps=2, opt="sgd_nesterov", lr=0.3, wd=0.02, vector_wd=0.0,
        clip_grad_norm=1.5, amp=True,
    )  # fmt: skip
    made = loop_of(task, seed=5)
    assert (task.epochs, made.steps_per_epoch, made.samples_per_step, made.sampling.seed) == (8, 2, 8, 5)
    assert (task.clip_norm, task.autocast) == (1.5, torch.bfloat16)
    assert (made.metrics[0].key, made.ema) == ("val_accuracy", None)
    groups = [(group["weight_decay"], group["nesterov"]) for group in made.optimizer.param_groups]
    assert groups == [(0.02, True), (0.0, True)]
    assert made.rate(0) == 0.3
    assert [[len(y) for _, y in step] for step in task.training(made.sampling, 0, 0)] == [[4, 4], [4, 4]]


@pytest.mark.parametrize("task_of", [torchvision_task, timm_task])
def test_the_model_is_compiled_if_asked(task_of, monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    assert loop_of(task_of()).model and compiled == []
    assert compiled == [loop_of(task_of(Machine("cpu", compile=True))).model]


def test_images_for_torchvisions_models_as_its_reference_has_them():
    picture = Image.open(io.BytesIO(jpeg("picture", (60, 50))))
    normalise = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    theirs = transforms.Compose(
        [transforms.RandomResizedCrop(28), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normalise]
    )
    ours, _ = torchvision_task(train_crop_size=28).transforms
    for seed in range(5):
        torch.manual_seed(seed)
        found = ours(picture)
        torch.manual_seed(seed)
        assert torch.allclose(found, theirs(picture), atol=1e-6)
    for settings, side, crop in (
        ({"train_crop_size": 28}, 32, 28),
        ({"val_resize_size": 40, "val_crop_size": 36}, 40, 36),
    ):
        val = [transforms.Resize(side), transforms.CenterCrop(crop), transforms.ToTensor(), normalise]
        found = torchvision_task(**settings).transforms[1](picture)
        assert torch.allclose(found, transforms.Compose(val)(picture), atol=1e-6)
    _, default = torchvision_task(train_crop_size=Settings().train_crop_size).transforms
    assert (default.transforms[0].size, default.transforms[1].size) == ([256], (224, 224))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("ra", "RandAugment"), ("ta_wide", "TrivialAugmentWide"), ("augmix", "AugMix"), ("imagenet", "AutoAugment")],
)
def test_automatic_augmentation_and_erasing(name, kind):
    augmented, val = torchvision_task(auto_augment=name, random_erase=0.3).transforms
    kinds = [type(each).__name__ for each in augmented.transforms]
    assert kinds.index("RandomHorizontalFlip") < kinds.index(kind) < kinds.index("PILToTensor")
    assert kinds[-1] == "RandomErasing" and augmented.transforms[-1].p == 0.3
    assert not {kind, "RandomErasing"} & {type(each).__name__ for each in val.transforms}


# Losses, of timm's training too


@pytest.mark.parametrize("smoothing", [0.0, 0.11])
def test_labels_are_smoothed(smoothing):
    x, y = torch.randn(4, 3, 8, 8), torch.tensor([3, 1, 4, 1])
    target = (1 - smoothing) * F.one_hot(y, 10) + smoothing / 10
    for task in (torchvision_task(label_smoothing=smoothing), timm_task(smoothing=smoothing)):
        loss, same_x = loss_and_input(task, x, y)
        assert torch.equal(same_x, x)
        assert loss == pytest.approx(cross_entropy_by_hand(logits_of(x), target), rel=1e-5)


def mixed_with(kind, x, other, mixed):
    """The part of each image that is its own, after mixup or cutmix with another one."""
    if kind == "mixup":
        part = ((mixed - other) * (x - other)).sum() / (x - other).square().sum()
        assert torch.allclose(mixed, part * x + (1 - part) * other, atol=1e-5)
        return part.item()
    own = (mixed == x).all(dim=1)
    assert (own | (mixed == other).all(dim=1)).all()
    return own.float().mean().item()


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
@pytest.mark.parametrize("of_timm", [False, True])
def test_images_and_labels_are_mixed_alike(kind, of_timm):
    if of_timm:  # pairs the first with the last image, and smooths the labels as it mixes them
        task, smoothing = timm_task(**{kind: 1.0}, smoothing=0.1), 0.1
    else:  # pairs each image with the one before; the loss smooths
        task, smoothing = torchvision_task(label_smoothing=0.11, **{f"{kind}_alpha": 1.0}), 0.11

    def partner(batch):
        return batch.flip(0) if of_timm else batch.roll(1, 0)

    torch.manual_seed(0)
    np.random.seed(0)  # timm draws from it
    shares = []
    for _ in range(8):
        x, y = torch.randn(4, 3, 16, 16), torch.tensor([3, 1, 4, 0])
        loss, mixed_x = loss_and_input(task, x.clone(), y)
        own = mixed_with(kind, x, partner(x), mixed_x)
        labels = F.one_hot(y, 10)
        targets = own * labels + (1 - own) * partner(labels)
        expected = cross_entropy_by_hand(logits_of(mixed_x), (1 - smoothing) * targets + smoothing / 10)
        assert loss == pytest.approx(expected, rel=1e-3)
        shares.append(own)
    assert max(shares) - min(shares) > 0.2


def test_with_both_mixup_and_cutmix_each_is_used():
    task = torchvision_task(mixup_alpha=0.2, cutmix_alpha=1.0)
    torch.manual_seed(0)
    used = set()
    for _ in range(20):
        x = torch.rand(4, 3, 16, 16) + 1
        _, mixed = loss_and_input(task, x, torch.tensor([3, 1, 4, 0]))
        used.add("cutmix" if ((mixed == x) | (mixed == x.roll(1, 0))).all() else "mixup")
    assert used == {"mixup", "cutmix"}
