"""Comparisons at several learning rates, at each activation's own, on several data sets and models, and their plans."""

import csv
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from golu import GoLU
from tasks.small_poc.task import SmallImages
from tests.conftest import ENVIRONMENT, PLAIN
from workbench.training import cluster

SMALL = ("--epochs", 1, "--batch-size", 32, "--limit-train", 64, "--limit-val", 100, "--seeds", 2)
MLP = (*SMALL, "--model", "mlp", "--activations", "ReLU", "GoLU")
RATES = (0.0001, 0.01, 1e30)  # too low, right, and one at which every run diverges


def final(folder, activation, seed, variant):
    stored = json.loads((folder / activation / f"results_{seed}_{variant}.json").read_text())
    return None if stored["final"] is None else stored["final"]["val_accuracy"]


def test_each_activation_gets_its_best_rate_of_seeds_that_count_for_nothing(compare, tmp_path):
    code, out, err = compare(*MLP, "--lr", "tune", *RATES, "--tuning-seeds", 2, "--results", tmp_path)
    assert (code, err) == (0, "")
    folder = tmp_path / "digits/mlp"
    tuning = json.loads((folder / "tuned/tuning.json").read_text())
    assert tuning["seeds"] == [1000, 1001] and tuning["rates"] == list(RATES)
    rows = list(csv.DictReader((folder / "tuned/summary.csv").open()))
    for activation, row in zip(("ReLU", "GoLU"), rows, strict=True):
        means = {
            rate: statistics.mean(final(folder, activation, seed, f"tune_lr_{rate:g}") for seed in (1000, 1001))
            for rate in RATES[:2]
        }
        best = max(means, key=means.get)
        assert tuning["chosen"][activation] == best
        assert tuning["scores"][activation] == {
            **{f"{rate:g}": pytest.approx(m) for rate, m in means.items()},
            "1e+30": None,
        }
        assert f"{activation} {best:g}" in out
        results = [final(folder, activation, seed, f"lr_{best:g}") for seed in (0, 1)]
        assert float(row["val_accuracy"]) == pytest.approx(statistics.mean(results))
        assert len(list((folder / activation).glob("results_*_tune_lr_*.json"))) == 6  # as many for each
        assert len(list((folder / activation).glob("results_?_lr_*.json"))) == 2
    assert "(6 runs each)" in (folder / "tuned/table.md").read_text()
    again = compare(*MLP, "--lr", "tune", *RATES, "--tuning-seeds", 2, "--results", tmp_path)
    assert again[0] == 0 and "to go" not in again[1]


def test_a_rate_at_the_edge_of_the_search_is_named(compare, tmp_path):
    out = compare(*MLP, "--lr", "tune", 1e-6, 1e-3, "--tuning-seeds", 1, "--results", tmp_path)[1]
    assert "at the edge of what was searched, so that a better one may lie beyond: ReLU, GoLU" in out


def test_without_rates_the_search_is_around_the_recipes(compare, tmp_path):
    out = compare(*MLP, "--lr", "tune", "--plan", "--results", tmp_path)[1]
    search = next(line for line in out.splitlines() if line.startswith("search"))
    assert search.split()[5] == str(5 * 2 * 2)  # rates, seeds, activations


def test_several_rates_are_a_comparison_each(compare, tmp_path):
    code, out, _ = compare(*MLP, "--lr", 0.001, 0.01, "--results", tmp_path)
    assert code == 0
    for rate in ("0.001", "0.01"):
        output = tmp_path / f"digits/mlp/lr_{rate}"
        row = next(csv.DictReader((output / "runs.csv").open()))
        assert float(row["final_val_accuracy"]) == final(tmp_path / "digits/mlp", "ReLU", 0, f"lr_{rate}")
        assert f"learning rate: {rate} for all" in (output / "table.md").read_text()
    assert "8 runs" not in out and out.count("difference to ReLU") >= 2


def test_several_data_sets_and_models_are_a_comparison_each(compare, tmp_path):
    flags = (*SMALL, "--activations", "ReLU", "GoLU", "--models", "mlp", "mlp_1", "--results", tmp_path)
    assert compare(*flags)[0] == 0
    for model in ("mlp", "mlp_1"):
        assert json.loads((tmp_path / f"digits/{model}/results.json").read_text())["configuration"]["model"] == model


def test_a_plan_trains_nothing_and_counts_what_is_stored(compare, tmp_path):
    compare(*MLP, "--seeds", 1, "--results", tmp_path)
    before = sorted(tmp_path.rglob("*"))
    flags = (*MLP, "--seeds", 3, "--results", tmp_path, "--plan", "--throughput", 32)
    code, out, err = compare(*flags)
    assert (code, err) == (0, "")
    assert sorted(tmp_path.rglob("*")) == before
    row = next(line for line in out.splitlines() if line.startswith("compared")).split()
    assert row[1:6] == ["digits", "mlp", "2", "2", "4"]  # steps, stored, to go
    assert "in all 4 runs to go" in out
    assert "256 samples in 0.0 hours" in out  # 4 runs of 64 images


def test_a_run_that_fails_is_named_and_the_others_go_on(compare, tmp_path):
    for jobs in (1, 2):
        results = tmp_path / str(jobs)
        folder = results / "digits/mlp/ReLU"
        folder.mkdir(parents=True)
        (folder / "checkpoint_1.pth").write_bytes(b"no checkpoint")
        code, out, err = compare(*MLP, "--results", results, "--jobs", jobs)
        assert code == 2 and err.count("\n") == 1
        assert "1 of 4 runs failed" in err and "ReLU, seed 1: failed" in err and "is broken" in err
        rows = list(csv.DictReader((results / "digits/mlp/runs.csv").open()))
        assert [(row["activation"], row["seed"]) for row in rows] == [("ReLU", "0"), ("GoLU", "0"), ("GoLU", "1")]
        code, out, err = compare(*MLP, "--results", results, "--jobs", jobs)
        assert (code, err) == (0, "") and "3 of 4 runs are stored already, 1 to go" in out


def finals(folder):
    return {
        (path.parent.name, path.stem): json.loads(path.read_text())["final"]["val_accuracy"]
        for path in folder.rglob("results_*.json")
    }


def test_jobs_of_a_cluster_give_the_numbers_of_one_process(compare, tmp_path):
    pytest.importorskip("submitit")
    assert compare(*MLP, "--seeds", 1, "--results", tmp_path / "here")[0] == 0
    code, out, err = compare(*MLP, "--seeds", 1, "--results", tmp_path / "jobs", "--cluster", "local")
    assert (code, err) == (0, "") and "ReLU, seed 0: accuracy" in out
    assert finals(tmp_path / "jobs") == finals(tmp_path / "here") and len(finals(tmp_path / "here")) == 2
    assert list((tmp_path / "jobs/jobs").glob("*_log.out"))


OWN_SCRIPT = """
from torch import nn
from golu import register
from tasks.compare.__main__ import main
from workbench.cli.errors import run

class Halved(nn.Module):
    def forward(self, x):
        return x.relu() / 2

register("Halved", Halved)
if __name__ == "__main__":
    run(main)
"""


def test_an_activation_of_ones_own_script_is_known_in_a_job(tmp_path):
    pytest.importorskip("submitit")
    (tmp_path / "own.py").write_text(OWN_SCRIPT)
    flags = [*map(str, SMALL[:-2]), "--model", "mlp", "--activations", "Halved", "--seeds", "1", "--cluster", "local"]
    command = [sys.executable, str(tmp_path / "own.py"), *flags, "--results", str(tmp_path / "results")]
    environment = {**ENVIRONMENT, "PYTHONPATH": str(Path.cwd())}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert list(finals(tmp_path / "results")) == [("Halved", "results_0")]


@pytest.mark.slow
def test_a_hundred_runs_killed_at_random_moments_give_the_same_table(tmp_path):
    """By SIGKILL of the whole group; each run is trained once: what has ended is never written again."""
    command = [*PLAIN, "tasks.compare", *map(str, SMALL[:-2]), "--model", "mlp", "--seeds", "20", "--jobs", "2"]
    subprocess.run([*command, "--results", str(tmp_path / "whole")], check=True, env=ENVIRONMENT, capture_output=True)
    command += ["--results", str(tmp_path / "killed")]
    chance, written, killed = random.Random(0), {}, 0
    while killed < 12:
        process = subprocess.Popen(
            command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(chance.uniform(6, 14))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed += 1
        for path in (tmp_path / "killed").rglob("results_*.json"):
            written.setdefault(path, path.stat().st_mtime_ns)
    assert killed > 2 and written
    subprocess.run(command, check=True, env=ENVIRONMENT, capture_output=True)
    assert finals(tmp_path / "killed") == finals(tmp_path / "whole") and len(finals(tmp_path / "whole")) == 100
    assert all(path.stat().st_mtime_ns == when for path, when in written.items())
    tables = [json.loads((tmp_path / name / "digits/mlp/results.json").read_text()) for name in ("whole", "killed")]
    scores = [[(row["activation"], row["val_accuracy"], row["difference"]) for row in t["summary"]] for t in tables]
    assert scores[0] == scores[1]


def test_an_error_of_a_program_is_kept_whole_beside_the_run(compare, tmp_path, monkeypatch):
    loss = SmallImages.loss

    def out_of_memory_with_golu(task, model, batch):
        if any(isinstance(each, GoLU) for each in model.modules()):
            raise RuntimeError("not enough memory")
        return loss(task, model, batch)

    with monkeypatch.context() as patch:
        patch.setattr(SmallImages, "loss", out_of_memory_with_golu)
        code, _, err = compare(*MLP, "--seeds", 1, "--results", tmp_path)
    kept = tmp_path / "digits/mlp/GoLU/failed_0.txt"
    assert code == 2 and f"GoLU, seed 0: failed: RuntimeError, not enough memory ({kept} has more)" in err
    assert "out_of_memory_with_golu" in kept.read_text()
    assert compare(*MLP, "--seeds", 1, "--results", tmp_path)[0] == 0 and not kept.exists()


MISTAKES = [
    (["--lr", "tune", "0.1"], "a search needs several learning rates"),
    (["--lr", "0.1", "tune"], "tune comes first, and once"),
    (["--lr", "0.1", "0.1"], "more than once"),
    (["--lr", "tune", "0.1", "many"], "must be a number above 0"),
    (["--lr"], "expected at least one argument"),
    (["--models", "mlp", "mlp"], "more than once"),
    (["--models", "mlp", "resnet"], "did you mean resnet"),
    (["--datasets", "digits", "nowhere"], "nor is it a text"),
    (["--dataset", "digits", "--datasets", "digits"], "say the same"),
    (["--tuning-seeds", "0"], "--tuning-seeds"),
    (["--throughput", "-1"], "--throughput"),
    (["--cluster", "slurn"], "did you mean slurm?"),
    (["--hours", "0"], "--hours"),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES)
def test_a_mistake_is_one_line_and_trains_nothing(arguments, said, compare, tmp_path):
    code, out, err = compare(*SMALL, "--results", tmp_path / "results", "--data", tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert said in err and err.startswith("error: ") and err.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("there", "lacking"), [([], "sbatch"), (["sbatch"], "srun")])
def test_slurm_without_slurm(there, lacking, compare, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    for name in there:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = compare(*MLP, "--cluster", "slurm", "--results", tmp_path)
    assert code == 2 and f"there is no command {lacking} here" in err and err.count("\n") == 1


def test_a_job_that_slurm_lost_is_named_even_where_it_keeps_no_accounts(compare, tmp_path, monkeypatch):
    """By commands that stand in for Slurm's: jobs are accepted, and are in the queue at no look."""
    pytest.importorskip("submitit")
    for name, script in (
        ("sbatch", "echo Submitted batch job 12"),
        ("squeue", "exit 0"),
        ("sacct", "exit 1"),
        ("srun", "exit 1"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(cluster, "QUEUE_PAUSE", 0.0)
    flags = ("--activations", "GoLU", "--seeds", 1, "--results", tmp_path / "results")
    code, _, err = compare(*MLP[:-3], *flags, "--cluster", "slurm")
    assert code == 2
    assert "GoLU, seed 0: failed: job 12: it has left the queue without a result" in err.splitlines()[-1]
