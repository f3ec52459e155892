"""Make "golu" an `act_fn` of diffusers' models, and put GoLU where `act_fn` does not reach."""

from torch import nn

from golu.integrations.hosts import Registration, imported
from golu.integrations.swapping import swap
from golu.modules import GoLU
from golu.surgery.report import require_model

_AT_LEAST = "0.33"


def enable() -> Registration:
    """Make "golu" known to diffusers: `act_fn="golu"`.

    A process that loads a model whose configuration says "golu" has to call this first; else diffusers ends with a
    ValueError that lists the names that it knows.

    Returns:
        What takes it out again, by `undo()` or as a context manager. Where it was known already, nothing happens.

    Raises:
        ImportError: diffusers is missing or too old.
        ValueError: diffusers has another "golu".
    """
    imported("diffusers", _AT_LEAST)
    from diffusers.models import activations

    return Registration("diffusers", [(activations.ACT2CLS, GoLU)])


def complete(model: nn.Module) -> nn.Module:
    """Put GoLU in the place of the activations that `act_fn` leaves, in place; return the model.

    They are those of the time embedding and the last one in UNet2DModel, the last ones of an AutoencoderKL, and the
    GELUs of feed-forward layers. The configuration has no word for them: a model that is loaded has to be completed
    again.

    Args:
        model: a model of diffusers, as UNet2DModel, built or loaded; its parameters stay as they are.

    What cannot be swapped stays, and a warning lists it.
    """
    require_model(model, ": complete each model of a pipeline")
    return swap(model, stacklevel=3)
