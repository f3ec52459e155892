"""python -m tasks.gpt.train on small texts: what is its own, beside what every training program does."""

import json
import math
import re
import shlex
import shutil
from dataclasses import asdict, fields, replace

import pytest
import torch
from torch import nn

from tasks.gpt import train
from tasks.gpt.config import RECIPES
from tasks.gpt.model import GPT
from tasks.gpt.prepare_text import prepare_text
from tasks.gpt.settings import Settings
from tasks.gpt.task import LanguageModelling
from tasks.gpt.tokens import open_tokens
from tests.tasks.gpt.examples import FLAGS, arguments_of, closed_form, contents, line_of, stored
from workbench.cli.arguments import Parser
from workbench.training.launch import Machine
from workbench.training.task import Source


def test_a_run_of_the_documented_command(text, program, tmp_path):
    shutil.copytree(text, tmp_path / "data/tiny_stories")
    command = (
        f"--model_name baby_gpt --dataset tiny_stories --dataset_path {tmp_path}/data --seed 3 --activation GELU "
        f"--results_path {tmp_path}/results --init_from scratch --max_iters 12 --lr_decay_iters 8"
    )
    small = "--n_layer 2 --n_head 2 --n_embd 32 --block_size 16 --batch_size 4 --gradient_accumulation_steps 3"
    often = "--warmup_iters 4 --eval_interval 5 --eval_iters 3 --device cpu"
    code, out, err = program(train, *shlex.split(f"{command} {small} {often}"))
    assert (code, err) == (0, "")
    results, trace, state = stored(tmp_path / "results", 3, "tiny_stories/baby_gpt/GELU")
    tokens, meta = open_tokens(text), json.loads((text / "meta.json").read_text())
    assert results["parameters"] == closed_form(64, 16, 2, 32, False)
    assert f"model     baby_gpt ({results['parameters']:,} parameters), GELU, seed 3\n" in out
    assert "training  12 steps with 192 tokens each\n" in out and "machine   cpu, 1 process, " in out
    assert results["tokens_per_second"] == pytest.approx(12 * 192 / (60 * results["train_minutes"]))
    checksums = f"{meta['train']['crc32']}-{meta['val']['crc32']}"
    assert results["configuration"].items() >= tokens.identity.items() | {
        "beta2": 0.99, "learning_rate": 1e-3, "lr_decay_iters": 8, "dtype": "float32", "limit_train": None,
        "data": f"{len(tokens.train)}+{len(tokens.val)} tokens {checksums}",
    }.items()  # fmt: skip
    assert [next(iter(entry.items())) for entry in trace] == [("step", 5), ("step", 10), ("step", 12)]
    assert [entry["lr"] for entry in trace] == pytest.approx([1e-3, 1e-4, 1e-4])
    for entry in trace:
        assert entry["val_perplexity"] == pytest.approx(math.exp(entry["val_loss"]))
        assert 0 <= entry["val_token_accuracy"] <= 100 and entry["tokens_per_second"] > 0
    described = [(each["key"], each["unit"], each["higher_is_better"]) for each in results["metrics"]]
    assert described == [
        ("val_perplexity", "", False), ("val_token_accuracy", "%", True), ("val_loss", "nats", False)
    ]  # fmt: skip
    assert state["extras"] == {"vocabulary": tokens.vocabulary}


def test_every_value_of_a_recipe_has_a_flag(text, program, tmp_path):
    given = {
        "n_layer": 1, "n_head": 8, "n_embd": 16, "block_size": 8, "dropout": 0.1, "bias": True, "gated": True,
        "vocab_multiple": 7, "batch_size": 3, "gradient_accumulation_steps": 2, "max_iters": 5, "learning_rate": 0.5,
        "warmup_iters": 1, "lr_decay_iters": 2, "min_lr": 0.25, "decay_lr": False, "weight_decay": 0.3, "beta1": 0.8,
        "beta2": 0.7, "grad_clip": 0.4, "eval_interval": 3, "eval_iters": 2, "dtype": "bfloat16",
    }  # fmt: skip
    # --model-name decides one of the others, and --epochs would overrule --max-iters
    assert given.keys() | {"model", "epochs"} == {each.name for each in fields(Settings)}
    assert all(value != given.get(name) for name, value in asdict(RECIPES["tiny"]).items() if name in given)
    flags = []
    for name, value in given.items():
        flags += [f"--{'no-' * (value is False)}{name}"] + [value] * (not isinstance(value, bool))
    code, _, err = program(train, *arguments_of(text, tmp_path, *flags))
    assert (code, err) == (0, "")
    results, trace, state = stored(tmp_path)
    assert results["configuration"].items() >= given.items()
    assert {entry["lr"] for entry in trace} == {0.5}
    assert [(group["weight_decay"], group["betas"]) for group in state["optimizer"]["param_groups"]] == [
        (0.3, (0.8, 0.7)), (0.0, (0.8, 0.7))
    ]  # fmt: skip
    rows = -(-open_tokens(text).vocabulary_size // 7) * 7
    assert results["parameters"] == closed_form(rows, 8, 1, 16, True) - 12  # gated: 42 hidden ones, not 42 2/3


def test_epochs_instead_of_steps(text, program, tmp_path):
    flags = ("--epochs", 2, "--limit-train", 5 * 64, "--limit-val", 40)
    code, out, err = program(train, *arguments_of(text, tmp_path, *flags))
    assert (code, err) == (0, "") and "2 epochs of 5 steps with 64 tokens each" in out
    results, trace, state = stored(tmp_path)
    assert ([entry["epoch"] for entry in trace], results["axis"], state["step"]) == ([1, 2], "epoch", 10)
    assert results["configuration"].items() >= {"epochs": 2, "limit_train": 320, "limit_val": 40}.items()


def test_a_recipe_holds_where_no_flag_is_given():
    assert [each.model for each in RECIPES.values()] == list(RECIPES)
    for name, recipe in RECIPES.items():
        parser = Parser("train", "")
        train.PROGRAM.add_task_flags(parser)
        spec = train.PROGRAM.spec(parser.parse_args(["--model_name", name, "--beta2", "0.5", "--device", "cpu"]))
        assert spec.task().settings == replace(recipe, beta2=0.5, dtype="float32")


@pytest.mark.parametrize("given", [None, "float16"])
@pytest.mark.parametrize(("cuda", "device"), [(True, None), (True, "cuda"), (True, "cpu"), (False, None)])
def test_numbers_have_the_type_that_the_device_is_fast_with(cuda, device, given, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    task = LanguageModelling(replace(RECIPES["tiny"], dtype=given), Source("text"), Machine(device))
    expected = given or ("bfloat16" if cuda and device != "cpu" else "float32")
    assert task.settings.dtype == expected
    assert task.autocast == (None if expected == "float32" else getattr(torch, expected))


def test_a_compiled_run_has_the_numbers_of_another(text, program, tmp_path, monkeypatch):
    calls = []

    def compiled(self):
        calls.append(self)
        nn.Module.compile(self, fullgraph=True, backend="aot_eager")

    torch.compiler.reset()
    monkeypatch.setattr(GPT, "compile", compiled)
    for name, flags in (("plain", ()), ("compiled", ("--compile",))):
        assert program(train, *arguments_of(text, tmp_path / name, "--dropout", 0, *flags))[0] == 0
    assert len(calls) == 1
    (_, plain, state), (_, other, compiled_state) = stored(tmp_path / "plain"), stored(tmp_path / "compiled")
    assert state["model"].keys() == compiled_state["model"].keys()
    for name in ("train_loss", "val_loss"):
        assert [entry[name] for entry in plain] == pytest.approx([entry[name] for entry in other], rel=1e-4)


def test_the_embedded_text_is_prepared_by_its_first_training(program, tmp_path):
    folder = tmp_path / "data/pydoc_topics"
    flags = ("--max_iters", 1, "--data", tmp_path / "data")
    code, out, err = program(train, "--results", tmp_path / "one", *FLAGS, *flags)
    assert (code, err) == (0, "") and f"{folder}/meta.json: a vocabulary of 1,024 tokens" in out
    before = contents(folder)
    assert not prepare_text(folder, [])  # it is all there, as prepare_text itself would write it
    code, out, err = program(train, "--results", tmp_path / "two", *FLAGS, *flags)
    assert (code, err) == (0, "") and "meta.json" not in out
    assert contents(folder) == before


# Begun as --init-from says


@pytest.mark.parametrize("beginning", ["scratch", "resume"])
def test_a_finished_run_is_neither_begun_nor_resumed(beginning, text, finished, program):
    code, out, err = program(train, *arguments_of(text, finished, "--init_from", beginning))
    assert (code, err) == (0, "") and "has ended already" in out
    final = stored(finished)[0]["final"]
    assert f"val_perplexity {final['val_perplexity']:.4g}" in out and f"val_loss {final['val_loss']:.4g}\n" in out


def test_scratch_does_not_overwrite_a_checkpoint(text, finished, program, tmp_path):
    half = shutil.copytree(finished, tmp_path / "half")
    (half / "text/tiny/GoLU/results_0.json").unlink()  # as if it had been stopped
    before = contents(half)
    scratch = arguments_of(text, half, "--init_from", "scratch")
    err = line_of(program(train, *scratch))
    assert re.match(r"error: .*checkpoint_0.pth is there already: --init-from resume resumes from it", err)
    assert contents(half) == before
    checkpoint = half / "text/tiny/GoLU/checkpoint_0.pth"
    checkpoint.rename(checkpoint.with_name("checkpoint_0.previous.pth"))  # as a kill between two renames leaves it
    assert program(train, *scratch)[0] == 2
    code, out, _ = program(train, *arguments_of(text, half, "--init_from", "resume"))
    assert code == 0 and "resuming from step 12 of 12" in out


# Mistakes: one line, and no folder


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--model_name", "gpt2"), "unknown model 'gpt2': did you mean gpt2s? choose from tiny, baby_gpt, gpt2s"),
        (("--init_from", "resum"), "--init-from: there is no file resum"),
        (("--init_from", "resume"), "checkpoint_0.pth to resume from: begin with --init-from scratch"),
        (("--dropout", 2), "argument --dropout: must be a number from 0 to 1, not '2'"),
        (("--max_iters", 0), "argument --max-iters: must be a whole number of at least 1, not '0'"),
        (("--epochs", 0), "argument --epochs: must be a whole number of at least 1, not '0'"),
        (("--beta1", 1), "--beta1 1.0 and --beta2 0.99 must be below 1"),
        (("--grad_clip", -1), "argument --grad-clip"),
        (("--eval_iters", 0), "argument --eval-iters"),
        (("--warmup_iters", -1), "argument --warmup-iters"),
        (("--dataset", "nothing"), "nothing: python -m tasks.gpt.prepare_text makes it"),
        (("--dataset", "some/text"), "--dataset some/text is no name: give the folder that it is in by itself"),
    ],
    ids=str,
)
def test_a_wrong_value(wrong, said, text, program, tmp_path):
    assert said in line_of(program(train, *arguments_of(text, tmp_path / "results", *wrong)))
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_text_that_is_not_what_was_prepared(split, text, program, tmp_path):
    path = shutil.copytree(text, tmp_path / "data/text") / f"{split}.bin"
    path.write_bytes(path.read_bytes()[::-1])
    err = line_of(program(train, *arguments_of(path.parent, tmp_path / "results")))
    assert f"{path} has changed since it was written: delete" in err and not (tmp_path / "results").exists()
