"""Numbers of several seeds as a figure shows them: a mean and its standard error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.engine.statistics import Estimate, estimate
from visualizations.shared.drawing import draw_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_band(
    axes: Axes, x: Sequence[float], by_seed: Sequence[Sequence[float]], activation: str, **more: object
) -> None:
    """The mean over seeds as a curve, in a band of one standard error to either side where there are several.

    Args:
        by_seed: one curve a seed, each of x's length.
    """
    of_place = [estimate(values) for values in zip(*by_seed, strict=True)]
    mean = np.array([each.mean for each in of_place])
    draw_curve(axes, np.asarray(x), mean, activation, **more)
    if len(by_seed) > 1:
        error = np.array([each.standard_error for each in of_place])
        axes.fill_between(x, mean - error, mean + error, color=axes.lines[-1].get_color(), alpha=0.2, linewidth=0)


def with_error(found: Estimate) -> str:
    """As in a table, the error to one significant digit and the mean as far as that: 0.53 ± 0.02."""
    error = found.standard_error
    if not error:
        return f"{found.mean:.3g}"
    decimals = max(0, -math.floor(math.log10(error)))
    return f"{found.mean:.{decimals}f} ± {error:.{decimals}f}"
