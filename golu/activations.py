"""Name -> activation, for every activation that is compared here."""

import difflib
from collections.abc import Callable, Iterable

from torch import nn

from golu.modules import GoLU

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "Softsign": nn.Softsign,
    "Softplus": nn.Softplus,
    "ReLU": nn.ReLU,
    "LeakyReLU": nn.LeakyReLU,
    "PReLU": nn.PReLU,
    "ELU": nn.ELU,
    "SELU": nn.SELU,
    "CELU": nn.CELU,
    "GELU": nn.GELU,
    "GELU_tanh": lambda: nn.GELU(approximate="tanh"),
    "Swish": nn.SiLU,
    "Mish": nn.Mish,
    "GoLU": GoLU,
    "GoLUCUDA": GoLU,
}


def available_activations() -> list[str]:
    """The names that `get_activation_function` knows."""
    return list(ACTIVATIONS)


def get_activation_function(activation: str) -> nn.Module:
    """A new module of the named activation.

    Raises:
        ValueError: the name is unknown; the message lists the known ones and the closest.
    """
    factory = ACTIVATIONS.get(activation)
    if factory is None:
        raise ValueError(unknown_name("activation", activation, ACTIVATIONS))
    return factory()


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """One line for a name that is not among the known ones: the closest match, then all of them."""
    by_lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1)
    hint = f"did you mean {by_lower[close[0]]}? " if close else ""
    return f"unknown {kind} {name!r}: {hint}choose from {', '.join(by_lower.values())}"
