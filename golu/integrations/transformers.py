"""Make "golu" a name that the configurations of transformers take: `hidden_act="golu"`."""

from golu.integrations.hosts import Registration, imported
from golu.modules import GoLU

_AT_LEAST = "4.50"


def enable() -> Registration:
    """Make "golu" known to transformers: to `hidden_act`, `activation_function` and what else names an activation.

    A process that loads a model whose configuration says "golu" has to call this first; else transformers ends with
    `KeyError: 'golu'`.

    Returns:
        What takes it out again, by `undo()` or as a context manager. Where it was known already, nothing happens.

    Raises:
        ImportError: transformers is missing or too old.
        ValueError: transformers has another "golu".
    """
    imported("transformers", _AT_LEAST)
    from transformers import activations

    # both: the second was copied from the first, and models look in the one or in the other
    return Registration("transformers", [(activations.ACT2CLS, GoLU), (activations.ACT2FN, GoLU)])
