"""List the architectures of the specification's speed table: which program makes each, and batches of noise for it."""

import argparse
import importlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tasks.table import program_of
from workbench.training.task import Batch, Task

CLASSES, CATEGORIES = 1000, {number: f"category {number}" for number in range(1, 91)}  # of ImageNet and COCO
OBJECTS = 7  # in an image, as many as COCO's have on average
VOCABULARY = 50257  # tokens that GPT-2 knows


class Inputs(NamedTuple):
    """Say how many images a batch has and their side in pixels, or how many sequences and their tokens."""

    batch: int
    side: int


@dataclass(frozen=True)
class Architecture:
    """Describe a row of the table.

    Args:
        baseline: the activation that it usually has.
        task: the program that trains it, by its name in tasks/table.py.
        flags: what the program is given.
        cpu: what a step takes on a CPU, few and small.
        gpu: what it takes on a GPU, as much as the specification's commands give to one.
        sized_by: the flags that take the side or the tokens; none: the model takes one size only.
        package: what makes the model, beside torch.
    """

    name: str
    dataset: str
    baseline: str
    task: str
    flags: str
    cpu: Inputs
    gpu: Inputs
    sized_by: tuple[str, ...] = ()
    package: str = "torchvision"

    def inputs(self, options: argparse.Namespace) -> Inputs:
        """Return what a step takes: this device's, where the command line says nothing else of images."""
        batch, side = self.gpu if options.device == "cuda" else self.cpu
        resized = options.img_size and self.sized_by and self.task != "gpt"
        return Inputs(options.batch_size or batch, options.img_size if resized else side)


def _classifier(name: str, flags: str, batch: int) -> Architecture:
    inputs, gpu = Inputs(batch, 112), Inputs(64, 224)
    return Architecture(name, "ImageNet-1k", "ReLU", "image_classification", flags, inputs, gpu, ("--train-crop-size",))


def _coco(name: str, task: str, model: str, cpu: Inputs, gpu: Inputs, sized_by: tuple[str, ...]) -> Architecture:
    return Architecture(name, "MS-COCO", "ReLU", task, f"--dataset coco --model {model}", cpu, gpu, sized_by)


NESTEROV = "--opt sgd_nesterov"
VIT = "--opt adamw --wd 0.3 --amp --label-smoothing 0.11 --mixup-alpha 0.2 --cutmix-alpha 1.0 --clip-grad-norm 1.0"
BOXES = Inputs(1, 256), Inputs(4, 800), ("--min-size", "--max-size")
ARCHITECTURES = {
    each.name: each
    for each in (
        _classifier("ResNet-18", "--model resnet18", 4),
        _classifier("ResNet-34", "--model resnet34", 4),
        _classifier("ResNet-50", "--model resnet50", 4),
        _classifier("WideResNet-50-2", f"--model wide_resnet50_2 {NESTEROV}", 2),
        _classifier("DenseNet121", f"--model densenet121 {NESTEROV}", 4),
        Architecture(
            "EfficientNet-B0", "ImageNet-1k", "Swish", "timm_training_script", "", Inputs(4, 112), Inputs(384, 224),
            ("--img-size",), "timm",
        ),
        Architecture(
            "TinyViT", "ImageNet-1k", "GELU", "tiny_vit", "", Inputs(2, 128), Inputs(256, 224), ("--img-size",), "timm"
        ),
        Architecture(
            "ViT-B/32", "ImageNet-1k", "GELU", "image_classification", f"--model vit_b_32 {VIT}", Inputs(2, 224),
            Inputs(128, 224),
        ),
        Architecture(
            "ViT-B/16", "ImageNet-1k", "GELU", "image_classification", f"--model vit_b_16 {VIT}", Inputs(1, 224),
            Inputs(128, 224),
        ),
        Architecture(
            "babyGPT", "TinyStories", "GELU", "gpt", "--model baby_gpt", Inputs(1, 128), Inputs(16, 256),
            ("--block-size",), "numpy",
        ),
        Architecture(
            "GPT2-S", "OpenWebText", "GELU", "gpt", "--model gpt2s", Inputs(1, 128), Inputs(12, 1024),
            ("--block-size",), "numpy",
        ),
        _coco("DeepLabV3-RN50", "semantic_segmentation", "deeplabv3_resnet50", Inputs(2, 96), Inputs(8, 480),
              ("--crop-size",)),
        _coco("Faster R-CNN-FPN-RN50", "object_detection", "fasterrcnn_resnet50_fpn", *BOXES),
        _coco("RetinaNet-FPN-RN50", "object_detection", "retinanet_resnet50_fpn_v2", *BOXES),
        _coco("Mask R-CNN-FPN-RN50", "instance_segmentation", "maskrcnn_resnet50_fpn", *BOXES),
        Architecture(
            "DDPM", "CelebA", "Swish", "diffusion", "", Inputs(1, 24), Inputs(64, 64), ("--image-size",), "diffusers"
        ),
    )
}  # fmt: skip


def require_packages(chosen: Iterable[Architecture]) -> None:
    """Import what makes the models, before anything is measured.

    Raises:
        ModuleNotFoundError: a package is missing.
    """
    for name in ("accelerate", *(each.package for each in chosen)):
        importlib.import_module(name)


def task_of(architecture: Architecture, options: argparse.Namespace, device: torch.device) -> tuple[Task, Batch]:
    """Make the task as its program does, without data, and a batch of noise.

    Args:
        options: device, batch_size, img_size and compile of the command line.

    Raises:
        UserError: the program refuses the batch size or the side.
    """
    inputs = architecture.inputs(options)
    sized = [word for flag in architecture.sized_by for word in (flag, str(inputs.side))]
    flags = [*architecture.flags.split(), *sized, "--batch-size", str(inputs.batch), "--device", options.device]
    program = program_of(architecture.task)
    spec = program.spec(program.parse([*flags, *(["--compile"] if options.compile else [])]))
    if options.device == "cpu" and getattr(spec.settings, "amp", False):  # mixed precision is meant for GPUs
        spec = replace(spec, settings=replace(spec.settings, amp=False))
    task = spec.task()
    _open(task, architecture, device)
    torch.manual_seed(0)
    return task, _noise(task, architecture, inputs, device)


def fix_proposals(model: nn.Module) -> None:
    """Have an R-CNN propose its anchors; the proposals of random weights, and so the work on them, vary by activation.

    Other models stay as they are.
    """
    if hasattr(model, "rpn"):
        head: Any = model.rpn.head
        for layer in (head.cls_logits, head.bbox_pred):
            nn.init.zeros_(layer.weight)


def shape_of(batch: Batch) -> str:
    """Return what goes into the model, as text: "4 x 3 x 224 x 224"."""
    first = batch[0]
    shape = first.shape if isinstance(first, Tensor) else (len(first), *first[0].shape)
    return " x ".join(map(str, shape))


class _Nothing:
    """Stand for pictures that are never read."""

    pictures: tuple[Any, ...] = ()

    def __len__(self) -> int:
        return 0


def _open(task: Any, architecture: Architecture, device: torch.device) -> None:
    """Tell the task of data that do not exist: how many classes, channels or tokens they have."""
    if architecture.task == "gpt":
        import numpy as np

        from tasks.gpt.tokens import TokenFiles

        content = np.random.default_rng(0).integers(0, VOCABULARY, 10**6).astype(np.uint16)
        crc32 = dict.fromkeys(("train", "val"))
        task.take(TokenFiles(Path("noise"), content, content, VOCABULARY, {"kind": "noise"}, crc32), device)
        return
    split = SimpleNamespace(
        train=_Nothing(), val=_Nothing(), classes=CLASSES, names=(), channels=3, categories=CATEGORIES,
        fingerprint=lambda: "noise",
    )  # fmt: skip
    task.open_split = lambda: split
    task.open(device)


def _noise(task: Any, architecture: Architecture, inputs: Inputs, device: torch.device) -> Batch:
    if architecture.task == "gpt":
        return task.example()
    count, side = inputs
    images = torch.randn(count, 3, side, side, device=device)
    if architecture.task == "diffusion":
        steps = torch.randint(task.settings.timesteps, (count,), device=device)
        return images.clamp(-1, 1), torch.randn_like(images), steps
    if architecture.task == "semantic_segmentation":
        return images, torch.randint(len(task.names) + 1, (count, side, side), device=device)
    if architecture.task in ("object_detection", "instance_segmentation"):
        return list(images.sigmoid()), [_objects(side, device) for _ in range(count)]
    return images, torch.randint(CLASSES, (count,), device=device)


def _objects(side: int, device: torch.device) -> dict[str, Any]:
    """Draw boxes, each a quarter to half as wide and as high as the image, whose masks they fill."""
    extent = (torch.rand(OBJECTS, 2) + 1) * side / 4
    corner = torch.rand(OBJECTS, 2) * (side - extent)
    boxes = torch.cat([corner, corner + extent], 1)
    x, y = torch.arange(side), torch.arange(side)[:, None]
    masks = torch.stack([(x >= x1) & (x < x2) & (y >= y1) & (y < y2) for x1, y1, x2, y2 in boxes])
    labels = torch.randint(1, max(CATEGORIES) + 1, (OBJECTS,))
    return {"boxes": boxes.to(device), "labels": labels.to(device), "masks": masks.to(device)}
