"""GoLU's curve and gate, alone and beside others: formulas in plain Python, and Lambert's W for where they turn."""

import math

import pytest
from scipy.optimize import brentq
from scipy.special import lambertw

from golu.activations import compared_activations, distinct_activations
from tests.visualizations.formulas import FORMULA, golu_slope
from visualizations.golu_plots import full_scale_neuron_space, golu_and_gompertz, overview
from visualizations.shared.program import column, names_in

STEP = 1e-6
OMEGA = lambertw(1).real  # 0.567143


def gompertz(x):
    return math.exp(-math.exp(-x))


def points(rows, kind):
    return [row for row in rows if row["point"] == kind]


@pytest.fixture
def gompertz_rows(figure):
    return figure(golu_and_gompertz.FIGURE)


def test_golu_is_x_times_the_gompertz_gate(gompertz_rows):
    assert names_in(gompertz_rows) == ["GoLU"]
    for row in gompertz_rows:
        assert row["gate"] == pytest.approx(gompertz(row["x"]), rel=1e-5, abs=1e-12)
        assert row["f"] == pytest.approx(row["x"] * row["gate"], rel=1e-5, abs=1e-12)
        assert row["slope"] == pytest.approx(golu_slope(row["x"]), rel=1e-5, abs=1e-7)


def test_where_golu_and_its_gate_turn_and_bend(gompertz_rows):
    (origin,), (minimum,), (left, right) = (points(gompertz_rows, k) for k in ("origin", "minimum", "inflection"))
    assert (origin["x"], origin["f"]) == (0, 0)
    assert origin["gate"] == origin["slope"] == pytest.approx(1 / math.e, rel=1e-6)
    assert minimum["x"] == pytest.approx(-OMEGA, rel=1e-6)
    assert minimum["f"] == pytest.approx(-OMEGA * math.exp(-1 / OMEGA), rel=1e-6)
    for row, interval in ((left, (-2, -0.5)), (right, (1, 3))):
        bend = brentq(lambda x: x * (1 - math.exp(-x)) - 2, *interval)
        assert row["x"] == pytest.approx(bend, rel=1e-6)
        assert row["slope"] == pytest.approx(golu_slope(bend), rel=1e-6)
    for number in ("-0.0973", "-0.5671", "-1.0601", "2.2386", "-0.1149", "1.1134"):
        assert number in golu_and_gompertz.__doc__
        shown = [row[key] for row in (minimum, left, right) for key in ("x", "f", "slope")]
        assert any(f"{value:.4f}" == number for value in shown), number


def test_others_are_drawn_beside_it(figure):
    rows = figure(golu_and_gompertz.FIGURE, "--activations", "ReLU", "Mish")
    assert names_in(rows) == ["ReLU", "Mish", "GoLU"]
    for row in rows:
        assert row["f"] == pytest.approx(FORMULA[row["activation"]](row["x"]), rel=1e-5, abs=1e-9)


def test_golu_is_not_drawn_beside_itself(mistake):
    assert "GoLU" in mistake(golu_and_gompertz.FIGURE, "--activations", "GoLU")


def test_the_overview_shows_function_slope_and_gate(figure):
    rows = figure(overview.FIGURE)
    assert names_in(rows) == compared_activations()
    for row in rows:
        f, x = FORMULA[row["activation"]], row["x"]
        assert row["f"] == pytest.approx(f(x), rel=1e-5, abs=1e-7)
        assert row["gate"] == pytest.approx(f(x) / x, rel=1e-5, abs=1e-7)
        slope = (f(x + STEP) - f(x - STEP)) / (2 * STEP)
        assert row["slope"] == pytest.approx(slope, rel=1e-5, abs=1e-6)  # x has 7 digits


def test_the_overview_takes_gated_activations_only(figure, mistake):
    assert names_in(figure(overview.FIGURE, "--activations", "GoLU", "GELU_tanh")) == ["GoLU", "GELU_tanh"]
    assert "Sigmoid" in mistake(overview.FIGURE, "--activations", "Sigmoid")


@pytest.mark.parametrize("names", [None, distinct_activations()], ids=["default", "all"])
def test_the_three_views_show_the_same_functions(figure, names):
    rows = figure(full_scale_neuron_space.FIGURE, *(["--activations", *names] if names else []))
    assert names is None or names_in(rows) == names
    for row in rows:
        assert row["f"] == pytest.approx(FORMULA[row["activation"]](row["x"]), rel=1e-5, abs=1e-7)
    for view, (low, high) in full_scale_neuron_space.VIEWS.items():
        x = column(rows, "x", activation="GoLU", view=view)
        assert (x.min(), x.max()) == (low, high)


def test_what_the_text_says_of_the_two_neuron_spaces(figure):
    rows = figure(full_scale_neuron_space.FIGURE)
    others = ["GELU", "Swish", "Mish"]
    for view, sign in (("Negative neuron space", 1), ("Positive neuron space", -1)):
        golu = column(rows, "f", activation="GoLU", view=view)
        for name in others:
            assert (sign * (golu - column(rows, "f", activation=name, view=view)) >= 0).all()
    lowest = {row["activation"]: row["f"] for row in rows if row["view"] == "minimum"}
    at_1 = {row["activation"]: row["f"] for row in rows if row["view"] == "Positive neuron space" and row["x"] == 1}
    for name in [*others, "GoLU"]:
        assert f"{lowest[name]:.4f}" in full_scale_neuron_space.__doc__
        assert f"{at_1[name]:.4f}" in full_scale_neuron_space.__doc__
