"""Variance reduction: the neuron values of real photographs after a convolution

    python -m visualizations.theoretical_experiments.variance_reduction
    python -m visualizations.theoretical_experiments.variance_reduction --image holiday.jpg cat.png --seeds 20

Photographs go through a 3 x 3 convolution with 16 random filters (He's initialisation), batch normalisation over the
image, and each activation; what goes into it has mean 0 and variance 1 in every channel. Above, the distribution of the
values after the activation, over all channels, pixels, photographs and draws of the filters, with its variance (mean
over draws and photographs, and standard error over draws). Below, the variance on each photograph, beside the exact one
for standard normal input.

GoLU's values vary least, in each of the 20 cases of one photograph and one draw, and Mish's most; between them come
Swish's, then ReLU's and GELU's, close together. That is also the order for normal input. The photographs are not
normal (the kurtosis is 3.1 for china and 4.9 for flower; normal: 3), and with a few filters each draw moves the
variances, by about a tenth for china and a fifth for flower: but all activations' together, so that the differences
with the same filters, which the command prints, are known to a few percent.

Source: that GoLU's outputs vary less is the paper's claim ("variance reduction in the latent space", arXiv 2502.03654);
these photographs, the draws with their errors and the comparison with normal input are ours.
"""

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from golu import get_activation_function
from visualizations.shared.drawing import colour_of
from visualizations.shared.gaussian import moments
from visualizations.shared.panels import grid_of
from visualizations.shared.photographs import SAMPLES, photograph, reduced, short_name
from visualizations.shared.program import FigureProgram, Options, Row, column, columns, names_in, rows_of, where
from visualizations.shared.seeds import with_error
from workbench.cli.arguments import Parser, positive_int
from workbench.cli.errors import UserError, run
from workbench.cli.flags import require_distinct
from workbench.cli.progress import Progress
from workbench.output.estimates import estimate, paired_difference
from workbench.output.style import INK
from workbench.output.tables import plain_table

CHANNELS = 16
LONGEST = 640  # pixels of a photograph's longer side
EDGES = np.linspace(-4, 12, 161)  # of the histograms
THINNED = 2  # histograms take every second pixel of every second row
MARKERS = "os^DvPX*"


def add_flags(parser: Parser) -> None:
    parser.add_argument(
        "--image", nargs="+", default=list(SAMPLES), metavar="FILE",
        help=f"photographs: files, or {' and '.join(SAMPLES)}, which are built in (default: these)",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=positive_int, default=10, metavar="N", help="random filters drawn, N times 16; at least 2"
    )


def numbers(options: Options) -> list[Row]:
    if options.seeds < 2:
        raise UserError("--seeds 1 gives no standard error: draw the filters at least twice")
    require_distinct("--image", [short_name(each) for each in options.image])
    photographs = {short_name(each): reduced(photograph(each), LONGEST) for each in options.image}
    counts = {name: np.zeros(len(EDGES) - 1) for name in options.activations}
    rows, total = [], 0
    with Progress(options.seeds * len(photographs), "image") as progress:
        for seed in range(options.seeds):
            for image, pixels in photographs.items():
                x = pre_activations(pixels, seed)
                total += x[..., ::THINNED, ::THINNED].numel()
                about = {"image": image, "seed": seed}
                rows.append({"kind": "input", **about, "kurtosis": x.square().square().mean().item()})
                for name in options.activations:
                    y = get_activation_function(name)(x).detach()
                    thinned = y[..., ::THINNED, ::THINNED]
                    counts[name] += torch.histc(thinned, len(EDGES) - 1, EDGES[0], EDGES[-1]).numpy()
                    variance = y.var(correction=0).item()
                    rows.append({"kind": "variance", "activation": name, **about, "variance": variance})
                progress.advance()
    for name, count in counts.items():
        normal = moments(name, 0.0, 1.0).variance.item()
        rows.append({"kind": "normal input", "activation": name, "variance": normal})
        held = slice(*(np.flatnonzero(count)[[0, -1]] + [0, 1]))  # from the first bin that holds anything to the last
        middle, density = (EDGES[:-1] + EDGES[1:]) / 2, count / total / np.diff(EDGES)
        rows += rows_of({"kind": "histogram", "activation": name}, value=middle[held], density=density[held])
    return rows


def pre_activations(pixels: np.ndarray, seed: int) -> torch.Tensor:
    """(1, CHANNELS, H, W) after the convolution and batch normalisation: each channel has mean 0 and variance 1."""
    filters = torch.empty(CHANNELS, 3, 3, 3)
    torch.nn.init.kaiming_normal_(filters, generator=torch.Generator().manual_seed(seed))
    image = torch.from_numpy(pixels).float().permute(2, 0, 1)[None]
    return F.batch_norm(F.conv2d(image, filters, padding=1), None, None, training=True)


def by_seed(rows: list[Row], name: str, image: str | None = None) -> list[float]:
    """The activation's variance with each draw of the filters, on one photograph or as the mean over them."""
    own = where(rows, kind="variance", activation=name, **({"image": image} if image else {}))
    return [float(column(own, "variance", seed=seed).mean()) for seed in names_in(own, "seed")]


def summarise(rows: list[Row]) -> str:
    images, activations = names_in(rows, "image", kind="variance"), names_in(rows, kind="variance")
    table = [["variance", *images, "mean", "normal input"]]
    for name in activations:
        each = [with_error(estimate(by_seed(rows, name, image))) for image in images]
        normal = column(rows, "variance", kind="normal input", activation=name).item()
        table.append([name, *each, with_error(estimate(by_seed(rows, name))), f"{normal:.4f}"])
    kurtosis = [f"{column(rows, 'kurtosis', kind='input', image=image).mean():.2f} for {image}" for image in images]
    lines = [plain_table(table), f"kurtosis of what goes in (3 for a normal one): {', '.join(kurtosis)}"]
    if "GoLU" in activations:
        for name in [name for name in activations if name != "GoLU"]:
            found = paired_difference(by_seed(rows, "GoLU"), by_seed(rows, name))
            lines.append(f"GoLU's less {name}'s, with the same filters: {with_error(found)}")
    return "\n".join(lines)


def draw(rows: list[Row], options: Options) -> Figure:
    activations = names_in(rows, kind="variance")
    down, across = grid_of(len(activations), 5)
    below = 1.1 + 0.24 * len(activations)
    figure = Figure(figsize=(9.6, 0.3 + 2.2 * down + below), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(2.2 * down, below))
    _draw_histograms(top.subplots(down, across, sharex=True, sharey=True, squeeze=False), rows, activations)
    left, right = bottom.subfigures(1, 2, width_ratios=(1, 2))
    _draw_photographs(left, options.image)
    _draw_variances(right.subplots(), rows, activations)
    return figure


def _draw_histograms(panels: np.ndarray, rows: list[Row], activations: list[str]) -> None:
    value, density = columns(rows, "value", "density", kind="histogram")
    shown = value[density > 1e-4]
    for axes, name in zip(panels.flat, activations, strict=False):
        for each in dict.fromkeys((name, *({"GoLU"} & {*activations}))):
            value, density = columns(rows, "value", "density", kind="histogram", activation=each)
            edges = np.append(value, value[-1] + EDGES[1] - EDGES[0]) - (EDGES[1] - EDGES[0]) / 2
            look = {"fill": True, "alpha": 0.45} if each == name else {"lw": 1.1}
            axes.stairs(density, edges, color=colour_of(each), baseline=1e-5, **look)
        found = estimate(by_seed(rows, name))
        axes.set(title=name, yscale="log", ylim=(1e-4, 20), xlim=(shown.min() - 0.2, shown.max() + 0.2))
        corner = {"ha": "right", "va": "top", "transform": axes.transAxes}
        axes.text(0.97, 0.95, f"variance\n{with_error(found, 2)}", **corner)
        if name != "GoLU" and "GoLU" in activations:
            axes.text(0.97, 0.7, "line: GoLU", color=colour_of("GoLU"), **corner)
    for axes in panels.flat[len(activations) :]:
        axes.set_axis_off()
    for axes in panels[-1]:
        axes.set_xlabel("Neuron value")
    for axes in panels[:, 0]:
        axes.set_ylabel("Density")


def _draw_photographs(figure: Figure, names: list[str]) -> None:
    """The first four."""
    down, across = grid_of(min(len(names), 4), 2)
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in panels:
        axes.set_axis_off()
    for axes, name in zip(panels, names, strict=False):
        axes.imshow(reduced(photograph(name), LONGEST))
        axes.set_title(short_name(name), fontsize=8, fontweight="normal")


def _draw_variances(axes: Axes, rows: list[Row], activations: list[str]) -> None:
    images = names_in(rows, "image", kind="variance")
    apart = 0.5 / len(images)  # of the photographs' dots
    for place, name in enumerate(activations):
        normal = column(rows, "variance", kind="normal input", activation=name).item()
        axes.vlines(normal, place - 0.38, place + 0.38, color=INK, lw=1.2)
        for at, image in enumerate(images):
            found = estimate(by_seed(rows, name, image))
            axes.errorbar(
                found.mean, place + (at - (len(images) - 1) / 2) * apart, xerr=found.standard_error,
                fmt=MARKERS[at % len(MARKERS)], color=colour_of(name), markersize=5, lw=1.2,
            )  # fmt: skip
    for at, image in enumerate(images):
        axes.plot([], [], MARKERS[at % len(MARKERS)], color=INK, markersize=5, label=image)
    axes.plot([], [], "|", color=INK, markersize=10, label="exact, for\nnormal input")
    axes.set(title="Variance of the neuron values", xlabel="Variance", yticks=range(len(activations)))
    axes.set_yticklabels(activations)
    axes.invert_yaxis()
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


FIGURE = FigureProgram(
    "theoretical_experiments.variance_reduction", __doc__, numbers, draw, add_flags=add_flags, summarise=summarise
)

if __name__ == "__main__":
    run(FIGURE.main)
