"""Provide GoLU as a torch.nn module."""

from torch import Tensor, nn

from golu.functional import check_parameters, golu


class GoLU(nn.Module):
    """Apply alpha * x * exp(-beta * exp(-gamma * x)) elementwise (paper: arXiv 2502.03654).

    Args:
        alpha: scales the output. It, beta and gamma are finite floats; unless alpha >= 0, beta > 0 and gamma > 0 a
            warning is given.
        beta: shifts the gate, to the right if above 1.
        gamma: the gate's growth rate.
        inplace: ignored; it is taken since builders of models pass it to any activation.

    Shape: any; the output has the input's shape and dtype. Errors: as for `golu.golu`.
    """

    def __init__(self, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.set_parameters(alpha, beta, gamma)

    def set_parameters(self, alpha: float, beta: float, gamma: float) -> None:
        """Check all three, then set them: after an error the module is as it was."""
        alpha, beta, gamma = float(alpha), float(beta), float(gamma)
        check_parameters(alpha, beta, gamma, stacklevel=4)  # where the module is made
        self.alpha, self.beta, self.gamma = alpha, beta, gamma

    def forward(self, x: Tensor) -> Tensor:
        return golu(x, self.alpha, self.beta, self.gamma)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha:g}, beta={self.beta:g}, gamma={self.gamma:g}"
