"""tasks/small_poc: the recipes, and the trainings that tasks.small_poc.main makes of them."""

import shlex
from dataclasses import replace

import pytest
import torch

from tasks.small_poc.main import PROGRAM
from tasks.small_poc.recipes import RECIPES, epoch_rates, shortened
from tests.tasks.image_classification.small import loop_of


def test_rates_at_milestones():
    settings = replace(RECIPES["resnet20"], epochs=6, lr=0.01, milestones=(2, 4), factors=(10.0, 0.1))
    assert epoch_rates(settings) == pytest.approx([0.01, 0.1, 0.1, 0.01, 0.01, 0.01])
    assert epoch_rates(replace(settings, epochs=2, lr=0.5, milestones=(), factors=())) == [0.5, 0.5]


@pytest.mark.parametrize(
    ("names", "batch_size", "weight_decay", "opt", "rates"),
    [
        ("resnet20 resnet32 resnet44 resnet56", 128, 1e-4, "sgd", [0.1] * 80 + [0.01] * 41 + [0.001] * 43),
        ("resnet110", 128, 1e-4, "sgd", [0.01] + [0.1] * 79 + [0.01] * 41 + [0.001] * 43),
        ("wideresnet_28_2", 128, 5e-4, "sgd_nesterov", [0.1] * 59 + [0.02] * 60 + [0.004] * 40 + [0.0008] * 41),
        ("densenet_40", 64, 1e-4, "sgd_nesterov", [0.1] * 149 + [0.01] * 75 + [0.001] * 76),
    ],
)
def test_the_recipes_of_the_cifar_models(names, batch_size, weight_decay, opt, rates):
    for name in names.split():
        recipe = RECIPES[name]
        assert (recipe.batch_size, recipe.weight_decay, recipe.opt) == (batch_size, weight_decay, opt)
        assert (recipe.model, recipe.momentum, recipe.schedule) == (name, 0.9, "milestones")
        assert epoch_rates(recipe) == pytest.approx(rates)


def test_a_shorter_run_has_its_milestones_in_proportion():
    recipe = RECIPES["wideresnet_28_2"]
    shorter = replace(recipe, epochs=20, weight_decay=0.0)
    chosen = replace(shorter, milestones=(1, 2, 3))
    assert shortened(shorter, recipe).milestones == (7, 13, 17) and shortened(chosen, recipe) == chosen


def task_of(flags):
    task = PROGRAM.spec(PROGRAM.parse(shlex.split(flags))).task()
    task.open(torch.device("cpu"))
    return task


SMALL = "--dataset digits --limit-train 16 --batch-size 8"


def test_what_reaches_the_loop():
    task = task_of(f"{SMALL} --model wideresnet_28_2 --epochs 10 --lr 0.5 --weight-decay 0.25 --amp")
    made = loop_of(task, seed=5)
    assert (task.epochs, made.steps_per_epoch, made.samples_per_step, made.sampling.seed) == (10, 2, 8, 5)
    assert (task.autocast, made.metrics[0].key, made.ema) == (torch.bfloat16, "val_accuracy", None)
    assert [made.rate(2 * epoch) for epoch in (0, 3, 6, 8)] == pytest.approx([0.5, 0.1, 0.02, 0.004])
    for group in made.optimizer.param_groups:
        assert (group["weight_decay"], group["momentum"], group["nesterov"]) == (0.25, 0.9, True)
    plain = task_of(f"{SMALL} --model mlp_1")
    assert (plain.autocast, loop_of(plain).optimizer.param_groups[0]["nesterov"]) == (None, False)


def test_images_are_augmented_where_mirrored_ones_mean_the_same(tmp_path, write_mnist, write_cifar10):
    """Digits are not, whatever is asked; CIFAR-10 and Fashion-MNIST are, unless it is asked not to."""
    write_cifar10(tmp_path)
    for folder in ("MNIST/raw", "FashionMNIST/raw"):
        write_mnist(tmp_path / folder)
    for dataset, flag, augmented in (
        ("digits", "--augment", False),
        ("mnist", "", False),
        ("fashion_mnist", "", True),
        ("cifar10", "", True),
        ("cifar10", "--no-augment", False),
    ):
        task = task_of(f"{SMALL} --model mlp_1 --dataset {dataset} --data {tmp_path} {flag}")
        sampling = task.sampling(seed=0)
        assert task.settings.augment == augmented
        for step, ((x, y),) in enumerate(task.training(sampling, 0, 0)):
            samples = sampling.order(0)[8 * step : 8 * step + 8]
            assert torch.equal(y, task.images.train_y[samples])
            assert torch.equal(x, task.images.train_x[samples]) != augmented
