"""The largest eigenvalue of a random matrix after an activation

    python -m visualizations.eigenvalue_analysis.largest_eigenvalues
    python -m visualizations.eigenvalue_analysis.largest_eigenvalues --size 400 --draws 2

A is an n x n matrix of independent numbers from N(mean, deviation^2), f(A) the activation of each, and lambda the
eigenvalue of f(A) with the largest absolute value. Above, |lambda| / n over mean and deviation, with one colour
scale. Below, the same at mean 0 and at deviation 1, dots with one standard error over the draws, beside what random
matrix theory says of large n (dotted), where m = E f(X) and v = Var f(X) are taken by quadrature: eigenvalues fill a
disc of radius sqrt(v n), and one more lies outside it at m n, if that is farther out:

    |lambda| = max(|m| n, sqrt(v n))

So the largest eigenvalue is that of the activation's mean output wherever this is not close to 0, and for N(0, 1) it
is Swish that has the smallest, then Mish, then GoLU. GoLU's smaller variance shows in all the others: right, those of
one matrix, over sqrt(n), within circles of radius sqrt(v).

Source: ours, to see what GoLU's reduced variance (arXiv 2502.03654) does to a layer's spectrum; the theory is the
circular law and Tao, "Outliers in the spectrum of iid matrices with bounded rank perturbations", 2013.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Circle

from visualizations.shared.drawing import colour_of, draw_curve, look_of
from visualizations.shared.functions import values
from visualizations.shared.gaussian import moments
from visualizations.shared.program import FigureProgram, Options, Row, column, columns, names_in, rows_of, where
from workbench.cli.arguments import Parser, positive_int
from workbench.cli.errors import UserError, run
from workbench.cli.progress import Progress
from workbench.output.estimates import estimate
from workbench.output.tables import plain_table

MEANS = np.linspace(-2, 2, 11).round(12)
DEVIATIONS = np.linspace(0.25, 2, 8)
LARGEST_SIZE = 2000


def add_flags(parser: Parser) -> None:
    parser.add_argument("--size", type=positive_int, default=100, metavar="N", help="rows and columns of a matrix")
    parser.add_argument("--draws", type=positive_int, default=5, metavar="N", help="matrices, the same for all")


def numbers(options: Options) -> list[Row]:
    if not 10 <= options.size <= LARGEST_SIZE:
        raise UserError(f"--size {options.size} is out of range: from 10 to {LARGEST_SIZE}")
    normal = np.random.default_rng(0).standard_normal((options.draws, options.size, options.size))
    mean, deviation = np.meshgrid(MEANS, DEVIATIONS, indexing="ij")
    rows: list[Row] = []
    with Progress(len(options.activations) * mean.size, "point") as progress:
        for name in options.activations:
            expected = predicted(name, mean, deviation, options.size)
            for place in np.ndindex(mean.shape):
                of_draw = [largest(name, mean[place] + deviation[place] * each) / options.size for each in normal]
                found = estimate(of_draw)
                rows.append({
                    "activation": name, "mean": float(mean[place]), "deviation": float(deviation[place]),
                    "kind": "largest", "value": found.mean, "standard_error": found.standard_error,
                    "predicted": float(expected[place]) / options.size,
                })  # fmt: skip
                progress.advance()
            spectrum = np.linalg.eigvals(values(name, normal[0])) / np.sqrt(options.size)
            rows += rows_of({"activation": name, "kind": "spectrum"}, value=spectrum.real, imaginary=spectrum.imag)
    return rows


def largest(activation: str, matrix: np.ndarray) -> float:
    """The largest absolute value of an eigenvalue of the activated matrix."""
    return float(np.abs(np.linalg.eigvals(values(activation, matrix))).max())


def predicted(activation: str, mean: np.ndarray, deviation: np.ndarray, size: int) -> np.ndarray:
    """The same for large matrices."""
    of = moments(activation, mean, deviation)
    return np.maximum(np.abs(of.mean) * size, np.sqrt(of.variance * size))


def summarise(rows: list[Row]) -> str:
    table = [["|lambda| / n for N(0, 1)", "measured", "predicted"]]
    for row in where(rows, kind="largest", mean=0, deviation=1):
        error = row["standard_error"] or 0
        table.append([row["activation"], f"{row['value']:.4f} ± {error:.4f}", f"{row['predicted']:.4f}"])
    return plain_table(table)


def draw(rows: list[Row], _: Options) -> Figure:
    names = names_in(rows)
    grid = where(rows, kind="largest")
    figure = Figure(figsize=(9.6, 5.0), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.35))
    _maps(above, grid, names)
    left, middle, right = below.subplots(1, 3)
    for name in names:
        for axes, along, fixed in ((left, "deviation", {"mean": 0.0}), (middle, "mean", {"deviation": 1.0})):
            wanted = (along, "value", "standard_error", "predicted")
            at, found, error, theory = columns(grid, *wanted, activation=name, **fixed)
            draw_curve(axes, at, theory, name, linestyle=":", lw=1.4)
            errors = None if error[0] is None else error.astype(float)
            axes.errorbar(at, found, errors, fmt="o", color=colour_of(name), markersize=3)
        _disc(right, rows, name)
    left.set(title="At mean 0", xlabel="deviation", ylabel="|lambda| / n", ylim=(0, None))
    left.legend(loc="upper left", handlelength=1.5)
    middle.set(title="At deviation 1", xlabel="mean", ylim=(0, None))
    right.set(title="All others, for N(0, 1)", xlabel="real part / sqrt(n)", ylabel="imaginary part / sqrt(n)")
    right.set_aspect("equal")
    return figure


def _disc(axes: Axes, rows: list[Row], name: str) -> None:
    """The eigenvalues of one matrix without the largest, and the circle that they fill when n is large."""
    real, imaginary = columns(rows, "value", "imaginary", kind="spectrum", activation=name)
    others = np.argsort(np.hypot(real, imaginary))[:-1]
    axes.plot(real[others], imaginary[others], ".", color=colour_of(name), markersize=3, alpha=0.6)
    radius = float(np.sqrt(moments(name, 0.0, 1.0).variance))
    axes.add_patch(Circle((0, 0), radius, fill=False, color=colour_of(name), lw=look_of(name)["lw"]))


def _maps(figure: SubFigure, grid: list[Row], names: list[str]) -> None:
    """|lambda| / n over mean and deviation, a map an activation."""
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    levels = np.arange(0, column(grid, "value").max() + 0.2, 0.2)
    for axes, name in zip(panels, names, strict=True):
        found = column(grid, "value", activation=name).reshape(len(MEANS), len(DEVIATIONS)).T
        colours = axes.contourf(MEANS, DEVIATIONS, found, levels, cmap="viridis")
        axes.contour(MEANS, DEVIATIONS, found, levels, colors="white", linewidths=0.4)
        axes.set(title=name, xlabel="mean", xticks=[-2, 0, 2])
        axes.grid(visible=False)
    panels[0].set(ylabel="deviation", yticks=[0.5, 1, 1.5, 2])
    figure.colorbar(colours, ax=panels.tolist(), label="|lambda| / n", ticks=[0, 1, 2], pad=0.01)


FIGURE = FigureProgram(
    "eigenvalue_analysis.largest_eigenvalues", __doc__, numbers, draw, add_flags=add_flags, summarise=summarise
)

if __name__ == "__main__":
    run(FIGURE.main)
