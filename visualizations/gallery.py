"""Draw every figure, and write the page that shows them all

python -m visualizations.gallery
python -m visualizations.gallery --page-only
"""

import importlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from visualizations.shared.program import FigureProgram
from workbench.cli.arguments import Parser
from workbench.cli.errors import UserError, run
from workbench.output.storage import prepare_folder, write_text

# in the order in which they tell the story; a folder's docstring is the heading above its figures
FIGURES = {
    "golu_plots": (
        "overview", "golu_and_gompertz", "gates", "full_scale_neuron_space", "derivatives", "parameters",
        "negative_parameters",
    ),
    "activations": ("activation_visualizations",),
    "probability_distributions": ("gumbel_normal_logistic", "standardised"),
    "monotonicity": ("decreasing_regions", "feature_maps"),
    "theoretical_experiments": ("variance_reduction", "exact_variance", "output_mean", "gradient_size"),
    "eigenvalue_analysis": ("largest_eigenvalues",),
    "loss_landscapes": ("loss_landscape_rotation", "surfaces", "contours", "roughness", "weight_noise"),
    "plot_model_param_dists": ("spread_dists", "spread_by_layer"),
    "loss_plots": ("loss_curves",),
}  # fmt: skip

ABOUT = """\
# Gallery

Every figure that this repository draws, each by the command above it: as .png and .svg, with its numbers beside it as
.csv, in [`assets/`](../assets) (where the .svg are not stored; the commands write them). `--output`, `--activations`
and `--dpi` are common to all; `--help` explains each one's own flags. None needs a download or a GPU. Those of
trained models train small ones the first time and keep them in `results/visualizations`. This page is written by
`python -m visualizations.gallery`, which also draws them all.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser("python -m visualizations.gallery", __doc__ or "")
    parser.add_argument("--output", type=Path, default=Path("assets"), metavar="DIR", help="folder of the figures")
    parser.add_argument("--page", type=Path, default=Path("docs/gallery.md"), metavar="FILE", help="the page")
    parser.add_argument("--page-only", action="store_true", help="draw nothing: the figures are there")
    options = parser.parse_args(arguments)
    prepare_folder(options.page.parent)
    if not options.page_only:
        prepare_folder(options.output)
        for program in programs():
            start = time.perf_counter()
            program.write(program.parse_arguments(["--output", str(options.output)]))
            print(f"{program.module}: {time.perf_counter() - start:.0f} s", flush=True)
    for program in programs():
        if not picture(program, options.output).exists():
            raise UserError(f"{picture(program, options.output)} is missing: without --page-only it is drawn")
    write_text(options.page, page(options.output, options.page))
    print(options.page)


def programs() -> Iterator[FigureProgram]:
    """Every figure, in their order."""
    for folder, names in FIGURES.items():
        for name in names:
            yield importlib.import_module(f"visualizations.{folder}.{name}").FIGURE


def page(pictures: Path, place: Path) -> str:
    """The page as Markdown, for a file in `place`."""
    parts, folder = [ABOUT], ""
    for program in programs():
        if program.module.partition(".")[0] != folder:
            folder = program.module.partition(".")[0]
            parts.append(f"## {heading(folder)}\n")
        link = os.path.relpath(picture(program, pictures), place.parent)
        title, command, *text = paragraphs(program.description)
        parts.append(f"### {title}\n\n```bash\n{dedented(command)}\n```\n\n![{title}]({Path(link).as_posix()})\n")
        parts += [
            f"```text\n{dedented(each)}\n```\n" if each.startswith(" ") else f"{escaped(each)}\n" for each in text
        ]
    return "\n".join(parts)


def heading(folder: str) -> str:
    """The folder's docstring, which is one sentence, without its full stop."""
    return (importlib.import_module(f"visualizations.{folder}").__doc__ or folder).strip().removesuffix(".")


def picture(program: FigureProgram, folder: Path) -> Path:
    """What the page shows of a figure: the animation, if there is one."""
    ending = ".gif" if program.more is not None else ".png"
    return folder / f"{program.name}{ending}"


def paragraphs(description: str) -> list[str]:
    return re.split(r"\n\n+", description.strip("\n"))


def dedented(block: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in block.splitlines())


def escaped(text: str) -> str:
    """What Markdown would read as marks, as it stands; in code it reads none."""
    return re.sub(r"`[^`]*`|[*_<|\\]", lambda found: found[0] if found[0][0] == "`" else f"\\{found[0]}", text)


if __name__ == "__main__":
    run(main)
