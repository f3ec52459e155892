"""Score samples against real images by their features, with torchmetrics: FID, KID and inception score."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from tasks.diffusion.features import Features
from workbench.training.seeding import own_random_numbers

KID_SUBSETS, KID_SUBSET = 100, 1000  # the usual ones
SPLITS, LEAST_SPLIT = 10, 100  # of the inception score: the usual ten, but no smaller ones


@dataclass(frozen=True)
class Scores:
    """Hold what samples are worth. A deviation is None where only one value was computed.

    Args:
        fid: Fréchet distance of the normal distributions of features (Heusel et al. 2017).
        kid: squared maximum mean discrepancy with a cubic kernel (Bińkowski et al. 2018), a mean over subsets.
        inception_score: exp of the mutual information of image and class (Salimans et al. 2016), a mean over splits;
            None if the features come without the logits of classes.
    """

    fid: float
    kid: float
    kid_deviation: float | None
    inception_score: float | None
    inception_deviation: float | None


class _Given(nn.Module):
    """Give torchmetrics features that are computed already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


@contextmanager
def _quiet() -> Iterator[None]:
    """Choose the same subsets every time, and be silent about memory."""
    with own_random_numbers(0), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Metric `.*` will save all extracted features in buffer")
        yield


def scores(samples: Features, real: Features) -> Scores:
    """Compare samples with real images.

    Raises:
        ValueError: there are not more images of either than features.
    """
    score, spread = (None, None) if samples.logits is None else inception_score(samples.logits)
    return Scores(frechet_distance(samples, real), *kernel_distance(samples, real), score, spread)


def frechet_distance(samples: Features, real: Features) -> float:
    """Compute the Fréchet distance (FID).

    Raises:
        ValueError: there are not more images of either than features: the covariance would lack directions.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    num_features = samples.values.shape[1]
    if min(len(samples), len(real)) <= num_features:
        raise ValueError(f"{len(samples)} and {len(real)} images are too few for {num_features} features")
    metric = FrechetInceptionDistance(_Given(num_features))  # adds up in float64
    metric.update(real.values, real=True)
    metric.update(samples.values, real=False)
    return float(metric.compute())


def kernel_distance(samples: Features, real: Features) -> tuple[float, float | None]:
    """Compute the kernel distance (KID), and its deviation over subsets; None if a subset takes all images."""
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(KID_SUBSET, len(samples), len(real))
    subsets = 1 if size == max(len(samples), len(real)) else KID_SUBSETS
    with _quiet():
        metric = KernelInceptionDistance(_Given(samples.values.shape[1]), subsets=subsets, subset_size=size)
        metric.update(real.values, real=True)
        metric.update(samples.values, real=False)
        mean, deviation = metric.compute()
    return float(mean), None if subsets == 1 else float(deviation)


def inception_score(logits: Tensor) -> tuple[float, float | None]:
    """Compute the inception score of logits (N, K), and its deviation over splits; None for fewer than 200 images."""
    from torchmetrics.image.inception import InceptionScore

    splits = max(1, min(SPLITS, len(logits) // LEAST_SPLIT))
    likely = logits.log_softmax(1).clamp_min(-700)  # exp(-700) is the least that is not 0, whose logarithm is none
    with _quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"std\(\): degrees of freedom is <= 0")
        metric = InceptionScore(_Given(logits.shape[1]), splits=splits)
        metric.update(likely)
        mean, deviation = metric.compute()
    return float(mean), None if math.isnan(deviation) else float(deviation)
