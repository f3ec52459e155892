"""workbench: what every task shares."""

import json
import math

import pytest
import torch

from workbench.cli.arguments import Parser, non_negative_float, one_of, positive_float, positive_int
from workbench.cli.errors import Stopped, UserError, run
from workbench.cli.progress import Progress
from workbench.output import storage
from workbench.output.estimates import estimate, median_interval, paired_difference
from workbench.output.style import figure_style, line_of, save_figure
from workbench.training.seeding import generator_for, seed_everything
from workbench.vision.datasets import stratified_order


def test_estimate_agrees_with_scipy():
    from scipy import stats

    values = [97.2, 96.1, 98.3, 97.7]
    result = estimate(values)
    assert result.mean == pytest.approx(sum(values) / 4)
    assert result.standard_error == pytest.approx(stats.sem(values))
    assert (result.low, result.high) == pytest.approx(stats.t.interval(0.95, 3, sum(values) / 4, stats.sem(values)))
    assert result.n == 4


def test_estimate_in_closed_form():
    result = estimate([1.0, 3.0])  # ddof=1: sd = sqrt(2), standard error 1; t(0.975, 1) = tan(0.475 pi)
    assert result.standard_error == pytest.approx(1.0)
    assert result.high == pytest.approx(2 + math.tan(0.475 * math.pi))


def test_one_value_has_no_error_and_none_no_estimate():
    assert estimate([5.0]) == (5.0, None, None, None, 1)
    with pytest.raises(ValueError):
        estimate([])


def test_paired_difference_agrees_with_the_paired_t_test():
    from scipy import stats

    ours, theirs = [97.2, 96.1, 98.3, 97.7], [96.9, 96.3, 97.5, 97.0]
    interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    result = paired_difference(ours, theirs)
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high))
    with pytest.raises(ValueError):
        paired_difference([1.0], [1.0, 2.0])


def test_the_interval_of_the_median_holds_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    samples = torch.empty(2000, 25).exponential_(generator=generator)  # skewed, with its median at log 2
    inside = [low <= math.log(2) <= high for _, low, high in map(median_interval, samples.tolist())]
    assert 0.94 < sum(inside) / len(inside) < 0.99
    assert median_interval([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)


def make_parser():
    parser = Parser("prog", "What for.")
    parser.add_argument("--batch-size", type=positive_int, default=3, help="images")
    parser.add_argument(
        "--name", type=one_of("fruit", ["apple", "pear"]), default="pear", help="a fruit (default: pear)"
    )
    return parser


def test_hyphens_and_underscores():
    for arguments in (["--batch-size", "7"], ["--batch_size", "7"], ["--batch_size=7"]):
        assert make_parser().parse_args(arguments).batch_size == 7


@pytest.mark.parametrize(
    "arguments", [["--batch", "7"], ["--other", "1"], ["--batch-size", "0"], ["--batch-size", "1.5"]]
)
def test_flags_that_are_refused(arguments):
    with pytest.raises(UserError):
        make_parser().parse_args(arguments)


def test_a_name_that_is_close():
    with pytest.raises(UserError, match="did you mean apple"):
        make_parser().parse_args(["--name", "aple"])


def test_help_states_each_default_once():
    text = make_parser().format_help()
    assert "images (default: 3)" in text
    assert text.count("(default: pear)") == 1


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "x", ""])
def test_numbers_that_are_none(text):
    for kind in (positive_float, non_negative_float):
        with pytest.raises(Exception, match="must be a number"):
            kind(text)


def test_zero_is_not_positive_but_not_negative():
    assert non_negative_float("0") == 0
    with pytest.raises(Exception, match="above 0"):
        positive_float("0")


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("two\nlines"), 2, "error: two lines\n"),
        (Stopped("stopped: go on"), 130, "stopped: go on\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
    ],
)
def test_how_a_program_ends(error, code, line, capsys):
    with pytest.raises(SystemExit) as ended:
        run(raising(error))
    assert ended.value.code == code
    assert capsys.readouterr().err == line


def test_a_missing_package_is_named(capsys):
    with pytest.raises(SystemExit):
        run(raising(ModuleNotFoundError("No module", name="sklearn")))
    assert "the package sklearn is missing" in capsys.readouterr().err


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    storage.write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        storage.write_json(path, {"a": math.nan})

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", full)
        with pytest.raises(UserError, match="No space left"):
            storage.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["results.json"]


def test_every_beginning_of_a_stratified_order_has_the_classes_in_proportion():
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    order = stratified_order(labels)
    assert sorted(order.tolist()) == list(range(100))
    for length in range(10, 101, 10):
        counts = labels[order[:length]].bincount(minlength=3) / length
        assert torch.allclose(counts, torch.tensor([0.6, 0.3, 0.1]), atol=0.05)


def test_seeds():
    seed_everything(3)
    first = torch.rand(2)
    seed_everything(3)
    assert torch.equal(first, torch.rand(2))
    assert torch.equal(torch.rand(2, generator=generator_for(3, "a")), torch.rand(2, generator=generator_for(3, "a")))


def test_progress_without_a_terminal_prints_lines(capsys):
    with Progress(4) as progress:
        progress.doing("nothing")
        progress.advance()
        progress.reach(2)
        progress.report("half")
    captured = capsys.readouterr()
    assert captured.out == "[ 50%, 0:00 left] half\n"
    assert captured.err == ""


def test_every_activation_has_a_line_of_its_own():
    from golu import available_activations

    lines = [line_of(each) for each in available_activations()]
    assert len(set(lines)) == len(lines)


def test_figures_are_the_same_each_time_and_leave_no_setting_behind(tmp_path):
    import matplotlib
    from matplotlib.figure import Figure

    before = dict(matplotlib.rcParams)
    contents = []
    for name in ("a", "b"):
        with figure_style():
            figure = Figure()
            figure.subplots().plot([1, 2])
            contents.append([path.read_bytes() for path in save_figure(figure, tmp_path / name)])
    assert contents[0] == contents[1]
    assert before == dict(matplotlib.rcParams)
