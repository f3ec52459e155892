"""The distributions of learned weights, against the checkpoints themselves."""

import numpy as np
import pytest
import torch

from tasks.small_poc.models import build_model
from visualizations.plot_model_param_dists import spread_by_layer, spread_dists
from visualizations.shared.weights import START
from workbench.training.runs import StoredRun
from workbench.training.seeding import seed_everything


def learned(runs, activation, seed):
    path = StoredRun(runs, "digits", "mlp_1", activation, seed).checkpoint_path
    state = torch.load(path, weights_only=True)["model"]
    return {name: value.double().numpy().ravel() for name, value in state.items() if value.dim() > 1}


def initial(seed):
    seed_everything(seed)
    model = build_model("mlp_1", (1, 8, 8), 10, "ReLU")
    return {name: p.detach().double().numpy().ravel() for name, p in model.named_parameters() if p.dim() > 1}


def test_percentiles_and_deviations_are_those_of_all_weights(figure, small, runs):
    rows = figure(spread_dists.FIGURE, *small, "--seeds", 2)
    for name in ("ReLU", "GoLU", START):
        for seed in (0, 1):
            w = np.concatenate(list((initial(seed) if name == START else learned(runs, name, seed)).values()))
            own = [row for row in rows if row["activation"] == name and row["seed"] == seed]
            percentiles = {row["at"]: row["value"] for row in own if row["quantity"] == "percentile"}
            assert percentiles == pytest.approx(
                {q: np.quantile(w, q / 100) for q in spread_dists.PERCENTILES}, rel=1e-5
            )
            (deviation,) = [row["value"] for row in own if row["quantity"] == "standard deviation"]
            assert deviation == pytest.approx(w.std(), rel=1e-5)


def test_densities_hold_nearly_all_weights(figure, small):
    rows = figure(spread_dists.FIGURE, *small, "--seeds", 1)
    for name in ("ReLU", "GoLU", START):
        of = [(row["at"], row["value"]) for row in rows if (row["activation"], row["quantity"]) == (name, "density")]
        at, density = np.array(of).T
        assert 0.99 < density.sum() * (at[1] - at[0]) <= 1 + 1e-4


def test_spread_is_half_the_distance_of_the_percentiles(figure, small, runs):
    rows = figure(spread_dists.FIGURE, *small, "--seeds", 2)
    low, high = np.quantile(np.concatenate(list(learned(runs, "GoLU", 1).values())), [0.05, 0.95])
    before_low, before_high = np.quantile(np.concatenate(list(initial(1).values())), [0.05, 0.95])
    assert spread_dists.spread(rows, "GoLU", (5, 95))[1] == pytest.approx((high - low) / 2, rel=1e-5)
    ratio = spread_dists.spread_to_start(rows, "GoLU", (5, 95))
    assert ratio.n == 2 and ratio.mean == pytest.approx((high - low) / (before_high - before_low), rel=0.05)


def test_each_layer(figure, small, runs):
    rows = figure(spread_by_layer.FIGURE, *small, "--seeds", 2)
    assert len(rows) == 2 * 2 * 2
    for row in rows:
        layer, seed = f"{row['name']:g}.weight", int(row["seed"])
        w, before = learned(runs, row["activation"], seed)[layer], initial(seed)[layer]
        assert row["spread"] == pytest.approx(w.std(), rel=1e-5)
        assert row["to_start"] == pytest.approx(w.std() / before.std(), rel=1e-5)
