"""The image-classification programs from their command line to their results, on small data in the real formats."""

import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision import transforms

from golu import GoLU, replace_activation_by_torch_module
from tasks.image_classification import timm_training_script, train
from tasks.image_classification.tiny_vit import main as tiny_vit
from tasks.small_poc import main as small_poc
from tasks.small_poc import train_vit
from tasks.small_poc.models import build_model
from workbench.training.checkpoint import previous
from workbench.vision.where import Where

ROOT = Path(__file__).parents[2]
TINY_VIT_21M = ROOT / "tasks/image_classification/tiny_vit/configs/1k/tiny_vit_21m.yaml"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
HERE = ("--workers", 0, "--device", "cpu")
FILES = ["checkpoint_{}.pth", "opt_trace_{}.json", "plot_{}.png", "results_{}.json", "tensorboard_{}"]


class Stored:
    """What a run left behind; the files are those of the contract."""

    def __init__(self, folder, seed):
        assert sorted(each.name for each in folder.iterdir()) == sorted(name.format(seed) for name in FILES)
        assert list((folder / f"tensorboard_{seed}").glob("events.out.tfevents.*"))
        assert (folder / f"plot_{seed}.png").read_bytes().startswith(b"\x89PNG")
        self.results = json.loads((folder / f"results_{seed}.json").read_text())
        self.configuration = self.results["configuration"]
        self.trace = json.loads((folder / f"opt_trace_{seed}.json").read_text())
        self.state = torch.load(folder / f"checkpoint_{seed}.pth", weights_only=True)
        dataset, model, activation = folder.parts[-3:]
        place = {"dataset": dataset, "model": model, "activation": activation, "seed": seed}
        assert {name: self.results[name] for name in place} == place
        assert [entry["epoch"] for entry in self.trace] == list(range(1, len(self.trace) + 1))
        assert self.results["final"] == self.trace[-1] and self.results["diverged_at"] is None
        environment = self.results["environment"]
        assert environment["torch"] == torch.__version__
        assert all(environment[package] == metadata.version(package) for package in ("torchvision", "timm"))

    def best_by(self, metric):
        assert self.results["best"] == max(self.trace, key=lambda entry: entry[metric])

    def assert_configured(self, **expected):
        assert {name: self.configuration.get(name) for name in expected} == expected

    @property
    def groups(self):
        return self.state["optimizer"]["param_groups"]


def measured(model, pictures, transform, bfloat16=False):
    """The metrics of a model, by hand: one image after the other; in bfloat16, where logits tie, the loss alone."""
    losses, ranks = [], []
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        for picture, label in pictures:
            logits = model(transform(picture)[None]).float()[0]
            losses.append(F.cross_entropy(logits, torch.tensor(label)).item())
            ranks.append(int((logits > logits[label]).sum()))
    count = len(losses)
    if bfloat16:
        return {"val_loss": pytest.approx(sum(losses) / count, rel=2e-2)}
    return {
        "val_loss": pytest.approx(sum(losses) / count, rel=1e-4),
        "val_accuracy": pytest.approx(100 * ranks.count(0) / count),
        "val_top5_accuracy": pytest.approx(100 * sum(rank < 5 for rank in ranks) / count),
    }


def with_weights(model, old, weights):
    """The model with GoLU in the place of a class of activations, and the weights of a checkpoint."""
    replace_activation_by_torch_module(model, old, GoLU, functional=True)
    model.load_state_dict(weights)
    return model


def val_transform(size, resized, interpolation="bilinear", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)):
    return transforms.Compose(
        [
            transforms.Resize(resized, transforms.InterpolationMode(interpolation)),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )


def val_images(folder):
    return torchvision.datasets.ImageFolder(str(folder / "val"))


def small_vit(**keywords):
    return torchvision.models.VisionTransformer(32, 16, 1, 2, 16, 32, num_classes=keywords["num_classes"])


# Whole runs


def test_a_resnet_on_imagenet(imagenet, program, tmp_path):
    arguments = ("--data-path", imagenet, "--model", "resnet18", "--activation", "GoLU", "--seed", 3, "--sync-bn")
    small = ("--epochs", 2, "--batch-size", 9, "--train-crop-size", 32)
    code, out, err = program(train, *arguments, "--output-dir", tmp_path, *small, *HERE)
    assert (code, err) == (0, "")
    stored = Stored(tmp_path / "imagenet_1k/resnet18/GoLU", seed=3)
    stored.best_by("val_accuracy")
    stored.assert_configured(
        model="resnet18", epochs=2, batch_size=9, opt="sgd", lr=0.1, momentum=0.9, wd=1e-4, lr_scheduler="steplr",
        lr_step_size=30, lr_gamma=0.1, sync_bn=True, amp=False, limit_train=None, bad_images="refuse",
    )  # fmt: skip
    assert stored.results["parameters"] == 11_689_512 - 994 * 513  # 6 classes, not 1000
    assert stored.state["step"] == 2 * (18 // 9)
    assert [entry["lr"] for entry in stored.trace] == [0.1, 0.1]
    for group in stored.groups:
        assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, False, 1e-4)
    model = with_weights(torchvision.models.resnet18(num_classes=6), nn.ReLU, stored.state["model"])
    expected = measured(model, val_images(imagenet), val_transform(32, 37))
    assert {name: stored.results["final"][name] for name in expected} == expected
    assert "imagenet_1k, resnet18 (11,179,590 parameters), GoLU, seed 3" in out
    assert f"stored in {tmp_path / 'imagenet_1k/resnet18/GoLU/results_3.json'}" in out


def test_a_densenet_on_imagenet_with_nesterov_momentum(imagenet, program, tmp_path):
    arguments = ("--data-path", imagenet, "--model", "densenet121", "--opt", "sgd_nesterov", "--sync-bn")
    small = ("--epochs", 1, "--batch-size", 9, "--train-crop-size", 32)
    code, _, err = program(train, *arguments, "--output-dir", tmp_path, *small, *HERE)
    assert (code, err) == (0, "")
    stored = Stored(tmp_path / "imagenet_1k/densenet121/GoLU", seed=0)
    assert [group["nesterov"] for group in stored.groups] == [True, True]
    model = with_weights(torchvision.models.densenet121(num_classes=6), nn.ReLU, stored.state["model"])
    expected = measured(model, val_images(imagenet), val_transform(32, 37))
    assert {name: stored.results["final"][name] for name in expected} == expected


def test_a_vit_on_imagenet_with_its_whole_recipe(imagenet, program, tmp_path, monkeypatch):
    monkeypatch.setattr(
        train, "torchvision_classifier", lambda name, classes, activation: with_golu(small_vit(num_classes=classes))
    )
    given, losses, read = [], [], []

    def with_golu(model):
        replace_activation_by_torch_module(model, nn.GELU, GoLU)
        model.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]) if module.training else None)
        return model

    cross_entropy, load = F.cross_entropy, Where.open

    def recorded(logits, target, **keywords):
        if keywords.get("reduction") != "sum":
            losses.append((logits, target, keywords))
        return cross_entropy(logits, target, **keywords)

    def opened(place):
        split = load(place)
        get = type(split.train).__getitem__
        monkeypatch.setattr(
            type(split.train),
            "__getitem__",
            lambda self, index: (read.append(index) if self is split.train else None, get(self, index))[1],
        )
        return split

    monkeypatch.setattr(F, "cross_entropy", recorded)
    monkeypatch.setattr(Where, "open", opened)
    recipe = (
        "--gradient-accumulation-steps 2 --opt adamw --lr 0.003 --wd 0.3 --lr-scheduler cosineannealinglr "
        "--lr-warmup-method linear --lr-warmup-epochs 1 --lr-warmup-decay 0.033 --amp --label-smoothing 0.11 "
        "--mixup-alpha 0.2 --cutmix-alpha 1.0 --auto-augment imagenet --clip-grad-norm 1.0 --ra-sampler --model-ema"
    )
    small = ("--epochs", 3, "--batch-size", 12, "--train-crop-size", 32, "--model-ema-steps", 1)
    arguments = ("--data-path", imagenet, "--model", "vit_b_32", "--output-dir", tmp_path)
    code, _, err = program(train, *arguments, *shlex.split(recipe), *small, *HERE)
    assert (code, err) == (0, "")
    stored = Stored(tmp_path / "imagenet_1k/vit_b_32/GoLU", seed=0)
    stored.best_by("ema_val_accuracy")
    stored.assert_configured(
        opt="adamw", wd=0.3, clip_grad_norm=1.0, label_smoothing=0.11, mixup_alpha=0.2, cutmix_alpha=1.0,
        auto_augment="imagenet", ra_sampler=True, model_ema=True, amp=True, gradient_accumulation_steps=2,
    )  # fmt: skip
    # linear warm-up from a thirtieth, then the cosine over the two epochs that are left
    assert [entry["lr"] for entry in stored.trace] == pytest.approx([0.003 * 0.033, 0.003, 0.003 / 2])
    assert {group["weight_decay"] for group in stored.groups} == {0.3}
    # three epochs of one step, which two batches of 6 make up
    assert stored.state["step"] == 3
    assert {tuple(x.shape) for x in given} == {(6, 3, 32, 32)}
    assert len(losses) == 6
    for logits, target, keywords in losses:
        assert logits.dtype == torch.bfloat16 and keywords == {"label_smoothing": 0.11}
        assert target.shape == (6, 6) and torch.allclose(target.sum(1), torch.ones(6))
    assert any(((target > 0) & (target < 1)).any() for _, target, _ in losses)
    # a step draws each of 4 images three times, augmented in three ways
    for first in range(0, 36, 12):
        step = read[first : first + 12]
        assert {step.count(index) for index in step} == {3}
    assert len(given[0].flatten(1).unique(dim=0)) == 6
    images, transform = val_images(imagenet), val_transform(32, 37)
    for prefix, part in (("", "model"), ("ema_", "ema")):
        model = with_weights(small_vit(num_classes=6), nn.GELU, stored.state[part])
        expected = measured(model, images, transform, bfloat16=True)
        assert {name: stored.results["final"][prefix + name] for name in expected} == expected
    assert any(not torch.equal(stored.state["model"][name], each) for name, each in stored.state["ema"].items())


EFFICIENTNET = shlex.split(
    "--model efficientnet_b0 --sched step --decay-epochs 2.4 --decay-rate 0.97 --opt rmsproptf --opt-eps 0.001 "
    "--warmup-lr 1e-6 --weight-decay 1e-5 --drop 0.2 --drop-connect 0.2 --model-ema --model-ema-decay 0.9999 "
    "--aa rand-m9-mstd0.5 --remode pixel --reprob 0.2 --amp --lr 0.048"
)


def test_an_efficientnet_on_imagenet(imagenet, program, tmp_path):
    small = ("--batch-size", 6, "--epochs", 2, "--img-size", 32, "--grad-accum-steps", 3)
    arguments = ("--output", tmp_path, "--dataset", "torch/imagenet", "--data-dir", imagenet, "--seed", 1)
    code, _, err = program(timm_training_script, *arguments, *EFFICIENTNET, *small, *HERE)
    assert (code, err) == (0, "")
    stored = Stored(tmp_path / "imagenet_1k/efficientnet_b0/GoLU", seed=1)
    stored.best_by("ema_val_accuracy")
    stored.assert_configured(
        batch_size=6, overall_batch=18, lr=0.048, opt="rmsproptf", drop_path=0.2, aa="rand-m9-mstd0.5", amp=True
    )
    assert stored.results["parameters"] == 5_288_548 - 994 * 1281
    assert stored.state["step"] == 2
    assert [entry["lr"] for entry in stored.trace] == pytest.approx([1e-6, 1e-6 + (0.048 - 1e-6) / 5])
    assert {(group["eps"], group["momentum"]) for group in stored.groups} == {(0.001, 0.9)}
    assert {group["weight_decay"] for group in stored.groups} == {1e-5, 0.0}
    images, transform = val_images(imagenet), val_transform(32, 36, "bicubic")  # of which 0.875 are kept
    for prefix, part in (("", "model"), ("ema_", "ema")):
        model = with_weights(timm.create_model("efficientnet_b0", num_classes=6), nn.SiLU, stored.state[part])
        expected = measured(model, images, transform, bfloat16=True)
        assert {name: stored.results["final"][prefix + name] for name in expected} == expected


def test_a_tiny_vit_on_imagenet_by_its_recipe(imagenet, program, tmp_path):
    small = ("--model", "tiny_vit_5m_224", "--img-size", 32, "--batch-size", 6, "--epochs", 2, "--warmup-epochs", 1)
    arguments = (
        "--cfg",
        TINY_VIT_21M,
        "--data-path",
        imagenet,
        "--seed",
        2,
        "--run-name",
        "first try",
        "--act",
        "GoLU",
    )
    output = tmp_path / "GoLU" / "2"
    code, _, err = program(tiny_vit, *arguments, "--output", output, *small, *HERE)
    assert (code, err) == (0, "")
    stored = Stored(output / "imagenet_1k/tiny_vit_5m_224/GoLU", seed=2)
    lr = 2.5e-4 * 6 / 256
    stored.assert_configured(opt="adamw", mixup=0.8, cutmix=1.0, clip_grad=5.0, sched_on_updates=True, amp=True, lr=lr)
    # 3 steps rise from 1e-6; the last of 6 is where the cosine has 1/6 of its way to go
    rates = [1e-6 + (lr - 1e-6) * 2 / 3, 1e-5 + (lr - 1e-5) * (1 + math.cos(math.pi * 5 / 6)) / 2]
    assert [entry["lr"] for entry in stored.trace] == pytest.approx(rates)
    assert {group["weight_decay"] for group in stored.groups} == {0.05, 0.0}
    model = timm.create_model("tiny_vit_5m_224", num_classes=6)
    assert stored.results["parameters"] == sum(each.numel() for each in model.parameters())
    with_weights(model, nn.GELU, stored.state["model"])
    expected = measured(model, val_images(imagenet), val_transform(32, 33, "bicubic"), bfloat16=True)
    assert {name: stored.results["final"][name] for name in expected} == expected


def test_the_name_of_a_run_is_stored(imagenet, program, tmp_path):
    """As its help says."""
    arguments = ("--data-path", imagenet, "--run-name", "first try", "--output", tmp_path, *SMALL_TIMM, *HERE)
    assert program(tiny_vit, *arguments)[0] == 0
    assert "first try" in next(tmp_path.rglob("results_0.json")).read_text()


def test_a_cifar_resnet(program, tmp_path, write_cifar10):
    written = write_cifar10(tmp_path / "data")
    arguments = ("--model", "resnet20", "--activation", "GoLU", "--seed", 4, "--results_path", tmp_path / "results")
    small = ("--data-dir", tmp_path / "data", "--epochs", 4, "--batch-size", 25, "--device", "cpu")
    code, _, err = program(small_poc, *arguments, *small)
    assert (code, err) == (0, "")
    stored = Stored(tmp_path / "results/cifar10/resnet20/GoLU", seed=4)
    stored.best_by("val_accuracy")
    stored.assert_configured(epochs=4, batch_size=25, weight_decay=1e-4, milestones=[2, 3], augment=True, amp=False)
    assert [entry["lr"] for entry in stored.trace] == pytest.approx([0.1, 0.1, 0.01, 0.001])
    assert stored.results["parameters"] == 269_722
    assert stored.state["step"] == 4 * 2
    (train_x, _), (val_x, val_y) = written["train"], written["val"]
    std, mean = torch.std_mean(train_x.float(), dim=(0, 2, 3), keepdim=True)
    model = build_model("resnet20", (3, 32, 32), 10, "GoLU")
    model.load_state_dict(stored.state["model"])
    expected = measured(model, zip(val_x.float(), val_y.tolist(), strict=True), lambda x: ((x - mean) / std)[0])
    assert {name: stored.results["final"][name] for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "folder", "augment"), [("mnist", "MNIST", False), ("fashion_mnist", "FashionMNIST", True)]
)
def test_an_mlp_on_idx_files(name, folder, augment, program, tmp_path, write_mnist):
    written = write_mnist(tmp_path / "data" / folder / "raw", ".gz")
    arguments = ("--model", "mlp_1", "--dataset", name, "--data-dir", tmp_path / "data", "--epochs", 2)
    code, _, err = program(small_poc, *arguments, "--batch-size", 20, "--results-path", tmp_path, "--device", "cpu")
    assert (code, err) == (0, "")
    stored = Stored(tmp_path / name / "mlp_1/GoLU", seed=0)
    stored.assert_configured(augment=augment, lr=0.01, weight_decay=0.0)
    (train_x, _), (val_x, val_y) = ([torch.from_numpy(each) for each in written[split]] for split in ("train", "t10k"))
    std, mean = torch.std_mean(train_x.float())
    model = build_model("mlp_1", (1, 28, 28), 10, "GoLU")
    model.load_state_dict(stored.state["model"])
    expected = measured(model, zip(val_x.float(), val_y.tolist(), strict=True), lambda x: (x[None] - mean) / std)
    assert {name: stored.results["final"][name] for name in expected} == expected


def test_a_vit_on_cifar10(program, tmp_path, write_cifar10):
    val_x, val_y = write_cifar10(tmp_path / "data")["val"]
    recipe = (
        "--model vit_tiny_patch16_224 --dataset torch/CIFAR10 --dataset-download --drop 0.0 --drop-path 0.1 "
        "--weight-decay 0.05 --lr-base 5e-4 --warmup-lr 5e-7 --min-lr 5e-6 --clip-grad 5 --layer-decay 1.0 "
        "--decay-epochs 30 --opt adamw --opt-eps 1e-8 --opt-betas 0.9 0.999 --aa rand-m9-mstd0.5-inc1 --reprob 0.25 "
        "--mixup 0.8 --cutmix 1.0 --seed 5 --ac GoLU"
    )
    arguments = ("--data-dir", tmp_path / "data", "--results_folder", tmp_path / "results")
    small = ("--img-size", 32, "--batch-size", 16, "--epochs", 2, "--warmup-epochs", 1)
    code, _, err = program(train_vit, *shlex.split(recipe), *arguments, *small, *HERE)
    assert (code, err) == (0, "")
    stored = Stored(tmp_path / "results/cifar10/vit_tiny_patch16_224/GoLU", seed=5)
    stored.best_by("val_accuracy")
    lr = 5e-4 * math.sqrt(16 / 256)
    stored.assert_configured(lr=lr, clip_grad=5.0, layer_decay=1.0, opt_betas=[0.9, 0.999], reprob=0.25, mixup=0.8)
    assert stored.state["step"] == 2 * (50 // 16)
    assert [entry["lr"] for entry in stored.trace] == pytest.approx([5e-7, 5e-6 + (lr - 5e-6) / 2])
    model = timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=32)
    with_weights(model, nn.GELU, stored.state["model"])
    pictures = [(transforms.ToPILImage()(x), int(label)) for x, label in zip(val_x, val_y, strict=True)]
    half = (0.5, 0.5, 0.5)
    expected = measured(model, pictures, val_transform(32, 35, "bicubic", half, half))
    assert {name: stored.results["final"][name] for name in expected} == expected


def test_limits_choose_images_of_all_classes(imagenet, program, tmp_path):
    limits = ("--limit-train", 12, "--limit-val", 6)
    code, _, _ = program(train, "--data-path", imagenet, "--output-dir", tmp_path, *limits, *SMALL_TRAIN, *HERE)
    assert code == 0
    stored = Stored(tmp_path / "imagenet_1k/squeezenet1_1/GoLU", seed=0)
    stored.assert_configured(limit_train=12, limit_val=6)
    assert stored.state["step"] == 12 // 6
    hits = stored.results["final"]["val_accuracy"] * 6 / 100
    assert hits == pytest.approx(round(hits))


# Two processes


def in_two_processes(module, *arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*TORCHRUN, module.__name__, *map(str, arguments)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_a_resnet_in_two_processes_counts_each_validation_image_once(imagenet, tmp_path):
    arguments = ("--data-path", imagenet, "--model", "resnet18", "--output-dir", tmp_path, "--sync-bn", *HERE)
    small = ("--epochs", 1, "--batch-size", 8, "--train-crop-size", 32)
    done = in_two_processes(train, *arguments, *small)
    assert done.returncode == 0, done.stderr
    assert "with 8 images each, on cpu in 2 processes" in done.stdout
    stored = Stored(tmp_path / "imagenet_1k/resnet18/GoLU", seed=0)
    assert stored.results["environment"]["processes"] == 2
    assert stored.state["step"] == 18 // 8
    model = with_weights(torchvision.models.resnet18(num_classes=6), nn.ReLU, stored.state["model"])
    expected = measured(model, val_images(imagenet), val_transform(32, 37))  # of 7 images: one process has 4
    assert {name: stored.results["final"][name] for name in expected} == expected


def test_an_efficientnet_in_two_processes_counts_each_validation_image_once(imagenet, tmp_path):
    arguments = ("--data-dir", imagenet, "--dataset", "torch/imagenet", "--output", tmp_path, *EFFICIENTNET, *HERE)
    small = ("--epochs", 1, "--batch-size", 3, "--img-size", 32, "--no-amp")
    done = in_two_processes(timm_training_script, *arguments, *small)
    assert done.returncode == 0, done.stderr
    stored = Stored(tmp_path / "imagenet_1k/efficientnet_b0/GoLU", seed=0)
    assert stored.results["environment"]["processes"] == 2
    stored.assert_configured(batch_size=3, overall_batch=6)
    assert stored.state["step"] == 18 // 6
    images, transform = val_images(imagenet), val_transform(32, 36, "bicubic")
    for prefix, part in (("", "model"), ("ema_", "ema")):
        model = with_weights(timm.create_model("efficientnet_b0", num_classes=6), nn.SiLU, stored.state[part])
        expected = measured(model, images, transform)
        assert {name: stored.results["final"][prefix + name] for name in expected} == expected


# Mistakes: one line, and what is stored stays

SMALL_TRAIN = ("--model", "squeezenet1_1", "--train-crop-size", 32, "--batch-size", 6, "--epochs", 1)
SMALL_TIMM = ("--model", "mobilenetv3_small_050", "--img-size", 32, "--batch-size", 6, "--epochs", 1)
SMALL = {train: SMALL_TRAIN, timm_training_script: SMALL_TIMM, tiny_vit: SMALL_TIMM}
DATA = {train: "--data-path", timm_training_script: "--data-dir", tiny_vit: "--data-path"}
OUTPUT = {train: "--output-dir", timm_training_script: "--output", tiny_vit: "--output"}


def name_of(each):
    return each.__name__.removeprefix("tasks.") if hasattr(each, "__name__") else str(each)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(program, tmp_path):
    """Calls a program that has to refuse; gives the line that it says."""
    results = tmp_path / "results"
    for model in ("squeezenet1_1", "mobilenetv3_small_050", "mlp_1"):
        folder = results / "imagenet_1k" / model / "GoLU"
        folder.mkdir(parents=True)
        for name in ("results_1.json", "checkpoint_1.pth", "checkpoint_0.previous.txt"):
            (folder / name).write_text("precious")

    def call(module, *arguments):
        before = contents(results)
        output = OUTPUT.get(module, "--results-path" if module is small_poc else "--results-folder")
        code, _, err = program(module, output, results, *arguments)
        assert code == 2
        assert err.startswith("error: ") and err.count("\n") == 1
        assert before.items() <= contents(results).items()
        return err

    return call


def arguments_of(module, data):
    return (DATA[module], data, *SMALL[module], *HERE)


def no_folder(data):
    shutil.rmtree(data)


def half_unpacked(data):
    (data / ".unpacking.json").write_text("{}")


def no_image_in_a_class(data):
    for image in next((data / "train").iterdir()).iterdir():
        image.unlink()


def broken_jpeg(data):
    broken = next((data / "train").rglob("*_10.JPEG"))
    broken.write_bytes(broken.read_bytes()[:300])


def other_classes(data):
    next((data / "val").iterdir()).rename(data / "val" / "n99999999")


@pytest.mark.parametrize("module", SMALL, ids=name_of)
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (no_folder, "there is no folder"),
        (half_unpacked, "is half unpacked: python -m tasks.image_classification.setup_dataset"),
        (no_image_in_a_class, "Found no valid file for the classes n01440764"),
        (broken_jpeg, "_10.JPEG is no image that can be read"),
        (other_classes, "have to have the same classes"),
    ],
)
def test_data_that_cannot_be_used(damage, said, module, imagenet, refused, tmp_path):
    data = shutil.copytree(imagenet, tmp_path / "imagenet_1k")
    damage(data)
    assert said in refused(module, *arguments_of(module, data))


@pytest.mark.parametrize("module", SMALL, ids=name_of)
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--activation", "Golu"), "unknown activation 'Golu': did you mean GoLU?"),
        (("--epochs", 0), "argument --epochs: must be a whole number of at least 1"),
        (("--lr", "nan"), "argument --lr: must be a number above 0, not 'nan'"),
        (("--lr", 0), "argument --lr: must be a number above 0"),
        (("--seed", -1), "argument --seed: must be a whole number from 0 to 4294967295, not '-1'"),
        (("--seed", 2**64), "--seed"),
        (("--limit-train", 5), "--limit-train 5 is out of range: from 6 (one image a class) to 18 (all)"),
        (("--limit-train", 19), "--limit-train 19 is out of range"),
        (("--limit-val", 8), "--limit-val 8 is out of range: from 6 (one image a class) to 7 (all)"),
        (("--limit-val", 0), "argument --limit-val: must be a whole number of at least 1"),
        (("--batch-size", 20), "a batch of 20 is more than the 18 training samples"),
        (("--batch-size", -2), "argument --batch-size"),
        (("--workers", -1), "argument --workers"),
        (("--device", "tpu"), "unknown device 'tpu'"),
        (("--dataset", "cifar"), "unknown dataset 'cifar': did you mean cifar10?"),
        (("--bad-images", "ignore"), "unknown choice 'ignore'"),
        (("--checkpoint-steps", 0), "argument --checkpoint-steps"),
        (("--opt", "sdg"), "unknown opt 'sdg': did you mean sgd?"),
    ],
    ids=name_of,
)
def test_a_wrong_value(wrong, said, module, imagenet, refused):
    assert said in refused(module, *arguments_of(module, imagenet), *wrong)


@pytest.mark.parametrize(
    ("module", "wrong", "said"),
    [
        (train, ("--model", "resnet81"), "unknown model 'resnet81': did you mean resnet18?"),
        (train, ("--batch-size", 9, "--gradient-accumulation-steps", 2), "cannot be shared evenly by 1 processes"),
        (train, ("--lr-warmup-epochs", 2, "--lr-warmup-decay", 1.5), "must be a number above 0, at most 1"),
        (train, ("--label-smoothing", 1.5), "must be a number from 0 to 1"),
        (timm_training_script, ("--model", "eficientnet_b0"), "such as efficientnet_b0"),
        (timm_training_script, ("--mixup", 0.5, "--batch-size", 5), "a batch of 5 is odd"),
        (timm_training_script, ("--drop", 1.1), "must be a number from 0 to 1"),
        (tiny_vit, ("--model", "tiny_vit_2m_224"), "such as tiny_vit_"),
        (tiny_vit, ("--sched", "cosin"), "unknown sched 'cosin': did you mean cosine?"),
    ],
    ids=name_of,
)
def test_a_wrong_value_for_one_program(module, wrong, said, imagenet, refused):
    assert said in refused(module, *arguments_of(module, imagenet), *wrong)


@pytest.mark.parametrize(
    ("module", "wrong"),
    [
        (train, ("--model", "alexnet")),  # its last pooling has nothing left at 32 x 32
        (train, ("--model", "resnet18", "--batch-size", 1)),  # no batch statistics of one value
    ],
    ids=name_of,
)
def test_images_that_the_model_cannot_take(module, wrong, imagenet, refused):
    refused(module, *arguments_of(module, imagenet), *wrong)


@pytest.mark.parametrize("opt", ["bnbadam", "adahessian"])
def test_an_optimiser_that_cannot_be_used_here(opt, imagenet, refused):
    refused(timm_training_script, *arguments_of(timm_training_script, imagenet), "--opt", opt)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read the recipe"),
        ("epoch: 3", "recipe.yaml: unknown setting 'epoch': did you mean epochs?"),
        ("epochs: many", "recipe.yaml: epochs: must be a whole number"),
        ("amp: sometimes", "recipe.yaml: amp: must be true or false"),
        ("epochs: [3", "recipe.yaml is no YAML"),
        ("\0", "recipe.yaml is no YAML"),
        ("- epochs", "recipe.yaml is no recipe"),
        ("", "recipe.yaml is no recipe"),
        ("model: resnet18\nopt: sdg", "unknown opt 'sdg'"),
        ("!!python/object/apply:os.system ['touch executed']", "recipe.yaml is no YAML"),
    ],
)
def test_a_recipe_that_cannot_be_used(content, said, imagenet, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "recipe.yaml"
    if content is not None:
        recipe.write_text(content)
    assert said in refused(tiny_vit, "--data-path", imagenet, *HERE, "--cfg", recipe)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--model", "ResNet20"), "unknown model 'ResNet20': did you mean resnet20?"),
        (("--dataset", "cifar"), "unknown dataset 'cifar': did you mean cifar10?"),
        (("--activation", "Golu"), "did you mean GoLU?"),
        (("--epochs", 0), "argument --epochs"),
        (("--lr", "nan"), "argument --lr"),
        (("--seed", -1), "argument --seed"),
        (("--weight-decay", "inf"), "argument --weight-decay"),
        (("--limit-train", 9), "--limit-train 9 is out of range: from 10 (one image a class) to 797 (all)"),
        (("--limit-val", 1001), "--limit-val 1001 is out of range"),
        (("--batch-size", 798), "a batch of 798 is more than the 797 training samples"),
    ],
    ids=name_of,
)
def test_a_wrong_value_for_a_small_model(wrong, said, refused):
    assert said in refused(small_poc, "--model", "mlp_1", "--dataset", "digits", "--device", "cpu", *wrong)


@pytest.mark.parametrize("module", [small_poc, train_vit], ids=name_of)
def test_data_that_are_missing_and_cannot_be_downloaded(module, refused, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    said = refused(module, "--data-dir", tmp_path / "nothing", "--device", "cpu")
    assert "no network" in said and "cifar-10-python.tar.gz" in said


@pytest.fixture(scope="module")
def finished(imagenet, tmp_path_factory):
    """The results of one run of each of the two programs."""
    results = tmp_path_factory.mktemp("finished")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for module in (train, timm_training_script):
        with pytest.MonkeyPatch.context() as patch:
            arguments = (OUTPUT[module], results, *arguments_of(module, imagenet))
            patch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
            module.main()
    torch.set_num_threads(threads)
    return results


BOTH = pytest.mark.parametrize("module", [train, timm_training_script], ids=name_of)


@BOTH
@pytest.mark.parametrize("part", ["results", "checkpoint"])
@pytest.mark.parametrize(
    ("other", "said"),
    [
        (("--lr", 0.01), "not lr=0.01"),
        (("--epochs", 2), "with epochs=1, not epochs=2"),
        (("--limit-train", 12), "with limit_train=None, not limit_train=12"),
        (("--bad-images", "skip"), "with bad_images=refuse, not bad_images=skip"),
    ],
    ids=name_of,
)
def test_a_run_of_another_configuration_is_kept(module, part, other, said, finished, imagenet, program, tmp_path):
    results = shutil.copytree(finished, tmp_path / "results")
    if part == "checkpoint":  # as if it had been stopped
        for path in results.rglob("results_0.json"):
            path.unlink()
    before = contents(results)
    code, _, err = program(module, OUTPUT[module], results, *arguments_of(module, imagenet), *other)
    assert code == 2
    assert said in err and err.startswith("error: ") and err.count("\n") == 1
    assert contents(results) == before


@BOTH
def test_a_truncated_checkpoint_is_put_aside(module, finished, imagenet, program, tmp_path):
    results = shutil.copytree(finished, tmp_path / "results")
    model = SMALL[module][1]
    checkpoint = results / "imagenet_1k" / model / "GoLU" / "checkpoint_0.pth"
    (checkpoint.parent / "results_0.json").unlink()
    half = checkpoint.read_bytes()[: checkpoint.stat().st_size // 2]
    checkpoint.write_bytes(half)
    assert not previous(checkpoint).exists()
    before = contents(results)
    code, _, err = program(module, OUTPUT[module], results, *arguments_of(module, imagenet))
    assert code == 2
    assert err.startswith(f"error: the checkpoint {checkpoint} is broken") and err.count("\n") == 1
    after = contents(results)
    assert after.pop(checkpoint.with_name("checkpoint_0.pth.broken")) == half
    assert after == {path: content for path, content in before.items() if path != checkpoint}
    # as the line says, the same command now starts from the beginning
    assert program(module, OUTPUT[module], results, *arguments_of(module, imagenet))[0] == 0
    first = json.loads((finished / "imagenet_1k" / model / "GoLU" / "results_0.json").read_text())
    again = json.loads((checkpoint.parent / "results_0.json").read_text())
    assert again["final"]["val_loss"] == first["final"]["val_loss"]


@BOTH
def test_results_that_are_no_results_are_named(module, finished, imagenet, program, tmp_path):
    results = shutil.copytree(finished, tmp_path / "results")
    for path in results.rglob("results_0.json"):
        path.write_text("{}")
    before = contents(results)
    code, _, err = program(module, OUTPUT[module], results, *arguments_of(module, imagenet))
    assert code == 2
    assert "results_0.json is no result of a run: delete it" in err and err.count("\n") == 1
    assert contents(results) == before


@BOTH
@pytest.mark.parametrize("mixup", [False, True])
def test_broken_images_are_left_out_if_asked(module, mixup, imagenet, program, tmp_path):
    data = shutil.copytree(imagenet, tmp_path / "imagenet_1k")
    broken_jpeg(data)
    broken = next((data / "val").rglob("*_00000003.JPEG"))
    broken.write_text("no image")
    flags = {train: "--mixup-alpha", timm_training_script: "--mixup"}
    mixed = (flags[module], 0.2) if mixup else ()
    code, _, err = program(
        module, OUTPUT[module], tmp_path / "results", *arguments_of(module, data), "--bad-images", "skip", *mixed
    )
    assert code == 0
    assert err.count("\n") == 2
    assert "_10.JPEG is no image" in err and "_00000003.JPEG is no image" in err
    stored = Stored(tmp_path / "results/imagenet_1k" / SMALL[module][1] / "GoLU", seed=0)
    hits = stored.results["final"]["val_accuracy"] * 6 / 100  # of 7 images
    assert hits == pytest.approx(round(hits))
