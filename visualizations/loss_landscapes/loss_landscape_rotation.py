"""The loss surfaces, turning

    python -m visualizations.loss_landscapes.loss_landscape_rotation

The upper row of loss_landscapes.surfaces (directions scaled filter by filter) as an animation, seen from all sides: a
.gif, beside a .png and an .svg of its first picture. Heights and colours are logarithmic, and the same for all.

Source: after the paper's rotating loss landscapes (arXiv 2502.03654, "smooth loss landscape"), which are of ResNet-20
trained on CIFAR-10; these are of small models trained on digits, unless --results names others.
"""

import io
from pathlib import Path

from visualizations.loss_landscapes import surfaces
from visualizations.shared.program import FigureProgram, Options, Row
from visualizations.shared.surface import add_surface_flags, surface_rows
from workbench.cli.arguments import Parser, positive_int
from workbench.cli.errors import run
from workbench.cli.progress import Progress
from workbench.output.storage import write_bytes

COLOURS = 64  # of the animation's palette: more take more space and show no more
GIF_DPI = 90
SECONDS_A_TURN = 6.0


def add_flags(parser: Parser) -> None:
    add_surface_flags(parser)
    parser.add_argument("--frames", type=positive_int, default=48, metavar="N", help="pictures in a turn of the .gif")


def numbers(options: Options) -> list[Row]:
    return surface_rows(options, ("filter",))


def animate(rows: list[Row], options: Options) -> list[Path]:
    """Write the .gif, which turns once around the vertical axis and goes on for ever."""
    from PIL import Image

    figure = surfaces.draw(rows, options)
    pictures = []
    with Progress(options.frames, "frame") as progress:
        for frame in range(options.frames):
            for axes in figure.axes:
                if hasattr(axes, "view_init"):  # all but the colour scale
                    axes.view_init(elev=28, azim=surfaces.ANGLE + 360 * frame / options.frames)
            content = io.BytesIO()
            figure.savefig(content, format="png", dpi=GIF_DPI)
            pictures.append(Image.open(content).convert("RGB"))
            progress.advance()
    palette = pictures[0].quantize(COLOURS)  # one for all: a palette of each picture's own would flicker
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    content = io.BytesIO()
    frames[0].save(
        content, format="GIF", save_all=True, append_images=frames[1:], loop=0,
        duration=round(1000 * SECONDS_A_TURN / options.frames),
    )  # fmt: skip
    path = options.output / f"{FIGURE.name}.gif"
    write_bytes(path, content.getvalue())
    return [path]


FIGURE = FigureProgram(
    "loss_landscapes.loss_landscape_rotation", __doc__, numbers, surfaces.draw, add_flags=add_flags, more=animate
)

if __name__ == "__main__":
    run(FIGURE.main)
