"""workbench/cli/settings.py: flags, recipe files and what is stored."""

from dataclasses import dataclass, replace

import pytest

from workbench.cli.arguments import Parser, positive_float, positive_int, truth
from workbench.cli.errors import UserError
from workbench.cli.settings import (
    add_settings,
    configuration,
    defaults,
    from_configuration,
    from_mapping,
    setting,
    several,
    with_options,
)


@dataclass(frozen=True)
class Example:
    name: str = setting(str, "x", "a name")
    epochs: int = setting(positive_int, 3, "passes")
    lr: float | None = setting(positive_float, None, "rate")
    amp: bool = setting(bool, True, "mixed precision")
    betas: tuple[float, ...] | None = several(positive_float, (0.5, 0.9), "of the optimiser")


def parsed(*arguments, base):
    parser = Parser("prog", "What for.")
    add_settings(parser, base, aliases={"lr": ["--rate"]})
    return with_options(parser.parse_args(arguments), base)


def from_file(values):
    return from_mapping(values, Example(), "file.yaml")


def test_a_flag_beats_the_recipe_which_beats_the_default():
    recipe = from_file({"epochs": 7, "lr": "1e-3", "betas": [0.1, 0.2], "amp": False})  # yaml takes 1e-3 for a word
    assert recipe == Example(epochs=7, lr=1e-3, betas=(0.1, 0.2), amp=False)
    assert parsed(base=recipe) == recipe
    assert parsed("--epochs", "9", "--amp", base=recipe) == replace(recipe, epochs=9, amp=True)
    expected = Example(lr=2, betas=(0.3, 0.4, 0.5), amp=False)
    assert parsed("--rate", "2", "--betas", "0.3", "0.4", "0.5", "--no_amp", base=Example()) == expected


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epoch": 3}, "unknown setting 'epoch': did you mean epochs"),
        ({1: 2}, "unknown setting"),
        ({"epochs": "many"}, "epochs: must be a whole number"),
        ({"epochs": 2.5}, "epochs: must be a whole number"),
        ({"epochs": True}, "epochs: must be a whole number"),
        ({"lr": [0.1]}, "lr: must be a number"),
        ({"amp": "yes"}, "amp: must be true or false, not 'yes'"),
        ({"amp": 1}, "amp: must be true or false"),
        ({"betas": 0.9}, "betas: must be a list, not 0.9"),
        ({"betas": [0.9, -1]}, "betas: must be a number above 0, not '-1'"),
    ],
)
def test_recipes_that_are_refused(values, said):
    with pytest.raises(UserError, match=f"file.yaml: {said}"):
        from_file(values)


def test_settings_are_stored_as_json_has_them():
    stored = {"name": "x", "epochs": 3, "lr": None, "amp": True, "betas": [0.5, 0.9]}
    assert configuration(Example()) == stored


def test_help_shows_defaults_as_one_types_them():
    parser = Parser("prog", "What for.")
    add_settings(parser, Example())
    text = " ".join(parser.format_help().split())
    for line in ("passes (default: 3)", "rate (default: none)", "(default: on)", "(default: 0.5 0.9)"):
        assert line in text


@dataclass(frozen=True)
class Shown:
    second: bool = setting(truth, False, "a second one: True or False")
    steps: tuple[int, ...] = several(positive_int, (1, 2), "steps")
    every: int = setting(positive_int, 5, "lines", stored=False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], None), (["--second"], True), (["--second", "True"], True), (["--second", "false"], False)],
)
def test_a_truth_may_be_written_or_not(words, expected):
    parser = Parser("test", "A test.")
    add_settings(parser, Shown())
    assert parser.parse_args(words).second is expected


def test_a_truth_that_is_none_is_refused():
    parser = Parser("test", "A test.")
    add_settings(parser, Shown())
    with pytest.raises(UserError, match="must be True or False, not 'yes'"):
        parser.parse_args(["--second", "yes"])


def test_what_changes_no_number_is_not_stored():
    assert configuration(Shown(every=7)) == {"second": False, "steps": [1, 2]} == defaults(Shown(steps=(3,)))


def test_settings_come_back_from_a_configuration():
    stored = configuration(Shown(True, (3, 4))) | {"data": "of something else"}
    assert from_configuration(stored, Shown) == Shown(True, (3, 4))
    assert from_configuration({}, Shown) == Shown()
