"""Train a small classifier of real images whose features samples are judged by, and keep it for the next model.

It depends on the images alone, not on the model that is judged: fixed seed, ReLU, on one thread of the CPU. Images
without classes are turned by quarters, and it learns to tell by how many (Gidaris et al. 2018).
"""

from __future__ import annotations

import io
import math
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.diffusion.features import Extractor, features_of
from tasks.diffusion.real import read_images
from workbench.cli.errors import UserError
from workbench.cli.progress import Progress
from workbench.output.storage import prepare_folder, write_bytes
from workbench.training.checkpoint import read
from workbench.training.seeding import generator_for, own_random_numbers
from workbench.vision.files import Split

NUM_FEATURES, TURNS = 64, 4
STEPS, BATCH, RATE = 600, 64, 2e-3  # half a minute on one core
IMAGES, BYTES = 10_000, 2**28  # at most so many are trained on, which take so much memory
VAL_IMAGES = 2000  # at most so many say how good it is
VERSION = 1  # of all that the features of the same images depend on


class Classifier(nn.Module):
    """Tell classes of images, uint8 (N, C, size, size): gives features (N, 64) and logits (N, classes)."""

    num_features = NUM_FEATURES

    def __init__(self, channels: int, size: int, classes: int) -> None:
        super().__init__()
        patch = 2 ** max(0, math.ceil(math.log2(size / 16)))  # so that large images take hardly longer
        self.body = nn.Sequential(
            *_block(channels, 32, patch + 2, patch), *_block(32, 64), *_block(64, NUM_FEATURES),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(NUM_FEATURES, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(images.float() / 127.5 - 1)
        return features, self.head(features)


def _block(inputs: int, outputs: int, kernel: int = 3, stride: int = 2) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


class _FeaturesAlone(nn.Module):
    """Leave out the logits of quarter turns, by which an inception score would say nothing."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network(images)[0]
        return features


@dataclass(frozen=True)
class TrainedClassifier:
    """Hold a trained classifier, its accuracy on validation images, and that of naming the commonest class always."""

    network: Classifier
    accuracy: float
    chance: float


def train_classifier(
    train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], classes: int, steps: int | None = None,
    after_step: Callable[[], object] = lambda: None,
) -> TrainedClassifier:  # fmt: skip
    """Train a classifier on images, uint8 (N, C, size, size), and labels, int64 (N,): the same one every time.

    Args:
        classes: of the labels; 1: it learns to tell how the images are turned.
        steps: of the training; None: STEPS.
    """
    (images, labels), steps, count = train, steps or STEPS, classes if classes > 1 else TURNS
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums of several threads round in other ways
    try:
        with own_random_numbers(0):
            network = Classifier(images.shape[1], images.shape[2], count)
        optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
        for step in range(steps):
            generator = generator_for(0, "classifier", step)
            some = torch.randint(len(images), (BATCH,), generator=generator)
            x, y = images[some], labels[some]
            if classes == 1:
                x, y = _turned(x, torch.randint(TURNS, (BATCH,), generator=generator))
            optimizer.zero_grad()
            F.cross_entropy(network(x)[1], y).backward()
            optimizer.step()
            schedule.step()
            after_step()
    finally:
        torch.set_num_threads(threads)
    return TrainedClassifier(network.eval().requires_grad_(False), *_accuracy(network, *val, classes))


def _turned(images: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
    """Turn each image by so many quarters."""
    turned = [image.rot90(turn, (1, 2)) for image, turn in zip(images, turns.tolist(), strict=True)]
    return torch.stack(turned), turns


def _accuracy(network: Classifier, images: Tensor, labels: Tensor, classes: int) -> tuple[float, float]:
    parts = [(images, labels)]
    if classes == 1:
        parts = [(images.rot90(turn, (2, 3)), torch.full_like(labels, turn)) for turn in range(TURNS)]
    right = [features_of(network, shown).logits.argmax(1) == true for shown, true in parts]  # type: ignore[union-attr]
    counts = torch.cat([true for _, true in parts]).bincount()
    return torch.cat(right).double().mean().item(), counts.max().item() / int(counts.sum())


def classifier_extractor(
    split: Split, data: str, channels: int, size: int, folder: Path, skip_broken: bool = False
) -> Extractor:
    """Return the classifier of a data set's images, which is trained the first time and kept in the folder.

    A file that is broken, or is another classifier's, is named on stderr; the classifier is trained again.

    Args:
        data: the split's fingerprint.

    Raises:
        UserError: an image cannot be read, or the folder cannot be written to.
    """
    key = {"data": data, "size": size, "channels": channels, "classes": split.classes}
    key |= {"steps": STEPS, "version": VERSION}
    path = folder / f"classifier_{size}x{size}x{channels}_{zlib.crc32(repr(key).encode()):08x}.pth"
    trained = _stored(path, key)
    if trained is None:
        prepare_folder(folder)
        trained = _trained(split, channels, size, skip_broken)
        content = io.BytesIO()
        values = {"accuracy": trained.accuracy, "chance": trained.chance}
        torch.save({"model": trained.network.state_dict(), "classifier": key, **values}, content)
        write_bytes(path, content.getvalue())
        print(f"stored in {path}", flush=True)
    return extractor_of(trained, split.classes, str(path))


def shared_folder(checkpoint: Path, configuration: Mapping[str, Any]) -> Path:
    """Return <results>/<dataset>, which all models of a data set share, or the checkpoint's folder if it was moved."""
    folder = checkpoint.resolve().parent
    stored = [configuration.get(each) for each in ("dataset", "model", "activation")]
    return folder.parents[1] if list(folder.parts[-3:]) == stored else folder


def _trained(split: Split, channels: int, size: int, skip_broken: bool) -> TrainedClassifier:
    count = min(IMAGES, max(BATCH, BYTES // (channels * size * size)))
    train = read_images(split.train, count, channels, size, skip_broken)
    val = read_images(split.val, min(count, VAL_IMAGES), channels, size, skip_broken)
    print(f"training a classifier on {len(train[0])} training images, once for all models", flush=True)
    with Progress(STEPS) as progress:
        return train_classifier(train, val, split.classes, after_step=progress.advance)


def _stored(path: Path, key: dict[str, Any]) -> TrainedClassifier | None:
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = read(path)
        if state.get("classifier") != key:
            raise UserError(f"{path} is not the classifier that its name says")
        network = Classifier(key["channels"], key["size"], key["classes"] if key["classes"] > 1 else TURNS)
        network.load_state_dict(state["model"])
        return TrainedClassifier(network.eval().requires_grad_(False), state["accuracy"], state["chance"])
    except (UserError, KeyError, RuntimeError, TypeError) as error:
        reason = error if isinstance(error, UserError) else f"{path} is broken"
        print(f"warning: {reason}: it is trained again", file=sys.stderr)
        return None


def extractor_of(trained: TrainedClassifier, classes: int, place: str = "") -> Extractor:
    """Say what features a classifier gives, and whether it has learnt enough for them to tell images apart."""
    checksum = 0
    for value in trained.network.state_dict().values():
        checksum = zlib.crc32(value.numpy().tobytes(), checksum)
    accuracy, chance = trained.accuracy, trained.chance
    what = f"a classifier of {classes} classes" if classes > 1 else "a classifier of quarter turns"
    right = f"right on {accuracy:.1%} of the validation images, by chance {chance:.1%}"
    warning = ""
    if accuracy < chance + (1 - chance) / 4:
        warning = f"the classifier has learnt little ({right}), so these scores are worth little"
    network = trained.network if classes > 1 else _FeaturesAlone(trained.network)
    return Extractor(
        network, NUM_FEATURES, f"{NUM_FEATURES} of {what}, {right} (checksum {checksum:08x})",
        {"name": "classifier", "classes": classes, "val_accuracy": accuracy, "chance": chance,
         "checksum": f"{checksum:08x}", "file": place}, warning,
    )  # fmt: skip
