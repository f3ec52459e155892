"""Images a second of the training loop beside a plain PyTorch loop, and of GoLU beside the other activations.

python -m benchmarks.training
python -m benchmarks.training --device cuda
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks import report
from benchmarks.epochs import Epoch, measured, rows, text
from golu.activations import compared_activations
from tasks.image_classification.settings import Settings as TorchvisionSettings
from tasks.image_classification.task import TorchvisionClassification
from tasks.small_poc.models import build_model
from tasks.small_poc.settings import Settings
from tasks.small_poc.task import SmallImages
from workbench.cli.arguments import positive_int
from workbench.cli.errors import run
from workbench.training.launch import Machine, check_device, launched, to_device
from workbench.training.loop import Loop
from workbench.training.runs import StoredRun
from workbench.training.seeding import seed_everything
from workbench.training.task import Source, Task
from workbench.vision.datasets import Images
from workbench.vision.in_memory import draw_shifts, shift_and_mirror
from workbench.vision.models import torchvision_classifier

NAMES = compared_activations()
LR, MOMENTUM, DECAY = 0.1, 0.9, 1e-4
SIDE = 64  # of the pictures that are cut out of files


def random_images(count: int, device: str) -> Images:
    x, y = torch.randn(count, 3, 32, 32), torch.arange(count) % 10
    return Images(x, y, x[:10], y[:10], 10).to(device)


def loop_epoch(accelerator, task: Task, activation: str) -> Epoch:  # type: ignore[no-untyped-def]
    """An epoch as the programs train it, of one model that goes on learning."""
    seed_everything(0)
    model = task.model(activation)
    task.model = lambda activation: model  # type: ignore[method-assign]
    run = StoredRun(Path(), "", "", activation, 0)

    def epoch() -> float:
        return Loop(task, run, accelerator).train(after_step=lambda: None).train_seconds

    return epoch


def small_task(images: Images, device: str) -> SmallImages:
    """ResNet-20 on images in memory, an epoch at a time."""
    settings = Settings(epochs=1, lr=LR, weight_decay=DECAY, momentum=MOMENTUM, milestones=(), factors=())
    task = SmallImages(settings, Source("cifar10"), Machine(device))
    task.take(images)
    return task


def plain_epoch(model: nn.Module, batches: Callable[[], object], device: str) -> Epoch:
    """An epoch as a tutorial writes it."""
    optimizer = torch.optim.SGD(model.parameters(), LR, MOMENTUM, weight_decay=DECAY)

    def epoch() -> float:
        start = time.perf_counter()
        model.train()
        running = 0.0
        for x, y in batches():  # type: ignore[attr-defined]
            x, y = x.to(device), y.to(device)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            running += loss.item()
        return time.perf_counter() - start

    return epoch


def plain_batches(images: Images, batch: int) -> Callable[[], object]:
    """Shuffled, shifted and mirrored as the programs do."""

    def batches():  # type: ignore[no-untyped-def]
        for samples in torch.randperm(len(images.train_y)).split(batch):
            samples = samples.to(images.train_x.device)
            draws = draw_shifts(batch, torch.default_generator)
            yield shift_and_mirror(images.train_x[samples], draws), images.train_y[samples]

    return batches


def write_pictures(folder: Path, count: int) -> None:
    """A folder of JPEGs of 96 x 96 in two classes, for training and validation."""
    from torchvision.io import write_jpeg

    for split in ("train", "val"):
        for i in range(count):
            path = folder / split / f"class{i % 2}" / f"{i}.jpeg"
            path.parent.mkdir(parents=True, exist_ok=True)
            smooth = F.interpolate(torch.rand(1, 3, 12, 12), 96, mode="bilinear")[0]
            write_jpeg((255 * smooth).byte(), str(path))


def transform() -> Callable[[object], Tensor]:
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.RandomResizedCrop(SIDE),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
            v2.ToDtype(torch.float, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = report.parser("training", __doc__)
    parser.add_argument("--steps", type=positive_int, default=6, help="steps of an epoch, the unit that is timed")
    parser.add_argument("--rounds", type=positive_int, default=9, help="epochs of each; the median is reported")
    parser.add_argument("--workers", type=positive_int, default=2, help="processes that read files")
    options = report.parse(parser, arguments)
    check_device(options.device)
    device, steps, rounds = options.device, options.steps, options.rounds

    def resnet20(activation: str) -> nn.Module:
        seed_everything(0)
        return to_device(build_model("resnet20", (3, 32, 32), 10, activation), device)

    numbers = {}
    images = random_images(128 * steps, device)
    with launched(device) as accelerator, tempfile.TemporaryDirectory() as folder:

        def loop(name: str) -> Epoch:
            return loop_epoch(accelerator, small_task(images, device), name)

        plain = plain_epoch(resnet20("ReLU"), plain_batches(images, 128), device)
        in_memory = measured({"plain loop": plain, "this loop": loop("ReLU")}, rounds)
        numbers["ResNet-20, images in memory"] = rows(in_memory, 128 * steps, "images", "plain loop")
        by_activation = measured({name: loop(name) for name in NAMES}, rounds)
        numbers["ResNet-20 with each activation"] = rows(by_activation, 128 * steps, "images", "ReLU")
        numbers["ResNet-18, images from files"] = from_files(accelerator, Path(folder), options)
    sections = {name: text(each, "images") for name, each in numbers.items()}
    print("\n\n".join(sections.values()))
    report.write(
        "training", options, "Training speed",
        f"fp32, {torch.get_num_threads()} threads. ResNet-20: 3 x 32 x 32, batch 128. ResNet-18: JPEGs of 96 x 96, cut "
        f"to {SIDE} x {SIDE}, batch 32, {options.workers} workers. Epochs of {steps} steps in turn, medians of "
        f"{rounds} rounds; speed is relative to the first row, and above 1 is faster.",
        sections, numbers,
    )  # fmt: skip


def from_files(accelerator, folder: Path, options) -> dict[str, dict[str, float]]:  # type: ignore[no-untyped-def]
    """The loop that reads files, beside torchvision's ImageFolder with torch's DataLoader."""
    from torchvision.datasets import ImageFolder

    count, workers, device = 32 * options.steps, options.workers, options.device
    write_pictures(folder, count)
    loader = DataLoader(
        ImageFolder(str(folder / "train"), transform()), 32, shuffle=True, num_workers=workers,
        persistent_workers=True, drop_last=True, pin_memory=device == "cuda",
    )  # fmt: skip
    settings = TorchvisionSettings(model="resnet18", epochs=1, batch_size=32, lr=LR, momentum=MOMENTUM, wd=DECAY,
                                   train_crop_size=SIDE)  # fmt: skip
    task = TorchvisionClassification(settings, Source("folder", folder), Machine(device, workers))
    task.open(accelerator.device)
    task.transforms = (transform(), transform())
    seed_everything(0)
    plain = to_device(torchvision_classifier("resnet18", 2, "ReLU"), device)
    epochs = {
        "plain loop": plain_epoch(plain, lambda: loader, device),
        "this loop": loop_epoch(accelerator, task, "ReLU"),
    }
    return rows(measured(epochs, options.rounds), count, "images", "plain loop")


if __name__ == "__main__":
    run(main)
