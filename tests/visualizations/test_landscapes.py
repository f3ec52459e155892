"""The loss around trained models, against the same thing computed plainly."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tasks.small_poc.models import build_model
from visualizations.loss_landscapes import contours, loss_landscape_rotation, roughness, surfaces, weight_noise
from visualizations.shared import landscape
from visualizations.shared.landscape import Evaluated, Points, direction, evaluate
from visualizations.shared.surface import grid
from workbench.training.runs import StoredRun
from workbench.vision.datasets import load_images


@pytest.fixture
def images(tmp_path):
    return load_images("digits", tmp_path)


def run_of(runs, activation="GoLU", seed=0):
    return StoredRun(runs, "digits", "mlp_1", activation, seed)


def plain_model(run, images):
    model = build_model("mlp_1", (1, 8, 8), 10, run.activation)
    model.load_state_dict(torch.load(run.checkpoint_path, weights_only=True)["model"])
    return model.eval()


def resnet():
    torch.manual_seed(0)
    return build_model("resnet20", (1, 8, 8), 10, "GoLU")


def test_by_filter_each_filter_has_the_length_of_the_models():
    model = resnet()
    for parameter, along in zip(model.parameters(), direction(model, 0, "filter"), strict=True):
        if parameter.dim() == 1:
            assert not along.any()
        for own, other in zip(parameter.detach(), along, strict=True):
            if parameter.dim() > 1:
                assert other.norm().item() == pytest.approx(own.norm().item(), rel=1e-5)


def test_as_a_whole_it_has_the_length_of_all_weights():
    model = resnet()
    along = direction(model, 0, "whole")
    weights = torch.cat([each.detach().flatten() for each in model.parameters() if each.dim() > 1])
    assert torch.cat([each.flatten() for each in along]).norm().item() == pytest.approx(weights.norm().item(), rel=1e-5)
    flat = torch.cat([each.flatten() for each in along if each.dim() > 1])
    assert (flat / flat.std()).std().item() == pytest.approx(1) and abs(flat.mean() / flat.std()) < 0.01


def test_a_direction_has_the_same_numbers_for_every_activation_and_others_for_every_seed():
    a, b = (build_model("mlp_1", (1, 8, 8), 10, name) for name in ("ReLU", "GoLU"))
    units = [[part / part.norm() for part in direction(model, 3, "whole") if part.dim() > 1] for model in (a, b)]
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*units, strict=True))
    other = [part for part in direction(a, 4, "whole") if part.dim() > 1]
    assert abs(F.cosine_similarity(other[0].flatten(), units[0][0].flatten(), dim=0)) < 0.05


@pytest.mark.parametrize("normalisation", ["filter", "whole"])
def test_each_point_is_the_loss_of_the_displaced_model(runs, images, one_process, normalisation):
    run = run_of(runs)
    where = ((0.0, 0.0), (0.3, -0.2), (-1.0, 0.5))
    (found,) = evaluate([Points(run, normalisation, (5, 6), where)], runs, accuracy=True)
    model = plain_model(run, images)
    first, second = direction(model, 5, normalisation), direction(model, 6, normalisation)
    for (a, b), loss, accuracy in zip(where, found.losses, found.accuracies, strict=True):
        moved = {
            name: p.detach() + a * u + b * v
            for (name, p), u, v in zip(model.named_parameters(), first, second, strict=True)
        }
        logits = torch.func.functional_call(model, moved, images.train_x)
        assert loss == pytest.approx(F.cross_entropy(logits, images.train_y).item(), rel=1e-5)
        hits = torch.func.functional_call(model, moved, images.val_x).argmax(1) == images.val_y
        assert accuracy == pytest.approx(100 * hits.double().mean().item())


def test_the_model_is_left_as_it_was(runs, images):
    run = run_of(runs)
    model = plain_model(run, images)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    landscape.evaluate_points(model, images, Points(run, "filter", (0,), ((0.5,), (-0.5,))))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_is_no_number_counts_as_the_largest(runs, images):
    run = run_of(runs)
    model = plain_model(run, images)
    found = landscape.evaluate_points(model, images, Points(run, "filter", (0,), ((1e30,), (0.0,))))
    assert found.losses[0] == landscape.LARGEST and found.losses[1] < 3


def copied(runs, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(runs, folder, ignore=shutil.ignore_patterns("landscape_*"))
    return folder


def test_stopped_it_goes_on_with_the_points_that_are_missing(runs, tmp_path, program, monkeypatch, one_process):
    folder = copied(runs, tmp_path)
    flags = ("--results", folder, "--model", "mlp_1", "--activations", "GoLU", "--output", tmp_path, "--points", 5)
    whole = landscape.in_processes

    def stopped(work, arguments, jobs, finished):
        whole(work, arguments[:3], jobs, finished)
        raise KeyboardInterrupt

    monkeypatch.setattr(landscape, "in_processes", stopped)
    code, _, err = program(surfaces.FIGURE, *flags)
    assert code == 130 and err == "stopped: the same command resumes with the points that are missing\n"
    monkeypatch.setattr(landscape, "in_processes", whole)
    done = len(one_process)
    assert done == 3
    assert program(surfaces.FIGURE, *flags)[0] == 0
    assert len(one_process) == 10  # two scalings of five lines, each evaluated once
    assert program(contours.FIGURE, *flags)[0] == 0  # the same points
    assert len(one_process) == 10


def test_weights_that_have_changed_are_evaluated_anew(runs, tmp_path, one_process):
    folder = copied(runs, tmp_path)
    points = Points(run_of(folder), "filter", (0,), ((0.0,), (0.1,)))
    (old,) = evaluate([points], folder)
    shutil.copy(run_of(folder, seed=1).checkpoint_path, points.run.checkpoint_path)
    (new,) = evaluate([points], folder)
    assert len(one_process) == 2 and old.losses != new.losses
    (place,) = [
        path for path in points.run.folder.glob("landscape_0/*") if json.loads(path.read_text())["losses"] == new.losses
    ]
    place.write_text('{"losses": [1.0')  # half a file is none
    assert evaluate([points], folder) == [new] and len(one_process) == 3


def test_processes_give_the_same_numbers(runs, images, tmp_path):
    points = Points(run_of(copied(runs, tmp_path), "ReLU"), "filter", (1,), ((0.2,),))
    (found,) = evaluate([points], tmp_path)
    here = landscape.evaluate_points(plain_model(points.run, images), images, points)
    assert found.losses == pytest.approx(here.losses, rel=1e-6) and isinstance(found, Evaluated)


def test_surfaces_are_a_grid_with_the_minimum_in_the_middle(figure, small, runs, images, one_process):
    rows = figure(surfaces.FIGURE, *small, "--points", 5, "--span", 0.5)
    assert len(rows) == 2 * 2 * 25
    for name in ("ReLU", "GoLU"):
        model = plain_model(run_of(runs, name), images)
        loss = F.cross_entropy(model(images.train_x), images.train_y).item()
        for normalisation in ("filter", "whole"):
            a, b, surface = grid(rows, name, normalisation)
            assert a[:, 0].tolist() == b[0].tolist() == [-0.5, -0.25, 0, 0.25, 0.5]
            assert surface[2, 2] == pytest.approx(loss, rel=1e-5) and surface[0, 0] > loss
    assert figure(contours.FIGURE, *small, "--points", 5, "--span", 0.5) == rows


def test_the_rotation_turns(figure, small, tmp_path, one_process):
    rows = figure(loss_landscape_rotation.FIGURE, *small, "--points", 5, "--frames", 3)
    assert {row["normalisation"] for row in rows} == {"filter"}
    with Image.open(tmp_path / "loss_landscape_rotation.gif") as animation:
        assert animation.n_frames == 3 and animation.info["loop"] == 0
        pictures = []
        for frame in range(3):
            animation.seek(frame)
            pictures.append(np.asarray(animation.convert("RGB")))
    assert all((pictures[i] != pictures[j]).any() for i, j in ((0, 1), (1, 2), (0, 2)))


def test_measures_of_known_lines():
    t = np.linspace(-1, 1, roughness.POINTS)
    bowl = roughness.measures(t, 1 + 3 * t**2)
    assert bowl == pytest.approx({"rise": 0.75, "curvature": 6.0, "detours": 0.0}, abs=1e-9)
    # falls from 1 to 0 and back, with a bump of height 0.5 on one side: 2 * 0.5 more than the way of 2
    bumpy = np.abs(t).copy()
    bumpy[30] = bumpy[29] + 0.5
    assert roughness.measures(t, bumpy)["detours"] == pytest.approx(100 * (2 * (bumpy[30] - bumpy[31])) / 2)
    assert roughness.measures(t, np.abs(t))["curvature"] == pytest.approx(2 / 0.05 / 21)  # all of it in one place


def test_roughness_is_of_lines_through_the_minimum(figure, small, runs, images, one_process, capsys):
    rows = figure(roughness.FIGURE, *small, "--seeds", 2, "--directions", 2)
    assert len(rows) == 2 * 2 * 2 * roughness.POINTS
    for row in rows:
        if row["t"] == 0:
            model = plain_model(run_of(runs, row["activation"], int(row["seed"])), images)
            assert row["loss"] == pytest.approx(F.cross_entropy(model(images.train_x), images.train_y).item(), rel=1e-5)
    found = roughness.by_seed(rows, "GoLU")
    assert found["rise"].n == 2 and found["rise"].standard_error > 0
    rises = []
    for seed in (0, 1):
        at = {
            (row["direction"], row["t"]): row["loss"]
            for row in rows
            if (row["activation"], row["seed"]) == ("GoLU", seed)
        }
        rises.append(np.mean([(at[d, -0.5] + at[d, 0.5]) / 2 - at[d, 0] for d in (0, 1)]))
    assert found["rise"].mean == pytest.approx(np.mean(rises), rel=1e-5)
    assert found["rise"].standard_error == pytest.approx(np.std(rises, ddof=1) / math.sqrt(2), rel=1e-4)


def test_noise_makes_it_worse_and_none_leaves_it(figure, small, runs, images, one_process):
    rows = figure(weight_noise.FIGURE, *small, "--seeds", 1, "--draws", 2, "--noise", 2, 0.5)
    assert [row["noise"] for row in rows][:3] == [0, 0.5, 2]
    model = plain_model(run_of(runs), images)
    accuracy = 100 * (model(images.val_x).argmax(1) == images.val_y).double().mean().item()
    loss = weight_noise.by_seed(rows, "GoLU", "loss")[0]
    assert weight_noise.by_seed(rows, "GoLU", "accuracy")[0, 0] == pytest.approx(accuracy)
    assert loss[0] < loss[1] < loss[2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--points", 4), "must be an odd number of at least 5"),
        (("--span", 0), "must be a number above 0"),
        (("--model", "mlp_2"), "there is no checkpoint"),
        (("--dataset", "digit"), "did you mean digits?"),
        (("--seed", 7), "checkpoint_7.pth"),
        (("--activations", "Goluu"), "unknown activation 'Goluu': did you mean GoLU?"),
        (("--activations", "GoLU", "GoLU"), "--activations names GoLU more than once"),
    ],
)
def test_mistakes(mistake, small, flags, message):
    assert message in mistake(surfaces.FIGURE, *small, *flags)


def test_a_noise_given_twice(mistake, small):
    said = mistake(weight_noise.FIGURE, *small, "--noise", 0.1, 0.1)
    assert said == "error: --noise names 0.1 more than once\n"
