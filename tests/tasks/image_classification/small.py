"""Small trainings of torchvision's and of timm's classifiers, as the loop is given them."""

from pathlib import Path

import torch

from tasks.image_classification import settings, timm_settings
from tasks.image_classification.task import TorchvisionClassification
from tasks.image_classification.timm_task import TimmClassification
from workbench.training.launch import Machine, launched
from workbench.training.loop import Loop
from workbench.training.runs import StoredRun
from workbench.training.task import Source

SMALL = {"model": "squeezenet1_1", "train_crop_size": 32, "epochs": 8, "batch_size": 4}
TINY = {"model": "resnet18", "img_size": 32, "epochs": 8, "batch_size": 4}


def torchvision_task(machine=Machine("cpu"), **given):  # noqa: B008
    return opened(TorchvisionClassification, settings.Settings(**SMALL | given), machine)


def timm_task(machine=Machine("cpu"), **given):  # noqa: B008
    return opened(TimmClassification, timm_settings.Settings(**TINY | given), machine)


def opened(make, chosen, machine):
    task = make(chosen, Source("digits", limit_train=16, limit_val=10), machine)
    task.open(torch.device("cpu"))
    return task


def loop_of(task, seed=0):
    with launched("cpu") as accelerator:
        return Loop(task, StoredRun(Path("unused"), task.dataset, task.model_name, "GoLU", seed), accelerator)


def loss_and_input(task, x, y):
    """What the loss is, and what the model was given."""
    given = []

    def model(mixed):
        given.append(mixed)
        return logits_of(mixed)

    return task.loss(model, (x, y)).item(), *given


def logits_of(x):
    return x.mean(dim=(2, 3)) @ torch.eye(3, 10)


def cross_entropy_by_hand(logits, target):
    return -(target * logits.log_softmax(1)).sum(1).mean().item()
