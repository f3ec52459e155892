"""The neuron values of photographs: the layer against NumPy's, and noise against the exact variances."""

import numpy as np
import pytest
import torch
from PIL import Image

from golu.activations import compared_activations
from visualizations.shared.photographs import reduced
from visualizations.theoretical_experiments import variance_reduction
from visualizations.theoretical_experiments.variance_reduction import FIGURE, by_seed, pre_activations


@pytest.fixture
def noise(tmp_path):
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (160, 200, 3), dtype=np.uint8)).save(path)
    return path


def test_the_photographs(figure):
    rows = figure(FIGURE, "--seeds", 2)
    mean = {name: np.mean(by_seed(rows, name)) for name in compared_activations()}
    assert min(mean, key=mean.get) == "GoLU" and max(mean, key=mean.get) == "Mish"
    normal = {row["activation"]: row["variance"] for row in rows if row["kind"] == "normal input"}
    assert normal["ReLU"] == pytest.approx(0.5 - 0.5 / np.pi, rel=1e-6)
    for image in ("china", "flower"):
        assert len(by_seed(rows, "GoLU", image)) == 2
    bins = [row for row in rows if row["kind"] == "histogram" and row["activation"] == "ReLU"]
    assert sum(row["density"] for row in bins) * 0.1 == pytest.approx(1, abs=1e-3)
    # half of the values, those below the mean, are in the bin that begins at 0
    assert max(bins, key=lambda row: row["density"])["value"] == pytest.approx(0.05)


def test_a_file_of_noise_is_as_a_normal_input(figure, noise):
    rows = figure(FIGURE, "--image", noise, "--seeds", 2, "--activations", "Tanh", "GoLU", "ReLU")
    for name in ("Tanh", "GoLU", "ReLU"):
        exact = next(row["variance"] for row in rows if row["kind"] == "normal input" and row["activation"] == name)
        assert np.mean(by_seed(rows, name)) == pytest.approx(exact, rel=0.03)
    # sums of 27 uniform values, a little lighter-tailed than a normal distribution
    assert 2.8 < next(row["kurtosis"] for row in rows if row["kind"] == "input") < 3


def test_pre_activations_are_a_normalised_convolution():
    pixels = np.random.default_rng(1).random((9, 11, 3))
    x = pre_activations(pixels, 3)[0].numpy()
    generator = torch.Generator().manual_seed(3)
    filters = torch.nn.init.kaiming_normal_(torch.empty(16, 3, 3, 3), generator=generator).numpy()
    assert filters.var() == pytest.approx(2 / 27, rel=0.2)
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)))
    for channel in (0, 15):
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))
        y = (windows * filters[channel]).sum((2, 3, 4))
        assert x[channel] == pytest.approx((y - y.mean()) / y.std(), abs=1e-3)


def test_large_photographs_are_averaged():
    pixels = np.random.default_rng(1).random((40, 61, 3))
    small = reduced(pixels, 31)
    assert small.shape == (20, 30, 3) and small[3, 4] == pytest.approx(pixels[6:8, 8:10].mean((0, 1)))
    assert reduced(pixels, 61) is not None and np.array_equal(reduced(pixels, 61), pixels)
    assert reduced(np.ones((8, 900, 3)), 30).shape == (1, 30, 3)


def test_mistakes_are_said_in_a_line(mistake, tmp_path, noise):
    cases = {
        ("--image", tmp_path / "none.jpg"): "there is no image",
        ("--image", noise, noise): "noise more than once",
        ("--seeds", 1): "no standard error",
        ("--seeds", 0): "at least 1",
    }
    for arguments, words in cases.items():
        assert words in mistake(variance_reduction.FIGURE, *arguments)
