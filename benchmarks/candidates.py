"""What is measured against what."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from golu import formula, golu

Function = Callable[[Tensor], Tensor]

EAGER: dict[str, Function] = {
    "ReLU": F.relu,
    "GELU": F.gelu,
    "GELU_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "SiLU": F.silu,
    "Mish": F.mish,
    "GoLU": golu,
    "formula": formula.golu,
}


def compiled_formula() -> Function:
    """The formula under torch.compile, for any length; compiled anew, since the threads are compiled in."""
    torch.compiler.reset()
    torch._functorch.config.donated_buffer = False  # its backward is called again and again
    compiled: Function = torch.compile(formula.golu, fullgraph=True, dynamic=True)
    return compiled
