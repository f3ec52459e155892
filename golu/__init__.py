"""Provide GoLU(x) = alpha * x * exp(-beta * exp(-gamma * x)), an activation gated by the Gompertz function.

It must behave like an activation that PyTorch ships: every floating dtype and layout, autograd to any
order, forward AD, torch.func, torch.compile without a graph break, export; exact gradients everywhere;
no compiler or GPU needed. Importing it imports torch and registers the operators golu::golu and golu::golu_backward;
nothing is compiled or detected until first use. `from golu import *` leaves the function golu out, which would take the
name of this package: import it by its name.
"""

from golu.activations import available_activations, get_activation_function, register
from golu.functional import golu as golu
from golu.functional import gompertz
from golu.gated import GoGLU, golu_gate
from golu.learned import TrainableGoLU
from golu.modules import GoLU
from golu.surgery import (
    find_activations,
    replace_activation_by_name,
    replace_activation_by_torch_module,
    update_golu_parameters,
)

__version__ = "0.1.0"

__all__ = [
    "GoGLU",
    "GoLU",
    "TrainableGoLU",
    "available_activations",
    "find_activations",
    "get_activation_function",
    "golu_gate",
    "gompertz",
    "register",
    "replace_activation_by_name",
    "replace_activation_by_torch_module",
    "update_golu_parameters",
]
