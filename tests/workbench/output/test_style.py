"""The look of each activation follows from its registration; a figure gives the same file each time."""

from unittest.mock import patch

import matplotlib
import pytest
from matplotlib.figure import Figure
from torch import nn

from golu import available_activations, register
from golu.activations import ACTIVATIONS, compared_activations
from workbench.output.style import figure_style, line_of, save_figure

BLUE, GREEN, ORANGE, PURPLE, VERMILLION, SKY = "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#D55E00", "#56B4E9"
BLACK, GREY = "#000000", "#888888"
LINES = {
    "ReLU": (BLUE, "-"), "GELU": (GREEN, "-"), "Swish": (ORANGE, "-"), "Mish": (PURPLE, "-"), "GoLU": (VERMILLION, "-"),
    "ELU": (SKY, "-"), "Tanh": (BLACK, "-"), "Sigmoid": (GREY, "-"), "LeakyReLU": (BLUE, "--"), "PReLU": (BLUE, ":"),
    "GELU_tanh": (GREEN, "--"), "GoLUCUDA": (VERMILLION, "--"), "SELU": (SKY, "--"), "CELU": (SKY, ":"),
    "Softsign": (BLACK, "--"), "Softplus": (GREY, "--"), "ReLU2": (BLUE, "-."), "TeLU": (PURPLE, "--"),
    "xIELU": (SKY, "-."), "AGLU": (VERMILLION, ":"), "GoLU_output": (VERMILLION, "-."), "TrainableGoLU": (GREEN, ":"),
}  # fmt: skip


def test_the_lines_of_the_figures_that_are_stored():
    assert {name: line_of(name) for name in available_activations()} == LINES


def test_names_that_are_not_registered_look_like_no_other():
    looks = [line_of(name) for name in ("Snake", "Smish", *available_activations())]
    assert len(set(looks)) == len(looks) and line_of("Smish") == looks[1]


@patch.dict(ACTIVATIONS)
def test_a_variant_has_its_originals_colour():
    register("Bent", nn.ReLU, like="Swish", aliases=["Bent2"])
    register("MoreBent", nn.ReLU, like="Bent")
    assert {line_of(name)[0] for name in ("Bent", "Bent2", "MoreBent")} == {ORANGE}


@pytest.mark.parametrize("compared", [False, True])
@patch.dict(ACTIVATIONS)
def test_no_two_look_alike(compared):
    before = {name: line_of(name) for name in compared_activations()}
    register("First", nn.ReLU, compared=compared)
    register("Second", nn.ReLU)
    register("SecondToo", nn.ReLU, like="Second")
    register("Leaky2", nn.ReLU, like="ReLU")
    looks = [line_of(name) for name in available_activations()]
    assert len(set(looks)) == len(looks)
    assert all(line_of(name) == look for name, look in before.items())
    assert not compared or line_of("First")[1] == "-"


def test_figures_are_the_same_each_time_and_leave_no_setting_behind(tmp_path):
    before = dict(matplotlib.rcParams)
    contents = []
    for name in ("a", "b"):
        with figure_style():
            figure = Figure()
            figure.subplots().plot([1, 2])
            contents.append([path.read_bytes() for path in save_figure(figure, tmp_path / name)])
    assert contents[0] == contents[1]
    assert before == dict(matplotlib.rcParams)
