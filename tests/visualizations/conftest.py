import csv
import itertools
import math

import pytest
import torch


def read_csv(path):
    """The rows of a CSV, with what looks like a number as one."""

    def value(text):
        try:
            return float(text)
        except ValueError:
            return text

    with path.open() as file:
        return [{name: value(text) for name, text in row.items()} for row in csv.DictReader(file)]


@pytest.fixture
def figure(program, tmp_path):
    """A figure drawn by its command into tmp_path; all three files are there; returns the rows of its CSV."""

    def draw(figure_program, *arguments):
        code, out, err = program(figure_program, "--output", tmp_path, "--dpi", 40, *arguments)
        assert (code, err) == (0, "")
        for ending in (".png", ".svg", ".csv"):
            path = tmp_path / f"{figure_program.name}{ending}"
            assert path.stat().st_size > 0 and str(path) in out
        rows = read_csv(tmp_path / f"{figure_program.name}.csv")
        assert rows and not any(isinstance(v, float) and math.isnan(v) for row in rows for v in row.values())
        return rows

    return draw


@pytest.fixture
def mistake(program, tmp_path):
    """The line on stderr with which a figure refuses what it is given, before it has written anything."""

    def refusal(figure_program, *arguments):
        code, _, err = program(figure_program, "--output", tmp_path / "refused", *arguments)
        assert code == 2 and err.startswith("error:") and err.count("\n") == 1
        assert not list(tmp_path.glob("refused/*"))
        return err

    return refusal


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A results folder with trainings of a small model: mlp_1 on digits, ReLU and GoLU, two seeds, two epochs."""
    from tasks.small_poc.main import main

    folder = tmp_path_factory.mktemp("runs")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for activation, seed in itertools.product(("ReLU", "GoLU"), (0, 1)):
        flags = f"--model mlp_1 --dataset digits --epochs 2 --device cpu --activation {activation} --seed {seed}"
        main([*flags.split(), "--results", str(folder)])
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def small(runs):
    """Flags with which a figure takes the small models."""
    return ("--results", runs, "--model", "mlp_1", "--activations", "ReLU", "GoLU")


@pytest.fixture
def one_process(monkeypatch):
    """Work that is shared out over processes is done in this one; returns what was done."""
    from visualizations.shared import landscape

    done = []

    def in_this(work, arguments, jobs, finished):
        for each in arguments:
            done.append(each)
            finished(work(*each))

    monkeypatch.setattr(landscape, "in_processes", in_this)
    return done
