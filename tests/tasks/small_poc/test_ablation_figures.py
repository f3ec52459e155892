"""tasks.small_poc.merge_and_plot_contours and lr_heatmaps: which runs they merge, their numbers and what they draw."""

import itertools
import shutil
from dataclasses import asdict
from statistics import fmean, stdev

import pytest

from tasks.small_poc import lr_heatmaps, merge_and_plot_contours
from tasks.small_poc.ablation import Grid, load_merged
from tasks.small_poc.cells import Cell, cells
from tasks.small_poc.panels import Panels, Scale
from tests.tasks.small_poc.conftest import (
    assert_refused,
    change,
    change_trace,
    diverge,
    folder_in,
    read,
    results_in,
    table,
)

DIGITS = "--dataset", "digits", "--results"


def by_seed(runs, metric, epoch, **place):
    """The metric in one place, of each seed that did not diverge."""
    return {
        point.seed: ended.trace[epoch - 1][metric]
        for point, ended in runs.items()
        if asdict(point).items() >= place.items() and ended.results["diverged_at"] is None
    }


def standard_error(values):
    return stdev(values) / len(values) ** 0.5


# The figures' numbers


def test_contours_csv_has_the_means_of_the_runs(program, copy):
    code, out, err = program(merge_and_plot_contours, *DIGITS, copy)
    assert (code, err) == (0, "") and "24 runs" in out and "missing" not in out
    (grid, runs), rows = load_merged([copy], "digits"), table(folder_in(copy) / "contours.csv")
    base = str(grid.base_epochs)
    assert {(row["sweep"], row["lr"], row["epochs"], row["batch_size"]) for row in rows} == {
        *(("lr", lr, base, "32") for lr in ("0.1", "0.01")),
        *(("epochs", "0.01", epochs, "32") for epochs in ("1", "3")),
        *(("batch_size", "0.01", base, size) for size in ("16", "32")),
    }
    assert len(rows) == 2 * 2 * 6
    for row in rows:
        place = {name: kind(row[name]) for name, kind in (("blocks", int), ("lr", float), ("batch_size", int))}
        for metric in ("val_loss", "val_accuracy"):
            values = by_seed(runs, metric, int(row["epochs"]), activation=row["activation"], **place)
            found = float(row[metric]), float(row[f"{metric}_standard_error"])
            assert found == pytest.approx((fmean(values.values()), standard_error(values.values())))
        assert (row["seeds"], row["diverged"], row["missing"], len(values)) == ("2", "0", "0", 2)
    assert (folder_in(copy) / "contours_loss.png").stat().st_size > 20_000
    assert (folder_in(copy) / "contours_loss.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("damaged", [False, True])
def test_lr_heatmap_csv_has_paired_differences_and_the_best(damaged, program, copy, tmp_path):
    """GoLU with one block at lr 0.1 may lose a run of a seed, ReLU with two blocks another."""
    if damaged:
        diverge(*results_in(copy, "0_lr0.1_batch32", 1, "GoLU"))
        results_in(copy, "1_lr0.1_batch32", 2, "ReLU")[0].unlink()
    code, out, err = program(lr_heatmaps, *DIGITS, copy, "--output", tmp_path / "figures")
    assert (code, err, "1 of 24 runs are missing" in out) == (0, "", damaged)
    rows = {(row["activation"], row["lr"], row["blocks"]): row for row in table(tmp_path / "figures/lr_heatmap.csv")}
    assert len(rows) == 8
    grid, runs = load_merged([copy], "digits")
    for lr, blocks in itertools.product((0.1, 0.01), (1, 2)):
        place = {"lr": lr, "blocks": blocks, "batch_size": 32}
        relu, golu = (
            by_seed(runs, "val_accuracy", grid.base_epochs, activation=each, **place) for each in ("ReLU", "GoLU")
        )
        base, row = (rows[each, str(lr), str(blocks)] for each in ("ReLU", "GoLU"))
        differences = [golu[seed] - relu[seed] for seed in relu.keys() & golu.keys()]
        assert float(row["val_accuracy"]) == pytest.approx(fmean(golu.values()))
        assert float(row["difference"]) == pytest.approx(fmean(differences), abs=1e-9)
        assert row["difference_n"] == str(len(differences)) and base["difference"] == ""
        if len(differences) == 2:
            error = standard_error(differences)
            assert float(row["difference_standard_error"]) == pytest.approx(error, abs=1e-9)
            assert (row["best"], base["best"]) == (str(fmean(differences) >= 0), str(fmean(differences) <= 0))
    if damaged:
        row = rows["GoLU", "0.1", "1"]
        assert (row["seeds"], row["diverged"], row["missing"], row["best"]) == ("2", "1", "0", "False")
        assert rows["ReLU", "0.1", "2"]["missing"] == "1"
    assert (tmp_path / "figures/lr_heatmap.png").stat().st_size > 20_000


# Merging


def test_results_of_two_machines_merge(program, whole, tmp_path):
    """A run that both have counts once: times alone may differ."""
    a, b = tmp_path / "a", tmp_path / "b"
    for path, other in ((a, 1), (b, 0)):
        shutil.copytree(whole, path)
        for each in results_in(path, f"{other}_*"):
            each.unlink()
    for path in results_in(a, "0_lr0.01_batch16"):
        shutil.copy(path, b / path.relative_to(a))
        change_trace(b / path.relative_to(a), seconds=99.0, images_per_second=1.0)
    (grid, expected), (merged_grid, merged) = load_merged([whole], "digits"), load_merged([a, b], "digits")
    assert merged_grid == grid
    assert {point: each.outcome for point, each in merged.items()} == {p: e.outcome for p, e in expected.items()}
    code, out, _ = program(merge_and_plot_contours, *DIGITS, a, "--results-path", b)
    assert code == 0 and "24 runs" in out and "missing" not in out
    assert {(row["seeds"], row["missing"]) for row in table(folder_in(a) / "contours.csv")} == {("2", "0")}


@pytest.mark.parametrize("altered", [lambda path: change_trace(path, val_loss=9.0), diverge])
def test_the_same_run_with_other_numbers_is_refused(altered, program, whole, copy):
    path = results_in(copy)[0]
    altered(path)
    assert_refused(program(merge_and_plot_contours, *DIGITS, whole, copy), str(results_in(whole)[0]), str(path))


def test_results_that_do_not_go_together_are_refused(program, whole, copy):
    grid = folder_in(copy) / "grid.json"
    for values, said in (({"lr": 0.5}, "--lr is 0.01 and 0.5"), ({"epochs": [1, 4]}, "of --epochs is 3 and 4")):
        shutil.copy(folder_in(whole) / "grid.json", grid)
        change(grid, **values)
        assert_refused(program(lr_heatmaps, *DIGITS, whole, copy), said, str(copy), str(whole))
    path = results_in(copy)[5]
    change(path, configuration=read(path)["configuration"] | {"limit_train": 7})
    assert_refused(program(lr_heatmaps, *DIGITS, whole, copy), "limit_train=7, not limit_train=100")
    grid.unlink()
    assert_refused(program(lr_heatmaps, *DIGITS, copy), str(grid), "run_small_ablation")


# Little or nothing to draw


@pytest.mark.parametrize("module", [merge_and_plot_contours, lr_heatmaps])
def test_no_runs_and_how_to_make_some(module, program, tmp_path):
    assert_refused(program(module, *DIGITS, tmp_path), str(tmp_path), "run_small_ablation --dataset digits")
    assert_refused(program(module, "--results", tmp_path), "required: --dataset")


def test_an_incomplete_ablation_is_drawn_as_far_as_it_goes(program, copy):
    for path in [*results_in(copy, "*_batch16"), *results_in(copy, "1_*_batch32", activation="GoLU")]:
        path.unlink()
    code, out, _ = program(merge_and_plot_contours, *DIGITS, copy)
    assert code == 0 and "12 of 24 runs are missing" in out
    assert "blocks x batch size has no two values on each axis" in out
    rows = table(folder_in(copy) / "contours.csv")
    rows = [row for row in rows if (row["sweep"], row["batch_size"]) == ("batch_size", "16")]
    assert {(row["seeds"], row["missing"], row["val_loss"]) for row in rows} == {("0", "2", "")}
    grid, runs = load_merged([copy], "digits")
    panels = Panels.of(grid, runs, "lr")
    for figure in (
        merge_and_plot_contours.draw("digits", grid, [panels], "loss"),
        lr_heatmaps.draw("digits", lr_heatmaps.Heatmap(grid, panels, "ReLU")),
    ):
        assert "some means are of fewer seeds" in figure.get_supxlabel().replace("\n", " ")

    for path in results_in(copy, blocks=2):
        path.unlink()
    for module in (merge_and_plot_contours, lr_heatmaps):
        assert_refused(program(module, *DIGITS, copy), "two", "run_small_ablation")


@pytest.mark.parametrize(
    ("module", "flags", "said"),
    [
        (merge_and_plot_contours, ("--metric", "acuracy"), "did you mean accuracy?"),
        (lr_heatmaps, ("--baseline", "Mish"), "--baseline Mish is not among the activations: ReLU, GoLU"),
    ],
)
def test_a_mistake_with_the_figures_is_one_line(module, flags, said, program, whole):
    called = program(module, *DIGITS, whole, *flags)
    assert_refused(called, said)
    assert called[1] == ""


# What is drawn


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_the_star_is_at_the_optimum(metric, whole):
    grid, runs = load_merged([whole], "digits")
    panels = [Panels.of(grid, runs, sweep) for sweep in ("lr", "epochs", "batch_size")]
    figure = merge_and_plot_contours.draw("digits", grid, panels, metric)
    all_means = [[z for name in grid.activations for line in each.means(name, metric) for z in line] for each in panels]
    scales = [Scale.of(each, metric) for each in all_means]
    choose = min if metric == "loss" else max
    for row, (sweep, place) in enumerate((("lr", lambda x: 10**x), ("epochs", float), ("batch_size", lambda x: 2**x))):
        for column, activation in enumerate(("ReLU", "GoLU")):
            axes = figure.axes[2 * row + column]
            (star,) = [line for line in axes.get_lines() if line.get_marker() == "*"]
            own = [cell for cell in cells(grid, runs, sweep) if cell.activation == activation]
            means = [fmean(cell.converged(f"val_{metric}").values()) for cell in own]
            value, best = choose(zip(means, own, strict=True), key=lambda each: each[0])
            assert star.get_xdata()[0] == best.blocks and place(star.get_ydata()[0]) == pytest.approx(best.value)
            assert axes.get_title(loc="right") == (f"★ {value:.3f}" if metric == "loss" else f"★ {value:.2f}")
            assert axes.get_title(loc="left") == (activation if row == 0 else "")
            drawn = [scales[row].drawn(each) for each in means]
            (contours,) = axes.collections
            assert (contours.zmin, contours.zmax) == pytest.approx((min(drawn), max(drawn)))
            assert list(contours.levels) == scales[row].levels


def test_diverged_cells_are_hatched_and_named(copy):
    diverge(*results_in(copy, "0_lr0.1_batch32", 1, "GoLU"))
    grid, runs = load_merged([copy], "digits")
    figure = merge_and_plot_contours.draw("digits", grid, [Panels.of(grid, runs, "lr")], "loss")
    hatched = [[patch for patch in axes.patches if patch.get_hatch()] for axes in figure.axes[:2]]
    (patch,) = hatched[1]
    assert not hatched[0]
    assert patch.get_bbox().bounds == pytest.approx((1, -1.5, 0.5, 0.5))  # from one block, and log10 0.1, half-way
    assert "Hatched: a run diverged" in figure.get_supxlabel().replace("\n", " ")


def test_the_heatmap_shows_the_numbers_in_short():
    """Five characters are enough for two digits after the point, and zero has no sign of its own."""
    accuracies = {"ReLU": (97.0, 100.0, 50.0, 0.5), "GoLU": (97.126, 97.0, 37.66, 0.499)}
    places = [(blocks, lr) for lr in (0.1, 0.01) for blocks in (1, 2)]
    found = {
        (activation, *place): Cell(activation, *place, {0: {"val_accuracy": value}})
        for activation, values in accuracies.items()
        for place, value in zip(places, values, strict=True)
    }
    grid = Grid(("ReLU", "GoLU"), (0,), (1, 2), (0.1, 0.01), (1,), (32,), 0.01, 32)
    figure = lr_heatmaps.draw("digits", lr_heatmaps.Heatmap(grid, Panels("lr", found, [1, 2], [0.1, 0.01]), "ReLU"))
    shown = [[text for text in axes.texts if text.get_text()] for axes in figure.axes[:4]]
    for texts in (*shown[:2], shown[3]):
        assert [text.get_position() for text in texts] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert [[text.get_text() for text in texts] for texts in shown] == [
        ["97.00", "100.0", "50.00", "0.50"],
        ["97.13", "97.00", "37.66", "0.50"],
        ["baseline"],
        ["+0.13", "\N{MINUS SIGN}3.00", "\N{MINUS SIGN}12.3", "+0.00"],
    ]


def test_an_outlier_does_not_pale_all_other_differences():
    assert lr_heatmaps.colour_limit([0.1, -0.2, 0.3, 40.0, -0.4]) == pytest.approx(0.9)
    assert lr_heatmaps.colour_limit([0.5, -0.6, 0.4]) == 0.6
    assert lr_heatmaps.colour_limit([0.0, 0.0]) == lr_heatmaps.colour_limit([]) == 1.0


@pytest.mark.parametrize(
    ("metric", "means", "logarithmic"),
    [
        ("loss", [0.1, 2.0], True),
        ("loss", [0.5, 0.6], False),
        ("loss", [1.0], False),
        ("loss", [1e-3, 900.0], True),
        ("accuracy", [15.0, 99.0], True),
        ("accuracy", [97.0, 97.5], False),
        ("accuracy", [10.0, 10.0], False),
    ],
)
def test_the_colour_scale_holds_all_and_its_ticks_tell_the_values(metric, means, logarithmic):
    scale = Scale.of([*means, float("nan")], metric)
    assert scale.logarithmic == logarithmic
    assert all(scale.levels[0] < scale.drawn(each) < scale.levels[-1] for each in means)
    assert scale.levels == sorted(set(scale.levels))
    assert [float(scale.text(scale.drawn(each))) for each in means] == means
    assert all(scale.levels[0] <= each <= scale.levels[-1] for each in scale.ticks)
    texts = [scale.text(each) for each in scale.ticks]
    assert 2 <= len(texts) == len(set(texts)) <= 8
