"""The gates as distributions: scipy's distributions, closed forms of their moments, and quadrature for Mish's."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from visualizations.probability_distributions import gumbel_normal_logistic, standardised
from visualizations.shared.program import column, names_in

ZETA_3 = 1.2020569031595942
REFERENCE = {"GELU": stats.norm, "Swish": stats.logistic, "GoLU": stats.gumbel_r}
MOMENTS = {  # mean, deviation, skewness, excess kurtosis
    "GELU": (0, 1, 0, 0),
    "Swish": (0, math.pi / math.sqrt(3), 0, 6 / 5),
    "GoLU": (np.euler_gamma, math.pi / math.sqrt(6), 12 * math.sqrt(6) * ZETA_3 / math.pi**3, 12 / 5),
}


def mish_gate(x):
    w = math.exp(x)
    return (w * w + 2 * w) / (w * w + 2 * w + 2)


def mish_density(x):
    w = math.exp(x)
    return 4 * w * (w + 1) / (w * w + 2 * w + 2) ** 2


def mish_moments():
    def integral(power, centre=0.0):
        return quad(lambda x: (x - centre) ** power * mish_density(x), -60, 40, points=[0], epsabs=1e-12, limit=200)[0]

    mean = integral(1)
    deviation = math.sqrt(integral(2, mean))
    return mean, deviation, integral(3, mean) / deviation**3, integral(4, mean) / deviation**4 - 3


def check_curves(rows):
    for row in rows:
        name, x = row["activation"], row["x"]
        cdf, pdf = (REFERENCE[name].cdf, REFERENCE[name].pdf) if name in REFERENCE else (mish_gate, mish_density)
        assert row["distribution"] == pytest.approx(cdf(x), rel=1e-5, abs=1e-9)
        assert row["density"] == pytest.approx(pdf(x), rel=1e-5, abs=1e-9)


def test_the_gates_are_the_distribution_functions_and_their_slopes_the_densities(figure):
    rows = figure(gumbel_normal_logistic.FIGURE, "--activations", "Mish", "GELU", "GoLU", "Swish")
    assert names_in(rows) == ["Mish", "GELU", "GoLU", "Swish"]
    check_curves(rows)
    where = {(row["activation"], row["point"]): row["x"] for row in rows if row["point"] != "curve"}
    for name in ("GELU", "Swish"):
        assert [where[name, average] for average in gumbel_normal_logistic.AVERAGES] == pytest.approx([0, 0, 0])
    assert where["GoLU", "mode"] == pytest.approx(0, abs=1e-9)
    assert where["GoLU", "median"] == pytest.approx(-math.log(math.log(2)), rel=1e-6)
    assert where["GoLU", "mean"] == pytest.approx(np.euler_gamma, rel=1e-6)
    assert where["Mish", "median"] == pytest.approx(math.log(math.sqrt(3) - 1), rel=1e-6)  # w^2 + 2 w = 2
    assert where["Mish", "mean"] == pytest.approx(mish_moments()[0], rel=1e-6)
    assert mish_density(where["Mish", "mode"]) >= max(mish_density(where["Mish", "mode"] + d) for d in (-1e-3, 1e-3))
    at_0 = {row["activation"]: row["distribution"] for row in rows if row["point"] == "at 0"}
    assert at_0 == pytest.approx({"GELU": 0.5, "Swish": 0.5, "Mish": 0.6, "GoLU": 1 / math.e}, rel=1e-6)


def test_the_default_leaves_mish_out(figure):
    rows = figure(gumbel_normal_logistic.FIGURE)
    assert names_in(rows) == ["GELU", "Swish", "GoLU"]
    check_curves(rows)


def test_moments_are_the_closed_forms_and_quadratures(figure):
    rows = figure(standardised.FIGURE)
    assert names_in(rows) == ["GELU", "Swish", "Mish", "GoLU"]
    for name, expected in {**MOMENTS, "Mish": mish_moments()}.items():
        shown = [column(rows, "value", activation=name, quantity=each).item() for each in standardised.MOMENTS]
        assert shown == pytest.approx(expected, rel=1e-6, abs=1e-9)
    for number in ("1.1395", "-0.6573", "1.6320"):
        assert number in standardised.__doc__.replace("\n", " ")
        assert any(f"{row['value']:.4f}" == number for row in rows if row["quantity"] in standardised.SHAPES)


def test_the_curves_are_standardised_densities(figure):
    rows = figure(standardised.FIGURE, "--activations", "GoLU", "Swish")
    for name in ("GoLU", "Swish"):
        mean, deviation, *_ = MOMENTS[name]
        z, p = (column(rows, each, activation=name, quantity="density") for each in ("z", "value"))
        assert p == pytest.approx(REFERENCE[name](-mean / deviation, 1 / deviation).pdf(z), rel=1e-5, abs=1e-9)
        difference = column(rows, "value", activation=name, quantity="asymmetry")
        assert difference == pytest.approx(p - p[::-1], abs=1e-6)
    assert (column(rows, "value", activation="Swish", quantity="asymmetry") == 0).all()


def test_the_moments_are_printed(program, tmp_path):
    code, out, err = program(standardised.FIGURE, "--output", tmp_path, "--dpi", 40, "--activations", "GoLU", "GELU")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["GoLU", "Gumbel", "0.5772", "1.2825", "1.1395", "2.4000"] in lines
    assert ["GELU", "normal", "0.0000", "1.0000", "0.0000", "0.0000"] in lines


@pytest.mark.parametrize("module", [gumbel_normal_logistic, standardised])
def test_an_activation_whose_gate_is_no_such_distribution_is_one_line(mistake, module):
    assert "unknown activation 'ReLU'" in mistake(module.FIGURE, "--activations", "ReLU")
