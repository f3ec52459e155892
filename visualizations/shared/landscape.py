"""The loss around a trained model's weights, at many points along random directions; kept for the next time.

A point is weights + sum of c_i * direction_i. Directions are standard normal; parameters of one dimension (biases,
scales of norms) stay as they are, and batch norms keep their running statistics (Li et al., "Visualizing the Loss
Landscape of Neural Nets", 2018). They are scaled, so that models with different weights can be compared:

    filter   each filter of the direction gets the length of the model's own filter (Li et al.)
    whole    the direction as a whole gets the length of all these weights together

so in both a point at distance 1 is as far from the minimum as the minimum is from zero weights.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visualizations.shared.trained import images_of, model_of
from workbench.cli.errors import Stopped, UserError
from workbench.cli.progress import Progress
from workbench.output.environment import cores
from workbench.output.storage import prepare_folder, write_json
from workbench.training.runs import StoredRun
from workbench.training.seeding import generator_for
from workbench.training.workers import in_processes
from workbench.vision.datasets import Images

NORMALISATIONS = ("filter", "whole")
EVALUATION_BATCH = 200  # fast on a CPU; changes no result beyond rounding
LARGEST = 1e9  # a loss beyond it, or none that is a number, counts as this


@dataclass(frozen=True)
class Points:
    """Points around one run's weights that are evaluated together.

    Args:
        directions: the seed of each direction.
        coefficients: for each point one number a direction.
    """

    run: StoredRun
    normalisation: str
    directions: tuple[int, ...]
    coefficients: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Evaluated:
    """At each point the mean loss over the training images (nats), and the accuracy on the validation images (%)."""

    losses: list[float]
    accuracies: list[float]


def evaluate(batches: Sequence[Points], data: Path, accuracy: bool = False) -> list[Evaluated]:
    """Each batch of points, as many at once as there are cores; what was evaluated before is read again.

    Args:
        accuracy: measure that too, which takes longer; otherwise there are none.

    Raises:
        UserError: a checkpoint is missing, broken or of another model.
    """
    if not batches:
        return []
    weights = {run: _fingerprint(run) for run in dict.fromkeys(points.run for points in batches)}
    places = {points: _place(points, weights[points.run], accuracy) for points in batches}
    found = {points: _stored(place) for points, place in places.items()}
    missing = [points for points in found if found[points] is None]
    if missing:
        for run in dict.fromkeys(points.run for points in missing):  # a mistake is told before processes are started
            model_of(run, images_of(run, data))
        for folder in dict.fromkeys(places[points].parent for points in missing):
            prepare_folder(folder)
        total, done = sum(len(points.coefficients) for points in batches), 0
        done = total - sum(len(points.coefficients) for points in missing)
        print(f"evaluating {total - done} points around {len({points.run for points in missing})} minima", flush=True)
        with Progress(total, "point", done=done) as progress:
            reported = 0

            def finished(result: tuple[Points, Evaluated]) -> None:
                nonlocal done, reported
                points, evaluated = result
                write_json(places[points], asdict(evaluated))
                found[points] = evaluated
                done += len(points.coefficients)
                progress.reach(done)
                if 20 * done // total > reported:
                    reported = 20 * done // total
                    progress.report(f"{points.run.activation}, seed {points.run.seed}")

            arguments = [(points, data, weights[points.run], accuracy) for points in missing]
            try:
                in_processes(_evaluate_in_worker, arguments, min(cores(), len(missing)), finished)
            except KeyboardInterrupt:
                raise Stopped("stopped: the same command resumes with the points that are missing") from None
    return [found[points] for points in batches]  # type: ignore[misc]


def _fingerprint(run: StoredRun) -> int:
    """Of the weights: what was evaluated around others does not count."""
    try:
        return zlib.crc32(run.checkpoint_path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {run.checkpoint_path}: {error.strerror}") from error


def _place(points: Points, weights: int, accuracy: bool) -> Path:
    """Where the result is kept: beside the run, by all that it depends on."""
    what = [points.normalisation, points.directions, points.coefficients, weights, accuracy]
    name = hashlib.blake2b(repr(what).encode(), digest_size=8).hexdigest()
    return points.run.folder / f"landscape_{points.run.seed}" / f"{name}.json"


def _stored(place: Path) -> Evaluated | None:
    try:
        return Evaluated(**json.loads(place.read_text()))
    except (OSError, ValueError, TypeError):
        return None


@functools.lru_cache(maxsize=4)
def _loaded(run: StoredRun, data: Path, weights: int) -> tuple[nn.Module, Images]:
    images = images_of(run, data)
    return model_of(run, images).to(memory_format=torch.channels_last), images


def _evaluate_in_worker(points: Points, data: Path, weights: int, accuracy: bool) -> tuple[Points, Evaluated]:
    model, images = _loaded(points.run, data, weights)
    return points, evaluate_points(model, images, points, accuracy)


def evaluate_points(model: nn.Module, images: Images, points: Points, accuracy: bool = False) -> Evaluated:
    """The points one after the other, in this process; the model ends with the weights it had."""
    own = [parameter.detach().clone() for parameter in model.parameters()]
    directions = [direction(model, seed, points.normalisation) for seed in points.directions]
    losses, accuracies = [], []
    with torch.inference_mode():
        for coefficients in points.coefficients:
            for place, parameter in enumerate(model.parameters()):
                moved = own[place].clone()
                for coefficient, along in zip(coefficients, directions, strict=True):
                    moved += coefficient * along[place]
                parameter.copy_(moved)
            losses.append(_loss(model, images.train_x, images.train_y))
            if accuracy:
                accuracies.append(_accuracy(model, images.val_x, images.val_y))
        for parameter, value in zip(model.parameters(), own, strict=True):
            parameter.copy_(value)
    return Evaluated(losses, accuracies)


def direction(model: nn.Module, seed: int, normalisation: str) -> list[Tensor]:
    """A random direction, one tensor a parameter; from one seed the same numbers for every model of these shapes."""
    generator = generator_for("direction", seed)
    weights = [parameter.detach() for parameter in model.parameters()]
    along = [
        torch.randn(weight.shape, generator=generator) if weight.dim() > 1 else torch.zeros_like(weight)
        for weight in weights
    ]
    if normalisation == "filter":
        return [part * _filter_lengths(weight) / _filter_lengths(part) if part.dim() > 1 else part
                for part, weight in zip(along, weights, strict=True)]  # fmt: skip
    scale = _length(weights) / _length(along)
    return [scale * part for part in along]


def _filter_lengths(weight: Tensor) -> Tensor:
    """The length of each output's weights, in a shape that divides them."""
    return torch.linalg.vector_norm(weight.flatten(1), dim=1).view(-1, *[1] * (weight.dim() - 1))


def _length(tensors: list[Tensor]) -> float:
    return math.sqrt(math.fsum(float((each.double() ** 2).sum()) for each in tensors if each.dim() > 1))


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    return torch.cat([model(part) for part in x.split(EVALUATION_BATCH)]).double()


def _loss(model: nn.Module, x: Tensor, y: Tensor) -> float:
    loss = F.cross_entropy(_logits(model, x), y).item()
    return min(loss, LARGEST) if math.isfinite(loss) else LARGEST


def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return 100 * (_logits(model, x).argmax(1) == y).double().mean().item()
