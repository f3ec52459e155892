"""The weights of trained models, as the figures of their distributions take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.small_poc.models import build_model
from visualizations.shared.program import Options
from visualizations.shared.trained import images_of, model_of, trained
from workbench.training.run_folder import RunFolder
from workbench.training.seeding import seed_everything

if TYPE_CHECKING:
    from torch import nn

START = "at the start"  # the name under which initial weights go; they are the same for every activation


def weights_of(options: Options) -> dict[str, list[dict[str, np.ndarray]]]:
    """For each activation, and for the start, a model a seed: weights of convolutions and linear layers, by name."""
    found: dict[str, list[dict[str, np.ndarray]]] = {}
    runs = trained(options)
    for run in runs:
        images = images_of(run, options.data_dir)
        found.setdefault(run.activation, []).append(_weights(model_of(run, images)))
        if run.activation == runs[0].activation:
            shape = tuple(images.train_x.shape[1:])
            found.setdefault(START, []).append(_weights(_initial(run, shape, images.classes)))
    found[START] = found.pop(START)  # comes last
    return found


def _initial(run: RunFolder, shape: tuple[int, int, int], classes: int) -> nn.Module:
    seed_everything(run.seed)
    return build_model(run.model, shape, classes, run.activation)


def _weights(model: nn.Module) -> dict[str, np.ndarray]:
    """Layer by layer, in their order; biases and the scales of norms have one dimension, and are not among them."""
    return {
        name.removesuffix(".weight"): parameter.detach().double().numpy().ravel()
        for name, parameter in model.named_parameters()
        if parameter.dim() > 1
    }
