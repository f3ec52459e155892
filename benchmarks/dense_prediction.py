"""Images a second of the training loop beside a plain PyTorch loop, for detectors and a segmentation model.

python -m benchmarks.dense_prediction
python -m benchmarks.dense_prediction --device cuda
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from benchmarks import report
from benchmarks.epochs import Epoch, add_flags, measured_twice, rows, text, without_evaluation
from benchmarks.training import loop_epoch
from tasks.table import program_of
from workbench.cli.errors import run
from workbench.training.launch import Machine, check_device, launched
from workbench.training.seeding import seed_everything
from workbench.training.task import Source
from workbench.vision.coco.scenes import write_scenes
from workbench.vision.coco.task import CocoTask
from workbench.vision.reading import on_device

TASKS = ("object_detection", "instance_segmentation", "semantic_segmentation")
BATCH = 4


class Samples:
    """The task's training images, as a data set of torch."""

    def __init__(self, task: CocoTask) -> None:
        self.pictures, (self.join, _) = task.split.train, task.joins()

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int):  # type: ignore[no-untyped-def]
        return self.join(*self.pictures[index])


def plain_epoch(task: CocoTask, device: str) -> Epoch:
    """An epoch as a tutorial writes it."""
    seed_everything(0)
    model = task.model("ReLU")
    optimizer = task.optimizer(model)
    loader = DataLoader(Samples(task), BATCH, shuffle=True, drop_last=True, collate_fn=task.collate)  # type: ignore[arg-type]

    def epoch() -> float:
        start = time.perf_counter()
        model.train()
        running = 0.0
        for batch in loader:
            images, targets = on_device(batch, torch.device(device))
            optimizer.zero_grad()
            if isinstance(targets, list):
                loss = sum(model(images, targets).values())
            else:
                loss = torch.nn.functional.cross_entropy(model(images)["out"], targets, ignore_index=255)
            loss.backward()
            optimizer.step()
            running += loss.item()
        return time.perf_counter() - start

    return epoch


def opened(name: str, folder: Path, images: int, device: str) -> CocoTask:
    """The task's small recipe on so many scenes, an epoch at a time."""
    program = program_of(name)
    settings = replace(next(iter(program.recipes.values())), epochs=1, batch_size=BATCH, picture_every=0)
    if name != "semantic_segmentation":
        settings = replace(settings, aspect_ratio_group_factor=0, lr_steps=())
    task = program.task_class(settings, Source("scenes", folder, limit_train=images), Machine(device))
    task.open(torch.device(device))
    assert isinstance(task, CocoTask)
    without_evaluation(task)
    return task


def main(arguments: Sequence[str] | None = None) -> None:
    parser = report.parser("dense_prediction", __doc__)
    add_flags(parser, steps=12, rounds=6)
    options = report.parse(parser, arguments)
    check_device(options.device)
    torch.set_num_threads(options.threads)
    images, numbers = BATCH * options.steps, {}
    with launched(options.device) as accelerator, tempfile.TemporaryDirectory() as folder:
        write_scenes("scenes", Path(folder) / "scenes", Path(folder), train=images * 2, val=2)
        for name in TASKS:
            task = partial(opened, name, Path(folder), images, options.device)
            makers = {
                "plain loop": lambda task=task: plain_epoch(task(), options.device),
                "this loop": lambda task=task: loop_epoch(accelerator, task(), "ReLU"),
            }
            found = measured_twice(makers, options.rounds)
            numbers[name] = rows(found, images, "images", "plain loop")
            print(f"{name}\n{text(numbers[name], 'images')}", flush=True)
    report.write(
        "dense_prediction", options, "Training speed of detectors and of a segmentation model",
        f"fp32, {options.threads} thread{'s' * (options.threads > 1)}, small recipes on scenes, batch {BATCH}. Epochs "
        f"of {options.steps} steps in turn, medians of {options.rounds} rounds with two models of each; speed is "
        "relative to the first row, and above 1 is faster.",
        {name: text(each, "images") for name, each in numbers.items()}, numbers,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
