"""Compute features that samples are judged by, with any network, or with Inception's as papers do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workbench.cli.errors import UserError

INCEPTION = "pt_inception-2015-12-05-6726825d.pth"
INCEPTION_URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{INCEPTION}"
INCEPTION_SUM = "6726825d"  # the first digits of its SHA-256
INCEPTION_FEATURES = 2048


@dataclass(frozen=True)
class Features:
    """Hold what a network makes of images: features, float64 (N, F), and logits of classes, (N, K), if it has them."""

    values: Tensor
    logits: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, part: slice) -> Features:
        return Features(self.values[part], None if self.logits is None else self.logits[part])


@dataclass(frozen=True)
class Extractor:
    """Hold a network that gives features, and what to say of it.

    Args:
        network: makes of images, uint8 (N, C, H, W), features (N, F), or a tuple of these and logits (N, K).
        num_features: F.
        meaning: what the features are, for people.
        stored: what tells them from others, for JSON.
        warning: why they are worth little, if they are.
    """

    network: nn.Module
    num_features: int
    meaning: str
    stored: dict[str, Any] = field(default_factory=dict)
    warning: str = ""


@torch.inference_mode()
def features_of(
    network: nn.Module, images: Tensor, device: torch.device | str = "cpu", batch_size: int = 50,
    after_batch: Callable[[int], object] = lambda count: None,
) -> Features:  # fmt: skip
    """Compute the features of images, uint8 (N, C, H, W), with a network as `Extractor` has one.

    Args:
        after_batch: called with the number of images of each batch.

    Raises:
        UserError: a feature is no number.
    """
    network = network.eval().to(device)
    values, logits = [], []
    for batch in images.split(batch_size):
        found = network(batch.to(device))
        found = (found,) if isinstance(found, Tensor) else found
        values.append(found[0].double().cpu())
        logits += [each.double().cpu() for each in found[1:]]
        after_batch(len(batch))
    features = torch.cat(values)
    if not bool(torch.isfinite(features).all()):
        raise UserError("the network that judges the samples gives features that are no numbers: take another one")
    return Features(features, torch.cat(logits) if logits else None)


class _InThreeChannels(nn.Module):
    """Show grey images to a network that takes colour ones."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        return self.network(images.expand(-1, 3, -1, -1))


def inception_extractor(weights: Path | None) -> Extractor:
    """Make torch-fidelity's InceptionV3 with weights from a file: 2048 features and the logits of the inception score.

    Raises:
        UserError: torch-fidelity is not installed, or the file is missing or holds something else.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise UserError("--features inception needs torch-fidelity: pip install torch-fidelity") from error
    advice = f"download {INCEPTION_URL}, and give its path with --weights"
    if weights is None:
        raise UserError(f"--features inception needs Inception's weights: {advice}")
    try:
        checksum = hashlib.sha256(weights.read_bytes()).hexdigest()[: len(INCEPTION_SUM)]
        torch.load(weights, map_location="cpu", weights_only=True)  # torch-fidelity would execute what is in it
        wanted = [str(INCEPTION_FEATURES), "logits_unbiased"]
        network = FeatureExtractorInceptionV3("inception-v3-compat", wanted, str(weights))
    except FileNotFoundError as error:
        raise UserError(f"there is no file {weights}: {advice}") from error
    except Exception as error:  # the many ways in which reading goes wrong
        raise UserError(f"{weights} does not hold the weights of Inception: {advice}") from error
    warning = "" if checksum == INCEPTION_SUM else f"{weights} is not {INCEPTION}: its scores are not those of papers"
    return Extractor(
        _InThreeChannels(network), INCEPTION_FEATURES, f"{INCEPTION_FEATURES} of Inception (weights {checksum})",
        {"name": "inception", "weights_checksum": checksum}, warning,
    )  # fmt: skip
