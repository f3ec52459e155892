"""Training as timm's script does it: its settings, its optimiser and average, its images."""

from dataclasses import fields, replace

import pytest
import torch
from torchvision import transforms

from tasks.image_classification.timm_settings import Settings
from tests.tasks.image_classification.small import loop_of, timm_task
from workbench.cli.errors import UserError


@pytest.mark.parametrize(
    ("opt", "scale", "factor"),
    [
        *((opt, None, 4) for opt in ("sgd", "rmsproptf")),  # 4 times the batch that lr_base is for
        *((opt, None, 2) for opt in ("adamw", "adam", "lamb")),
        ("adamw", "linear", 4),
        ("sgd", "sqrt", 2),
    ],
)
def test_the_learning_rate_for_a_batch(opt, scale, factor):
    settings = Settings(opt=opt, lr_base=0.1, lr_base_size=256, lr_base_scale=scale)
    assert settings.learning_rate(1024) == pytest.approx(0.1 * factor)
    assert replace(settings, lr=0.7).learning_rate(1024) == 0.7


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"remode": "pixels"}, "did you mean pixel"),
        ({"amp_dtype": "float61"}, "did you mean float16"),
        ({"lr_base_scale": "square"}, "choose from linear, sqrt"),
        *(({kind: 0.8, "batch_size": 5}, "a batch of 5 is odd") for kind in ("mixup", "cutmix")),
        ({"aa": "random"}, "aa"),
        ({"interpolation": "bicubik"}, "interpolation"),
        *(({"opt": "adamw", "opt_betas": betas}, "betas") for betas in ((0.9,), (0.9, 1.0))),
    ],
)
def test_settings_of_timms_training_that_are_refused(wrong, said):
    with pytest.raises(UserError, match=said):
        loop_of(timm_task(**wrong))


def test_every_schedule_that_help_names_is_taken():
    (sched,) = [each for each in fields(Settings) if each.name == "sched"]
    names = sched.metadata["purpose"].replace(" or ", ", ").split(", ")
    assert {"cosine", "step"} < set(names) and [Settings(sched=name).sched for name in names] == names


def test_what_reaches_the_loop():
    task = timm_task(
        grad_accum_steps=2, opt="adamw", opt_eps=1e-7, opt_betas=(0.8, 0.95), weight_decay=0.03, lr_base=0.1,
        lr_base_scale="linear", lr_base_size=4, warmup_epochs=0, clip_grad=2.5, model_ema=True, model_ema_decay=0.75,
        amp=True, amp_dtype="float16",
    )  # fmt: skip
    made = loop_of(task, seed=5)
    assert (task.epochs, made.steps_per_epoch, made.samples_per_step, made.sampling.seed) == (8, 2, 8, 5)
    assert (task.clip_norm, task.autocast) == (2.5, torch.float16)
    assert (made.metrics[0].key, made.ema.decay, task.ema_every) == ("ema_val_accuracy", 0.75, 1)
    assert made.rate(0) == pytest.approx(0.2)
    assert {group["weight_decay"] for group in made.optimizer.param_groups} == {0.0, 0.03}
    for group in made.optimizer.param_groups:
        assert (group["betas"], group["eps"]) == ((0.8, 0.95), 1e-7)
        assert (group["weight_decay"] == 0) == all(each.ndim < 2 for each in group["params"])


def test_dropout_and_stochastic_depth_reach_timms_model():
    model = loop_of(timm_task(model="efficientnet_b0", drop=0.3, drop_path=0.25)).model
    assert model.drop_rate == 0.3
    rates = [each.drop_prob for each in model.modules() if type(each).__name__ == "DropPath"]
    assert max(rates) == pytest.approx(0.25, rel=0.1) and min(rates) < 0.05  # it grows with depth


def parts(**settings):
    """The steps of its transforms, which are known with the model."""
    task = timm_task(**settings)
    task.model("GoLU")
    return [{type(each).__name__: each for each in made.transforms} for made in task.transforms]


def test_images_for_timms_models():
    settings = {"hflip": 0.3, "reprob": 0.2, "color_jitter": 0.6}
    training, val = parts(**settings)
    names = "RandomResizedCropAndInterpolation RandomHorizontalFlip ColorJitter MaybeToTensor Normalize RandomErasing"
    assert list(training) == names.split()
    crop, flip, jitter, _, _, erasing = training.values()
    assert (crop.size, flip.p, jitter.brightness) == ((32, 32), 0.3, pytest.approx((0.4, 1.6)))
    assert (erasing.probability, erasing.per_pixel) == (0.2, True)
    assert (val["Resize"].size, val["CenterCrop"].size) == (int(32 / 0.95), (32, 32))  # resnet18's own part

    other = {"aa": "rand-m9-mstd0.5", "reprob": 0.0, "interpolation": "bilinear", "crop_pct": 0.5}
    training, val = parts(**settings | other)
    assert "RandAugment" in training and not {"ColorJitter", "RandomErasing"} & training.keys()
    kinds = {training["RandomResizedCropAndInterpolation"].interpolation, val["Resize"].interpolation}
    assert (kinds, val["Resize"].size) == ({transforms.InterpolationMode.BILINEAR}, 64)
    erasing = parts(**settings, remode="const")[0]["RandomErasing"]
    assert not (erasing.per_pixel or erasing.rand_color)
