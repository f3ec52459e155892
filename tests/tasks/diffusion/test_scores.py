"""FID, KID and inception score, held against their definitions."""

import math
import warnings

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from tasks.diffusion.features import Features
from tasks.diffusion.scores import Scores, frechet_distance, inception_score, kernel_distance, scores


def correlated(count, features=8, seed=0, shift=0.0):
    """Features with a covariance that is no multiple of the identity, as a network's are: none below 0."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(size=(features, features))
    values = np.maximum(rng.normal(size=(count, features)) @ mixing + shift, 0)
    return Features(torch.from_numpy(values))


def closed_formula(a, b):
    means, covariances = [x.mean(0) for x in (a, b)], [np.cov(x.T) for x in (a, b)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    return ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_frechet_distance_is_the_closed_formula(scale):
    a, b = correlated(300).values * scale, correlated(200, seed=5, shift=0.7).values * scale
    found = frechet_distance(Features(a), Features(b))
    assert found == pytest.approx(closed_formula(a.numpy(), b.numpy()), rel=1e-6)
    assert frechet_distance(Features(b), Features(a)) == pytest.approx(found, rel=1e-6)


def test_frechet_distance_of_features_far_from_zero_and_of_a_dead_feature():
    a, b = correlated(300).values, correlated(200, seed=5).values
    for values in (a, b):
        values[:, 3] = 0.0
    near = frechet_distance(Features(a), Features(b))
    alive = [0, 1, 2, 4, 5, 6, 7]
    assert near == pytest.approx(closed_formula(a[:, alive].numpy(), b[:, alive].numpy()), abs=1e-6)
    assert frechet_distance(Features(a + 1000), Features(b + 1000)) == pytest.approx(near, abs=1e-5)


def test_frechet_distance_of_a_shift_is_its_square():
    a = correlated(500).values
    shift = torch.linspace(-1, 2, 8, dtype=torch.float64)
    assert frechet_distance(Features(a), Features(a + shift)) == pytest.approx(shift.square().sum().item(), abs=1e-6)
    assert frechet_distance(Features(a), Features(a)) == pytest.approx(0, abs=1e-6)


def test_halves_of_the_same_features_are_the_nearer_the_more_there_are():
    found = [frechet_distance(correlated(n), correlated(n, seed=7)) for n in (50, 500, 50_000)]
    assert 0 < found[2] < 0.01 < found[1] < found[0]
    far = frechet_distance(correlated(500), correlated(500, seed=7, shift=1.0))
    assert far > 10 * found[1]


@pytest.mark.parametrize(("samples", "real"), [(8, 100), (100, 8)])
def test_as_few_images_as_features_are_refused(samples, real):
    with pytest.raises(ValueError, match=rf"^{samples} and {real} images are too few for 8 features$"):
        frechet_distance(correlated(samples), correlated(real, seed=1))
    assert frechet_distance(correlated(9), correlated(9, seed=1)) > 0


def squared_discrepancy(a, b):
    """The unbiased estimate of the squared maximum mean discrepancy with the kernel (x y / F + 1)^3, pair by pair."""

    def kernel(x, y):
        return (math.fsum(p * q for p, q in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(x):
        return math.fsum(kernel(p, q) for i, p in enumerate(x) for j, q in enumerate(x) if i != j)

    n = len(a)
    assert len(b) == n
    between = math.fsum(kernel(p, q) for p in a for q in b)
    return (within(a) + within(b)) / (n * (n - 1)) - 2 * between / n**2


def test_kernel_distance_is_the_discrepancy_of_all_images():
    a, b = correlated(40, features=3), correlated(40, features=3, seed=9, shift=0.5)
    found, deviation = kernel_distance(a, b)
    assert found == pytest.approx(squared_discrepancy(a.values.tolist(), b.values.tolist()), rel=1e-9)
    assert deviation is None


def test_kernel_distance_of_unequal_numbers_is_a_mean_over_subsets():
    torch.manual_seed(0)
    a, b = correlated(40, features=3), correlated(90, features=3, seed=9, shift=0.5)
    found, deviation = kernel_distance(a, b)
    parts = [a.values.tolist(), b.values.tolist()]
    rng = np.random.default_rng(0)
    expected = [
        squared_discrepancy(parts[0], [parts[1][place] for place in rng.permutation(90)[:40]]) for _ in range(30)
    ]
    assert found == pytest.approx(np.mean(expected), abs=4 * np.std(expected) / math.sqrt(30))
    assert deviation == pytest.approx(np.std(expected), rel=0.5)
    torch.manual_seed(1)
    assert kernel_distance(a, b) == (found, deviation)


def test_subsets_have_at_most_a_thousand_images(monkeypatch):
    monkeypatch.setattr("tasks.diffusion.scores.KID_SUBSETS", 4)
    many, others = correlated(1100, features=3), correlated(1100, features=3, seed=4)
    found, deviation = kernel_distance(many, others)
    assert deviation > 0 and abs(found) < 10 * deviation
    assert kernel_distance(many[:1000], others[:1000])[1] is None


def by_formula(logits):
    """The exponential of the mean divergence of each image's classes from the mean classes."""
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return math.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean())


def test_inception_score_is_its_formula():
    logits = 2 * torch.randn(150, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found, deviation = inception_score(logits)
    assert found == pytest.approx(by_formula(logits.numpy()), rel=1e-9)
    assert deviation is None


def test_inception_score_of_many_images_is_a_mean_over_splits():
    logits = 2 * torch.randn(1000, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found, deviation = inception_score(logits)
    splits = [by_formula(each.numpy()) for each in logits.split(100)]  # as good a choice of splits as any
    assert found == pytest.approx(np.mean(splits), abs=3 * np.std(splits) / math.sqrt(10))
    assert deviation == pytest.approx(np.std(splits, ddof=1), rel=1.0)
    assert found < by_formula(logits.numpy()) + 3 * deviation
    torch.manual_seed(1)
    assert inception_score(logits) == (found, deviation)


@pytest.mark.parametrize("size", [5.0, 1e4, 1e30])
def test_inception_score_of_certain_images(size):
    logits = size * torch.eye(10, dtype=torch.float64).repeat(12, 1)
    assert inception_score(logits)[0] == pytest.approx(by_formula(logits.numpy()) if size == 5 else 10, rel=1e-6)
    assert inception_score(logits[:1].repeat(50, 1))[0] == pytest.approx(1)


def test_scores_are_all_of_them_without_a_warning_or_a_random_number_of_the_caller():
    samples, real = correlated(250, seed=3), correlated(300)
    samples = Features(samples.values, samples.values[:, :4])
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scores(samples, real)
    assert torch.equal(before, torch.get_rng_state())
    kernel, score = kernel_distance(samples, real), inception_score(samples.logits)
    assert found == Scores(frechet_distance(samples, real), *kernel, *score)
    assert scores(real, samples).inception_score is None
