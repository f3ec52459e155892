"""workbench/vision/classification.py against sums written out."""

import math

import pytest
import torch
from torch import nn

from workbench.training.launch import launched
from workbench.vision.classification import evaluate


@pytest.mark.parametrize("classes", [3, 5, 6, 10])
def test_metrics_are_means_over_images_not_over_batches(classes):
    generator = torch.Generator().manual_seed(classes)
    logits = 3 * torch.randn(23, classes, generator=generator)
    labels = torch.randint(classes, (23,), generator=generator)
    with launched("cpu") as accelerator:
        batches = zip(logits.split([10, 10, 3]), labels.split([10, 10, 3]), strict=True)
        metrics = evaluate(nn.Identity(), batches, accelerator)
    rows = list(zip(logits.double().tolist(), labels.tolist(), strict=True))
    losses = [math.log(sum(math.exp(each) for each in row)) - row[label] for row, label in rows]
    ranks = [sum(each > row[label] for each in row) for row, label in rows]
    expected = {"val_loss": sum(losses) / 23, "val_accuracy": 100 * ranks.count(0) / 23}
    top5 = {"val_top5_accuracy": 100 * sum(rank < 5 for rank in ranks) / 23} if classes > 5 else {}
    assert metrics == pytest.approx(expected | top5)
