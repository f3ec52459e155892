"""python -m tasks.export writes a trained model for use without this repository; `--help` explains every flag."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from tasks.table import checkpoint_of
from workbench.cli import flags
from workbench.cli.arguments import Parser, one_of, positive_int
from workbench.cli.errors import UserError, first_line, run
from workbench.output.storage import prepare_folder, write_bytes
from workbench.training.task import Graph
from workbench.training.trained import Checkpoint, trained

DESCRIPTION = """\
Write a trained model of any task for use without this repository.

  python -m tasks.export results/digits/resnet20/GoLU/checkpoint_0.pth                        # model.onnx
  python -m tasks.export results/digits/resnet20/GoLU/checkpoint_0.pth --format torch         # model.pt2
  python -m tasks.export results/photos/resnet18/GoLU/checkpoint_0.pth --format safetensors   # model.safetensors

onnx         a graph of plain operators for onnxruntime and others; needs the packages onnx and onnxscript
torch        a graph for torch.export.load, without the code of the model; activations are plain operators in it
safetensors  the weights by the names of the model's own library (torchvision, timm, diffusers), with its settings in
             the header; the model is made there by its name, and given the activation by golu

Detectors are no graphs: their weights can be written. tasks.diffusion.export writes a whole pipeline of diffusers.
docs/export.md has what is known of the graphs, and the same for models that were not trained here."""

ENDINGS = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Export as the command line says.

    Raises:
        UserError: the checkpoint cannot be used, a package is missing, or the model is no graph.
    """
    parser = Parser("python -m tasks.export", DESCRIPTION)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint of a training")
    parser.add_argument(
        "--format", type=one_of("format", ENDINGS), default="onnx", metavar="NAME",
        help=f"format: one of {', '.join(ENDINGS)}",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="file to write (default: model.onnx, .pt2 or .safetensors)"
    )
    parser.add_argument(
        "--opset", type=positive_int, metavar="N", help="version of ONNX's operators (default: the one torch prefers)"
    )
    flags.add_average_flag(parser)
    options = parser.parse_args(arguments)
    output = _output(options.output, options.format)
    if options.opset and options.format != "onnx":
        raise UserError(f"--opset is of --format onnx: --format {options.format} has none")
    checkpoint = checkpoint_of(options.checkpoint, options.average)
    prepare_folder(output.parent)
    writers = {"onnx": partial(onnx, opset=options.opset), "torch": exported, "safetensors": safetensors}
    content = writers[options.format](checkpoint)
    write_bytes(output, content)
    print(f"{output} has the model, {len(content) / 1e6:.1f} MB")


def _output(given: Path | None, name: str) -> Path:
    """Return the file to write.

    Raises:
        UserError: it is there already, or its ending is not the format's.
    """
    output = given or Path("model").with_suffix(ENDINGS[name])
    if output.is_dir():
        raise UserError(f"{output} is a folder: give --output a file, as {output / 'model'}{ENDINGS[name]}")
    if output.exists():
        raise UserError(f"{output} is there already: give another --output, or delete it")
    if output.suffix not in ("", ENDINGS[name]):
        known = ", ".join(f"{ending} by --format {each}" for each, ending in ENDINGS.items())
        raise UserError(f"--format {name} writes no {output.suffix} files: give --output another ending ({known})")
    return output


def safetensors(checkpoint: Checkpoint) -> bytes:
    """Return the weights, with configuration and what predicting needs as JSON in the header."""
    from safetensors.torch import save

    _, model = trained(checkpoint, torch.device("cpu"))
    weights = {name: each.contiguous().clone() for name, each in model.state_dict().items()}
    described = {name: json.dumps(checkpoint.state[name]) for name in ("configuration", "extras", "program")}
    content: bytes = save(weights, {"format": "pt", **described})
    return content


def onnx(checkpoint: Checkpoint, opset: int | None = None) -> bytes:
    """Return an ONNX graph, whose first sizes may be others than those it was traced with.

    Raises:
        UserError: the packages onnx or onnxscript are missing, or torch does not write that version of the operators.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(f"--format onnx needs the packages onnx and onnxscript: pip install {error.name}") from error
    graph, content = _graph(checkpoint), io.BytesIO()
    with _refused(checkpoint), _quietly():
        program = torch.onnx.export(
            graph.module, tuple(graph.inputs.values()), input_names=list(graph.inputs), output_names=["output"],
            dynamic_shapes=_free(graph), opset_version=opset, dynamo=True, verbose=False,
        )  # fmt: skip
        assert program is not None, "dynamo=True returns one"
        program.save(content)
    written = program.model.opset_imports[""]
    if opset not in (None, written):  # torch takes another one instead, with no error
        raise UserError(f"torch cannot write this model with --opset {opset}: it gives {written}; leave --opset out")
    return content.getvalue()


def exported(checkpoint: Checkpoint) -> bytes:
    """Return what torch.export.load loads."""
    graph, content = _graph(checkpoint), io.BytesIO()
    with _refused(checkpoint):
        program = torch.export.export(graph.module, tuple(graph.inputs.values()), dynamic_shapes=_free(graph))
        torch.export.save(program, content)
    return content.getvalue()


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back what torch says of its own doing, as that two inputs have the same first size, or an attempt failed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable()
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


@contextmanager
def _refused(checkpoint: Checkpoint) -> Iterator[None]:
    """Say on a line that torch makes no graph of a model, as of one whose way depends on what it sees."""
    try:
        yield
    except Exception as error:  # of many kinds, with long texts
        raise UserError(f"torch makes no graph of the model of {checkpoint.path}: {first_line(error)[:200]}") from error


def _graph(checkpoint: Checkpoint) -> Graph:
    task, model = trained(checkpoint, torch.device("cpu"))
    graph = task.graph(model)
    graph.module.eval()
    return graph


def _free(graph: Graph) -> tuple[dict[int, torch.export.Dim], ...]:
    sizes: dict[str, torch.export.Dim] = {}
    for free in graph.free.values():
        for name in free.values():
            sizes.setdefault(name, torch.export.Dim(name, max=graph.largest.get(name)))
    return tuple({place: sizes[name] for place, name in graph.free[each].items()} for each in graph.inputs)


if __name__ == "__main__":
    run(main)
