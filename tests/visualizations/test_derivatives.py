"""First and second derivatives of the activations, against closed forms and differences in plain Python."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from golu.activations import compared_activations, distinct_activations
from tests.visualizations.formulas import FORMULA, SELU_ALPHA, SELU_SCALE, golu_slope, normal, sigmoid
from visualizations.golu_plots import derivatives
from visualizations.shared.program import column, names_in


def golu_second(x):
    u = math.exp(-x)
    return math.exp(-u) * u * (2 + x * (u - 1))


def gelu_slope(x):
    return math.erfc(-x / math.sqrt(2)) / 2 + x * normal(x)


def swish_slope(x):
    s = sigmoid(x)
    return s + x * s * (1 - s)


def swish_second(x):
    s = sigmoid(x)
    return s * (1 - s) * (2 + x * (1 - 2 * s))


SLOPE = {"GoLU": golu_slope, "GELU": gelu_slope, "Swish": swish_slope, "ReLU": lambda x: float(x > 0)}
SECOND = {"GoLU": golu_second, "GELU": lambda x: normal(x) * (2 - x * x), "Swish": swish_second, "ReLU": lambda x: 0}


@pytest.fixture
def rows(figure):
    return figure(derivatives.FIGURE)


def extreme(rows, name, point, what):
    (row,) = (row for row in rows if (row["activation"], row["point"]) == (name, f"{point} {what}"))
    return row["x"], row[what]


def test_the_five_against_closed_forms(rows):
    assert names_in(rows) == compared_activations()
    check_curves(rows)
    check_extremes(rows)
    check_crossings(rows)


def check_curves(rows):
    h = 1e-4
    for row in rows:
        x, name = row["x"], row["activation"]
        if row["point"] == "curve" and name in SLOPE:
            assert row["slope"] == pytest.approx(SLOPE[name](x), rel=1e-5, abs=1e-7)
            assert row["second"] == pytest.approx(SECOND[name](x), rel=1e-5, abs=1e-6)
        elif row["point"] == "curve":
            f = FORMULA[name]
            assert row["slope"] == pytest.approx((f(x + h) - f(x - h)) / (2 * h), rel=1e-5, abs=1e-6)
            assert row["second"] == pytest.approx((f(x + h) - 2 * f(x) + f(x - h)) / h**2, rel=1e-4, abs=1e-6)


def check_extremes(rows):
    root, left, right = math.sqrt(2), brentq(golu_second, -1.5, -0.8), brentq(golu_second, 1.5, 3)
    assert extreme(rows, "GELU", "largest", "slope") == pytest.approx((root, gelu_slope(root)), rel=1e-6)
    assert extreme(rows, "GELU", "smallest", "slope") == pytest.approx((-root, gelu_slope(-root)), rel=1e-6)
    assert extreme(rows, "GELU", "smallest", "second")[1] == pytest.approx(-2 * normal(2), rel=1e-6)
    assert extreme(rows, "GoLU", "largest", "slope") == pytest.approx((right, golu_slope(right)), rel=1e-6)
    assert extreme(rows, "GoLU", "smallest", "slope") == pytest.approx((left, golu_slope(left)), rel=1e-6)
    assert extreme(rows, "GoLU", "largest", "second") == pytest.approx((0, 2 / math.e), rel=1e-6, abs=1e-9)
    assert extreme(rows, "ReLU", "smallest", "slope")[1] == 0 and extreme(rows, "ReLU", "largest", "slope")[1] == 1
    largest = {name: extreme(rows, name, "largest", "slope")[1] for name in ("Mish", "Swish", "GoLU", "GELU")}
    assert sorted(largest, key=largest.get) == ["Mish", "Swish", "GoLU", "GELU"]
    assert {name: round(value, 4) for name, value in largest.items()} == {
        "GELU": 1.1289, "GoLU": 1.1134, "Swish": 1.0998, "Mish": 1.0885,
    }  # fmt: skip
    assert all(f"{value:.4f}" in derivatives.__doc__ for value in largest.values())


def check_crossings(rows):
    """Where GoLU is as steep as another, and that it is less steep in between and only there."""
    for name in ("GELU", "Swish", "Mish"):
        low, high = column(rows, "x", activation=name, point="as steep as GoLU")
        assert f"for {low:.2f} < x < {high:.2f}" in derivatives.__doc__.replace("\n", " ")
        x = column(rows, "x", activation=name, point="curve")
        golu, other = (column(rows, "slope", activation=each, point="curve") for each in ("GoLU", name))
        assert ((golu < other) == ((low < x) & (x < high))).all()
    assert column(rows, "x", activation="ReLU", point="as steep as GoLU") == pytest.approx([-0.567143, 1.172173], 1e-4)


def test_every_activation_has_the_range_of_its_slope(figure):
    rows = figure(derivatives.FIGURE, "--activations", *distinct_activations())
    expected = {
        "Sigmoid": (0, 0.25), "Tanh": (0, 1), "Softsign": (0, 1), "Softplus": (0, 1), "LeakyReLU": (0.01, 1),
        "PReLU": (0.25, 1), "ELU": (0, 1), "CELU": (0, 1), "SELU": (0, SELU_SCALE * SELU_ALPHA),
    }  # fmt: skip
    for name, (low, high) in expected.items():
        assert extreme(rows, name, "smallest", "slope")[1] == pytest.approx(low, rel=1e-6, abs=1e-9)
        assert extreme(rows, name, "largest", "slope")[1] == pytest.approx(high, rel=1e-6)
    bends = np.sort(column(rows, "x", activation="Tanh", point="second turns"))
    assert bends == pytest.approx([-math.atanh(1 / math.sqrt(3)), math.atanh(1 / math.sqrt(3))], rel=1e-6)


def test_the_numbers_are_printed(program, tmp_path):
    code, out, err = program(derivatives.FIGURE, "--output", tmp_path, "--dpi", 40, "--activations", "GoLU", "ReLU")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["GoLU", "-0.1149", "-1.0601", "1.1134", "2.2386", "-0.1642", "-1.4684", "0.7358", "0.0000"] in lines
    assert ["ReLU", "0.0000", "0-", "1.0000", "0+", "0.0000", "0-", "0.0000", "0-"] in lines
    assert ["ReLU", "-0.5671,", "1.1722"] in lines
