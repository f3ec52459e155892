"""Eigenvalues of activated random matrices: known matrices, the theory for large ones, and the figure's numbers."""

import math

import numpy as np
import pytest

from visualizations.eigenvalue_analysis import largest_eigenvalues
from visualizations.eigenvalue_analysis.largest_eigenvalues import largest, predicted


def test_known_matrices():
    assert largest("ReLU", np.diag([3.0, -5.0, 1.0])) == pytest.approx(3)  # the -5 is cut to 0
    assert largest("LeakyReLU", np.array([[-1.0, 0], [0, -2.0]])) == pytest.approx(0.02)  # by its absolute value
    constant = np.full((20, 20), 2.0)
    assert largest("GoLU", constant) == pytest.approx(20 * 2 * math.exp(-math.exp(-2)))


def test_prediction_is_the_larger_of_the_disc_and_the_outlier():
    phi = 1 / math.sqrt(2 * math.pi)
    variance = 0.5 - phi**2
    (outlier,) = predicted("ReLU", np.array([0.0]), np.array([1.0]), 100)
    assert outlier == pytest.approx(100 * phi)
    (disc,) = predicted("Tanh", np.array([0.0]), np.array([1.0]), 100)  # mean 0
    assert disc == pytest.approx(10 * math.sqrt(0.3942944), rel=1e-5)
    assert math.sqrt(100 * variance) < outlier


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (-2.0, 0.5)])
def test_large_matrices_are_as_predicted(mean, deviation):
    normal = np.random.default_rng(1).standard_normal((200, 200))
    for name in ("ReLU", "GELU", "GoLU", "Tanh"):
        expected = predicted(name, np.array(mean), np.array(deviation), 200).item()
        if expected > 1:  # ReLU at (-2, 0.5) is nearly all zeros
            assert largest(name, mean + deviation * normal) == pytest.approx(expected, rel=0.12)


def test_the_numbers_of_the_figure(figure):
    rows = figure(largest_eigenvalues.FIGURE, "--size", 20, "--draws", 2, "--activations", "GoLU", "ReLU")
    normal = np.random.default_rng(0).standard_normal((2, 20, 20))
    (at,) = [
        r for r in rows if (r["activation"], r["kind"], r["mean"], r["deviation"]) == ("ReLU", "largest", 0.8, 1.5)
    ]
    by_hand = [np.abs(np.linalg.eigvals(np.maximum(0.8 + 1.5 * each, 0))).max() / 20 for each in normal]
    assert at["value"] == pytest.approx(np.mean(by_hand), rel=1e-6)
    assert at["standard_error"] == pytest.approx(np.std(by_hand, ddof=1) / math.sqrt(2), rel=1e-5)
    spectrum = [
        complex(r["value"], r["imaginary"]) for r in rows if r["kind"] == "spectrum" and r["activation"] == "GoLU"
    ]
    assert len(spectrum) == 20
    trace = np.trace(normal[0] * np.exp(-np.exp(-normal[0]))) / math.sqrt(20)
    assert sum(spectrum) == pytest.approx(trace, rel=1e-4)


@pytest.mark.parametrize("size", [9, 2001])
def test_a_size_out_of_range(mistake, size):
    said = f"error: --size {size} is out of range: from 10 to 2000\n"
    assert mistake(largest_eigenvalues.FIGURE, "--size", size) == said


def test_one_draw_has_no_error(figure):
    rows = figure(largest_eigenvalues.FIGURE, "--size", 10, "--draws", 1, "--activations", "GoLU")
    assert {row["standard_error"] for row in rows} == {""}
