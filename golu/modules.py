"""Provide GoLU as a torch.nn module."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from golu.from_output import require_suitable
from golu.functional import check_parameters, golu, golu_keeping_output
from golu.learned import NAMES, TrainableGoLU


def check_keep(alpha: float, beta: float, gamma: float, keep: str) -> None:
    """Raise for what cannot be kept."""
    if keep not in ("input", "output"):
        raise ValueError(f'keep is "input" or "output", not {keep!r}')
    if keep == "output":
        require_suitable(alpha, beta, gamma)


class GoLU(nn.Module):
    """Apply alpha * x * exp(-beta * exp(-gamma * x)) elementwise (paper: arXiv 2502.03654).

    Args:
        alpha: scales the output. It, beta and gamma are finite floats; unless alpha >= 0, beta > 0 and gamma > 0 a
            warning is given.
        beta: shifts the gate, to the right if above 1.
        gamma: the gate's growth rate.
        inplace: ignored; it is taken since builders of models pass it to any activation.
        trainable: True, or the names of parameters that are learnt: then this makes a `TrainableGoLU`.
        num_parameters, channel_dim: of that.
        keep: what the backward pass keeps: "input", or "output" and one bit an element. The next layer keeps the output
            anyway, so training takes the memory of ReLU. It takes positive alpha and gamma, and beta from 0.01 to 2.

    Shape: any; the output has the input's shape and dtype. Errors: as for `golu.golu`.
    """

    keep: str = "input"  # also of a module that an earlier version has pickled

    def __new__(cls, *values: float, trainable: bool | Sequence[str] = False, keep: str = "input", **more: Any) -> Any:
        """Make the module, or one whose parameters are learnt."""
        if not trainable:
            return super().__new__(cls)
        if keep != "input":
            raise ValueError(f'keep="{keep}" does not go with trainable parameters, whose gradients take the input')
        more = {name: value for name, value in more.items() if name != "inplace"}
        return TrainableGoLU(*values[:3], trainable=NAMES if trainable is True else tuple(trainable), **more)

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        inplace: bool = False,
        *,
        keep: Literal["input", "output"] = "input",
        trainable: bool | Sequence[str] = False,
        num_parameters: int = 1,
        channel_dim: int = 1,
    ) -> None:
        super().__init__()
        self.set_parameters(alpha, beta, gamma, keep)

    def set_parameters(self, alpha: float, beta: float, gamma: float, keep: str | None = None) -> None:
        """Check all, then set them: after an error the module is as it was; None keeps what is kept."""
        alpha, beta, gamma = float(alpha), float(beta), float(gamma)
        keep = self.keep if keep is None else keep
        check_parameters(alpha, beta, gamma, stacklevel=4)  # where the module is made
        check_keep(alpha, beta, gamma, keep)
        self.alpha, self.beta, self.gamma, self.keep = alpha, beta, gamma, keep

    def forward(self, x: Tensor) -> Tensor:
        if self.keep == "output":
            return golu_keeping_output(x, self.alpha, self.beta, self.gamma)
        return golu(x, self.alpha, self.beta, self.gamma)

    def extra_repr(self) -> str:
        keep = "" if self.keep == "input" else f', keep="{self.keep}"'
        return f"alpha={self.alpha:g}, beta={self.beta:g}, gamma={self.gamma:g}{keep}"
