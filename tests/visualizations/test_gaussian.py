"""Quadrature against closed forms and against SciPy's adaptive quadrature."""

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from golu.activations import distinct_activations
from visualizations.shared.functions import values
from visualizations.shared.gaussian import expectation, moments

MEANS = [-40.0, -3.0, -0.7, 0.0, 1e-3, 2.0, 12.0]
DEVIATIONS = [0.01, 0.1, 1.0, 3.0, 60.0]


def relu(mean, deviation):
    """E f, E f^2 and E f' of ReLU."""
    r = mean / deviation
    first = mean * norm.cdf(r) + deviation * norm.pdf(r)
    return first, (mean**2 + deviation**2) * norm.cdf(r) + mean * deviation * norm.pdf(r), norm.cdf(r)


def test_relu_is_its_closed_form_at_any_mean_and_deviation():
    mean, deviation = np.meshgrid(MEANS, DEVIATIONS)
    of = moments("ReLU", mean, deviation)
    first, second, slope = relu(mean, deviation)
    assert of.mean.shape == mean.shape
    assert of.mean == pytest.approx(first, rel=1e-11, abs=1e-15)
    assert of.mean_square == pytest.approx(second, rel=1e-11, abs=1e-15)
    assert of.variance == pytest.approx(second - first**2, rel=1e-9, abs=1e-10)
    assert of.mean_slope == pytest.approx(slope, rel=1e-11, abs=1e-15)
    assert of.mean_squared_slope == pytest.approx(slope, rel=1e-11, abs=1e-15)


def by_scipy(function, mean, deviation):
    """The integral in pieces around 0 and around the mean."""
    low, high = mean - 10 * deviation, mean + 10 * deviation
    cuts = sorted({low, high, *np.clip([-30, -5, 0, 5, 30, mean - 2 * deviation, mean + 2 * deviation], low, high)})
    density = norm(mean, deviation).pdf
    pieces = [
        quad(lambda x: function(np.array(x)).item() * density(x), *piece, epsabs=1e-12, epsrel=1e-12, limit=200)[0]
        for piece in itertools.pairwise(cuts)
    ]
    return math.fsum(pieces)


@pytest.mark.parametrize("name", [name for name in distinct_activations() if name != "ReLU"])
def test_other_activations_are_what_scipy_finds(name):
    for mean, deviation in [(0.0, 1.0), (-2.0, 3.0), (0.3, 25.0)]:
        of = moments(name, mean, deviation)
        centre = by_scipy(lambda x: values(name, x), mean, deviation)
        assert of.mean == pytest.approx(centre, rel=1e-10, abs=1e-10)
        assert of.mean_squared_slope == pytest.approx(
            by_scipy(lambda x: values(name, x, 1) ** 2, mean, deviation), rel=1e-9, abs=1e-10
        )
        if deviation < 25:
            variance = by_scipy(lambda x: (values(name, x) - centre) ** 2, mean, deviation)  # noqa: B023
            assert of.variance == pytest.approx(variance, rel=1e-9, abs=1e-10)


def test_variances_at_the_standard_normal():
    known = {"GoLU": 0.2526, "Swish": 0.3131, "ReLU": 0.3408, "GELU": 0.3456, "Mish": 0.3945}
    for name, variance in known.items():
        assert moments(name, 0, 1).variance == pytest.approx(variance, abs=5e-5)
    assert moments("ReLU", 0, 1).variance == pytest.approx(0.5 - 0.5 / math.pi, rel=1e-12)


def test_stein_s_identity_ties_values_to_slopes():
    # E (X - mean) f(X) = deviation^2 E f'(X)
    for name in distinct_activations():
        left = expectation(lambda x: (x - 0.4) * values(name, x), 0.4, 1.7)  # noqa: B023
        assert left == pytest.approx(1.7**2 * moments(name, 0.4, 1.7).mean_slope, rel=1e-10)


def test_deviation_0_is_the_point_itself():
    at = np.array([-1.3, 0.0, 2.0])
    of = moments("GoLU", at, 0.0)
    assert of.mean == pytest.approx(at * np.exp(-np.exp(-at)), rel=1e-13, abs=1e-15)
    assert of.variance == pytest.approx(0, abs=1e-20)
    assert of.mean_slope[1] == pytest.approx(1 / math.e)


def test_many_distributions_at_once_are_each_alone():
    mean = np.linspace(-3, 3, 4500).reshape(2, -1)
    of = moments("Mish", mean, 0.5)
    assert of.variance[1, 7] == pytest.approx(moments("Mish", mean[1, 7], 0.5).variance, rel=1e-14)


def test_a_negative_deviation_is_an_error():
    with pytest.raises(ValueError, match="at least 0"):
        moments("ReLU", 0.0, -1.0)
