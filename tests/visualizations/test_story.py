"""What docs/behaviour.md says in numbers is what stands in the figures' CSVs."""

from pathlib import Path

import numpy as np
import pytest

from golu.activations import compared_activations
from tests.visualizations.conftest import read_csv
from visualizations.loss_landscapes import roughness, weight_noise
from visualizations.plot_model_param_dists import spread_dists
from visualizations.shared.program import column
from visualizations.shared.seeds import with_error
from visualizations.theoretical_experiments.gradient_size import NORM, PLAIN, by_draw

FIVE = compared_activations()
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/behaviour.md").read_text()


def stored(name):
    return read_csv(ROOT / "assets" / f"{name}.csv")


def test_the_table_of_the_loss_landscape():
    rough = stored("roughness")
    noise = [row for row in stored("weight_noise") if row["noise"] == 0.3]
    for name in FIVE:
        cells = [with_error(each) for each in roughness.by_seed(rough, name).values()]
        cells += [with_error(weight_noise.at_noise(noise, name, metric)[0]) for metric in ("loss", "accuracy")]
        assert f"| {name} | {' | '.join(cells)} |" in PAGE


def test_the_variances():
    rows = [row for row in stored("exact_variance") if (row["mean"], row["deviation"]) == (0, 1)]
    variances = {row["activation"]: row["variance"] for row in rows}
    assert {name: round(variances[name], 4) for name in FIVE} == {
        "GoLU": 0.2526, "Swish": 0.3131, "ReLU": 0.3408, "GELU": 0.3456, "Mish": 0.3945,
    }  # fmt: skip
    for value in variances.values():
        assert f"{value:.4f}" in PAGE


def test_whose_variance_is_the_least():
    rows = [row for row in stored("exact_variance") if row["deviation"] == 1]
    means = sorted({row["mean"] for row in rows})
    of = {name: np.array([column(rows, "variance", activation=name, mean=mean)[0] for mean in means]) for name in FIVE}
    least = [min(FIVE, key=lambda name: of[name][place]) for place in range(len(means))]
    near = [name for mean, name in zip(means, least, strict=True) if -2.5 <= mean <= 1.3]
    far = [name for mean, name in zip(means, least, strict=True) if mean >= 1.5]
    assert set(near) == {"GoLU"} and set(far) == {"ReLU"}
    assert max(FIVE, key=lambda name: of[name][-1]) == "GoLU" and means[-1] == 3


def test_gradients_vanish_most_with_golu_and_with_a_norm_with_none():
    rows = stored("gradient_size")
    plain, norm = ({name: 10 ** by_draw(rows, name, each)[:, 0].mean() for name in FIVE} for each in (PLAIN, NORM))
    assert min(FIVE, key=plain.get) == "GoLU" and plain["GoLU"] < 1e-6
    assert all(0.5 < each < 10 for each in norm.values())


def test_learned_weights_are_spread_most_with_relu_and_by_golu_as_by_swish():
    rows = stored("spread_dists")
    for ends in spread_dists.SPREADS.values():
        found = {name: spread_dists.spread_to_start(rows, name, ends) for name in FIVE}
        assert max(FIVE, key=lambda name: found[name].mean) == "ReLU" and min(each.low for each in found.values()) > 1
    for ends in ((5, 95), (25, 75)):
        golu, swish = (spread_dists.spread_to_start(rows, name, ends) for name in ("GoLU", "Swish"))
        assert golu.mean == pytest.approx(swish.mean, abs=2 * (golu.standard_error + swish.standard_error))


def test_gelus_bowl_is_the_flattest_and_golus_like_others():
    found = {name: roughness.by_seed(stored("roughness"), name) for name in FIVE}
    assert min(FIVE, key=lambda name: found[name]["rise"].mean) == "GELU"
    assert all(each["detours"].mean == 0 for each in found.values())
    golu = found["GoLU"]["rise"]
    for name in ("ReLU", "Swish", "Mish"):
        assert golu.low < found[name]["rise"].mean < golu.high
