"""workbench/vision and what the image-classification programs decide: each against an independent reference."""

import copy
import importlib
import io
import math
import random
import shlex
import string
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import nn
from torchvision import transforms

from golu import find_activations, golu
from tasks.image_classification import timm_training, timm_training_script, train
from tasks.image_classification.tiny_vit import main as tiny_vit
from tasks.small_poc import main as small_poc
from tasks.small_poc import train_vit
from tasks.small_poc.recipe import RECIPES, epoch_rates
from tests.tasks.imagenet_miniature import jpeg
from workbench.cli.arguments import Parser, positive_float, positive_int
from workbench.cli.errors import UserError
from workbench.cli.settings import add_settings, chosen, configuration, from_mapping, setting, several
from workbench.training.launch import launched
from workbench.training.sampling import Sampling
from workbench.vision.datasets import Images
from workbench.vision.evaluation import evaluate
from workbench.vision.files import Folder, FromFiles, Pixels, open_folder, open_pixels
from workbench.vision.in_memory import InMemory, draw_shifts, shift_and_mirror
from workbench.vision.models import share_statistics, timm_classifier, torchvision_classifier, with_activation
from workbench.vision.where import Where

CPU = torch.device("cpu")
TRAINERS = (train, timm_training_script, tiny_vit, small_poc, train_vit)
# small experiments of torchvision's and of timm's training
SMALL = {"model": "squeezenet1_1", "train_crop_size": 32, "epochs": 8, "batch_size": 4}
TINY = {"model": "resnet18", "img_size": 32, "epochs": 8, "batch_size": 4}
PLACE = Where(
    "digits", Path("unused"), Path("unused"), "GoLU", seed=0, workers=0, limit_train=16, limit_val=10, device="cpu"
)


def same_batches(found, expected):
    found, expected = list(found), list(expected)
    return len(found) == len(expected) and all(
        torch.equal(x, other_x) and torch.equal(y, other_y)
        for (x, y), (other_x, other_y) in zip(found, expected, strict=True)
    )


# Evaluation


@pytest.mark.parametrize("classes", [3, 5, 6, 10])
def test_metrics_are_means_over_images_not_over_batches(classes):
    generator = torch.Generator().manual_seed(classes)
    logits = 3 * torch.randn(23, classes, generator=generator)
    labels = torch.randint(classes, (23,), generator=generator)
    with launched("cpu") as accelerator:
        batches = zip(logits.split([10, 10, 3]), labels.split([10, 10, 3]), strict=True)
        metrics = evaluate(nn.Identity(), batches, accelerator)
    losses, ranks = [], []
    for row, label in zip(logits.double(), labels, strict=True):
        losses.append(math.log(sum(math.exp(each) for each in row)) - row[label].item())
        ranks.append(int((row > row[label]).sum()))
    assert metrics.pop("val_loss") == pytest.approx(sum(losses) / 23)
    assert metrics.pop("val_accuracy") == pytest.approx(100 * sum(rank == 0 for rank in ranks) / 23)
    if classes > 5:
        assert metrics.pop("val_top5_accuracy") == pytest.approx(100 * sum(rank < 5 for rank in ranks) / 23)
    assert metrics == {}


# Small images in memory


def cut_by_hand(image, row, column, mirror):
    channels, height, width = image.shape
    padded = torch.zeros(channels, height + 8, width + 8)
    padded[:, 4:-4, 4:-4] = image
    cut = padded[:, row : row + height, column : column + width]
    return cut.flip(2) if mirror else cut


def test_shift_and_mirror_by_hand():
    x = torch.randn(40, 3, 6, 9)  # channels that differ, so that they have to move together
    draws = draw_shifts(40, torch.Generator().manual_seed(0))
    expected = [cut_by_hand(image, *draw) for image, draw in zip(x, draws.tolist(), strict=True)]
    assert torch.equal(shift_and_mirror(x, draws), torch.stack(expected))


def test_a_shift_to_the_middle_changes_nothing():
    x = torch.randn(5, 3, 8, 8)
    assert torch.equal(shift_and_mirror(x, torch.tensor([[4, 4, 0]] * 5)), x)
    assert torch.equal(shift_and_mirror(x, torch.tensor([[4, 4, 1]] * 5)), x.flip(3))


def test_all_shifts_are_drawn_equally_often():
    draws = draw_shifts(9000, torch.Generator().manual_seed(0))
    for column, values in enumerate((9, 9, 2)):
        counts = draws[:, column].bincount()
        assert len(counts) == values
        assert torch.allclose(counts / 9000, torch.tensor(1 / values), atol=0.02)


def in_memory(augment=True, **sampling):
    generator = torch.Generator().manual_seed(5)
    x, y = torch.randn(21, 3, 8, 8, generator=generator), torch.arange(21)
    images = Images(x, y, x[:7] + 1, y[:7], 21)
    return InMemory(images, Sampling(**{"count": 21, "batch_size": 8, "seed": 2} | sampling), augment)


def test_each_image_is_augmented_and_keeps_its_label():
    plain, augmented = (list(in_memory(augment).training(1, 0)) for augment in (False, True))
    assert len(plain) == len(augmented) == 2
    changed = 0
    for ((x, y),), ((moved, moved_y),) in zip(plain, augmented, strict=True):
        assert torch.equal(y, moved_y)
        for image, cut in zip(x, moved, strict=True):
            assert any(
                torch.equal(cut, cut_by_hand(image, row, column, mirror))
                for row in range(9)
                for column in range(9)
                for mirror in (False, True)
            )
            changed += not torch.equal(image, cut)
    assert changed > 10


@pytest.mark.parametrize("augment", [False, True])
def test_two_processes_share_the_batches_of_one(augment):
    whole = [batch for (batch,) in in_memory(augment).training(3, 0)]
    parts = [in_memory(augment, process=process, processes=2, accumulation=2).training(3, 0) for process in (0, 1)]
    for (x, y), *shares in zip(whole, *parts, strict=True):
        for process, batches in enumerate(shares):
            assert len(batches) == 2
            assert torch.equal(torch.cat([each for each, _ in batches]), x[process::2])
            assert torch.equal(torch.cat([each for _, each in batches]), y[process::2])


def test_a_later_first_step_gives_the_same_batches():
    data = in_memory(batch_size=4)
    whole = [batch for (batch,) in data.training(0, 0)]
    assert len(whole) == 5
    assert same_batches([batch for (batch,) in data.training(0, 3)], whole[3:])
    assert not same_batches([batch for (batch,) in data.training(1, 0)], whole)


def test_validation_images_are_not_augmented_and_each_is_in_one_process():
    parts = [list(in_memory(process=process, processes=2).validation()) for process in (0, 1)]
    labels = torch.cat([y for part in parts for _, y in part])
    assert sorted(labels.tolist()) == list(range(7))
    for x, y in parts[0] + parts[1]:
        assert torch.equal(x, in_memory()._images.val_x[y])


# Images in files


def write_folder(path, train=(4, 4, 4), val=3, size=(40, 48)):
    """train/ with so many images in each class, and val/ with `val` in each."""
    for split, counts in (("train", train), ("val", [val] * len(train))):
        for label, count in enumerate(counts):
            folder = path / split / f"class_{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                name = f"{split}_{label}_{number}"
                (folder / f"{name}.jpg").write_bytes(jpeg(name, size))
    return path


def test_a_folder_is_read_as_torchvision_reads_it(tmp_path):
    root = write_folder(tmp_path) / "train"
    ours, theirs = Folder(root, "--limit-train", None), torchvision.datasets.ImageFolder(str(root))
    assert ours.classes == theirs.classes == ["class_0", "class_1", "class_2"]
    assert len(ours) == len(theirs) == 12
    for index in range(12):
        (picture, label), (expected, expected_label) = ours[index], theirs[index]
        assert (np.asarray(picture) == np.asarray(expected)).all() and picture.mode == "RGB"
        assert label == expected_label
        assert ours.name(index) == theirs.samples[index][0]


def test_a_limit_takes_classes_in_proportion(tmp_path):
    root = write_folder(tmp_path, train=(8, 4, 4)) / "train"
    limited = Folder(root, "--limit-train", 8)
    names = [limited.name(index) for index in range(len(limited))]
    assert Counter(Path(each).parent.name for each in names) == {"class_0": 4, "class_1": 2, "class_2": 2}
    assert len(set(names)) == 8
    assert [limited[index][1] for index in range(8)] == [int(Path(each).parent.name[-1]) for each in names]
    for limit in (2, 17):
        with pytest.raises(UserError, match=f"--limit-train {limit} is out of range: from 3 .* to 16"):
            Folder(root, "--limit-train", limit)


def half_unpacked(path):
    (path / ".unpacking.json").write_text("{}")


def without_val(path):
    (path / "val").rename(path / "test")


def without_an_image(path):
    for image in (path / "train" / "class_1").iterdir():
        image.unlink()


def with_a_class_more(path):
    folder = path / "val" / "class_9"
    folder.mkdir()
    (folder / "one.jpg").write_bytes(jpeg("one"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (half_unpacked, r"data is half unpacked: .*setup_dataset --dataset-path .* goes on"),
        (without_val, r"there is no folder .*val"),
        (without_an_image, r"train cannot be used: .*class_1"),
        (with_a_class_more, r"the same classes; only one has class_9"),
    ],
)
def test_a_folder_that_cannot_be_used(damage, said, tmp_path):
    damage(write_folder(tmp_path / "data"))
    with pytest.raises(UserError, match=said):
        open_folder(tmp_path / "data")


def test_pixels_become_rgb_pictures():
    grey = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    colour = torch.randint(256, (1, 3, 8, 8), dtype=torch.uint8)
    for x in (grey, colour):
        picture, label = Pixels(x, torch.tensor([7]))[0]
        assert (picture.mode, label) == ("RGB", 7)
        assert (np.asarray(picture) == x.expand(1, 3, 8, 8)[0].permute(1, 2, 0).numpy()).all()


def test_digits_as_pictures():
    split = open_pixels("digits", Path("unused"), limit_train=20, limit_val=10)
    assert (len(split.train), len(split.val), split.classes) == (20, 10, 10)
    assert sorted(split.val[index][1] for index in range(10)) == list(range(10))


class Noisy:
    """Draws from every generator that augmentation draws from, and tells which picture it was given."""

    def __call__(self, picture):
        noise = [torch.rand(()).item(), random.random(), np.random.random()]
        return torch.tensor([float(np.asarray(picture).sum()), *noise], dtype=torch.float64)


def plain(picture):
    return torch.from_numpy(np.asarray(picture).copy()).float().mean(dim=(0, 1)) / 255


def from_files(split, workers=0, transform=plain, skip=False, **sampling):
    sampling = Sampling(**{"count": len(split.train), "batch_size": 4, "seed": 1} | sampling)
    return FromFiles(split, (transform, transform), sampling, CPU, workers, skip)


def batches_of(data, epoch, first=0):
    return [batch for step in data.training(epoch, first) for batch in step]


def test_workers_change_no_bit(tmp_path):
    split = open_folder(write_folder(tmp_path))
    none, two = (from_files(split, workers, Noisy(), accumulation=2) for workers in (0, 2))
    seen = []
    for epoch in range(2):
        expected = batches_of(none, epoch)
        assert [len(y) for _, y in expected] == [2] * 6
        assert same_batches(batches_of(two, epoch), expected)
        assert same_batches(two.validation(), none.validation())
        seen.extend(x[:, 1:] for x, _ in expected)
    assert len(torch.cat(seen).unique()) == 2 * 12 * 3  # noise of its own for each picture in each epoch


def test_a_later_first_step_reads_the_same_batches(tmp_path):
    data = from_files(open_folder(write_folder(tmp_path)), transform=Noisy())
    whole = batches_of(data, 1)
    assert len(whole) == 3
    assert same_batches(batches_of(data, 1, first=1), whole[1:])


def test_two_processes_share_the_pictures_of_one_with_their_augmentation(tmp_path):
    split = open_folder(write_folder(tmp_path))
    whole = batches_of(from_files(split, transform=Noisy()), 0)
    parts = [batches_of(from_files(split, transform=Noisy(), process=each, processes=2), 0) for each in (0, 1)]
    for process, part in enumerate(parts):
        assert same_batches(part, [(x[process::2], y[process::2]) for x, y in whole])
    shares = [list(from_files(split, process=each, processes=2).validation()) for each in (0, 1)]
    assert sum(len(y) for share in shares for _, y in share) == len(split.val) == 9
    expected = torch.stack([plain(split.val[index][0]) for index in range(9)])
    for process, share in enumerate(shares):
        assert torch.equal(torch.cat([x for x, _ in share]), expected[process::2])


def cut_short(path):
    path.write_bytes(path.read_bytes()[:400])


def as_text(path):
    path.write_text("no image")


def with_a_huge_size(path):
    """One altered header, which says 65535 x 65535."""
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = b"\xff" * 4
    path.write_bytes(content)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("damage", [cut_short, as_text, with_a_huge_size])
def test_a_broken_image_is_refused_and_named(damage, workers, tmp_path):
    damage(write_folder(tmp_path) / "train" / "class_1" / "train_1_2.jpg")
    with pytest.raises(UserError, match=r"train_1_2.jpg is no image that can be read .*--bad-images skip"):
        batches_of(from_files(open_folder(tmp_path), workers), 0)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("damage", [cut_short, as_text, with_a_huge_size])
def test_a_broken_image_is_left_out_if_asked_and_named_once(damage, workers, tmp_path, capsys):
    write_folder(tmp_path)
    broken = [tmp_path / "train" / "class_1" / "train_1_2.jpg", tmp_path / "val" / "class_2" / "val_2_0.jpg"]
    whole = open_folder(tmp_path)
    for path in broken:
        damage(path)
    data = from_files(whole, workers, skip=True)
    model = nn.Linear(3, 3)
    for epoch in range(2):
        assert sorted(len(y) for _, y in batches_of(data, epoch)) == [3, 4, 4]
        with launched("cpu") as accelerator, torch.no_grad():
            metrics = evaluate(model, data.validation(), accelerator)
    good = [index for index in range(9) if whole.val.name(index) != str(broken[1])]
    x = torch.stack([plain(whole.val[index][0]) for index in good])
    y = torch.tensor([whole.val[index][1] for index in good])
    with torch.no_grad():
        logits = model(x)
    assert metrics["val_loss"] == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-5)
    assert metrics["val_accuracy"] == pytest.approx(100 * (logits.argmax(1) == y).float().mean().item())
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" is no image")[0] for line in lines] == [f"warning: {path}" for path in broken]


def test_a_batch_without_any_good_image_is_refused(tmp_path):
    for path in write_folder(tmp_path).glob("train/*/*"):
        as_text(path)
    with pytest.raises(UserError, match="whole batch"):
        batches_of(from_files(open_folder(tmp_path), skip=True), 0)


def test_validation_without_any_good_image_is_refused(tmp_path):
    for path in write_folder(tmp_path).glob("val/*/*"):
        as_text(path)
    data = from_files(open_folder(tmp_path), skip=True)
    with launched("cpu") as accelerator, pytest.raises(UserError):
        evaluate(nn.Linear(3, 3), data.validation(), accelerator)


# Models

PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "wide_resnet50_2": 68_883_240,
    "densenet121": 7_978_856,
    "mobilenet_v3_small": 2_542_856,
    "vit_b_32": 88_224_232,
    "vit_b_16": 86_567_656,
    "efficientnet_b0": 5_288_548,
    "tiny_vit_21m_224": 21_198_568,
    "vit_tiny_patch16_224": 5_717_416,
}
OF_TIMM = ("efficientnet_b0", "tiny_vit_21m_224", "vit_tiny_patch16_224")


def classifier(name, activation, classes=1000):
    return (timm_classifier if name in OF_TIMM else torchvision_classifier)(name, classes, activation)


def parameters(model):
    return sum(each.numel() for each in model.parameters())


@pytest.mark.parametrize(("name", "expected"), PARAMETERS.items())
def test_parameters_as_in_the_literature_whatever_the_activation(name, expected):
    with torch.device("meta"):
        assert [parameters(classifier(name, each)) for each in ("ReLU", "Mish", "GoLU")] == [expected] * 3


@pytest.mark.parametrize(
    ("name", "hidden", "gates"),
    [
        ("resnet18", 9, {}),  # one at the start, and one that each of 8 blocks uses twice
        ("densenet121", 121, {}),  # the last one is a function in the model's forward
        ("vit_b_32", 12, {}),
        ("mobilenet_v3_small", 19 + 14, {"Hardsigmoid": 9}),  # Hardswish and ReLU
        ("efficientnet_b0", 49, {"Sigmoid": 16}),
        ("tiny_vit_21m_224", 13 + 10, {}),  # between convolutions, and in ten blocks of attention
        ("vit_tiny_patch16_224", 12, {}),
    ],
)
def test_every_hidden_activation_is_replaced_and_gates_stay(name, hidden, gates):
    with torch.device("meta"):
        found = find_activations(classifier(name, "GoLU"))
    # timm's attention has a gate that may be switched on
    functional = [call.activation for call in found.functional if call.call != "self.gate(x).sigmoid()"]
    assert Counter(label for _, label in found.modules) == {"GoLU": hidden} | gates
    assert functional == []


def small_vit(**_):
    return torchvision.models.VisionTransformer(32, 16, 1, 2, 16, 32, num_classes=5)


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: torchvision.models.resnet18(num_classes=5), 32),
        (lambda: torchvision.models.densenet121(num_classes=5), 32),
        (lambda: torchvision.models.mobilenet_v3_small(num_classes=5), 32),
        (small_vit, 32),
        (lambda: timm.create_model("efficientnet_b0", num_classes=5), 32),
        (lambda: timm.create_model("tiny_vit_5m_224", num_classes=5), 64),
        (lambda: timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=32, depth=2), 32),
    ],
    ids=["resnet18", "densenet121", "mobilenet_v3_small", "vit", "efficientnet_b0", "tiny_vit", "vit_tiny"],
)
def test_the_model_computes_as_if_torch_had_only_golu(make, size, monkeypatch):
    """The reference is the untouched model with torch's own functions exchanged below it."""
    torch.manual_seed(0)
    reference = make().eval()
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        for each in reference.parameters():  # some begin at 0, and would hide what is before them
            each += 0.1 * torch.randn_like(each)
        for module in reference.modules():
            if isinstance(module, nn.BatchNorm2d):  # and some activations would be given tiny numbers
                module.momentum = None
        reference.train()(x)
        reference.eval()
        ours = with_activation(copy.deepcopy(reference), "GoLU")
        before, found = reference(x), ours(x)
        for name in ("relu", "gelu", "silu", "hardswish"):
            monkeypatch.setattr(F, name, lambda x, *_, **__: golu(x))
        expected = reference(x)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, before, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "densenet121", "efficientnet_b0", "vit_tiny_patch16_224"])
def test_initial_weights_depend_on_the_seed_alone(name):
    def weights(activation, seed=0):
        torch.manual_seed(seed)
        return classifier(name, activation, classes=5).state_dict()

    relu, golu_, other_seed = weights("ReLU"), weights("GoLU"), weights("ReLU", seed=1)
    assert relu.keys() == golu_.keys()
    assert all(torch.equal(relu[each], golu_[each]) for each in relu)
    assert any(not torch.equal(relu[each], other_seed[each]) for each in relu)


@pytest.mark.parametrize(
    ("name", "own"), [("resnet18", "ReLU"), ("densenet121", "ReLU"), ("vit_b_32", "GELU"), ("efficientnet_b0", "Swish")]
)
def test_the_models_own_activation_changes_nothing(name, own):
    with torch.device("meta"):
        model = timm.create_model(name) if name in OF_TIMM else torchvision.models.get_model(name)
    before = [(id(module), type(module)) for module in model.modules()]
    assert with_activation(model, own) is model
    assert [(id(module), type(module)) for module in model.modules()] == before


def test_a_model_with_two_activations_gets_one():
    with torch.device("meta"):
        model = torchvision_classifier("mobilenet_v3_small", 10, "ReLU")
    assert {label for _, label in find_activations(model).modules} == {"ReLU", "Hardsigmoid"}


@pytest.mark.parametrize(("own", "wanted"), [("tanh", "GELU"), ("none", "GELU_tanh")])
def test_the_two_gelus_are_two_activations(own, wanted):
    model = with_activation(nn.Sequential(nn.Linear(2, 2), nn.GELU(own)), wanted)
    assert [label for _, label in find_activations(model).modules] == [wanted]


def test_a_model_in_which_nothing_can_be_replaced_is_refused():
    """Its results would be stored under the name of an activation that it does not have."""
    with torch.device("meta"), pytest.raises(UserError):
        timm_classifier("vit_base_patch16_clip_quickgelu_224", 10, "GoLU")


def test_unknown_models_are_refused_with_the_closest():
    with pytest.raises(UserError, match="unknown model 'resnet81': did you mean resnet18"):
        torchvision_classifier("resnet81", 10, "GoLU")
    with pytest.raises(UserError, match=r"unknown model 'eficientnet_b0': .*efficientnet_b0"):
        timm_classifier("eficientnet_b0", 10, "GoLU")
    with pytest.raises(UserError, match=r"resnet18 cannot be made with .*window_size"):
        timm_classifier("resnet18", 10, "GoLU", window_size=3)


# Settings: flags, recipe files and what is stored


@dataclass(frozen=True)
class Example:
    name: str = setting(str, "x", "a name")
    epochs: int = setting(positive_int, 3, "passes")
    lr: float | None = setting(positive_float, None, "rate")
    amp: bool = setting(bool, True, "mixed precision")
    betas: tuple[float, ...] | None = several(positive_float, (0.5, 0.9), "of the optimiser")


def parsed(*arguments, base):
    parser = Parser("prog", "What for.")
    add_settings(parser, base, also={"lr": ["--rate"]})
    return chosen(parser.parse_args(arguments), base)


def test_a_flag_beats_the_recipe_which_beats_the_default():
    recipe = from_mapping({"epochs": 7, "lr": 0.25, "betas": [0.1, 0.2]}, Example(), "file.yaml")
    assert recipe == Example(epochs=7, lr=0.25, betas=(0.1, 0.2))
    assert parsed("--epochs", "9", "--no-amp", base=recipe) == replace(recipe, epochs=9, amp=False)
    assert parsed(base=recipe) == recipe
    assert parsed("--rate", "2", "--betas", "0.3", "0.4", "0.5", base=recipe).betas == (0.3, 0.4, 0.5)
    assert parsed("--rate", "2", base=recipe).lr == 2


def test_booleans_are_switched_on_and_off():
    assert parsed("--no_amp", base=Example()).amp is False
    assert parsed("--amp", base=Example(amp=False)).amp is True
    assert from_mapping({"amp": False}, Example(), "file.yaml").amp is False


def test_numbers_that_yaml_takes_for_words():
    assert from_mapping({"lr": "1e-3"}, Example(), "file.yaml").lr == 1e-3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epoch": 3}, "file.yaml: unknown setting 'epoch': did you mean epochs"),
        ({1: 2}, "file.yaml: unknown setting"),
        ({"epochs": "many"}, "file.yaml: epochs: must be a whole number"),
        ({"epochs": 2.5}, "file.yaml: epochs: must be a whole number"),
        ({"epochs": True}, "file.yaml: epochs: must be a whole number"),
        ({"lr": [0.1]}, "file.yaml: lr: must be a number"),
        ({"amp": "yes"}, "file.yaml: amp: must be true or false, not 'yes'"),
        ({"amp": 1}, "file.yaml: amp: must be true or false"),
        ({"betas": 0.9}, "file.yaml: betas: must be a list, not 0.9"),
        ({"betas": [0.9, -1]}, "file.yaml: betas: must be a number above 0, not '-1'"),
    ],
)
def test_recipes_that_are_refused(values, said):
    with pytest.raises(UserError, match=said):
        from_mapping(values, Example(), "file.yaml")


def test_settings_are_stored_as_json_has_them():
    stored = {"name": "x", "epochs": 3, "lr": None, "amp": True, "betas": [0.5, 0.9]}
    assert configuration(Example()) == stored


def test_help_shows_defaults_as_one_types_them():
    parser = Parser("prog", "What for.")
    add_settings(parser, Example())
    text = " ".join(parser.format_help().split())
    for line in ("passes (default: 3)", "rate (default: none)", "(default: on)", "(default: 0.5 0.9)"):
        assert line in text


# Schedules and recipes


def test_the_defaults_are_the_recipe_of_the_resnets():
    settings = train.Settings()
    assert (settings.epochs, settings.batch_size, settings.opt) == (90, 256, "sgd")
    assert (settings.lr, settings.momentum, settings.wd) == (0.1, 0.9, 1e-4)
    assert train.epoch_rates(settings) == pytest.approx([0.1] * 30 + [0.01] * 30 + [0.001] * 30)
    assert (settings.train_crop_size, settings.label_smoothing) == (224, 0)
    assert not (settings.model_ema or settings.amp or settings.ra_sampler or settings.auto_augment)


def test_cosine_after_linear_warm_up_in_closed_form():
    rates = train.epoch_rates(
        train.Settings(
            epochs=300, lr=0.003, lr_scheduler="cosineannealinglr",
            lr_warmup_method="linear", lr_warmup_epochs=30, lr_warmup_decay=0.033,
        )
    )  # fmt: skip
    rising = [0.003 * (0.033 + (1 - 0.033) * epoch / 30) for epoch in range(30)]
    falling = [0.003 / 2 * (1 + math.cos(math.pi * epoch / 270)) for epoch in range(270)]
    assert rates == pytest.approx(rising + falling)


def test_other_schedules_in_closed_form():
    settings = train.Settings(epochs=8, lr=0.4, lr_gamma=0.5, lr_warmup_epochs=2, lr_warmup_decay=0.1)
    exponential = train.epoch_rates(replace(settings, lr_scheduler="exponentiallr"))
    assert exponential == pytest.approx([0.04, 0.04, *(0.4 * 0.5**epoch for epoch in range(6))])
    steps = train.epoch_rates(replace(settings, lr_step_size=3))
    assert steps == pytest.approx([0.04, 0.04, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2])
    cosine = train.epoch_rates(replace(settings, lr_scheduler="cosineannealinglr", lr_warmup_epochs=0, lr_min=0.2))
    assert cosine == pytest.approx([0.2 + 0.1 * (1 + math.cos(math.pi * epoch / 8)) for epoch in range(8)])


@pytest.mark.parametrize("warm_up", [1, 30])
def test_one_epoch_to_try_a_recipe_is_its_first(warm_up):
    settings = train.Settings(epochs=1, lr=0.5, lr_scheduler="cosineannealinglr", lr_warmup_epochs=warm_up)
    assert train.epoch_rates(settings) == pytest.approx([0.005])


def test_warm_up_may_begin_with_the_whole_rate():
    assert train.epoch_rates(train.Settings(lr_warmup_epochs=1, lr_warmup_decay=1.0))[0] == 0.1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"opt": "sdg"}, "unknown opt 'sdg': did you mean sgd"),
        ({"lr_scheduler": "step_lr"}, "did you mean steplr"),
        ({"lr_warmup_method": "linaer"}, "did you mean linear"),
        ({"auto_augment": "imagnet"}, "did you mean imagenet"),
    ],
)
def test_settings_of_torchvisions_training_that_are_refused(wrong, said):
    with pytest.raises(UserError, match=said):
        train.Settings(**wrong)


def test_rates_at_milestones():
    rates = epoch_rates(0.01, (2, 4), (10.0, 0.1), 6)
    assert rates == pytest.approx([0.01, 0.01, 0.1, 0.1, 0.01, 0.01])
    assert epoch_rates(0.5, (), (), 2) == [0.5, 0.5]


@pytest.mark.parametrize(
    ("names", "batch_size", "weight_decay", "nesterov", "rates"),
    [
        (
            ("resnet20", "resnet32", "resnet44", "resnet56"), 128, 1e-4, False,
            [0.1] * 81 + [0.01] * 41 + [0.001] * 42,
        ),
        (("resnet110",), 128, 1e-4, False, [0.01] * 2 + [0.1] * 79 + [0.01] * 41 + [0.001] * 42),
        (("wideresnet_28_2",), 128, 5e-4, True, [0.1] * 60 + [0.02] * 60 + [0.004] * 40 + [0.0008] * 40),
        (("densenet_40",), 64, 1e-4, True, [0.1] * 150 + [0.01] * 75 + [0.001] * 75),
    ],
)  # fmt: skip
def test_the_recipes_of_the_cifar_models(names, batch_size, weight_decay, nesterov, rates):
    for name in names:
        recipe = RECIPES[name]
        assert (recipe.batch_size, recipe.weight_decay, recipe.nesterov) == (batch_size, weight_decay, nesterov)
        assert recipe.momentum == 0.9
        assert epoch_rates(recipe.lr, recipe.milestones, recipe.factors, recipe.epochs) == pytest.approx(rates)


@pytest.mark.parametrize(
    ("opt", "scale", "expected"),
    [
        ("sgd", None, 0.1 * 4),  # 4 times the batch that lr_base is for
        ("rmsproptf", None, 0.1 * 4),
        ("adamw", None, 0.1 * 2),
        ("adam", None, 0.1 * 2),
        ("lamb", None, 0.1 * 2),
        ("adamw", "linear", 0.1 * 4),
        ("sgd", "sqrt", 0.1 * 2),
    ],
)
def test_the_learning_rate_for_a_batch(opt, scale, expected):
    settings = timm_training.Settings(opt=opt, lr_base=0.1, lr_base_size=256, lr_base_scale=scale)
    assert settings.learning_rate(1024) == pytest.approx(expected)
    assert replace(settings, lr=0.7).learning_rate(1024) == 0.7


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sched": "cosin"}, "unknown sched 'cosin': did you mean cosine"),
        ({"opt": "adamv"}, "unknown opt 'adamv': did you mean adam"),
        ({"remode": "pixels"}, "did you mean pixel"),
        ({"amp_dtype": "float61"}, "did you mean float16"),
        ({"lr_base_scale": "square"}, "choose from linear, sqrt"),
        ({"mixup": 0.8, "batch_size": 5}, "a batch of 5 is odd"),
        ({"cutmix": 0.8, "batch_size": 5}, "a batch of 5 is odd"),
        ({"aa": "random"}, "aa"),
        ({"interpolation": "bicubik"}, "interpolation"),
        ({"opt": "adamw", "opt_betas": (0.9,)}, "betas"),
        ({"opt": "adamw", "opt_betas": (0.9, 1.0)}, "betas"),
    ],
)
def test_settings_of_timms_training_that_are_refused(wrong, said):
    with pytest.raises(UserError, match=said):
        experiment_of(timm_training._make, timm_training.Settings(**TINY | wrong))


def test_every_schedule_that_help_names_is_taken():
    (sched,) = [each for each in fields(timm_training.Settings) if each.name == "sched"]
    names = sched.metadata["purpose"].replace(" or ", ", ").split(", ")
    assert {"cosine", "step"} < set(names)
    assert [timm_training.Settings(sched=name).sched for name in names] == names


# The experiments that the programs make


def experiment_of(make, settings, place=PLACE):
    torch.manual_seed(0)
    with launched("cpu") as accelerator:
        return make(settings, place, accelerator)


def loss_and_inputs(made, x, y):
    """What the loss is, and what model and loss were given."""
    given = {}

    def model(mixed):
        given["x"] = mixed
        return mixed.mean(dim=(2, 3)) @ torch.eye(3, 10)

    plain_loss = F.cross_entropy

    def recorded(logits, target, **keywords):
        given["y"] = target
        return plain_loss(logits, target, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "cross_entropy", recorded)
        return made.loss(model, (x, y)).item(), given["x"], given["y"]


def cross_entropy_by_hand(logits, target):
    return -(target * logits.log_softmax(1)).sum(1).mean().item()


def smooth(labels, smoothing):
    return (1 - smoothing) * F.one_hot(labels, 10) + smoothing / 10


@pytest.mark.parametrize("smoothing", [0.0, 0.11])
def test_labels_are_smoothed(smoothing):
    x, y = torch.randn(4, 3, 8, 8), torch.tensor([3, 1, 4, 1])
    expected = cross_entropy_by_hand(x.mean(dim=(2, 3)) @ torch.eye(3, 10), smooth(y, smoothing))
    ours = train.Settings(**SMALL, label_smoothing=smoothing)
    theirs = timm_training.Settings(**TINY, smoothing=smoothing)
    for make, settings in ((train.make, ours), (timm_training._make, theirs)):
        loss, same_x, same_y = loss_and_inputs(experiment_of(make, settings), x, y)
        assert torch.equal(same_x, x) and torch.equal(same_y, y)
        assert loss == pytest.approx(expected, rel=1e-5)


def mixed_with(kind, x, other, mixed):
    """The part of each image that is its own, after mixup or cutmix with another one."""
    if kind == "mixup":
        part = ((mixed - other) * (x - other)).sum() / (x - other).square().sum()
        assert torch.allclose(mixed, part * x + (1 - part) * other, atol=1e-5)
        return part.item()
    own = (mixed == x).all(dim=1)
    assert (own | (mixed == other).all(dim=1)).all()
    return own.float().mean().item()


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
@pytest.mark.parametrize("of_timm", [False, True])
def test_images_and_labels_are_mixed_alike(kind, of_timm):
    if of_timm:  # pairs the first with the last image, and smooths the labels as it mixes them
        settings = timm_training.Settings(**TINY, **{kind: 1.0}, smoothing=0.1)
        made, partner = experiment_of(timm_training._make, settings), lambda batch: batch.flip(0)
        smoothed, given = 0.1, 0.1
    else:  # pairs each image with the one before; the loss smooths
        settings = train.Settings(**SMALL, label_smoothing=0.11, **{f"{kind}_alpha": 1.0})
        made, partner = experiment_of(train.make, settings), lambda batch: batch.roll(1, 0)
        smoothed, given = 0.11, 0.0
    shares = []
    for _ in range(8):
        x, y = torch.randn(4, 3, 16, 16), torch.tensor([3, 1, 4, 0])
        loss, mixed_x, mixed_y = loss_and_inputs(made, x.clone(), y)
        own = mixed_with(kind, x, partner(x), mixed_x)
        labels = F.one_hot(y, 10)
        targets = own * labels + (1 - own) * partner(labels)
        assert torch.allclose(mixed_y, (1 - given) * targets + given / 10, atol=1e-3)
        logits = mixed_x.mean(dim=(2, 3)) @ torch.eye(3, 10)
        assert loss == pytest.approx(cross_entropy_by_hand(logits, (1 - smoothed) * targets + smoothed / 10), rel=1e-3)
        shares.append(own)
    assert max(shares) - min(shares) > 0.2


def test_with_both_mixup_and_cutmix_each_is_used():
    made = experiment_of(train.make, train.Settings(**SMALL, mixup_alpha=0.2, cutmix_alpha=1.0))
    used = set()
    for _ in range(20):
        x = torch.rand(4, 3, 16, 16) + 1
        _, mixed, _ = loss_and_inputs(made, x, torch.tensor([3, 1, 4, 0]))
        used.add("cutmix" if ((mixed == x) | (mixed == x.roll(1, 0))).all() else "mixup")
    assert used == {"mixup", "cutmix"}


def test_the_moving_average_is_torchvisions():
    """Its decay is given for one image and epoch; until warm-up ends it is a copy."""
    settings = train.Settings(**SMALL | {"batch_size": 2}, lr_warmup_epochs=2, model_ema=True, model_ema_steps=4)
    made = experiment_of(train.make, settings)
    assert made.steps_per_epoch == 8
    assert made.judge == "ema_val_accuracy" and made.ema_every == 4
    weights, decays = made.model.classifier[1].weight, []
    for update in range(1, 8):
        average = made.ema.module.classifier[1].weight
        before = average.clone()
        with torch.no_grad():
            weights += 1
        made.ema.update(made.model, update)
        decays.append(((weights - average) / (weights - before)).mean().item())
    assert decays[:4] == [0] * 4  # two epochs of two updates
    assert decays[5:] == pytest.approx([1 - (1 - 0.99998) * 2 * 4 / 8] * 2, abs=1e-6)


def test_what_reaches_the_experiment():
    settings = train.Settings(
        **SMALL | {"batch_size": 8}, gradient_accumulation_steps=2,
        opt="sgd_nesterov", lr=0.3, wd=0.02, vector_wd=0.0, clip_grad_norm=1.5, amp=True,
    )  # fmt: skip
    made = experiment_of(train.make, settings, replace(PLACE, seed=5, checkpoint_steps=7))
    assert (made.epochs, made.steps_per_epoch, made.samples_per_step, made.seed) == (8, 2, 8, 5)
    assert (made.clip_norm, made.autocast, made.checkpoint_every) == (1.5, torch.bfloat16, 7)
    assert (made.judge, made.ema) == ("val_accuracy", None)
    assert [(group["weight_decay"], group["nesterov"]) for group in made.optimizer.param_groups] == [
        (0.02, True),
        (0.0, True),
    ]
    assert made.rate(0) == 0.3
    assert [[len(y) for _, y in step] for step in made.batches(0, 0)] == [[4, 4], [4, 4]]


def test_what_reaches_the_experiment_of_timm():
    settings = timm_training.Settings(
        **TINY | {"grad_accum_steps": 2}, opt="adamw", opt_eps=1e-7, opt_betas=(0.8, 0.95), weight_decay=0.03,
        lr_base=0.1, lr_base_scale="linear", lr_base_size=4, warmup_epochs=0, clip_grad=2.5, model_ema=True,
        model_ema_decay=0.75, amp=True, amp_dtype="float16",
    )  # fmt: skip
    made = experiment_of(timm_training._make, settings, replace(PLACE, seed=5, checkpoint_steps=7))
    assert (made.epochs, made.steps_per_epoch, made.samples_per_step, made.seed) == (8, 2, 8, 5)
    assert (made.clip_norm, made.autocast, made.checkpoint_every) == (2.5, torch.float16, 7)
    assert (made.judge, made.ema.decay, made.ema_every) == ("ema_val_accuracy", 0.75, 1)
    assert made.rate(0) == pytest.approx(0.2)
    decays = {group["weight_decay"] for group in made.optimizer.param_groups}
    assert decays == {0.0, 0.03}
    for group in made.optimizer.param_groups:
        assert (group["betas"], group["eps"]) == ((0.8, 0.95), 1e-7)
        assert (group["weight_decay"] == 0) == all(each.ndim < 2 for each in group["params"])


def experiment_of_a_small_model(monkeypatch, *arguments, augment=False):
    monkeypatch.setattr(sys, "argv", ["main", "--dataset", "digits", "--limit-train", "16", *arguments])
    options = small_poc.parse_arguments()
    with launched("cpu") as accelerator:
        return small_poc.make(options, small_poc.choose_recipe(options), augment, accelerator)


def test_what_reaches_the_experiment_of_a_small_model(monkeypatch):
    flags = shlex.split("--model wideresnet_28_2 --epochs 10 --batch-size 8 --lr 0.5 --weight-decay 0.25 --seed 5")
    made = experiment_of_a_small_model(monkeypatch, *flags, "--amp", "--checkpoint-steps", "7")
    assert (made.epochs, made.steps_per_epoch, made.samples_per_step, made.seed) == (10, 2, 8, 5)
    assert (made.autocast, made.checkpoint_every, made.judge) == (torch.bfloat16, 7, "val_accuracy")
    assert [made.rate(2 * epoch) for epoch in (0, 3, 6, 8)] == pytest.approx([0.5, 0.1, 0.02, 0.004])
    for group in made.optimizer.param_groups:
        assert (group["weight_decay"], group["momentum"], group["nesterov"]) == (0.25, 0.9, True)
    plain = experiment_of_a_small_model(monkeypatch, "--model", "mlp_1", "--batch-size", "8")
    assert (plain.autocast, plain.optimizer.param_groups[0]["nesterov"]) == (None, False)


def test_a_small_models_images_are_augmented_if_they_shall_be(monkeypatch):
    plain, augmented = (
        experiment_of_a_small_model(monkeypatch, "--model", "mlp_1", "--batch-size", "8", augment=augment)
        for augment in (False, True)
    )
    for ((x, y),), ((moved, moved_y),) in zip(plain.batches(0, 0), augmented.batches(0, 0), strict=True):
        assert torch.equal(y, moved_y)
        assert not torch.equal(x, moved)


def test_the_model_is_compiled_if_asked(monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    for asked in (False, True):
        place = replace(PLACE, compile=asked)
        flags = ["--model", "mlp_1", "--batch-size", "8", *(["--compile"] if asked else [])]
        made = [
            experiment_of(train.make, train.Settings(**SMALL), place),
            experiment_of(timm_training._make, timm_training.Settings(**TINY), place),
            experiment_of_a_small_model(monkeypatch, *flags),
        ]
        assert compiled == [each.model for each in made if asked]


@pytest.mark.parametrize(
    ("home", "make", "load"),
    [
        (Where, lambda place, accelerator: train.make(train.Settings(), place, accelerator), "open"),
        (
            Where,
            lambda place, accelerator: timm_training._make(timm_training.Settings(), place, accelerator),
            "open",
        ),
        (small_poc, lambda place, accelerator: small_poc.make(place, None, False, accelerator), "load_images"),
    ],
    ids=["train", "timm_training", "small_poc"],
)
def test_the_main_process_downloads_before_the_others(home, make, load, monkeypatch):
    first = []

    @contextmanager
    def main_process_first():
        first.append(True)
        yield
        first.pop()

    def loading(*_):
        raise UserError("first" if first else "all at once")

    monkeypatch.setattr(home, load, loading)
    with pytest.raises(UserError, match="first"):
        make(PLACE, SimpleNamespace(main_process_first=main_process_first))


def test_batch_statistics_are_shared_by_processes_on_gpus(capsys):
    def kinds(processes, device):
        accelerator = SimpleNamespace(num_processes=processes, device=torch.device(device), is_main_process=True)
        model = share_statistics(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)), accelerator)
        return type(model[1])

    assert kinds(2, "cuda") is nn.SyncBatchNorm
    assert kinds(1, "cuda") is kinds(1, "cpu") is nn.BatchNorm2d
    assert capsys.readouterr().out == ""
    assert kinds(2, "cpu") is nn.BatchNorm2d
    assert "no effect on the CPU" in capsys.readouterr().out


def test_dropout_and_stochastic_depth_reach_timms_model():
    model = experiment_of(
        timm_training._make, timm_training.Settings(**TINY | {"model": "efficientnet_b0"}, drop=0.3, drop_path=0.25)
    ).model
    assert model.drop_rate == 0.3
    rates = [each.drop_prob for each in model.modules() if type(each).__name__ == "DropPath"]
    assert max(rates) == pytest.approx(0.25, rel=0.1) and min(rates) < 0.05  # it grows with depth


def parts(settings):
    model = timm.create_model("resnet18", num_classes=2)
    return [
        {type(each).__name__: each for each in made.transforms}
        for made in timm_training._transforms(settings, model)[0]
    ]


def test_images_for_timms_models():
    settings = timm_training.Settings(**TINY, hflip=0.3, reprob=0.2, color_jitter=0.6)
    training, val = parts(settings)
    assert list(training) == [
        "RandomResizedCropAndInterpolation", "RandomHorizontalFlip", "ColorJitter", "MaybeToTensor", "Normalize",
        "RandomErasing",
    ]  # fmt: skip
    assert training["RandomResizedCropAndInterpolation"].size == (32, 32)
    assert training["RandomHorizontalFlip"].p == 0.3
    assert training["ColorJitter"].brightness == pytest.approx((0.4, 1.6))
    assert (training["RandomErasing"].probability, training["RandomErasing"].per_pixel) == (0.2, True)
    assert (val["Resize"].size, val["CenterCrop"].size) == (int(32 / 0.95), (32, 32))  # resnet18's own part
    training, val = parts(replace(settings, aa="rand-m9-mstd0.5", reprob=0, interpolation="bilinear", crop_pct=0.5))
    assert "RandAugment" in training and "ColorJitter" not in training and "RandomErasing" not in training
    bilinear = transforms.InterpolationMode.BILINEAR
    assert training["RandomResizedCropAndInterpolation"].interpolation == val["Resize"].interpolation == bilinear
    assert val["Resize"].size == 64
    training, _ = parts(replace(settings, remode="const"))
    assert not (training["RandomErasing"].per_pixel or training["RandomErasing"].rand_color)


def test_images_for_torchvisions_models_as_its_reference_has_them():
    picture = Image.open(io.BytesIO(jpeg("picture", (60, 50))))
    normalise = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    ours, ours_val = train._transforms(train.Settings(train_crop_size=28))
    theirs = transforms.Compose(
        [transforms.RandomResizedCrop(28), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normalise]
    )
    for seed in range(5):
        torch.manual_seed(seed)
        found = ours(picture)
        torch.manual_seed(seed)
        assert torch.allclose(found, theirs(picture), atol=1e-6)
    val = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(28), transforms.ToTensor(), normalise])
    assert torch.allclose(ours_val(picture), val(picture), atol=1e-6)
    _, default = train._transforms(train.Settings())
    assert (default.transforms[0].size, default.transforms[1].size) == ([256], (224, 224))
    _, other = train._transforms(train.Settings(val_resize_size=40, val_crop_size=36))
    val.transforms[:2] = [transforms.Resize(40), transforms.CenterCrop(36)]
    assert torch.allclose(other(picture), val(picture), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("ra", "RandAugment"), ("ta_wide", "TrivialAugmentWide"), ("augmix", "AugMix"), ("imagenet", "AutoAugment")],
)
def test_automatic_augmentation_and_erasing(name, kind):
    augmented, val = train._transforms(train.Settings(auto_augment=name, random_erase=0.3))
    kinds = [type(each).__name__ for each in augmented.transforms]
    assert kinds.index("RandomHorizontalFlip") < kinds.index(kind) < kinds.index("PILToTensor")
    assert kinds[-1] == "RandomErasing" and augmented.transforms[-1].p == 0.3
    assert not {kind, "RandomErasing"} & {type(each).__name__ for each in val.transforms}


# The commands of the specification

VALUES = {
    "NUM_WORKERS": "7",
    "RESULTS_PATH": "/the/results",
    "DATA_PATH": "/the/data",
    "ACTIVATION": "Mish",
    "SEED": "3",
}
ON_IMAGENET = {"results": Path("/the/results"), "data_dir": Path("/the/data/imagenet_1k")}
COMMANDS = [
    (
        """torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.train --workers $NUM_WORKERS
        --output-dir $RESULTS_PATH --data-path "$DATA_PATH/imagenet_1k" --model resnet34
        --activation $ACTIVATION --seed $SEED --sync-bn""",
        train.Settings(),
        {"model": "resnet34", "sync_bn": True},
        ON_IMAGENET | {"dataset": "folder", "workers": 7},
    ),
    (
        """torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.train --workers $NUM_WORKERS
        --output-dir $RESULTS_PATH --data-path "$DATA_PATH/imagenet_1k" --model densenet121
        --activation $ACTIVATION --seed $SEED --opt "sgd_nesterov" --sync-bn""",
        train.Settings(),
        {"model": "densenet121", "opt": "sgd_nesterov", "sync_bn": True},
        ON_IMAGENET | {"dataset": "folder", "workers": 7},
    ),
    (
        """torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.timm_training_script
        --output $RESULTS_PATH --dataset "torch/imagenet" --data-dir "$DATA_PATH/imagenet_1k" --seed $SEED
        --activation $ACTIVATION --model "efficientnet_b0" --batch-size 384 --sched "step" --epochs 450
        --decay-epochs 2.4 --decay-rate 0.97 --opt "rmsproptf" --opt-eps 0.001 --workers $NUM_WORKERS --warmup-lr 1e-6
        --weight-decay 1e-5 --drop 0.2 --drop-connect 0.2 --model-ema --model-ema-decay 0.9999 --aa "rand-m9-mstd0.5"
        --remode "pixel" --reprob 0.2 --amp --lr 0.048""",
        timm_training.Settings(),
        {
            "model": "efficientnet_b0", "batch_size": 384, "sched": "step", "epochs": 450, "decay_epochs": 2.4,
            "decay_rate": 0.97, "opt": "rmsproptf", "opt_eps": 0.001, "warmup_lr": 1e-6, "weight_decay": 1e-5,
            "drop": 0.2, "drop_path": 0.2, "model_ema": True, "model_ema_decay": 0.9999, "aa": "rand-m9-mstd0.5",
            "remode": "pixel", "reprob": 0.2, "amp": True, "lr": 0.048,
        },
        ON_IMAGENET | {"dataset": "torch/imagenet", "workers": 7},
    ),
    (
        """torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.tiny_vit.main
        --cfg "./tasks/image_classification/tiny_vit/configs/1k/tiny_vit_21m.yaml" --data-path "$DATA_PATH/imagenet_1k"
        --batch-size 256 --seed $SEED --run-name $ACTIVATION --act $ACTIVATION
        --output "$RESULTS_PATH/$ACTIVATION/$SEED\"""",
        timm_training.Settings(),
        {  # from scratch, as Wu et al., 2022
            "model": "tiny_vit_21m_224", "img_size": 224, "epochs": 300, "batch_size": 256, "opt": "adamw",
            "opt_eps": 1e-8, "opt_betas": (0.9, 0.999), "weight_decay": 0.05, "clip_grad": 5.0, "lr_base": 2.5e-4,
            "lr_base_scale": "linear", "sched": "cosine", "sched_on_updates": True, "warmup_epochs": 20,
            "warmup_lr": 1e-6, "min_lr": 1e-5, "drop_path": 0.2, "mixup": 0.8, "cutmix": 1.0,
            "aa": "rand-m9-mstd0.5-inc1", "reprob": 0.25, "interpolation": "bicubic", "amp": True,
        },
        ON_IMAGENET | {"dataset": "folder", "run_name": "Mish", "results": Path("/the/results/Mish/3")},
    ),
    (
        """torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.train --workers $NUM_WORKERS
        --output-dir $RESULTS_PATH --data-path "$DATA_PATH/imagenet_1k" --model vit_b_16 --activation $ACTIVATION
        --seed $SEED --epochs 300 --batch-size 4096 --gradient-accumulation-steps 8 --opt "adamw" --lr 0.003 --wd 0.3
        --lr-scheduler "cosineannealinglr" --lr-warmup-method "linear" --lr-warmup-epochs 30 --lr-warmup-decay 0.033
        --amp --label-smoothing 0.11 --mixup-alpha 0.2 --cutmix-alpha 1.0 --auto-augment "imagenet"
        --clip-grad-norm 1.0 --ra-sampler --model-ema""",
        train.Settings(),
        {
            "model": "vit_b_16", "epochs": 300, "batch_size": 4096, "gradient_accumulation_steps": 8, "opt": "adamw",
            "lr": 0.003, "wd": 0.3, "lr_scheduler": "cosineannealinglr", "lr_warmup_method": "linear",
            "lr_warmup_epochs": 30, "lr_warmup_decay": 0.033, "amp": True, "label_smoothing": 0.11, "mixup_alpha": 0.2,
            "cutmix_alpha": 1.0, "auto_augment": "imagenet", "clip_grad_norm": 1.0, "ra_sampler": True,
            "model_ema": True,
        },
        ON_IMAGENET | {"dataset": "folder", "workers": 7},
    ),
    (
        """python -m tasks.small_poc.main --model resnet110 --activation $ACTIVATION --seed $SEED
        --results_path $RESULTS_PATH""",
        RECIPES["resnet110"],
        {},
        {"dataset": "cifar10", "results": Path("/the/results"), "model": "resnet110"},
    ),
    (
        """python -m tasks.small_poc.train_vit --model "vit_tiny_patch16_224" --dataset "torch/CIFAR10" --workers 1
        --data-dir "./data" --dataset-download --drop 0.0 --drop-path 0.1 --warmup-epochs 20 --weight-decay 0.05
        --lr-base 5e-4 --warmup-lr 5e-7 --min-lr 5e-6 --clip-grad 5 --layer-decay 1.0 --decay-epochs 30 --opt "adamw"
        --opt-eps 1e-8 --opt-betas 0.9 0.999 --aa "rand-m9-mstd0.5-inc1" --reprob 0.25 --mixup 0.8 --cutmix 1.0
        --batch-size 32 --epochs 300 --seed $SEED --ac $ACTIVATION --results_folder $RESULTS_PATH""",
        timm_training.Settings(),
        {
            "model": "vit_tiny_patch16_224", "drop": 0.0, "drop_path": 0.1, "warmup_epochs": 20, "weight_decay": 0.05,
            "lr_base": 5e-4, "warmup_lr": 5e-7, "min_lr": 5e-6, "clip_grad": 5.0, "layer_decay": 1.0,
            "decay_epochs": 30.0, "opt": "adamw", "opt_eps": 1e-8, "opt_betas": (0.9, 0.999),
            "aa": "rand-m9-mstd0.5-inc1", "reprob": 0.25, "mixup": 0.8, "cutmix": 1.0, "batch_size": 32, "epochs": 300,
        },
        {"dataset": "torch/CIFAR10", "workers": 1, "data_dir": Path("data"), "results": Path("/the/results")},
    ),
]  # fmt: skip


def words_of(command):
    """The program of a command of the specification, and its arguments."""
    words = shlex.split(string.Template(command).substitute(VALUES))
    start = words.index("-m")
    return importlib.import_module(words[start + 1]), words[start + 2 :]


def program_in(command):
    """For a test's name."""
    return words_of(command)[0].__name__.removeprefix("tasks.")


def what_it_trains(program, arguments, monkeypatch):
    """The settings, and the rest, with which the program begins to train."""
    seen = []
    monkeypatch.setattr(program, "run_timm", lambda settings, place: seen.extend((settings, place)), raising=False)
    monkeypatch.setattr(program, "make", lambda *arguments: seen.extend(arguments[:2]), raising=False)
    monkeypatch.setattr(
        program, "run_experiment", lambda folder, stored, make, device: make(accelerator=None), raising=False
    )
    monkeypatch.setattr(sys, "argv", [program.__name__, *arguments])
    program.main()
    options, recipe = seen if program is small_poc else reversed(seen)
    return recipe, vars(options)


@pytest.mark.parametrize(
    ("command", "base", "changes", "place"), COMMANDS, ids=[program_in(command) for command, *_ in COMMANDS]
)
def test_the_commands_of_the_specification_mean_what_they_say(command, base, changes, place, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    settings, others = what_it_trains(*words_of(command), monkeypatch)
    assert settings == replace(base, **changes)
    place = place | {"activation": "Mish", "seed": 3, "limit_train": None, "limit_val": None, "device": None}
    assert {name: others[name] for name in place} == place


@pytest.mark.parametrize(
    "command", [each for each, base, *_ in COMMANDS if base == timm_training.Settings()], ids=program_in
)
def test_the_programs_of_timm_have_the_specified_recipe_by_default(command, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    program, arguments = words_of(command)
    assert what_it_trains(program, [], monkeypatch)[0] == what_it_trains(program, arguments, monkeypatch)[0]


def options_in_help(text):
    """The text that explains each option, by each of its names."""
    _, _, options = text.partition("\noptions:\n")
    blocks = [" ".join(block.split()) for block in f"\n{options}".split("\n  -")[1:]]
    return {word.strip(","): f"-{block}" for block in blocks for word in f"-{block}".split() if word.startswith("-")}


@pytest.mark.parametrize("program_", TRAINERS, ids=lambda each: each.__name__)
def test_help_explains_every_flag_of_the_specification(program_, program):
    code, out, err = program(program_, "--help")
    assert (code, err) == (0, "")
    options = options_in_help(out)
    flags = [
        word.partition("=")[0].replace("_", "-")
        for command, *_ in COMMANDS
        for called, words in [words_of(command)]
        if called is program_
        for word in words
        if word.startswith("--")
    ]
    assert len(flags) >= 4
    assert set(flags) <= options.keys()
    assert [block for block in options.values() if "(default" not in block and "--help" not in block] == []


@pytest.mark.parametrize("program_", TRAINERS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("flag", ["--nonsense", "--epoch", "--activatio"])
def test_an_unknown_flag_is_refused(flag, program_, program):
    code, out, err = program(program_, flag, "3")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: unrecognized arguments: {flag} 3") and err.count("\n") == 1


def test_the_commands_that_set_up_imagenet_and_start_the_ablations_parse(monkeypatch):
    from tasks.image_classification import setup_dataset
    from tasks.small_poc import run_small_ablation

    for program, arguments in (
        (setup_dataset, ["--dataset_path", "/the/data"]),
        (run_small_ablation, ["--dataset", "mnist"]),
        (run_small_ablation, ["--dataset", "cifar10"]),
    ):
        monkeypatch.setattr(sys, "argv", ["program", *arguments])
        options = vars(program.parse_arguments())
        name = arguments[0].strip("-").replace("-", "_")
        assert str(options[name]) == arguments[1]


def test_a_shorter_run_has_its_milestones_in_proportion():
    options = SimpleNamespace(model="wideresnet_28_2", epochs=20, batch_size=None, lr=None, weight_decay=0.0)
    recipe = small_poc.choose_recipe(options)
    assert recipe == replace(RECIPES["wideresnet_28_2"], epochs=20, milestones=(6, 12, 16), weight_decay=0.0)
