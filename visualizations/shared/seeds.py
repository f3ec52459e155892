"""Numbers of several seeds as a figure shows them: a mean and its standard error."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from visualizations.shared.drawing import look_of
from workbench.output.estimates import Estimate
from workbench.training.curves import draw_mean


def draw_band(
    axes: Axes, x: Sequence[float], by_seed: Sequence[Sequence[float]], activation: str, **more: object
) -> None:
    """As `draw_mean`, in the look of an activation's curve."""
    draw_mean(axes, x, by_seed, **look_of(activation) | more)


def with_error(found: Estimate, digits: int = 1) -> str:
    """As in a table, the error to so many significant digits and the mean as far as that: 0.53 ± 0.02."""
    error = found.standard_error
    if not error:
        return f"{found.mean:.3g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(error)))
    return f"{found.mean:.{decimals}f} ± {error:.{decimals}f}"
