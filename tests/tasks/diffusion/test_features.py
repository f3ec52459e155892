"""Networks whose features samples are judged by: any, a classifier of the same images, and Inception."""

import re
import sys
import types

import pytest
import torch
from torch import nn

from tasks.diffusion import classifier
from tasks.diffusion.classifier import Classifier, classifier_extractor, extractor_of, train_classifier
from tasks.diffusion.features import INCEPTION_URL, features_of, inception_extractor
from tasks.diffusion.pictures import open_pictures
from tasks.diffusion.real import read_images
from workbench.cli.errors import UserError

ADVICE = f"download {INCEPTION_URL}, and give its path with --weights"


class Means(nn.Module):
    """Gives the mean of each channel, and with `logits` twice as much as logits."""

    def __init__(self, logits=False):
        super().__init__()
        self.logits, self.batches = logits, []

    def forward(self, images):
        assert images.dtype == torch.uint8 and not self.training
        self.batches.append(len(images))
        found = images.float().mean((2, 3))
        return (found, 2 * found) if self.logits else found


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """400 training and 200 validation pictures of ten classes."""
    return open_pictures("digits", tmp_path_factory.mktemp("none"), 400, 200)


@pytest.fixture(scope="module")
def pixels(digits):
    """Their images and labels."""
    return [read_images(each, 10_000, 1, 8) for each in (digits.train, digits.val)]


@pytest.fixture
def fewer_steps(monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 10)


def test_features_of_any_network():
    images = torch.randint(256, (7, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    network = Means()
    done = []
    found = features_of(network, images, batch_size=3, after_batch=done.append)
    assert network.batches == done == [3, 3, 1]
    assert found.logits is None and found.values.dtype == torch.float64
    assert torch.allclose(found.values, images.double().mean((2, 3)))
    both = features_of(Means(logits=True), images)
    assert torch.equal(both.logits, 2 * both.values) and torch.equal(both.values, found.values)
    part = both[2:4]
    assert len(part) == 2 and torch.equal(part.values, both.values[2:4]) and torch.equal(part.logits, both.logits[2:4])


def test_features_that_are_no_numbers_are_refused():
    class Broken(Means):
        def forward(self, images):
            return super().forward(images) / 0

    with pytest.raises(UserError, match=r"^the network that judges .* features that are no numbers"):
        features_of(Broken(), torch.zeros(2, 1, 2, 2, dtype=torch.uint8))


@pytest.mark.parametrize(("channels", "size"), [(1, 2), (1, 8), (3, 20), (3, 32), (1, 48), (3, 64), (3, 256)])
def test_the_classifier_takes_images_of_any_size(channels, size):
    features, logits = Classifier(channels, size, 7).eval()(torch.zeros(2, channels, size, size, dtype=torch.uint8))
    assert features.shape == (2, Classifier.num_features) and logits.shape == (2, 7)


def test_real_images_are_a_fixed_choice_of_the_pictures(digits, pixels):
    images, labels = read_images(digits.val, 50, 1, 8)
    assert images.shape == (50, 1, 8, 8) and images.dtype == torch.uint8 and len(labels.unique()) == 10
    more, _ = pixels[1]
    assert len(more) == 200 and torch.equal(more[:50], images)
    as_stored = [torch.tensor(list(digits.val[place][0].convert("L").tobytes())) for place in range(200)]
    assert not torch.equal(images.flatten(1), torch.stack(as_stored[:50]))  # which may be sorted by classes
    assert sorted(map(tuple, more.flatten(1).tolist())) == sorted(tuple(each.tolist()) for each in as_stored)


def test_the_classifier_learns_and_is_the_same_every_time(pixels):
    torch.manual_seed(5)
    first = train_classifier(*pixels, 10, steps=80)
    assert first.accuracy > 0.8 and 0.1 <= first.chance < 0.15
    torch.manual_seed(6)
    torch.set_num_threads(2)
    before = torch.get_rng_state()
    again = train_classifier(*pixels, 10, steps=80)
    assert torch.get_num_threads() == 2 and torch.equal(before, torch.get_rng_state())
    for a, b in zip(first.network.state_dict().values(), again.network.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert extractor_of(first, 10).stored == extractor_of(again, 10).stored
    assert not any(each.requires_grad for each in first.network.parameters()) and not first.network.training


def test_accuracy_is_that_of_the_logits(pixels):
    trained, (images, labels) = train_classifier(*pixels, 10, steps=10), pixels[1]
    logits = features_of(trained.network, images).logits
    assert trained.accuracy == (logits.argmax(1) == labels).double().mean().item() < 0.95
    assert trained.chance == labels.bincount().max().item() / 200


def test_images_without_classes_are_turned(pixels):
    trained, (images, _) = train_classifier(*pixels, 1, steps=120), pixels[1]
    assert trained.chance == 0.25 and trained.accuracy > 0.7
    right = [features_of(trained.network, images.rot90(turns, (2, 3))).logits.argmax(1) == turns for turns in range(4)]
    assert all(each.double().mean() > 0.5 for each in right)
    assert trained.accuracy == torch.cat(right).double().mean().item()
    extractor = extractor_of(trained, 1)
    assert extractor.meaning.startswith("64 of a classifier of quarter turns, right on ") and not extractor.warning
    assert features_of(extractor.network, images).logits is None  # a score by turns would say nothing of classes


def test_a_classifier_that_has_learnt_nothing_is_said_to(digits):
    images = torch.randint(256, (300, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(300) % 10
    trained = train_classifier((images[:200], labels[:200]), (images[200:], labels[200:]), 10, steps=10)
    warning = extractor_of(trained, 10).warning
    right = f"right on {trained.accuracy:.1%} of the validation images, by chance 10.0%"
    assert warning == f"the classifier has learnt little ({right}), so these scores are worth little"


def test_the_classifier_is_trained_once(digits, tmp_path, capsys, fewer_steps):
    first = classifier_extractor(digits, "400+200 images", 1, 8, tmp_path / "made")
    (path,) = (tmp_path / "made").iterdir()
    out, err = capsys.readouterr()
    assert err == "" and f"stored in {path}\n" in out
    assert "training a classifier on 400 training images, once for all models\n" in out
    assert path.name.startswith("classifier_8x8x1_")
    again = classifier_extractor(digits, "400+200 images", 1, 8, tmp_path / "made")
    assert capsys.readouterr() == ("", "")
    assert again.stored == first.stored and again.meaning == first.meaning and first.stored["file"] == str(path)
    images, _ = read_images(digits.val, 30, 1, 8)
    assert torch.equal(features_of(first.network, images).values, features_of(again.network, images).values)
    classifier_extractor(digits, "others", 1, 8, tmp_path / "made")
    assert len(list((tmp_path / "made").iterdir())) == 2


def test_a_stored_classifier_that_is_broken_or_anothers_is_named_and_trained_again(
    digits, tmp_path, capsys, fewer_steps
):
    def judged():
        stored = classifier_extractor(digits, "these", 1, 8, tmp_path).stored
        return stored, capsys.readouterr().err

    expected, _ = judged()
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    path.write_bytes(good[:-100])
    stored, err = judged()
    assert stored == expected
    assert re.fullmatch(rf"warning: the checkpoint {re.escape(str(path))} is broken \(.*\): it is trained again\n", err)
    state = torch.load(path, weights_only=True)
    torch.save(state | {"classifier": state["classifier"] | {"data": "others"}}, path)
    assert judged() == (expected, f"warning: {path} is not the classifier that its name says: it is trained again\n")
    torch.save(state | {"model": {}}, path)
    assert judged() == (expected, f"warning: {path} is broken: it is trained again\n")
    assert judged() == (expected, "")


# Inception


@pytest.fixture
def torch_fidelity(monkeypatch):
    """torch-fidelity's module with a network that is small, and loads its weights as the real one does."""

    class Extractor(nn.Module):
        def __init__(self, name, features_list, feature_extractor_weights_path):
            super().__init__()
            assert (name, features_list) == ("inception-v3-compat", ["2048", "logits_unbiased"])
            self.fc = nn.Linear(3, 2)
            self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=False))

        def forward(self, images):
            assert images.dtype == torch.uint8 and images.shape[1] == 3
            found = images.float().mean((2, 3))
            return found, self.fc(found)

    module = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Extractor
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, module.__name__, module)


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def refusal(weights):
    with pytest.raises(UserError) as raised:
        inception_extractor(weights)
    return str(raised.value)


def test_inception_needs_torch_fidelity(monkeypatch, tmp_path):
    for name in ("torch_fidelity", "torch_fidelity.feature_extractor_inceptionv3"):
        monkeypatch.setitem(sys.modules, name, None)
    assert refusal(tmp_path) == "--features inception needs torch-fidelity: pip install torch-fidelity"


def test_inception_needs_its_weights(torch_fidelity, tmp_path):
    path = tmp_path / "weights.pth"
    assert refusal(None) == f"--features inception needs Inception's weights: {ADVICE}"
    assert refusal(path) == f"there is no file {path}: {ADVICE}"
    path.write_bytes(b"nothing")
    assert refusal(path) == f"{path} does not hold the weights of Inception: {ADVICE}"
    torch.save({"fc.weight": torch.zeros(5, 3)}, path)
    assert refusal(path) == f"{path} does not hold the weights of Inception: {ADVICE}"
    torch.save(Planted(tmp_path / "planted"), path)
    assert refusal(path) == f"{path} does not hold the weights of Inception: {ADVICE}"
    assert not (tmp_path / "planted").exists()


def test_inception_sees_grey_images_in_three_channels_and_names_its_weights(torch_fidelity, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)}, path)
    extractor = inception_extractor(path)
    assert extractor.num_features == 2048
    assert re.fullmatch(r"2048 of Inception \(weights [0-9a-f]{8}\)", extractor.meaning)
    assert extractor.warning == (
        f"{path} is not pt_inception-2015-12-05-6726825d.pth: its scores are not those of papers"
    )
    found = features_of(extractor.network, torch.full((4, 1, 5, 5), 9, dtype=torch.uint8))
    assert torch.equal(found.values, torch.full((4, 3), 9.0, dtype=torch.float64)) and found.logits.shape == (4, 2)


def test_inception_of_torch_fidelity(tmp_path):
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason="torch-fidelity is missing")
    path = tmp_path / "weights.pth"
    with pytest.MonkeyPatch.context() as patch:  # random weights, in place of a download
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(nn.Module, "load_state_dict", lambda *_, **__: None)
        network = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"])
    torch.save(network.state_dict(), path)
    extractor = inception_extractor(path)
    images = torch.randint(256, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = features_of(extractor.network, images, batch_size=2)
    values, logits = network(images)
    assert found.values.shape == (3, 2048) and found.logits.shape == (3, 1008)
    assert torch.allclose(found.values.float(), values, rtol=1e-4, atol=1e-5)
    assert torch.allclose(found.logits.float(), logits, rtol=1e-4, atol=1e-5)
