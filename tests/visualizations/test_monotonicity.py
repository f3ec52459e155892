"""Where activations decrease: minima from equations in plain Python, and pixels counted in another filtered picture."""

import math

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import brentq
from scipy.signal import correlate2d
from scipy.special import lambertw

from tests.visualizations.formulas import FORMULA, sigmoid
from visualizations.monotonicity import decreasing_regions, feature_maps
from visualizations.shared.functions import values
from visualizations.shared.program import drawable, names_in

PHI = {
    "cdf": lambda x: math.erfc(-x / math.sqrt(2)) / 2,
    "pdf": lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi),
}


def mish_equation(x):
    """With s = (1 + e^x)^2 Mish is x (s - 1) / (s + 1); this is its derivative times (s + 1)^2."""
    s = (1 + math.exp(x)) ** 2
    return s * s - 1 + x * 4 * math.exp(x) * (1 + math.exp(x))


MINIMUM_AT = {
    "GELU": brentq(lambda x: PHI["cdf"](x) + x * PHI["pdf"](x), -2, -0.1),
    "Swish": brentq(lambda x: 1 + x * (1 - sigmoid(x)), -3, -0.1),
    "Mish": brentq(mish_equation, -3, -0.1),
    "GoLU": -lambertw(1).real,
}


def landmarks(rows):
    return {(row["activation"], row["point"]): (row["x"], row["f"]) for row in rows if row["point"] != "curve"}


def test_minima_and_where_the_decrease_begins(figure):
    rows = figure(decreasing_regions.FIGURE)
    assert names_in(rows) == ["ReLU", "GELU", "Swish", "Mish", "GoLU"]
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
    rows = figure(decreasing_regions.FIGURE, "--activations", *drawable())
    falling = {name for name, _ in landmarks(rows)}
    assert falling == {*MINIMUM_AT, "GELU_tanh"}
    x = np.linspace(-30, 30, 6001)
    for name in set(drawable()) - falling:
        assert (np.diff(values(name, x)) >= 0).all()


def test_the_table_and_a_picture_without_any_that_decreases(program, tmp_path):
    code, out, err = program(
        decreasing_regions.FIGURE, "--output", tmp_path, "--dpi", 40, "--activations", "GoLU", "ELU"
    )
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["GoLU", "-0.0973", "-0.5671", "-2.0341", "1.4670"] in lines
    assert ["ELU", "decreases", "nowhere"] in lines
    code, _, err = program(
        decreasing_regions.FIGURE, "--output", tmp_path, "--dpi", 40, "--activations", "ReLU", "Tanh"
    )
    assert (code, err) == (0, "")


def edges_of(pixels):
    """Grey, averaged to at most 320 pixels a side, filtered, standardised: by other means than the figure's."""
    factor = math.ceil(max(pixels.shape[:2]) / 320)
    grey = pixels @ [0.299, 0.587, 0.114]
    height, width = (side // factor for side in grey.shape)
    small = np.array(
        [
            [grey[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor].mean() for j in range(width)]
            for i in range(height)
        ]
    )
    edges = correlate2d(small, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], mode="valid")
    return (edges - edges.mean()) / edges.std()


def check_shares(rows, edges):
    shares = {row["activation"]: row for row in rows if row["what"] == "share"}
    for name, row in shares.items():
        at = MINIMUM_AT.get(name)
        there = [] if at is None else [FORMULA[name](x) for x in edges.flat if x < at]
        assert row["percent"] == pytest.approx(100 * len(there) / edges.size, rel=1e-6)
        assert row["normal_percent"] == pytest.approx(0 if at is None else 100 * PHI["cdf"](at), rel=1e-6)
        assert row["deviation"] == pytest.approx(np.std(there) if there else 0, rel=1e-5)
    return shares


def test_shares_of_the_built_in_photograph_are_direct_counts(figure):
    from sklearn.datasets import load_sample_image

    rows = figure(feature_maps.FIGURE)
    edges = edges_of(load_sample_image("china.jpg") / 255)
    shares = check_shares(rows, edges)
    assert list(shares) == ["ReLU", "GELU", "Swish", "Mish", "GoLU"]
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


def test_pictures_that_cannot_serve_are_one_line(program, tmp_path):
    stripes = np.zeros((16, 16, 3), dtype=np.uint8)
    stripes[::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    for image, message in ((tmp_path / "none.png", "there is no image"), (tmp_path / "stripes.png", "no edges")):
        code, _, err = program(feature_maps.FIGURE, "--output", tmp_path, "--image", image)
        assert code == 2 and err.startswith("error:") and err.count("\n") == 1 and message in err


@pytest.mark.parametrize("module", [decreasing_regions, feature_maps])
def test_an_unknown_activation_is_one_line(program, module):
    code, _, err = program(module.FIGURE, "--activations", "Foo")
    assert code == 2 and err.startswith("error:") and err.count("\n") == 1
