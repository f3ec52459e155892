"""Change the activation of a ready-made model throughout."""

import contextlib
import warnings
from collections.abc import Iterator

from torch import nn

from golu import find_activations, get_activation_function, replace_activation_by_name
from workbench.cli.errors import UserError

# what a model has between its layers; sigmoids and their hard forms are gates, and stay
HIDDEN = ("ReLU", "ReLU6", "GELU", "GELU_tanh", "SiLU", "Hardswish", "Mish", "ELU", "LeakyReLU")


def with_activation(model: nn.Module, activation: str, keep: tuple[type[nn.Module], ...] = ()) -> nn.Module:
    """Put the named activation in the place of every hidden one, functional calls included; the model is changed.

    The number of parameters and the initial weights stay as they were.

    Args:
        keep: modules whose own calls stay, as a ReLU that bounds an output is no activation; what they hold is swapped.

    Raises:
        UserError: the model has no hidden activation that is known, or one in a place that cannot be swapped.
    """
    with _without_calls(model, keep):
        held = _labels(model) & set(HIDDEN)
        if not held:
            raise UserError(f"the model cannot be given {activation}: it has {find_activations(model).counts()}")
        own = _labels(get_activation_function(activation))
        for label in sorted(held - own):
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a call that cannot be swapped would falsify a comparison
                try:
                    replace_activation_by_name(model, label, activation, functional=True)
                except UserWarning as warning:
                    raise UserError(f"the model cannot be given {activation} throughout: {warning}") from None
    return model


@contextlib.contextmanager
def _without_calls(model: nn.Module, classes: tuple[type[nn.Module], ...]) -> Iterator[None]:
    """Make modules plain containers within the block."""
    found = {module: type(module) for module in model.modules() if isinstance(module, classes)}
    for module in found:
        module.__class__ = nn.Module
    try:
        yield
    finally:
        for module, cls in found.items():
            module.__class__ = cls


def _labels(model: nn.Module) -> set[str]:
    report = find_activations(model)
    return {name for _, name in report.modules} | {each.activation for each in report.functional}
