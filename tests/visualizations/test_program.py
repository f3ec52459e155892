"""What every figure's program does with its flags and files."""

import os
from functools import partial

import numpy as np
import pytest

from golu.activations import distinct_activations
from tests.visualizations.conftest import read_csv
from visualizations.shared.functions import derivative_of, extrema, gate, turning_points, values
from visualizations.shared.program import FigureProgram, column, names_in, rounded


def numbers(options):
    return [{"activation": name, "x": i / 3, "count": i} for name in options.activations for i in range(3)]


def draw(rows, _):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(column(rows, "x"))
    return figure


FIGURE = FigureProgram(
    "somewhere.example", "An example", numbers, draw, known=("ReLU", "GoLU", "Mish"), default=("GoLU",)
)


def test_it_writes_a_picture_a_drawing_and_the_numbers(program, tmp_path):
    code, out, err = program(FIGURE, "--output", tmp_path / "new", "--activations", "Mish", "ReLU", "--dpi", 50)
    paths = [tmp_path / "new" / f"example.{ending}" for ending in ("png", "svg", "csv")]
    assert (code, err) == (0, "") and out.split() == [str(path) for path in paths]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in paths)
    from PIL import Image

    assert Image.open(paths[0]).size == (100, 50)
    assert read_csv(paths[2])[4] == {"activation": "ReLU", "x": 0.3333333, "count": 1}
    assert paths[2].read_text().splitlines()[5] == "ReLU,0.3333333,1"


def test_the_same_command_writes_the_same_files(program, tmp_path):
    contents = []
    for name in ("a", "b"):
        program(FIGURE, "--output", tmp_path / name)
        contents.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert contents[0] == contents[1]


def test_the_defaults():
    options = FIGURE.parse_arguments([])
    assert (options.activations, options.dpi, str(options.output)) == (["GoLU"], 200, "assets")


def test_a_summary_is_printed_and_more_files_are_named(program, tmp_path):
    def more(rows, options):
        (options.output / "example.txt").write_text(f"{len(rows)}")
        return [options.output / "example.txt"]

    figure = FigureProgram(
        "somewhere.example", "", numbers, draw, summarise=lambda rows: f"{len(rows)} rows", more=more, default=("GoLU",)
    )
    _, out, _ = program(figure, "--output", tmp_path)
    assert out.startswith("3 rows\n") and str(tmp_path / "example.txt") in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--activations", "Golu"), "unknown activation 'Golu': did you mean GoLU? choose from ReLU, GoLU, Mish"),
        (("--activations", "Tanh"), "unknown activation 'Tanh'"),  # known elsewhere, but not drawn here
        (("--activations", "GoLU", "GoLU"), "--activations names GoLU more than once"),
        (("--activations",), "expected at least one argument"),
        (("--dpi", "19"), "must be a whole number from 20 to 1200, not '19'"),
        (("--dpi", "1e9"), "must be a whole number from 20 to 1200, not '1e9'"),
        (("--colour", "red"), "unrecognized arguments: --colour red"),
    ],
)
def test_mistakes(mistake, flags, message):
    assert message in mistake(FIGURE, *flags)


def test_a_folder_that_cannot_be_one(mistake, tmp_path):
    (tmp_path / "file").write_text("kept")
    assert "it is a file" in mistake(FIGURE, "--output", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(mistake, tmp_path):
    (tmp_path / "shut").mkdir(mode=0o500)
    assert mistake(FIGURE, "--output", tmp_path / "shut").startswith("error: cannot write")


def test_rows():
    rows = [{"a": "x", "b": 1.0}, {"a": "y", "b": 2.0}, {"a": "x", "b": 3.0}]
    assert column(rows, "b", a="x").tolist() == [1, 3] and names_in(rows, "a") == ["x", "y"]
    row = {"a": 1 / 3, "b": 7, "c": "x", "d": -1e-17, "e": 1.5e-9, "f": None}
    assert rounded(row) == {"a": "0.3333333", "b": 7, "c": "x", "d": "0", "e": "1.5e-09", "f": None}


# The functions


def test_derivatives_of_a_polynomial():
    x = np.linspace(-2, 2, 9)
    cube = lambda t: t**3 + 0 * t  # noqa: E731
    for order, expected in enumerate((x**3, 3 * x**2, 6 * x, np.full(9, 6.0))):
        assert np.allclose(derivative_of(cube, x, order), expected, rtol=1e-14)


@pytest.mark.parametrize("name", distinct_activations())
def test_derivatives_are_differences(name):
    x = np.linspace(-4, 4, 50)  # without 0
    for order in (0, 1):
        h = 1e-5
        expected = (values(name, x + h, order) - values(name, x - h, order)) / (2 * h)
        assert np.allclose(values(name, x, order + 1), expected, atol=1e-8)


def test_gates_at_0_and_elsewhere():
    assert gate("GoLU", np.array([0.0, 2.0])) == pytest.approx([np.exp(-1), np.exp(-np.exp(-2))], rel=1e-14)
    assert gate("GELU", np.array([0.0])) == pytest.approx(0.5)


def test_extrema_are_found_where_a_derivative_changes_sign():
    assert extrema(np.cos, 0, 10) == pytest.approx([np.pi / 2, 3 * np.pi / 2, 5 * np.pi / 2], abs=1e-12)
    assert extrema(lambda x: x**2, -1, 1) == []  # touches 0 only
    assert extrema(partial(values, "ReLU", order=1), -1, 1) == []
    (lowest,) = turning_points("GoLU", 0, -3, 3)
    omega = 0.5671432904097838  # omega * exp(omega) = 1
    assert lowest == pytest.approx((-omega, -omega * np.exp(-1 / omega)), abs=1e-12)
