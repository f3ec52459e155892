"""Every activation and its derivative, against formulas in plain Python."""

import math

import pytest

from golu.activations import distinct_activations
from tests.visualizations.formulas import FORMULA, SELU_ALPHA, SELU_SCALE
from visualizations.activations import activation_visualizations
from visualizations.shared.panels import grid_of
from visualizations.shared.program import column, names_in

SLOPES_AT_0 = {"ReLU": (0, 1), "LeakyReLU": (0.01, 1), "PReLU": (0.25, 1), "GoLU": (1 / math.e, 1 / math.e)}
SLOPES_AT_0 |= {"SELU": (SELU_SCALE * SELU_ALPHA, SELU_SCALE), "ELU": (1, 1), "GELU": (0.5, 0.5), "Mish": (0.6, 0.6)}
SLOPES_AT_0 |= {"ReLU2": (0, 2e-9), "TeLU": (math.tanh(1),) * 2, "AGLU": (4 / 9, 4 / 9), "xIELU": (0.5, 0.5)}
MINIMA = {"GELU": -0.16997, "GELU_tanh": -0.17004, "Swish": -0.278465, "Mish": -0.308843, "GoLU": -0.0972601}
MINIMA |= {"TeLU": -0.353286, "xIELU": -0.205751, "AGLU": -0.362033}


@pytest.fixture
def rows(figure):
    return figure(activation_visualizations.FIGURE)


def test_all_are_drawn_as_their_formulas_say(rows):
    assert names_in(rows) == distinct_activations() and set(FORMULA) == set(distinct_activations())
    step = 1e-6
    for row in rows:
        f = FORMULA[row["activation"]]
        assert row["f"] == pytest.approx(f(row["x"]), rel=1e-5, abs=1e-6)
        if row["point"] == "curve":
            slope = (f(row["x"] + step) - f(row["x"] - step)) / (2 * step)
            assert row["slope"] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_what_stands_in_the_panels(rows):
    for name, slopes in SLOPES_AT_0.items():
        shown = [column(rows, "slope", activation=name, point=f"{side} of 0").item() for side in ("left", "right")]
        assert shown == pytest.approx(slopes, rel=1e-6, abs=1e-9)
    lowest = {row["activation"]: row["f"] for row in rows if row["point"] == "minimum"}
    assert lowest == pytest.approx(MINIMA, rel=1e-4)


@pytest.mark.parametrize("names", [["GoLU"], ["PReLU", "GoLU", "ReLU", "ELU", "Tanh", "Swish", "Mish"]])
def test_any_selection_in_the_order_given(figure, names):
    assert names_in(figure(activation_visualizations.FIGURE, "--activations", *names)) == names


def test_the_grid_holds_all_panels_with_no_empty_row():
    for count in range(1, 16):
        down, across = grid_of(count, 5)
        assert across <= 5 and across * (down - 1) < count <= across * down
    assert (grid_of(5, 5), grid_of(7, 5), grid_of(15, 5)) == ((1, 5), (2, 4), (3, 5))
