"""python -m tasks.small_poc.run_small_ablation, and the two programs that draw what it stores."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

import pytest
import torch
import torch.nn.functional as F

from tasks.small_poc import ablation, lr_heatmaps, merge_and_plot_contours, run_small_ablation
from tasks.small_poc.ablation import Configuration, Grid, Point, cells, initial_model, load_merged, missing, train_point
from tasks.small_poc.merge_and_plot_contours import Panels, Scale
from workbench.cli.errors import UserError, run
from workbench.training import workers
from workbench.vision.datasets import Images, load_images

ROOT = Path(__file__).parents[2]
SIZES = ("--dataset", "digits", "--limit-train", 100, "--limit-val", 50)
AXES = ("--blocks", 1, 2, "--learning-rates", 0.1, 0.01, "--batch-sizes", 16, 32, "--batch-size", 32)
TWO = ("--activations", "ReLU", "GoLU")
SMALL = (*SIZES, *AXES, *TWO, "--epochs", 1, 3, "--seeds", 2, "--jobs", 1)
RUNS = 24  # two activations, seeds and numbers of blocks, each at the base values, at lr 0.1 and at batch size 16
POINT = Point("GoLU", seed=0, blocks=2, lr=0.1, batch_size=32)


@pytest.fixture
def call(monkeypatch, capsys):
    """A program in this process; returns (exit code, stdout, stderr)."""

    def call(program, *arguments):
        monkeypatch.setattr(sys, "argv", [program.__name__, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run(program.main)
        return ended.value.code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def images():
    return load_images("digits", None, limit_train=100, limit_val=50)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The results path of an ablation that was never stopped; to be read only."""
    path = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["run_small_ablation", *map(str, SMALL), "--results-path", str(path)])
        run_small_ablation.main()
    return path


@pytest.fixture
def copy(whole, tmp_path):
    """The same, to be changed."""
    shutil.copytree(whole, tmp_path / "results")
    return tmp_path / "results"


def files_of(path, pattern="*.json"):
    return sorted((path / "small_ablation" / "digits" / "runs").glob(pattern))


def stored(path):
    return [json.loads(each.read_text()) for each in files_of(path)]


def numbers(path):
    """By file, all of the runs but times and environment."""
    skipped = ("seconds", "environment")
    return {
        each.name: {name: value for name, value in json.loads(each.read_text()).items() if name not in skipped}
        for each in files_of(path)
    }


def table(path, name):
    with (path / "small_ablation" / "digits" / name).open() as file:
        return list(csv.DictReader(file))


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# Which trainings there are

DEFAULT = Grid(
    ("ReLU", "GoLU"), (0, 1, 2), (1, 2, 3, 4), (0.1, 0.01, 0.001, 0.0001), (5, 6, 7, 8), (32, 64, 128, 256), 0.01, 128
)


def test_what_sweeps_share_is_trained_once():
    trainings = DEFAULT.trainings()
    assert len(trainings) == 2 * 3 * 4 * (1 + 3 + 3)  # the base values, three more learning rates and batch sizes
    base = {point: epochs for point, epochs in trainings.items() if (point.lr, point.batch_size) == (0.01, 128)}
    assert set(base.values()) == {8} and len(base) == 24
    assert {epochs for point, epochs in trainings.items() if point not in base} == {5}
    assert list(trainings)[:28] == [point for point in trainings if (point.activation, point.seed) == ("ReLU", 0)]


def test_base_values_need_not_be_swept():
    grid = Grid(("ReLU",), (0,), (1,), (0.1,), (2,), (64,), lr=0.5, batch_size=16)
    assert grid.trainings() == {
        Point("ReLU", 0, 1, 0.1, 16): 2,
        Point("ReLU", 0, 1, 0.5, 16): 2,
        Point("ReLU", 0, 1, 0.5, 64): 2,
    }


# One training


def test_a_training_by_hand(images):
    """Two epochs of SGD with momentum, written out."""
    model = initial_model(POINT, images)
    parameters = list(model.parameters())
    velocities = [torch.zeros_like(each) for each in parameters]
    orders = [ablation.Sampling(100, 32, 0).order(epoch) for epoch in (0, 1)]
    assert not torch.equal(*orders)
    for epoch, order in enumerate(orders):
        losses = []
        for step in range(3):  # the last four images fill no batch
            batch = order[32 * step : 32 * step + 32]
            loss = -model(images.train_x[batch]).log_softmax(1)[range(32), images.train_y[batch]].mean()
            losses.append(loss.item())
            with torch.no_grad():
                for parameter, velocity, gradient in zip(
                    parameters, velocities, torch.autograd.grad(loss, parameters), strict=True
                ):
                    velocity.mul_(0.9).add_(gradient)
                    parameter.sub_(0.1 * velocity)
        with torch.no_grad():
            logits = model(images.val_x)
        expected = {
            "epoch": epoch + 1,
            "train_loss": pytest.approx(fmean(losses), rel=1e-4),
            "val_loss": pytest.approx(F.cross_entropy(logits, images.val_y).item(), rel=1e-4),
            "val_accuracy": 2 * (logits.argmax(1) == images.val_y).sum().item(),
        }
        assert train_point(POINT, 2, images, momentum=0.9)["epochs"][epoch] == expected


def test_every_activation_starts_from_the_same_weights_and_sees_the_same_batches(images, monkeypatch):
    seen = []
    steps = ablation.Sampling.steps

    def recorded(*arguments):
        for step in steps(*arguments):
            seen[-1].append(step[0][0].tolist())
            yield step

    monkeypatch.setattr(ablation.Sampling, "steps", recorded)
    states = []
    for point in (POINT, Point("ReLU", 0, 2, 0.1, 32), Point("ReLU", 1, 2, 0.1, 32)):
        seen.append([])
        train_point(point, 2, images, 0.9)
        states.append(initial_model(point, images).state_dict())
    assert len(seen[0]) == 6 and seen[0] == seen[1] != seen[2]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["1.weight"], states[2]["1.weight"])


def test_a_training_that_diverges_ends(images):
    result = train_point(Point("ReLU", 0, 2, 1e30, 32), 5, images, 0.9)
    assert (result["diverged_at"], result["epochs"]) == (1, [])


# The program


def test_end_to_end(whole, images):
    runs = stored(whole)
    assert len(runs) == RUNS
    for each in runs:
        assert each["configuration"] == {
            "dataset": "digits", "limit_train": 100, "limit_val": 50, "device": "cpu", "momentum": 0.9, "threads": 1,
        }  # fmt: skip
        assert each["environment"]["torch"] == torch.__version__
        assert len(each["epochs"]) == (3 if (each["lr"], each["batch_size"]) == (0.01, 32) else 1)
    rows = table(whole, "runs.csv")
    assert len(rows) == 8 * 3 + 16
    by_run = {(r["activation"], r["seed"], r["blocks"], r["lr"], r["batch_size"], r["epoch"]): r for r in rows}
    row = by_run["GoLU", "1", "2", "0.01", "32", "2"]
    expected = train_point(Point("GoLU", 1, 2, 0.01, 32), 2, images, 0.9)["epochs"][1]
    assert {name: float(row[name]) for name in expected} == expected
    assert not list(whole.rglob("*.tmp"))


def test_the_sweep_of_epochs_equals_shorter_runs(whole, images):
    """Bit for bit: a training of three epochs contains those of one and two."""
    (path,) = files_of(whole, "GoLU_seed1_blocks2_lr0.01_batch32.json")
    long = json.loads(path.read_text())["epochs"]
    for epochs in (1, 2, 3):
        assert train_point(Point("GoLU", 1, 2, 0.01, 32), epochs, images, 0.9)["epochs"] == long[:epochs]


def test_the_table_names_the_best_cells(call, copy):
    """All stored already; the numbers of one cell are made the best there are, but for one whose run diverged."""
    for path in files_of(copy, "GoLU_seed*_blocks1_lr0.1_batch32.json"):
        result = json.loads(path.read_text())
        better = result["epochs"][0] | {"val_accuracy": 98.0 + result["seed"]}
        change(path, epochs=[better])
    change(files_of(copy, "GoLU_seed0_blocks2_lr0.1_batch32.json")[0], epochs=[], diverged_at=1)
    path = files_of(copy, "GoLU_seed1_blocks2_lr0.1_batch32.json")[0]
    change(path, epochs=[json.loads(path.read_text())["epochs"][0] | {"val_accuracy": 100.0}])
    code, out, err = call(run_small_ablation, *SMALL, "--results-path", copy)
    assert (code, err) == (0, "")
    (row,) = [line for line in out.splitlines() if line.startswith("GoLU ")]
    assert "98.50 ± 0.50 at 1, 0.1" in row
    assert f"{RUNS} of {RUNS} runs are stored already, 0 to go" in out
    assert table(copy, "runs.csv")[0].keys() >= {"activation", "epoch", "val_accuracy"}


def test_stopped_and_started_again_ends_with_the_same_numbers(call, whole, tmp_path, monkeypatch):
    calls = []

    def stopped_in_the_sixth(*arguments):
        calls.append(arguments)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return train_point(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(run_small_ablation, "train_point", stopped_in_the_sixth)
        code, _, err = call(run_small_ablation, *SMALL, "--results-path", tmp_path)
    folder = tmp_path / "small_ablation" / "digits"
    assert code == 130
    assert err == f"stopped: 5 finished runs are in {folder}, the same command goes on from there\n"
    assert len(files_of(tmp_path)) == 5

    before = {path: path.stat().st_mtime_ns for path in files_of(tmp_path)}
    code, out, err = call(run_small_ablation, *SMALL, "--results-path", tmp_path)
    assert (code, err) == (0, "")
    assert f"5 of {RUNS} runs are stored already, {RUNS - 5} to go" in out
    assert numbers(tmp_path) == numbers(whole)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert table(tmp_path, "runs.csv") == table(whole, "runs.csv")


@pytest.fixture
def ctrl_c():
    """Is listened to even where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_the_processes_and_what_they_stored_is_right(tmp_path, write_mnist):
    """A signal to the whole group, as a terminal sends it. The runs at the base values last too long to end before."""
    write_mnist(tmp_path / "MNIST" / "raw")
    flags = ("--dataset", "mnist", *AXES, *TWO, "--epochs", 1, 30_000, "--jobs", 2)
    paths = ("--data-dir", tmp_path, "--results-path", tmp_path)
    command = [sys.executable, "-m", "tasks.small_poc.run_small_ablation", *map(str, (*flags, *paths))]
    program = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    runs = tmp_path / "small_ablation" / "mnist" / "runs"
    try:
        deadline = time.monotonic() + 60
        while not list(runs.glob("*.json")) and program.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(program.pid, signal.SIGINT)
        out, err = program.communicate(timeout=30)  # returns when no process holds the pipes any more
    finally:
        program.kill()
    finished = ablation.load_runs(runs.parent)
    assert program.returncode == 130, out
    assert err.startswith(f"stopped: {len(finished)} finished runs are in {runs.parent}") and err.count("\n") == 1
    assert finished
    images = load_images("mnist", tmp_path)
    for point, result in finished.items():
        assert result["epochs"] == train_point(point, 1, images, 0.9)["epochs"]


def test_a_mistake_in_a_process_is_one_here(tmp_path, write_mnist):
    write_mnist(tmp_path / "MNIST" / "raw")
    train = partial(run_small_ablation._train_in_worker, Configuration("mnist"), tmp_path)
    results = []
    with pytest.raises(UserError, match="a batch of 61 is more than the 60 training samples"):
        workers.in_processes(train, [(Point("GoLU", 1, 2, 0.01, 61), 1)], 1, results.append)
    assert results == []


@pytest.mark.usefixtures("ctrl_c")
def test_new_processes_ignore_ctrl_c_from_their_first_moment(monkeypatch):
    """They inherit it; until their own code runs, they could not do so themselves."""
    seen = []

    class Pool:
        def __init__(self, *_):
            pass

        def submit(self, function, *arguments):
            seen.append(signal.getsignal(signal.SIGINT))
            future = Future()
            future.set_result(function(*arguments))
            return future

        def shutdown(self, **_):
            seen.append("shut down")

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Pool)
    before, results = signal.getsignal(signal.SIGINT), []
    workers.in_processes(lambda point, epochs: epochs, [(POINT, 5)], 1, results.append)
    assert seen == [signal.SIG_IGN, "shut down"] and results == [5]
    assert signal.getsignal(signal.SIGINT) == before != signal.SIG_IGN


@pytest.mark.slow
def test_several_processes_give_the_same_numbers_as_one(call, whole, tmp_path):
    code, _, err = call(run_small_ablation, *SMALL, "--jobs", 2, "--results-path", tmp_path)
    assert (code, err) == (0, "")
    assert numbers(tmp_path) == numbers(whole)


def test_activations_and_values_may_be_added(call, copy):
    before = {path: path.read_bytes() for path in files_of(copy)}
    flags = (*SIZES, *AXES, "--activations", "Tanh", "GoLU", "--epochs", 1, 3, "--seeds", 1, "--jobs", 1)
    code, out, _ = call(run_small_ablation, *flags, "--learning-rates", 0.1, 0.001, "--results-path", copy)
    assert code == 0
    assert "6 of 16 runs are stored already, 10 to go" in out
    assert len(files_of(copy)) == RUNS + 10
    assert all(path.read_bytes() == content for path, content in before.items())
    grid, runs = load_merged([copy], "digits")  # all that is there is drawn, and what it lacks is known
    assert (grid.activations, grid.seeds) == (("Tanh", "GoLU", "ReLU"), (0, 1))
    assert grid.learning_rates == (0.001, 0.01, 0.1)
    assert len(missing(grid, runs)) == 8 + 4 + 2  # Tanh's second seed, ReLU at 0.001, GoLU's second seed there


def test_more_epochs_lengthen_what_is_stored(call, copy, whole):
    flags = (*SIZES, *AXES, *TWO, "--epochs", 1, 4, "--seeds", 2, "--jobs", 1, "--results-path", copy)
    code, out, _ = call(run_small_ablation, *flags)
    assert code == 0 and f"16 of {RUNS} runs are stored already, 8 to go" in out
    for name, result in numbers(whole).items():
        longer = numbers(copy)[name]["epochs"]
        assert longer[: len(result["epochs"])] == result["epochs"]
        assert len(longer) == (4 if len(result["epochs"]) == 3 else 1)
    assert "0 to go" in call(run_small_ablation, *SMALL, "--results-path", copy)[1]  # fewer: nothing to do


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--limit-train", 200), "limit_train=100, not limit_train=200"),
        (("--limit_val", 60), "limit_val=50, not limit_val=60"),
    ],
)
def test_other_settings_do_not_mix(flags, named, call, copy):
    before = numbers(copy)
    code, _, err = call(run_small_ablation, *SMALL, *flags, "--results-path", copy)
    assert code == 2
    assert named in err and "another --results-path" in err and err.count("\n") == 1
    assert numbers(copy) == before


BROKEN = ["", "{", "[]", "{}", "null", '{"configuration": 1}', '{"activation": "ReLU", "seed": 0, "epochs": 3}']


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_run_is_named(content, call, copy):
    files_of(copy)[3].write_text(content)
    for program in (run_small_ablation, merge_and_plot_contours, lr_heatmaps):
        flags = SMALL if program is run_small_ablation else ("--dataset", "digits")
        code, _, err = call(program, *flags, "--results-path", copy)
        assert code == 2
        assert str(files_of(copy)[3]) in err and "delete it" in err and err.count("\n") == 1


@pytest.mark.parametrize("values", [{"epochs": [{"epoch": 1}]}, {"epochs": 1}, {"seed": 7}, {"configuration": []}])
def test_a_run_with_something_wrong_in_it_is_named(values, call, copy):
    change(files_of(copy)[0], **values)
    code, _, err = call(lr_heatmaps, "--dataset", "digits", "--results-path", copy)
    assert code == 2
    assert str(files_of(copy)[0]) in err and "delete it" in err and err.count("\n") == 1


def test_runs_that_diverge_are_reported(call, tmp_path):
    flags = (*SMALL, "--learning-rates", "1e30", "--lr", "1e30", "--results-path", tmp_path)
    code, out, err = call(run_small_ablation, *flags)
    assert (code, err) == (0, "")
    assert "diverged in epoch 1" in out
    assert [line.split() for line in out.splitlines() if line.startswith("GoLU ")] == [["GoLU"] + ["diverged"] * 3]
    assert "0 to go" in call(run_small_ablation, *flags)[1]
    assert {(row["epoch"], row["val_loss"]) for row in table(tmp_path, "runs.csv")} == {("1", "")}


BAD = [
    (["--dataset", "digit"], "did you mean digits?"),
    (["--activations", "ReLU", "Golu"], "did you mean GoLU?"),
    (["--activations", "ReLU", "GoLU", "ReLU"], "--activations names ReLU more than once"),
    (["--learning-rates", "0.1", "1e-1"], "--learning-rates names 0.1 more than once"),
    (["--learning-rates", "nan"], "must be a number above 0, not 'nan'"),
    (["--lr", "0"], "must be a number above 0"),
    (["--blocks", "5"], "must be a whole number from 1 to 4, not '5'"),
    (["--epochs", "0"], "at least 1"),
    (["--epochs"], "expected at least one argument"),
    (["--seeds", "-1"], "at least 1"),
    (["--jobs", "0"], "argument --jobs: must be a whole number of at least 1"),
    (["--batch-sizes", "16", "101"], "--batch-sizes 101 is more than the 100 training images"),
    (["--batch-size", "200"], "--batch-size 200 is more than the 100 training images"),
    (["--limit-train", "9"], "--limit-train 9 is out of range"),
    (["--device", "tpu"], "unknown device"),
    (["--epoch", "3"], "unrecognized arguments: --epoch"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_a_mistake_is_one_line(arguments, said, call, tmp_path):
    code, out, err = call(run_small_ablation, *SMALL, "--results-path", tmp_path / "results", *arguments)
    assert (code, out) == (2, "")
    assert said in err and err.startswith("error: ") and err.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_a_folder_that_cannot_be_written(call, copy, tmp_path):
    file = tmp_path / "file"
    file.write_text("precious")
    for program, flags in (
        (run_small_ablation, (*SMALL, "--results-path", file)),
        (merge_and_plot_contours, ("--dataset", "digits", "--results-path", copy, "--output", file)),
        (lr_heatmaps, ("--dataset", "digits", "--results-path", copy, "--output", file / "below")),
    ):
        code, _, err = call(program, *flags)
        assert code == 2 and str(file) in err and err.count("\n") == 1
    assert file.read_text() == "precious"


def test_mnist_in_its_real_format(call, tmp_path, write_mnist):
    """The numbers are those of images normalised here."""
    written = write_mnist(tmp_path / "MNIST" / "raw")
    flags = ("--dataset", "mnist", "--blocks", 1, "--learning-rates", 0.01, "--batch-sizes", 20, "--batch-size", 20)
    more = ("--epochs", 1, "--seeds", 1, "--activations", "GoLU", "--jobs", 1, "--data-dir", tmp_path)
    code, out, err = call(run_small_ablation, *flags, *more, "--results-path", tmp_path)
    assert (code, err) == (0, "")
    assert "60 training and 30 validation images" in out
    (path,) = (tmp_path / "small_ablation" / "mnist" / "runs").glob("*.json")
    (x, y), (val_x, val_y) = ([torch.from_numpy(each) for each in written[split]] for split in ("train", "t10k"))
    std, mean = torch.std_mean(x.float())
    normalised = [((each.float() - mean) / std).unsqueeze(1) for each in (x, val_x)]
    by_hand = Images(normalised[0], y.long(), normalised[1], val_y.long(), 10)
    (expected,) = train_point(Point("GoLU", 0, 1, 0.01, 20), 1, by_hand, 0.9)["epochs"]
    assert json.loads(path.read_text())["epochs"] == [pytest.approx(expected, rel=1e-4)]


# The figures' numbers


def means_by_hand(path, activation, metric, lr, batch_size, epoch, blocks):
    values = [
        each["epochs"][epoch - 1][metric]
        for each in stored(path)
        if (each["activation"], each["lr"], each["batch_size"], each["blocks"]) == (activation, lr, batch_size, blocks)
    ]
    assert len(values) == 2
    return fmean(values), stdev(values) / 2**0.5


def test_contours_csv_has_the_means_of_the_runs(call, copy):
    code, out, err = call(merge_and_plot_contours, "--dataset", "digits", "--results-path", copy)
    assert (code, err) == (0, "")
    assert "24 runs" in out and "missing" not in out
    rows = table(copy, "contours.csv")
    places = {(row["sweep"], row["lr"], row["epochs"], row["batch_size"]) for row in rows}
    assert places == {
        *(("lr", lr, "1", "32") for lr in ("0.1", "0.01")),
        *(("epochs", "0.01", epochs, "32") for epochs in ("1", "3")),
        *(("batch_size", "0.01", "1", size) for size in ("16", "32")),
    }
    assert len(rows) == 2 * 2 * 6
    for row in rows:
        place = (float(row["lr"]), int(row["batch_size"]), int(row["epochs"]), int(row["blocks"]))
        for metric in ("val_loss", "val_accuracy"):
            mean, error = means_by_hand(copy, row["activation"], metric, *place)
            assert float(row[metric]) == pytest.approx(mean)
            assert float(row[f"{metric}_standard_error"]) == pytest.approx(error)
        assert (row["seeds"], row["diverged"], row["missing"]) == ("2", "0", "0")
    folder = copy / "small_ablation" / "digits"
    assert (folder / "contours_loss.png").stat().st_size > 20_000
    assert (folder / "contours_loss.svg").read_text().startswith("<?xml")


def test_lr_heatmap_csv_has_paired_differences_and_the_best(call, copy, tmp_path):
    code, _, err = call(lr_heatmaps, "--dataset", "digits", "--results-path", copy, "--output", tmp_path / "figures")
    assert (code, err) == (0, "")
    with (tmp_path / "figures" / "lr_heatmap.csv").open() as file:
        rows = {(row["activation"], row["lr"], row["blocks"]): row for row in csv.DictReader(file)}
    assert len(rows) == 8
    accuracy = {
        (each["activation"], str(each["lr"]), str(each["blocks"]), each["seed"]): each["epochs"][0]["val_accuracy"]
        for each in stored(copy)
        if each["batch_size"] == 32
    }
    for lr in ("0.1", "0.01"):
        for blocks in ("1", "2"):
            relu, golu = rows["ReLU", lr, blocks], rows["GoLU", lr, blocks]
            differences = [accuracy["GoLU", lr, blocks, i] - accuracy["ReLU", lr, blocks, i] for i in (0, 1)]
            assert float(golu["difference"]) == pytest.approx(fmean(differences), abs=1e-9)
            assert float(golu["difference_standard_error"]) == pytest.approx(stdev(differences) / 2**0.5, abs=1e-9)
            assert golu["difference_n"] == "2" and relu["difference"] == ""
            assert (golu["best"], relu["best"]) == (str(fmean(differences) >= 0), str(fmean(differences) <= 0))
    assert (tmp_path / "figures" / "lr_heatmap.png").stat().st_size > 20_000


def test_differences_are_paired_where_a_run_diverged_or_is_missing(call, copy):
    """GoLU with one block at lr 0.1 loses a run of a seed, ReLU with two blocks is to lose another."""
    change(files_of(copy, "GoLU_seed0_blocks1_lr0.1_*.json")[0], epochs=[], diverged_at=1)
    files_of(copy, "ReLU_seed1_blocks2_lr0.1_*.json")[0].unlink()
    code, out, _ = call(lr_heatmaps, "--dataset", "digits", "--results-path", copy)
    assert code == 0 and "1 of 24 runs are missing" in out
    rows = {(row["activation"], row["lr"], row["blocks"]): row for row in table(copy, "lr_heatmap.csv")}
    by_file = numbers(copy)

    def accuracy(name):
        return by_file[f"{name}_lr0.1_batch32.json"]["epochs"][0]["val_accuracy"]

    one, two = rows["GoLU", "0.1", "1"], rows["GoLU", "0.1", "2"]
    assert (one["seeds"], one["diverged"], one["missing"], one["best"]) == ("2", "1", "0", "False")
    assert float(one["val_accuracy"]) == accuracy("GoLU_seed1_blocks1")
    assert float(one["difference"]) == pytest.approx(accuracy("GoLU_seed1_blocks1") - accuracy("ReLU_seed1_blocks1"))
    assert float(two["difference"]) == pytest.approx(accuracy("GoLU_seed0_blocks2") - accuracy("ReLU_seed0_blocks2"))
    assert rows["ReLU", "0.1", "2"]["missing"] == "1"


# Merging


def split(whole, tmp_path, belongs):
    """Two results paths, the runs dealt out by their file names."""
    for name, here in (("a", True), ("b", False)):
        shutil.copytree(whole, tmp_path / name)
        for path in files_of(tmp_path / name):
            if belongs(path.name) != here:
                path.unlink()
    return tmp_path / "a", tmp_path / "b"


def test_results_of_two_machines_merge(call, whole, tmp_path):
    a, b = split(whole, tmp_path, lambda name: "seed0" in name)
    grid, runs = load_merged([whole], "digits")
    assert load_merged([a, b], "digits") == (grid, runs)
    code, out, _ = call(merge_and_plot_contours, "--dataset", "digits", "--results-path", a, "--results-path", b)
    assert code == 0 and "24 runs" in out and "missing" not in out
    assert {(row["seeds"], row["missing"]) for row in table(a, "contours.csv")} == {("2", "0")}


def test_of_the_same_run_twice_the_longer_counts(whole, tmp_path):
    a, b = split(whole, tmp_path, lambda name: True)
    shutil.copy(files_of(a, "GoLU_seed1_blocks2_lr0.01_batch32.json")[0], b / "small_ablation/digits/runs")
    (path,) = files_of(b)
    epochs = json.loads(path.read_text())["epochs"]
    change(path, epochs=epochs[:1], seconds=99.0)
    for paths in ([a, b], [b, a]):
        _, runs = load_merged(paths, "digits")
        assert len(runs) == RUNS and runs[Point("GoLU", 1, 2, 0.01, 32)]["epochs"] == epochs


@pytest.mark.parametrize("changed", [{"val_loss": 9.0}, None])
def test_the_same_run_with_other_numbers_is_refused(changed, call, whole, tmp_path):
    a, b = split(whole, tmp_path, lambda name: True)
    shutil.copy(files_of(a)[0], b / "small_ablation" / "digits" / "runs")
    (other,) = files_of(b)
    if changed:
        change(other, epochs=[each | changed for each in json.loads(other.read_text())["epochs"]])
    else:
        change(other, epochs=[], diverged_at=1)
    code, _, err = call(merge_and_plot_contours, "--dataset", "digits", "--results-path", a, b)
    assert code == 2
    assert str(files_of(a)[0]) in err and str(other) in err and err.count("\n") == 1


def test_results_that_do_not_go_together_are_refused(call, whole, copy, tmp_path):
    grid = copy / "small_ablation" / "digits" / "grid.json"
    change(grid, lr=0.5)
    _, _, err = call(lr_heatmaps, "--dataset", "digits", "--results-path", whole, copy)
    assert "--lr is 0.01 and 0.5" in err and str(copy) in err and str(whole) in err
    change(files_of(copy)[5], configuration={"dataset": "digits", "limit_train": 7})
    _, _, err = call(lr_heatmaps, "--dataset", "digits", "--results-path", whole, copy)
    assert "limit_train=7, not limit_train=100" in err
    grid.unlink()
    code, _, err = call(lr_heatmaps, "--dataset", "digits", "--results-path", copy)
    assert code == 2 and str(grid) in err and "run_small_ablation" in err and err.count("\n") == 1


# Little or nothing to draw


@pytest.mark.parametrize("program", [merge_and_plot_contours, lr_heatmaps])
def test_no_runs_and_how_to_make_some(program, call, tmp_path):
    code, out, err = call(program, "--dataset", "digits", "--results-path", tmp_path)
    assert (code, out) == (2, "")
    assert str(tmp_path) in err and "run_small_ablation --dataset digits" in err and err.count("\n") == 1
    code, _, err = call(program, "--results-path", tmp_path)
    assert code == 2 and "required: --dataset" in err


def test_an_incomplete_ablation_is_drawn_as_far_as_it_goes(call, copy):
    for path in [*files_of(copy, "*batch16.json"), *files_of(copy, "GoLU_seed1_*batch32.json")]:
        path.unlink()
    flags = ("--dataset", "digits", "--results-path", copy)
    code, out, _ = call(merge_and_plot_contours, *flags)
    assert code == 0
    assert "12 of 24 runs are missing" in out
    assert "blocks x batch size has no two values on each axis" in out
    rows = [row for row in table(copy, "contours.csv") if row["sweep"] == "batch_size" and row["batch_size"] == "16"]
    assert {(row["seeds"], row["missing"], row["val_loss"]) for row in rows} == {("0", "2", "")}
    grid, runs = load_merged([copy], "digits")
    for figure in (
        merge_and_plot_contours.draw("digits", grid, [Panels.of(grid, runs, "lr")], "loss"),
        lr_heatmaps.draw("digits", lr_heatmaps.Heatmap(grid, Panels.of(grid, runs, "lr"), "ReLU")),
    ):
        assert "some means are of fewer seeds" in figure.get_supxlabel().replace("\n", " ")

    for path in files_of(copy, "*blocks2*"):
        path.unlink()
    for program in (merge_and_plot_contours, lr_heatmaps):
        code, _, err = call(program, *flags)
        assert code == 2 and "two" in err and "run_small_ablation" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("program", "flags", "said"),
    [
        (merge_and_plot_contours, ("--metric", "acuracy"), "did you mean accuracy?"),
        (merge_and_plot_contours, ("--dataset", "minst"), "did you mean mnist?"),
        (lr_heatmaps, ("--baseline", "Relu"), "did you mean ReLU?"),
        (lr_heatmaps, ("--baseline", "Mish"), "--baseline Mish has no runs; there are those of ReLU, GoLU"),
    ],
)
def test_a_mistake_with_the_figures_is_one_line(program, flags, said, call, whole):
    code, out, err = call(program, "--dataset", "digits", "--results-path", whole, *flags)
    assert (code, out) == (2, "")
    assert said in err and err.count("\n") == 1


# What is drawn


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_the_star_is_at_the_optimum(metric, whole):
    grid, runs = load_merged([whole], "digits")
    panels = [Panels.of(grid, runs, sweep) for sweep in ("lr", "epochs", "batch_size")]
    figure = merge_and_plot_contours.draw("digits", grid, panels, metric)
    all_means = [[z for name in grid.activations for line in each.means(name, metric) for z in line] for each in panels]
    scales = [Scale.of(each, metric) for each in all_means]
    sign = 1 if metric == "loss" else -1
    for row, (sweep, place) in enumerate((("lr", lambda x: 10**x), ("epochs", float), ("batch_size", lambda x: 2**x))):
        for column, activation in enumerate(("ReLU", "GoLU")):
            axes = figure.axes[2 * row + column]
            (star,) = [line for line in axes.get_lines() if line.get_marker() == "*"]
            own = [cell for cell in cells(grid, runs, sweep) if cell.activation == activation]
            best = min(own, key=lambda cell: sign * fmean(cell.converged(f"val_{metric}").values()))
            assert star.get_xdata()[0] == best.blocks
            assert place(star.get_ydata()[0]) == pytest.approx(best.value)
            value = fmean(best.converged(f"val_{metric}").values())
            assert axes.get_title(loc="right") == (f"★ {value:.3f}" if metric == "loss" else f"★ {value:.2f}")
            assert axes.get_title(loc="left") == (activation if row == 0 else "")
            means = [fmean(cell.converged(f"val_{metric}").values()) for cell in own]
            drawn = [scales[row].drawn(each) for each in means]
            (contours,) = axes.collections
            assert (contours.zmin, contours.zmax) == pytest.approx((min(drawn), max(drawn)))
            assert list(contours.levels) == scales[row].levels


def test_diverged_cells_are_hatched_and_named(copy):
    change(files_of(copy, "GoLU_seed0_blocks1_lr0.1_*.json")[0], epochs=[], diverged_at=1)
    grid, runs = load_merged([copy], "digits")
    figure = merge_and_plot_contours.draw("digits", grid, [Panels.of(grid, runs, "lr")], "loss")
    hatched = [[patch for patch in axes.patches if patch.get_hatch()] for axes in figure.axes[:2]]
    (patch,) = hatched[1]
    assert not hatched[0]
    assert patch.get_bbox().bounds == pytest.approx((1, -1.5, 0.5, 0.5))  # from one block, and log10 0.1, half-way
    assert "Hatched: a run diverged" in figure.get_supxlabel().replace("\n", " ")


def test_the_heatmap_shows_the_numbers(whole):
    grid, runs = load_merged([whole], "digits")
    heatmap = lr_heatmaps.Heatmap(grid, Panels.of(grid, runs, "lr"), "ReLU")
    figure = lr_heatmaps.draw("digits", heatmap)
    shown = {
        (number, activation): {(*text.get_position(), text.get_text()) for text in figure.axes[number].texts}
        for number, activation in enumerate(("ReLU", "GoLU", "ReLU", "GoLU"))
    }
    for cell in heatmap.panels.cells.values():
        place = cell.blocks - 1, (0.01, 0.1).index(cell.value) + 0.13
        column = ("ReLU", "GoLU").index(cell.activation)
        accuracy = fmean(cell.converged("val_accuracy").values())
        assert (*place, f"{accuracy:.2f}") in shown[column, cell.activation]
        difference = heatmap.difference(cell)
        if difference is not None:
            number = f"{difference.mean:+.2f}" if abs(difference.mean) < 9.995 else f"{difference.mean:+.1f}"
            assert (*place, number.replace("-", "\N{MINUS SIGN}")) in shown[2 + column, cell.activation]
    assert [text.get_text() for text in figure.axes[2].texts] == ["baseline"]


def test_numbers_on_the_heatmap_are_short():
    assert [lr_heatmaps._short(each, "+") for each in (0.126, -3.0, -12.34, -0.001)] == [
        "+0.13",
        "\N{MINUS SIGN}3.00",
        "\N{MINUS SIGN}12.3",
        "+0.00",
    ]
    assert [lr_heatmaps._short(each) for each in (97.126, 100.0, 0.5)] == ["97.13", "100.0", "0.50"]


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


# As commands


def test_as_a_command():
    """Its own process: a mistake shows no traceback, and nothing heavy is imported for it."""
    command = [sys.executable, "-X", "importtime", "-m", "tasks.small_poc.lr_heatmaps", "--dataset", "digits"]
    ended = subprocess.run([*command, "--baseline", "none"], cwd=ROOT, capture_output=True, text=True)
    lines = ended.stderr.splitlines()
    said = [line for line in lines if not line.startswith("import time:")]
    assert ended.returncode == 2
    assert len(said) == 1 and said[0].startswith("error: argument --baseline: unknown activation 'none'")
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "torch" in imported
    assert not imported & {"torchvision", "sklearn", "matplotlib", "scipy"}


@pytest.mark.parametrize(
    ("program", "flags"), [(run_small_ablation, 15), (merge_and_plot_contours, 4), (lr_heatmaps, 4)]
)
def test_help_explains_every_flag(program, flags, call):
    code, out, _ = call(program, "--help")
    assert code == 0
    assert len([line for line in out.splitlines() if line.startswith("  --")]) == flags
    assert out.count("(default") == flags - 1  # --dataset has none
    assert f"python -m {program.__name__} --dataset digits" in out
