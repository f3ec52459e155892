"""Sizes of gradients: closed forms for ReLU, quadrature by scipy for GoLU, and networks against the theory."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from tests.visualizations.formulas import golu, golu_slope, normal
from visualizations.theoretical_experiments import gradient_size
from visualizations.theoretical_experiments.gradient_size import NORM, PLAIN, measured, predicted


def expected(function, deviation=1.0, mean=0.0):
    reach = 12 * deviation
    weighted = lambda x: function(x) * normal(x, mean, deviation)  # noqa: E731
    return quad(weighted, mean - reach, mean + reach, epsabs=1e-12, limit=200)[0]


def test_slopes_are_those_of_the_quadrature(figure):
    rows = figure(gradient_size.FIGURE, "--depth", 2, "--width", 8, "--draws", 1, "--activations", "ReLU", "GoLU")
    for row in rows:
        if row["over"] == "layer":
            continue
        mean, deviation = (row["at"], 1.0) if row["over"] == "mean" else (0.0, row["at"])
        if row["activation"] == "ReLU":
            size = math.sqrt(0.5 * math.erfc(-mean / deviation / math.sqrt(2)))
        elif round(row["at"] * 20) % 20 == 0:  # some of the places
            size = math.sqrt(expected(lambda x: golu_slope(x) ** 2, deviation, mean))
        else:
            continue
        assert row["size"] == pytest.approx(size, rel=1e-5)


def test_without_norms_relu_keeps_the_gradient_and_golu_loses_it_as_the_recursion_says():
    assert np.allclose(predicted("ReLU", PLAIN, 30), 0, atol=1e-9)
    q, length = 1.0, 0.0
    for _ in range(3):
        length += 0.5 * math.log10(2 * expected(lambda x: golu_slope(x) ** 2, math.sqrt(q)))
        q = 2 * expected(lambda x: golu(x) ** 2, math.sqrt(q))
    found = predicted("GoLU", PLAIN, 4)
    assert found[0] == pytest.approx(length, rel=1e-8) and found[-1] == 0 and (np.diff(found) > 0).all()
    assert length < -0.3


def test_with_a_norm_every_layer_has_the_same_factor():
    factor = expected(lambda x: golu_slope(x) ** 2) / expected(lambda x: golu(x) ** 2)
    assert predicted("GoLU", NORM, 5) == pytest.approx([0.5 * math.log10(factor) * k for k in (4, 3, 2, 1, 0)])
    assert factor == pytest.approx(1.0877, abs=1e-3)


@pytest.mark.parametrize("name", ["ReLU", "GELU", "GoLU"])
@pytest.mark.parametrize("network", [PLAIN, NORM])
def test_wide_networks_are_as_predicted(name, network):
    depth = 6
    found = np.mean([measured(name, network, depth, 1024, draw) for draw in range(6)], axis=0)
    # of log10: a tenth; with one draw in four it is twice that
    assert found == pytest.approx(predicted(name, network, depth), abs=0.05)


def test_the_figure_holds_what_was_measured(figure):
    rows = figure(gradient_size.FIGURE, "--depth", 4, "--width", 16, "--draws", 2, "--activations", "GoLU")
    own = [row for row in rows if (row["over"], row.get("network"), row.get("draw")) == ("layer", NORM, 1)]
    assert [math.log10(row["size"]) for row in own] == pytest.approx(measured("GoLU", NORM, 4, 16, 1), abs=1e-6)
    assert [math.log10(row["predicted"]) for row in own] == pytest.approx(predicted("GoLU", NORM, 4), abs=1e-6)


@pytest.mark.parametrize("flag", ["--depth", "--width", "--draws"])
def test_mistakes(mistake, flag):
    assert "must be a whole number of at least 1" in mistake(gradient_size.FIGURE, flag, 0)
