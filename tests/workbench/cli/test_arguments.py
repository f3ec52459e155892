"""Command lines, beyond what every program is tested with."""

import argparse

import pytest

from workbench.cli.arguments import Parser, positive_int
from workbench.cli.errors import UserError


def test_a_switch_takes_true_and_false():
    parser = Parser("program", "Do something.")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--clean", action=argparse.BooleanOptionalAction)
    parser.add_argument("--size", type=positive_int)

    def parsed(*words):
        options = parser.parse_args(words)
        return options.fast, options.clean, options.size

    assert parsed("--fast=True", "--clean=true", "--size=3") == (True, True, 3)
    assert parsed("--fast", "--fast=False", "--clean=False") == (True, False, None)
    assert parsed("--fast=False") == (False, None, None)
    with pytest.raises(UserError, match=r"--fast: is turned on by its name, or by =True and =False, not by 'yes'"):
        parsed("--fast=yes")
