"""What the tests of tasks and of visualizations share."""

import sys

import pytest


@pytest.fixture
def program(monkeypatch, capsys):
    """A program, given as its module or as a FigureProgram, in this process; returns (exit code, stdout, stderr)."""
    from workbench.cli.errors import run

    def call(module, *arguments):
        monkeypatch.setattr(sys, "argv", [getattr(module, "__name__", "program"), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run(module.main)
        return ended.value.code, *capsys.readouterr()

    return call
