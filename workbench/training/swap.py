"""Change the activation of a ready-made model throughout."""

import warnings

from torch import nn

from golu import find_activations, get_activation_function, replace_activation_by_name
from golu.surgery.kinds import HIDDEN
from workbench.cli.errors import UserError


def with_activation(model: nn.Module, activation: str, keep: tuple[type[nn.Module], ...] = ()) -> nn.Module:
    """Put the named activation in the place of every hidden one, functional calls included; the model is changed.

    The number of parameters and the initial weights stay as they were.

    Args:
        keep: modules whose own calls stay, as a ReLU that bounds an output is no activation; what they hold is swapped.

    Raises:
        UserError: the model has no hidden activation that is known, or one in a place that cannot be swapped.
    """
    held = _labels(model, keep) & set(HIDDEN)
    if not held:
        kept = ", which is kept" if keep else ""
        raise UserError(f"the model cannot be given {activation}: it has {find_activations(model).counts()}{kept}")
    own = _labels(get_activation_function(activation))
    for label in sorted(held - own):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a call that cannot be swapped would falsify a comparison
            try:
                replace_activation_by_name(model, label, activation, functional=True, keep=keep)
            except UserWarning as warning:
                raise UserError(f"the model cannot be given {activation} throughout: {warning}") from None
    return model


def _labels(model: nn.Module, keep: tuple[type[nn.Module], ...] = ()) -> set[str]:
    kept = {path for path, module in model.named_modules() if isinstance(module, keep)}
    report = find_activations(model)
    return {name for _, name in report.modules} | {c.activation for c in report.functional if c.path not in kept}
