"""Images a second of the training loop beside a plain PyTorch loop, and of GoLU beside the other activations.

python -m benchmarks.training
python -m benchmarks.training --device cuda
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks import report
from benchmarks.epochs import Epoch, measured, rows, text
from tasks.small_poc.models import build_model
from workbench.cli.arguments import one_of, positive_int
from workbench.cli.errors import UserError, run
from workbench.training.launch import launched, placed
from workbench.training.loop import Experiment, train
from workbench.training.optimizers import make_optimizer
from workbench.training.sampling import Sampling
from workbench.training.seeding import seed_everything
from workbench.vision.datasets import Images
from workbench.vision.files import FromFiles, open_folder
from workbench.vision.in_memory import InMemory, draw_shifts, shift_and_mirror
from workbench.vision.models import torchvision_classifier

NAMES = ["ReLU", "GELU", "Swish", "Mish", "GoLU"]
LR, MOMENTUM, DECAY = 0.1, 0.9, 1e-4
SIDE = 64  # of the pictures that are cut out of files


def random_images(count: int, device: str) -> Images:
    x, y = torch.randn(count, 3, 32, 32), torch.arange(count) % 10
    return Images(x, y, x[:10], y[:10], 10).to(device)


def loop_epoch(accelerator, model: nn.Module, data: InMemory | FromFiles, sampling: Sampling) -> Epoch:  # type: ignore[no-untyped-def]
    """An epoch as the programs train it."""
    experiment = Experiment(
        model=model,
        optimizer=make_optimizer("sgd", model, LR, DECAY, MOMENTUM),
        rates=[LR],
        epochs=1,
        steps_per_epoch=sampling.steps_per_epoch,
        samples_per_step=sampling.batch_size,
        seed=0,
        batches=data.training,
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        evaluate=lambda model: {"val_loss": 0.0, "val_accuracy": 0.0},
    )
    return lambda: train(experiment, accelerator, after_step=lambda: None)["train_seconds"]


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


def main() -> None:
    parser = report.parser("training", __doc__ or "")
    parser.add_argument("--device", type=one_of("device", ["cpu", "cuda"]), default="cpu", help="cpu or cuda")
    parser.add_argument("--steps", type=positive_int, default=6, help="steps of an epoch, the unit that is timed")
    parser.add_argument("--rounds", type=positive_int, default=9, help="epochs of each; the median is reported")
    parser.add_argument("--workers", type=positive_int, default=2, help="processes that read files")
    arguments = report.parse(parser)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device here")
    device, steps, rounds = arguments.device, arguments.steps, arguments.rounds

    def resnet20(activation: str) -> nn.Module:
        seed_everything(0)
        return placed(build_model("resnet20", (3, 32, 32), 10, activation), device)

    numbers = {}
    images, sampling = random_images(128 * steps, device), Sampling(128 * steps, 128, seed=0)
    data = InMemory(images, sampling, augment=True)
    with launched(device) as accelerator, tempfile.TemporaryDirectory() as folder:
        numbers["ResNet-20, images in memory"] = rows(
            measured(
                {
                    "plain loop": plain_epoch(resnet20("ReLU"), plain_batches(images, 128), device),
                    "this loop": loop_epoch(accelerator, resnet20("ReLU"), data, sampling),
                },
                rounds,
            ),
            128 * steps,
            "images",
            "plain loop",
        )
        numbers["ResNet-20 with each activation"] = rows(
            measured({name: loop_epoch(accelerator, resnet20(name), data, sampling) for name in NAMES}, rounds),
            128 * steps,
            "images",
            "ReLU",
        )
        numbers["ResNet-18, images from files"] = from_files(accelerator, Path(folder), arguments)
    sections = {name: text(each, "images") for name, each in numbers.items()}
    print("\n\n".join(sections.values()))
    report.write(
        "training",
        device,
        "Training speed",
        f"fp32, {torch.get_num_threads()} threads. ResNet-20: 3 x 32 x 32, batch 128. ResNet-18: JPEGs of 96 x 96, cut "
        f"to {SIDE} x {SIDE}, batch 32, {arguments.workers} workers. Epochs of {steps} steps in turn, medians of "
        f"{rounds} rounds; speed is relative to the first row, and above 1 is faster.",
        sections,
        numbers,
        arguments.output,
    )


def from_files(accelerator, folder: Path, arguments) -> dict[str, dict[str, float]]:  # type: ignore[no-untyped-def]
    """The loop that reads files, beside torchvision's ImageFolder with torch's DataLoader."""
    from torchvision.datasets import ImageFolder

    count, workers = 32 * arguments.steps, arguments.workers
    write_pictures(folder, count)
    sampling = Sampling(count, 32, seed=0)
    pin = {"pin_memory": arguments.device == "cuda"}
    loader = DataLoader(
        ImageFolder(str(folder / "train"), transform()), 32, shuffle=True, num_workers=workers,
        persistent_workers=True, drop_last=True, **pin,
    )  # fmt: skip
    data = FromFiles(open_folder(folder), (transform(), transform()), sampling, accelerator.device, workers)

    def resnet18() -> nn.Module:
        seed_everything(0)
        return placed(torchvision_classifier("resnet18", 2, "ReLU"), arguments.device)

    epochs = {
        "plain loop": plain_epoch(resnet18(), lambda: loader, arguments.device),
        "this loop": loop_epoch(accelerator, resnet18(), data, sampling),
    }
    return rows(measured(epochs, arguments.rounds), count, "images", "plain loop")


if __name__ == "__main__":
    run(main)
