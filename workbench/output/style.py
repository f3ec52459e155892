"""Define the look of every figure: one colour per activation, safe for colour-blind eyes (Okabe and Ito, 2008)."""

import io
import zlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golu.activations import ACTIVATIONS
from workbench.output.storage import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#222222"  # text and axes
FAINT = "#D9D9D9"  # grid, and lines that only connect

_BLUE, _GREEN, _ORANGE, _PURPLE, _VERMILLION, _SKY = "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#D55E00", "#56B4E9"
_BLACK, _GREY = "#000000", "#888888"  # grey stands in for Okabe and Ito's yellow, too light for lines on white
_COLOURS = (_BLUE, _GREEN, _ORANGE, _PURPLE, _VERMILLION, _GREY, _BLACK, _SKY)
_DASHES = ("-", "--", ":", "-.")
_UNKNOWN = _GREY, ":"

_SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "svg.hashsalt": "golu",  # the same figure gives the same file
}


def line_of(activation: str) -> tuple[str, str]:
    """Return the colour and line style of an activation, the same in every figure.

    Those that are compared most come first and are solid; a variant has its original's colour, dashed or dotted, as
    long as there is a look left that no other has. A name that is not registered, of somebody's stored results, has
    one of the looks that are left, which depends on the name alone.
    """
    known = ACTIVATIONS.values()
    originals = sorted((each for each in known if each.like is None), key=lambda each: not each.compared)
    looks = {each.name: (colour, "-") for each, colour in zip(originals, _COLOURS, strict=False)}
    for each in known:
        if each.name not in looks:
            own = [looks[each.like][0]] if each.like in looks else []
            free = ((c, dash) for c in (*own, *_COLOURS) for dash in _DASHES if (c, dash) not in looks.values())
            looks[each.name] = next(free, _UNKNOWN)
    left = [(c, dash) for c in _COLOURS for dash in _DASHES if (c, dash) not in looks.values()] or [_UNKNOWN]
    return looks.get(activation, left[zlib.crc32(activation.encode()) % len(left)])


def figure_style() -> AbstractContextManager[None]:
    """Give figures the common look within the block; matplotlib's settings are restored after it."""
    import matplotlib

    return matplotlib.rc_context(_SETTINGS)


def save_figure(figure: "Figure", path: Path, dpi: int | None = None) -> list[Path]:
    """Write `path` as .png and as .svg, without a display, and return both paths.

    Args:
        dpi: resolution of the .png, and of what is no vector in the .svg (default: the style's).
    """
    paths = [path.with_suffix(".png"), path.with_suffix(".svg")]
    for each in paths:
        content = io.BytesIO()
        metadata = {"Date": None} if each.suffix == ".svg" else None
        figure.savefig(content, format=each.suffix[1:], metadata=metadata, dpi=dpi)
        write_bytes(each, smaller(content) if each.suffix == ".png" else content.getvalue())
    return paths


def smaller(png: io.BytesIO) -> bytes:
    """Reduce the picture to a palette of 256 colours: a third of the size, no difference to be seen in a figure."""
    from PIL import Image

    with Image.open(png) as picture:
        content = io.BytesIO()
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
            content, "PNG", optimize=True, dpi=picture.info["dpi"]
        )
    return content.getvalue()
