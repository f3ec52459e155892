"""Where activations decrease: minima from equations in plain Python, and pixels counted in another filtered picture."""

import math

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import brentq
from scipy.signal import correlate2d
from scipy.special import lambertw

from golu.activations import compared_activations, distinct_activations
from tests.visualizations.formulas import FORMULA, normal, sigmoid
from visualizations.monotonicity import decreasing_regions, feature_maps
from visualizations.shared.functions import values
from visualizations.shared.program import names_in


def cdf(x):
    return math.erfc(-x / math.sqrt(2)) / 2


def mish_equation(x):
    """With s = (1 + e^x)^2 Mish is x (s - 1) / (s + 1); this is its derivative times (s + 1)^2."""
    s = (1 + math.exp(x)) ** 2
    return s * s - 1 + x * 4 * math.exp(x) * (1 + math.exp(x))


MINIMUM_AT = {
    "GELU": brentq(lambda x: cdf(x) + x * normal(x), -2, -0.1),
    "Swish": brentq(lambda x: 1 + x * (1 - sigmoid(x)), -3, -0.1),
    "Mish": brentq(mish_equation, -3, -0.1),
    "GoLU": -lambertw(1).real,
}


def landmarks(rows):
    return {(row["activation"], row["point"]): (row["x"], row["f"]) for row in rows if row["point"] != "curve"}


def test_minima_and_where_the_decrease_begins(figure):
    rows = figure(decreasing_regions.FIGURE)
    assert names_in(rows) == compared_activations()
    for row in rows:
        assert row["f"] == pytest.approx(FORMULA[row["activation"]](row["x"]), rel=1e-4, abs=1e-7)
    found = landmarks(rows)
    assert {name for name, _ in found} == set(MINIMUM_AT)
    text = " ".join(decreasing_regions.__doc__.split())
    for name, at in MINIMUM_AT.items():
        f = FORMULA[name]
        assert found[name, "minimum"] == pytest.approx((at, f(at)), rel=1e-6)
        near_0, left = found[name, "within 1 % of 0"]
        assert near_0 < at and left == pytest.approx(f(at) / 100, rel=1e-6)
        for number in (f"{-f(at):.4f}", f"{at:.4f}", f"{near_0:.4f}"):
            assert number in text


def test_all_others_decrease_nowhere(figure):
    rows = figure(decreasing_regions.FIGURE, "--activations", *distinct_activations())
    falling = {name for name, _ in landmarks(rows)}
    assert falling == {*MINIMUM_AT, "GELU_tanh", "TeLU", "xIELU", "AGLU"}
    x = np.linspace(-30, 30, 6001)
    for name in set(distinct_activations()) - falling:
        assert (np.diff(values(name, x)) >= 0).all()


def test_the_table_and_a_picture_without_any_that_decreases(program, tmp_path):
    flags = ("--output", tmp_path, "--dpi", 40, "--activations")
    code, out, err = program(decreasing_regions.FIGURE, *flags, "GoLU", "ELU")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["GoLU", "-0.0973", "-0.5671", "-2.0341", "1.4670"] in lines
    assert ["ELU", "decreases", "nowhere"] in lines
    code, _, err = program(decreasing_regions.FIGURE, *flags, "ReLU", "Tanh")
    assert (code, err) == (0, "")


def edges_of(pixels):
    """Grey, averaged to at most 320 pixels a side, filtered, standardised: by other means than the figure's."""
    factor = math.ceil(max(pixels.shape[:2]) / 320)
    grey = pixels @ [0.299, 0.587, 0.114]
    height, width = (side // factor for side in grey.shape)
    small = grey[: height * factor, : width * factor].reshape(height, factor, width, factor).mean((1, 3))
    edges = correlate2d(small, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], mode="valid")
    return (edges - edges.mean()) / edges.std()


def check_shares(rows, edges):
    shares = {row["activation"]: row for row in rows if row["what"] == "share"}
    for name, row in shares.items():
        at = MINIMUM_AT.get(name)
        there = [] if at is None else [FORMULA[name](x) for x in edges.flat if x < at]
        assert row["percent"] == pytest.approx(100 * len(there) / edges.size, rel=1e-6)
        assert row["normal_percent"] == pytest.approx(0 if at is None else 100 * cdf(at), rel=1e-6)
        assert row["deviation"] == pytest.approx(np.std(there) if there else 0, rel=1e-5)
    return shares


def test_shares_of_the_built_in_photograph_are_direct_counts(figure):
    from sklearn.datasets import load_sample_image

    rows = figure(feature_maps.FIGURE)
    edges = edges_of(load_sample_image("china.jpg") / 255)
    shares = check_shares(rows, edges)
    assert list(shares) == compared_activations()
    text = " ".join(feature_maps.__doc__.split())
    for name in MINIMUM_AT:
        row = shares[name]
        assert f"{row['percent']:.1f} %" in text and f"{row['normal_percent']:.1f}" in text
        assert f"{row['deviation']:.4f} for {name}" in text
    for row in (row for row in rows if row["what"] == "histogram"):
        count = ((edges >= row["x"] - 0.05) & (edges < row["x"] + 0.05)).sum()
        assert row["density"] == pytest.approx(count / edges.size / 0.1, rel=0.02, abs=2e-3)


def test_another_picture_and_other_activations(figure, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    rows = figure(feature_maps.FIGURE, "--image", tmp_path / "noise.png", "--activations", "Mish", "Sigmoid", "GoLU")
    assert list(check_shares(rows, edges_of(pixels / 255))) == ["Mish", "Sigmoid", "GoLU"]


def test_pictures_that_cannot_serve_are_one_line(mistake, tmp_path):
    stripes = np.zeros((16, 16, 3), dtype=np.uint8)
    stripes[::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    for image, message in ((tmp_path / "none.png", "there is no image"), (tmp_path / "stripes.png", "no edges")):
        assert message in mistake(feature_maps.FIGURE, "--image", image)
