"""Compare samples with real images, and with how well noise and real images themselves do; lay out the scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from torch import Tensor

from tasks.diffusion.features import Extractor, Features, features_of
from tasks.diffusion.scores import Scores, scores
from workbench.cli.errors import UserError
from workbench.output.environment import describe
from workbench.output.tables import plain_table

SAMPLES, NOISE, REAL = "samples", "pure noise", "other real images"


@dataclass(frozen=True)
class Row:
    """Hold the scores of some images against real ones; None if there are too few of them.

    Args:
        count: how many images they are.
        against: with how many real ones they are compared.
    """

    name: str
    count: int
    against: int
    scores: Scores | None


def require_enough(num_features: int, samples: int, real: int) -> None:
    """Refuse to estimate a covariance of features from too few images.

    Raises:
        UserError: there are not more samples than features, or real images.
    """
    least = num_features + 1
    if samples < least:
        raise UserError(f"--samples {samples} are too few for {num_features} features: take at least {least}")
    if real < least:
        raise UserError(
            f"{real} validation images are too few for {num_features} features: at least {least} are needed"
        )


def compare(
    extractor: Extractor, samples: Tensor, noise: Tensor, real: Tensor, device: str = "cpu",
    after_batch: Callable[[int], object] = lambda count: None,
) -> list[Row]:  # fmt: skip
    """Compare samples and noise with as many real images, and one half of all real ones with the other.

    Args:
        samples, noise, real: uint8 (N, C, H, W).
        after_batch: called with the number of images whose features have been computed.
    """
    found = [features_of(extractor.network, each, device, after_batch=after_batch) for each in (samples, noise, real)]
    half = len(real) // 2
    pairs = [
        (SAMPLES, found[0], found[2][: len(samples)]),
        (NOISE, found[1], found[2][: len(noise)]),
        (REAL, found[2][:half], found[2][half : 2 * half]),
    ]
    return [_row(name, some, others, extractor.num_features) for name, some, others in pairs]


def _row(name: str, some: Features, others: Features, num_features: int) -> Row:
    few = min(len(some), len(others)) <= num_features
    return Row(name, len(some), len(others), None if few else scores(some, others))


def table(extractor: Extractor, rows: Sequence[Row]) -> str:
    """Lay out the scores for a terminal, and say what they are by."""
    head = ["", "FID", "KID", "inception score", "images", "real ones"]
    lines, scored = [head], [each for each in rows if each.scores]
    for each in scored:
        assert each.scores is not None
        found = each.scores
        kid = _with_deviation(found.kid, found.kid_deviation)
        inception = _with_deviation(found.inception_score, found.inception_deviation)
        lines.append([each.name, f"{found.fid:.4g}", kid, inception, f"{each.count}", f"{each.against}"])
    notes = [
        f"no row of {each.name}: halves of {each.count} are too few for {extractor.num_features} features"
        for each in rows
        if each.scores is None
    ]
    least, most = min(each.count for each in scored), max(each.count for each in scored)
    if least < most:
        notes.append(f"{least} images against as many have a larger FID than {most}, however alike they are")
    if all(each.scores.inception_score is None for each in scored if each.scores):
        notes.append("no inception score: the images have no classes")
    notes += [
        f"features: {extractor.meaning}",
        "lower is better for FID and KID, higher for the inception score; scores by other features, or of other "
        "numbers of images, cannot be compared with these",
    ]
    return "\n".join([plain_table(lines), *notes])


def record(extractor: Extractor, rows: Sequence[Row], device: str) -> dict[str, Any]:
    """Return the scores, what they are by, and where they come from, for JSON."""
    versions = {each: metadata.version(each) for each in ("diffusers", "torchmetrics")}
    return {
        "features": {"number": extractor.num_features, **extractor.stored},
        "scores": [asdict(each) for each in rows],
        "environment": describe(device) | versions,
    }


def _with_deviation(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return "none"
    return f"{mean:.3g}" if deviation is None else f"{mean:.3g} ± {deviation:.1g}"
