"""GoLU with other parameters, against its formula in plain Python and closed forms of its minimum and slope at 0."""

import math

import pytest
from scipy.special import lambertw

from golu.activations import gated_activations
from tests.visualizations.formulas import FORMULA, golu, golu_slope
from visualizations.golu_plots import negative_parameters, parameters
from visualizations.shared.program import column, names_in


def check_curves(rows):
    """Every point is what the formula says; x has 7 digits, so that steep curves are off by a little more."""
    for row in rows:
        if row["activation"] == "GoLU":
            changed = {row["parameter"]: row["value"]}
            assert row["f"] == pytest.approx(golu(row["x"], **changed), rel=1e-4, abs=1e-6)
            assert row["slope"] == pytest.approx(golu_slope(row["x"], **changed), rel=1e-3, abs=1e-5)
        else:
            assert row["f"] == pytest.approx(FORMULA[row["activation"]](row["x"]), rel=1e-5, abs=1e-6)


def of(rows, point):
    """{parameter: {value: row}} of the points called so."""
    found = {}
    for row in rows:
        if row["point"] == point:
            found.setdefault(row["parameter"], {})[row["value"]] = row
    return found


def test_each_parameter_does_what_the_formula_says(figure):
    rows = figure(parameters.FIGURE)
    check_curves(rows)
    check_slopes_at_0(of(rows, "at 0"))
    check_minima(of(rows, "turn"))
    steepest = {
        (parameter, value): column(rows, "slope", parameter=parameter, value=value).max()
        for parameter in ("beta", "gamma")
        for value in (0.75, 1.0, 2.0)
    }
    for value in (0.75, 2.0):
        assert steepest["gamma", value] == pytest.approx(steepest["gamma", 1.0], rel=1e-4)
    assert steepest["beta", 0.75] < steepest["beta", 1.0] < steepest["beta", 2.0]


def check_slopes_at_0(at_0):
    for value in parameters.DEFAULT:
        assert at_0["alpha"][value]["slope"] == pytest.approx(value / math.e, rel=1e-6)
        assert at_0["beta"][value]["slope"] == pytest.approx(math.exp(-value), rel=1e-6)
        assert at_0["gamma"][value]["slope"] == pytest.approx(1 / math.e, rel=1e-6)


def check_minima(minimum):
    assert set(minimum) == {"alpha", "beta", "gamma"}
    for value in parameters.DEFAULT:
        for parameter, changed in minimum.items():
            alpha, beta, gamma = (value if parameter == name else 1 for name in ("alpha", "beta", "gamma"))
            w = lambertw(1 / beta).real
            assert changed[value]["x"] == pytest.approx(-w / gamma, rel=1e-6)
            assert changed[value]["f"] == pytest.approx(-alpha * w / gamma * math.exp(-1 / w), rel=1e-6)


def test_values_and_neighbours_are_the_readers_choice(figure):
    names = [name for name in gated_activations() if name != "GoLU"]
    rows = figure(parameters.FIGURE, "--alpha", 20, "--beta", 5, 0.01, "--gamma", 1, "--activations", *names)
    check_curves(rows)
    assert names_in(rows) == ["GoLU", *names]
    chosen = [(row["parameter"], row["value"]) for row in rows if row["point"] == "at 0"]
    assert chosen == [("alpha", 20), ("beta", 0.01), ("beta", 5), ("gamma", 1)]


def test_negative_parameters_follow_the_formula_and_stay_finite(figure):
    rows = figure(negative_parameters.FIGURE)
    check_curves(rows)
    assert all(math.isfinite(row[key]) for row in rows for key in ("x", "f", "slope"))
    for value in negative_parameters.DEFAULT:
        low = column(rows, "x", parameter="beta", value=value, point="curve")[0]
        gate = math.exp(-value * math.exp(-low))
        assert gate == pytest.approx(negative_parameters.LARGEST_GATE, rel=1e-4)
        assert of(rows, "at 0")["beta"][value]["slope"] == pytest.approx(math.exp(-value), rel=1e-6)
    upright = column(rows, "f", parameter="alpha", value=1.0, point="curve")
    assert column(rows, "f", parameter="alpha", value=-1.0, point="curve") == pytest.approx(-upright)
    assert column(rows, "f", parameter="gamma", value=-1.0, point="curve") == pytest.approx(-upright[::-1])


def test_beta_down_to_minus_e_never_decreases_and_below_it_does(figure):
    rows = figure(negative_parameters.FIGURE, "--beta", -2.71, -2.73, -5, "--activations", "Mish")
    assert (column(rows, "slope", parameter="beta", value=-2.71) > 0).all()
    turns = [(row["value"], row["x"]) for row in rows if row["point"] == "turn" and row["parameter"] == "beta"]
    assert sorted({value for value, _ in turns}) == [-5, -2.73, 1]
    for value, x in turns:
        assert x * math.exp(-x) == pytest.approx(-1 / value, rel=1e-4)


@pytest.mark.parametrize(
    ("figure_program", "arguments", "message"),
    [
        (parameters.FIGURE, ("--alpha", "-1"), "above 0"),
        (parameters.FIGURE, ("--beta", "21"), "at most 20"),
        (parameters.FIGURE, ("--gamma", "1", "1"), "more than once"),
        (parameters.FIGURE, ("--gamma", *map(str, range(1, 12))), "at most 10"),
        (negative_parameters.FIGURE, ("--alpha", "1"), "negative number"),
        (negative_parameters.FIGURE, ("--beta", "-5.1"), "at least -5"),
        (negative_parameters.FIGURE, ("--gamma", "x"), "negative number"),
    ],
)
def test_values_that_cannot_be_drawn_are_one_line(mistake, figure_program, arguments, message):
    assert message in mistake(figure_program, *arguments)
