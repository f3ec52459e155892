"""The weights of trained models, as the figures of their distributions take them."""

import numpy as np
from torch import nn

from tasks.small_poc.models import build_model
from visualizations.shared.program import Options
from visualizations.shared.trained import images_of, model_of, trained
from workbench.training.seeding import seed_everything

START = "at the start"  # the name under which initial weights go; they are the same for every activation


def weights_of(options: Options) -> dict[str, list[dict[str, np.ndarray]]]:
    """For each activation, and for the start, a model a seed: weights of convolutions and linear layers, by name."""
    found: dict[str, list[dict[str, np.ndarray]]] = {}
    runs = trained(options)
    for run in runs:
        images = images_of(run, options.data)
        found.setdefault(run.activation, []).append(_weights(model_of(run, images)))
        if run.activation == runs[0].activation:
            seed_everything(run.seed)
            initial = build_model(run.model, tuple(images.train_x.shape[1:]), images.classes, run.activation)
            found.setdefault(START, []).append(_weights(initial))
    found[START] = found.pop(START)  # comes last
    return found


def _weights(model: nn.Module) -> dict[str, np.ndarray]:
    """Layer by layer, in their order; biases and the scales of norms have one dimension, and are not among them."""
    return {
        name.removesuffix(".weight"): parameter.detach().double().numpy().ravel()
        for name, parameter in model.named_parameters()
        if parameter.dim() > 1
    }
