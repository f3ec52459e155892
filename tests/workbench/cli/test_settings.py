"""workbench/cli/settings.py: flags, recipe files and what is stored."""

from dataclasses import dataclass, replace

import pytest

from workbench.cli.arguments import Parser, positive_float, positive_int
from workbench.cli.errors import UserError
from workbench.cli.settings import add_settings, configuration, from_mapping, setting, several, with_options


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
