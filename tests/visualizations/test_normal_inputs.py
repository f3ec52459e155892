"""Figures of normal inputs: variance, mean and slopes against closed forms and SciPy's quadrature."""

import math

import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from golu.activations import compared_activations
from tests.visualizations.formulas import FORMULA
from visualizations.shared.gaussian import moments
from visualizations.theoretical_experiments import exact_variance, output_mean
from visualizations.theoretical_experiments.exact_variance import compared

FIVE = set(compared_activations())
BY_SCIPY = ("GoLU", "Swish")


def by_scipy(function, mean, deviation):
    def part(low, high):
        return quad(lambda x: function(x) * norm.pdf(x, mean, deviation), low, high, epsabs=1e-11)[0]

    return part(mean - 9 * deviation, mean) + part(mean, mean + 9 * deviation)


def least(rows, mean, deviation):
    here = [row for row in rows if (row["mean"], row["deviation"]) == (mean, deviation)]
    assert len(here) == 5
    return min(here, key=lambda row: row["variance"])["activation"]


def test_exact_variance(figure):
    rows = figure(exact_variance.FIGURE)
    assert {row["activation"] for row in rows} == FIVE
    for row in rows:
        m, s = row["mean"], row["deviation"]
        if row["activation"] == "ReLU":
            first = m * norm.cdf(m / s) + s * norm.pdf(m / s)
            second = (m * m + s * s) * norm.cdf(m / s) + m * s * norm.pdf(m / s)
            assert row["variance"] == pytest.approx(second - first**2, rel=1e-6, abs=1e-9)
        elif row["activation"] in BY_SCIPY and s in (0.5, 1, 3) and m in (-2, 0, 1.5):
            f = FORMULA[row["activation"]]
            first, second = by_scipy(f, m, s), by_scipy(lambda x: f(x) ** 2, m, s)  # noqa: B023
            assert row["variance"] == pytest.approx(second - first**2, rel=1e-6, abs=1e-9)
    assert [least(rows, m, 1) for m in (-3, -2.5, 0, 1.25, 1.5, 3)] == ["ReLU", "GoLU", "GoLU", "GoLU", "ReLU", "ReLU"]
    assert [least(rows, 0, s) for s in (0.1, 1, 3)] == ["GoLU"] * 3


def difference(other, mean, deviation):
    return (moments("GoLU", mean, deviation).variance - moments(other, mean, deviation).variance).item()


def test_where_golu_s_variance_stops_to_be_the_least():
    """As the description says."""
    limits = brentq(lambda s: difference("ReLU", 0, s), 1, 10), brentq(lambda m: difference("ReLU", m, 1), -5, -1)
    limits += brentq(lambda m: difference("ReLU", m, 1), 0, 3), brentq(lambda m: difference("GELU", m, 1), 0, 3)
    for value, limit in zip(("3.88", "-2.70", "1.43", "2.07"), limits, strict=True):
        assert f"{limit:.2f}" == value and value in exact_variance.__doc__


@pytest.mark.parametrize("names", [["Tanh"], ["Sigmoid", "ReLU"]])
def test_exact_variance_of_others(figure, names):
    rows = figure(exact_variance.FIGURE, "--activations", *names)
    assert {row["activation"] for row in rows} == set(names) and len(rows) == 25 * 30 * len(names)
    assert compared(names) == names[-1] and compared(["GoLU", "Tanh"]) == "GoLU"
    at_large = [row["variance"] for row in rows if row["deviation"] == 3 and row["mean"] == 0]
    assert at_large[-1] == pytest.approx(moments(names[-1], 0, 3).variance.item(), rel=1e-6)


def test_output_mean(figure):
    rows = figure(output_mean.FIGURE)
    curves = [row for row in rows if row["kind"] == "mean"]
    for row in curves:
        m, s, found = row["mean"], row["deviation"], row["output_mean"]
        assert m == 0 or s == 1
        if row["activation"] == "ReLU":
            assert found == pytest.approx(m * norm.cdf(m / s) + s * norm.pdf(m / s), rel=1e-6)
            assert m != 0 or found == pytest.approx(s / math.sqrt(2 * math.pi), rel=1e-6)
        elif row["activation"] == "GELU":  # by Stein's identity
            r = m / math.sqrt(1 + s * s)
            expected = m * norm.cdf(r) + s * s / math.sqrt(1 + s * s) * norm.pdf(r)
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-7)
        elif row["activation"] in BY_SCIPY and (m, s) in [(0, 0.5), (0, 3), (-2, 1), (1, 1)]:
            assert found == pytest.approx(by_scipy(FORMULA[row["activation"]], m, s), rel=1e-6, abs=1e-9)
    for s in (0.05, 1, 3):
        at = {row["activation"]: row["output_mean"] for row in curves if (row["mean"], row["deviation"]) == (0, s)}
        assert sorted(at, key=at.get) == ["Swish", "Mish", "GoLU", "GELU", "ReLU"]


def test_the_mean_closest_to_0(figure):
    rows = figure(output_mean.FIGURE)
    nearest = {(row["mean"], row["deviation"]): row for row in rows if row["kind"] == "closest"}
    assert len(nearest) == 61 * 60
    at_1 = [nearest[m, 1]["activation"] for m in (-2, -1.8, -1.0, -0.9, 0, 0.7, 0.8, 3)]
    assert at_1 == ["ReLU", "GoLU", "GoLU", "GELU", "Swish", "Swish", "GoLU", "GoLU"]
    size = min(abs(moments(name, -2.5, 2).mean.item()) for name in FIVE)
    assert abs(nearest[-2.5, 2]["output_mean"]) == pytest.approx(size, rel=1e-6)
    assert all(row["kind"] == "mean" for row in figure(output_mean.FIGURE, "--activations", "Mish"))


def golu_against(other, mean):
    return abs(moments("GoLU", mean, 1).mean.item()) - abs(moments(other, mean, 1).mean.item())


def test_where_golu_s_mean_is_the_closest_to_0():
    """As the description says."""
    zero = brentq(lambda m: moments("GoLU", m, 1).mean.item(), -2, 0)
    left = brentq(lambda m: golu_against("ReLU", m), -2.5, -1.3), brentq(lambda m: golu_against("GELU", m), -1.2, -0.9)
    right = brentq(lambda m: golu_against("Swish", m), 0, 2)
    for value, limit in zip(("-1.25", "-1.83", "-0.99", "0.79"), (zero, *left, right), strict=True):
        assert f"{limit:.2f}" == value and value in output_mean.__doc__
