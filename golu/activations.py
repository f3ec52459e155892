"""Register activations by name; lists, flags, styles and figures follow from it."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from torch import nn

from golu.learned import TrainableGoLU
from golu.modules import GoLU
from golu.neighbours import AGLU, ReLU2, TeLU, xIELU


@dataclass(frozen=True)
class Activation:
    """Hold what is known of an activation; `register` says what each field means."""

    name: str
    factory: Callable[[], nn.Module]
    like: str | None = None
    paper: str = ""
    gated: bool = False
    compared: bool = False
    alias_of: str | None = None


ACTIVATIONS: dict[str, Activation] = {}


def register(
    name: str,
    factory: Callable[[], nn.Module],
    *,
    aliases: Iterable[str] = (),
    like: str | None = None,
    same_as: str | None = None,
    paper: str = "",
    gated: bool = False,
    compared: bool = False,
) -> None:
    """Make an activation known under a name, to `get_activation_function` and to every program of the workbench.

    Args:
        name: letters, digits and _ . + -, since folders are named so.
        factory: returns a new module; one with parameters must not draw random numbers, so that initial weights stay
            the same whatever the activation.
        aliases: other names of the same.
        like: the activation that it is a variant of, whose colour it has in figures.
        same_as: the activation of which it computes the values in another way; figures of curves show that one only.
        paper: where it was proposed.
        gated: whether it is x times a gate that goes from 0 to 1.
        compared: whether programs compare it by default.

    Raises:
        ValueError: a name is taken already, or cannot name a folder; then nothing is registered.
        TypeError: the factory cannot be called.
    """
    if not callable(factory):
        raise TypeError(f"the factory of {name} returns a new module when it is called; {factory!r} cannot be called")
    aliases = list(aliases)
    names = [name, *aliases]
    for each in names:
        if each in ACTIVATIONS or names.count(each) > 1:
            raise ValueError(f"there is an activation {each} already")
        if not each or each.startswith(".") or not all(c.isascii() and (c.isalnum() or c in "_.+-") for c in each):
            raise ValueError(f"an activation cannot be called {each!r}: take letters, digits and _ . + -")
    like = same_as if like is None else like
    for each in filter(None, (like, same_as)):
        if each not in ACTIVATIONS:
            raise ValueError(unknown_name("activation", each, ACTIVATIONS))
    ACTIVATIONS[name] = Activation(name, factory, like, paper, gated, compared, alias_of=same_as)
    for each in aliases:
        ACTIVATIONS[each] = Activation(each, factory, name, paper, gated, alias_of=name)


def available_activations() -> list[str]:
    """List the names that `get_activation_function` knows."""
    return list(ACTIVATIONS)


def distinct_activations() -> list[str]:
    """List every activation once: no aliases, and no other ways to compute the same."""
    return [each.name for each in ACTIVATIONS.values() if each.alias_of is None]


def compared_activations() -> list[str]:
    """List the activations that programs compare by default."""
    return [each.name for each in ACTIVATIONS.values() if each.compared]


def gated_activations() -> list[str]:
    """List the activations that are x times a gate that goes from 0 to 1, once each."""
    return [each.name for each in ACTIVATIONS.values() if each.gated and each.alias_of is None]


def get_activation_function(activation: str) -> nn.Module:
    """Return a new module of the named activation.

    Raises:
        ValueError: the name is unknown; the message lists the known ones and the closest.
    """
    known = ACTIVATIONS.get(activation)
    if known is None:
        raise ValueError(unknown_name("activation", activation, ACTIVATIONS))
    return known.factory()


def learned_parameters(model: nn.Module) -> list[nn.Parameter]:
    """List the parameters of a model that its activations learn, of those registered here."""
    kinds = {type(module) for each in ACTIVATIONS.values() if [*(module := each.factory()).parameters()]}
    found = [own for module in model.modules() if type(module) in kinds for own in module.parameters()]
    return list(dict.fromkeys(found))


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Say in one line that a name is not among the known ones: the closest match, then all of them."""
    by_lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1)
    hint = f"did you mean {by_lower[close[0]]}? " if close else ""
    return f"unknown {kind} {name!r}: {hint}choose from {', '.join(by_lower.values())}"


register("Sigmoid", nn.Sigmoid)
register("Tanh", nn.Tanh)
register("Softsign", nn.Softsign, like="Tanh")
register("Softplus", nn.Softplus, like="Sigmoid", paper="Dugas et al., 2001")
register("ReLU", nn.ReLU, paper="Nair and Hinton, 2010", gated=True, compared=True)
register("LeakyReLU", nn.LeakyReLU, like="ReLU", paper="Maas et al., 2013")
register("PReLU", nn.PReLU, like="ReLU", paper="arXiv 1502.01852")
register("ELU", nn.ELU, paper="arXiv 1511.07289")
register("SELU", nn.SELU, like="ELU", paper="arXiv 1706.02515")
register("CELU", nn.CELU, like="ELU", paper="arXiv 1704.07483")
register("GELU", nn.GELU, paper="arXiv 1606.08415", gated=True, compared=True)
register("GELU_tanh", lambda: nn.GELU(approximate="tanh"), like="GELU", paper="arXiv 1606.08415", gated=True)
register("Swish", nn.SiLU, paper="arXiv 1710.05941", gated=True, compared=True)
register("Mish", nn.Mish, paper="arXiv 1908.08681", gated=True, compared=True)
register("GoLU", GoLU, aliases=["GoLUCUDA"], paper="arXiv 2502.03654", gated=True, compared=True)
register("ReLU2", ReLU2, like="ReLU", paper="arXiv 2109.08668")
register("TeLU", TeLU, like="Mish", paper="arXiv 2412.20269", gated=True)
register("xIELU", xIELU, like="ELU", paper="arXiv 2411.13010")
register("AGLU", AGLU, like="GoLU", paper="arXiv 2407.08567", gated=True)
register("GoLU_output", partial(GoLU, keep="output"), same_as="GoLU", paper="arXiv 2502.03654", gated=True)
register("TrainableGoLU", TrainableGoLU, same_as="GoLU", paper="arXiv 2502.03654", gated=True)
