"""The gates, against their formulas in plain Python."""

import math

import pytest

from visualizations.golu_plots import gates

FORMULA = {
    "ReLU": lambda x: float(x > 0),
    "GELU": lambda x: 0.5 * math.erfc(-x / math.sqrt(2)),
    "Swish": lambda x: 1 / (1 + math.exp(-x)),
    "Mish": lambda x: math.tanh(math.log1p(math.exp(x))),
    "GoLU": lambda x: math.exp(-math.exp(-x)),
}


def test_each_gate_is_its_formula(figure):
    rows = figure(gates.FIGURE)
    assert {row["activation"] for row in rows} == set(FORMULA)
    for row in rows:
        g = FORMULA[row["activation"]]
        assert row["gate"] == pytest.approx(g(row["x"]), rel=1e-5, abs=1e-9)
        assert row["asymmetry"] == pytest.approx(g(row["x"]) + g(-row["x"]) - 1, rel=1e-5, abs=1e-9)
