"""Whole programs in processes of their own: several at once, killed at any moment, and without a way to write."""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time

import pytest
import torch

from tasks.gpt.prepare_text import prepare_text

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
PLAIN = [sys.executable, "-m"]
words = shlex.split
MLP = words("tasks.small_poc.main --model mlp_2 --dataset digits --batch-size 32 --limit-val 777 --device cpu")
NOISY = words(  # dropout, stochastic depth, mixing and random augmentation
    "tasks.small_poc.train_vit --dataset digits --img-size 16 --drop 0.1 --batch-size 4 --limit-train 40 "
    "--limit-val 20 --workers 1 --device cpu --model-ema --checkpoint-steps 2"
)
GPT = words(
    "tasks.gpt.train --dataset text --n-layer 2 --n-head 2 --n-embd 32 --block-size 16 --batch-size 8 --eval-iters 5 "
    "--device cpu"
)
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def ran(command, *arguments):
    done = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done


def trace(path):
    """All of each epoch but its times."""
    times = ("seconds", "images_per_second", "tokens_per_second")
    (found,) = path.rglob("opt_trace_*.json")
    return [
        {name: value for name, value in entry.items() if name not in times} for entry in json.loads(found.read_text())
    ]


def state(path):
    (found,) = path.rglob("checkpoint_0.pth")
    return torch.load(found, weights_only=True)


def test_two_processes_give_the_curve_of_one(tmp_path):
    """And their metrics count an odd number of validation images once each."""
    ran(PLAIN, *MLP, "--epochs", 3, "--results-path", tmp_path / "one")
    ran(TORCHRUN, *MLP, "--epochs", 3, "--results-path", tmp_path / "two")
    one, two = trace(tmp_path / "one"), trace(tmp_path / "two")
    assert len(one) == len(two) == 3
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=1e-5)
        hits = a["val_accuracy"] * 777 / 100
        assert hits == pytest.approx(round(hits), abs=1e-6)
    a, b = state(tmp_path / "one")["model"], state(tmp_path / "two")["model"]
    assert all(torch.allclose(a[name], b[name], atol=1e-5) for name in a)
    results = json.loads(next((tmp_path / "two").rglob("results_0.json")).read_text())
    assert results["environment"]["processes"] == 2


def test_augmentation_is_the_same_in_two_processes(tmp_path):
    settings = words("--drop 0 --drop-path 0 --mixup 0 --cutmix 0 --no-model-ema --epochs 2 --opt sgd --lr 0.01")
    ran(PLAIN, *NOISY, *settings, "--results-folder", tmp_path / "one")
    ran(TORCHRUN, *NOISY, *settings, "--batch-size", 2, "--results-folder", tmp_path / "two")
    for a, b in zip(trace(tmp_path / "one"), trace(tmp_path / "two"), strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def a_text(folder):
    """The flags that name a text, which is prepared there."""
    prepare_text(folder / "text", [], "characters")
    return ["--dataset-path", str(folder)]


def test_a_gpt_in_two_processes_has_the_curve_of_one(tmp_path):
    """And counts each of five validation sequences once."""
    command = [*GPT, *a_text(tmp_path), *words("--batch-size 5 --gradient-accumulation-steps 4 --vocab-multiple 64")]
    command += words("--eval-iters 1 --eval-interval 25 --max-iters 60")
    ran(PLAIN, *command, "--results-path", tmp_path / "one")
    ran(TORCHRUN, *command, "--results-path", tmp_path / "two")
    one, two = trace(tmp_path / "one"), trace(tmp_path / "two")
    assert [entry["step"] for entry in two] == [25, 50, 60]
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=1e-5)
    results = json.loads(next((tmp_path / "two").rglob("results_0.json")).read_text())
    assert results["environment"]["processes"] == 2


def a_vit(folder, kills):
    return [*NOISY, "--epochs", str(2 * kills), "--warmup-epochs", "1", "--results-folder"]


def a_gpt(folder, kills):
    settings = words("--dropout 0.1 --checkpoint-steps 20 --eval-interval 150 --max-iters")
    return [*GPT, *a_text(folder), *settings, str(600 * kills), "--results-path"]


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("program", [a_vit, a_gpt])
def test_killed_at_random_moments_it_ends_the_same(program, kills, tmp_path):
    command = program(tmp_path, kills)
    ran(PLAIN, *command, tmp_path / "whole")
    moments = random.Random(kills)
    place = tmp_path / "killed"
    for _ in range(kills):
        process = subprocess.Popen(
            [*PLAIN, *command, str(place)],
            stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        while "steps with" not in process.stdout.readline():  # it is about to begin
            assert process.poll() is None
        time.sleep(moments.uniform(0.1, 1))
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not list(place.rglob("results_0.json"))
    ran(PLAIN, *command, place)
    assert trace(place) == trace(tmp_path / "whole")
    ours, theirs = state(place), state(tmp_path / "whole")
    for part in ("model", "ema"):
        assert (ours[part] is None) == (theirs[part] is None)
        assert all(torch.equal(ours[part][name], theirs[part][name]) for name in theirs[part] or ())
