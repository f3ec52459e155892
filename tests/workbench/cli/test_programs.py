"""workbench/cli: how a program reads its flags, tells what it does, and ends."""

import time

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from workbench.cli.arguments import Parser, non_negative_float, one_of, positive_float, positive_int
from workbench.cli.errors import Stopped, UserError, run
from workbench.cli.progress import Progress


def make_parser():
    fruit = one_of("fruit", ["apple", "pear"])
    parser = Parser("prog", "What for.")
    parser.add_argument("--batch-size", type=positive_int, default=3, help="images")
    parser.add_argument("--name", type=fruit, default="pear", help="a fruit (default: pear)")
    return parser


@pytest.mark.parametrize("arguments", ["--batch-size 7", "--batch_size 7", "--batch_size=7"])
def test_hyphens_and_underscores(arguments):
    assert make_parser().parse_args(arguments.split()).batch_size == 7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--batch 7", "--batch 7"),
        ("--other 1", "--other 1"),
        ("--batch-size 0", "at least 1"),
        ("--batch-size 1.5", "at least 1"),
        ("--name aple", "did you mean apple"),
    ],
)
def test_flags_that_are_refused(arguments, said):
    with pytest.raises(UserError, match=said):
        make_parser().parse_args(arguments.split())


def test_help_states_each_default_once():
    text = make_parser().format_help()
    assert "images (default: 3)" in text and text.count("(default: pear)") == 1


@pytest.mark.parametrize("kind", [positive_float, non_negative_float])
def test_numbers_that_are_none(kind):
    for text in ("nan", "inf", "-1", "x", "", *(["0"] if kind is positive_float else [])):
        with pytest.raises(Exception, match="must be a number"):
            kind(text)
    assert non_negative_float("0") == 0


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("two\nlines"), 2, "error: two lines\n"),
        (Stopped("stopped: go on"), 130, "stopped: go on\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (ModuleNotFoundError("No module", name="sklearn"), 2, "the package sklearn is missing"),
    ],
)
def test_how_a_program_ends(error, code, line, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        run(main)
    assert ended.value.code == code
    err = capsys.readouterr().err
    assert err == line if line.endswith("\n") else line in err


def test_progress_without_a_terminal_prints_lines(capsys):
    with Progress(4) as progress:
        progress.doing("nothing")
        progress.advance()
        progress.reach(2)
        progress.report("half")
    assert capsys.readouterr() == ("[ 50%, 0:00 left] half\n", "")


def test_torchrun_ends_with_the_line(monkeypatch, tmp_path, capsys):
    """As torch itself words what its launcher prints last."""

    def main():
        raise UserError("no such data")

    reports = [tmp_path / f"{rank}.json" for rank in range(2)]
    for rank, report in enumerate(reports):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(report))
        with pytest.raises(SystemExit) as ended:
            run(main)
        assert ended.value.code == 2
    assert capsys.readouterr().err == "error: no such data\n"  # of one process
    failures = {rank: ProcessFailure(rank, 10, 2, str(report)) for rank, report in enumerate(reports)}
    *_, last, _ = str(ChildFailedError("a program", failures)).rstrip().splitlines()
    assert last.strip() == "traceback : error: no such data"


@pytest.mark.parametrize(("each", "said"), [(100.0, "warning: at 100 s a step this takes 10.0 days\n"), (9.9, "")])
def test_progress_warns_once_of_days(each, said, monkeypatch, capsys):
    """By the speed after the first step, which may have to compile."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Progress(8642) as progress:
        for seconds in (5000, each, each, each):
            now[0] += seconds
            progress.advance()
    assert capsys.readouterr().err == said
