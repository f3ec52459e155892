"""python -m tasks.diffusion.eval: samples of a small model against images that it has not seen."""

import json
import shutil
from dataclasses import asdict

import pytest
import torch
from PIL import Image
from torch import nn

from tasks.diffusion import classifier, eval
from tasks.diffusion.comparison import NOISE, REAL, SAMPLES, compare, require_enough, table
from tasks.diffusion.features import Extractor, features_of
from tasks.diffusion.models import build_unet
from tasks.diffusion.pictures import open_pictures
from tasks.diffusion.real import read_images
from tasks.diffusion.sampling import Sampler, draw, first_noise, to_pixels
from tasks.diffusion.scores import scores
from tasks.diffusion.settings import Settings
from tasks.diffusion.trained import load
from workbench.cli.errors import UserError
from workbench.cli.settings import configuration
from workbench.output.pictures import grid
from workbench.training.checkpoint import save
from workbench.training.runs import StoredRun
from workbench.training.seeding import seed_everything

SMALL = Settings(
    model="small_unet", mixed_precision="no", ema_decay=0.5, image_size=8, channels=(4, 8), blocks=1,
    attention_levels=(0,), middle_attention=False, norm_groups=4, dropout=0.0,
)  # fmt: skip
COUNT = 66


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folder of a model that has learnt nothing, stored as a training stores it."""
    folder = tmp_path_factory.mktemp("results")
    run = StoredRun(folder, "digits", SMALL.model, "GoLU", 0)
    data = {"limit_train": 100, "limit_val": 140, "data": open_pictures("digits", folder, 100, 140).fingerprint()}
    seed_everything(0)
    models = [build_unet(SMALL, 1, "GoLU").state_dict() for _ in range(2)]
    state = {
        "configuration": run.identity | data | configuration(SMALL) | {"bad_images": "refuse"},
        "program": "tasks.diffusion.train_ddp",
        "source": {"dataset": "digits", "data": str(folder)},
    }
    run.folder.mkdir(parents=True)
    save(run.checkpoint_path, state | {"model": models[0], "ema": models[1], "extras": {"image_channels": 1}})
    return folder


@pytest.fixture(autouse=True)
def fewer_steps(monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 60)


@pytest.fixture
def checkpoint(results):
    return results / "digits/small_unet/GoLU/checkpoint_0.pth"


@pytest.fixture
def evaluate(program, checkpoint, tmp_path):
    """The program with few samples in few steps; returns (exit code, stdout, stderr)."""

    def call(*arguments, at=checkpoint):
        few = ("--samples", COUNT, "--steps", 2, "--device", "cpu", "--output", tmp_path / "out/scores.json")
        return program(eval, "--checkpoint", at, *few, *arguments)

    return call


def altered(checkpoint, folder, change):
    """Another checkpoint, whose state was changed."""
    state = torch.load(checkpoint, weights_only=True)
    change(state)
    torch.save(state, folder / "checkpoint_0.pth")
    return folder / "checkpoint_0.pth"


def test_scores_are_those_of_the_samples(results, checkpoint, program, evaluate, tmp_path):
    flags = ("--sampler", "ddpm", "--steps", 2, "--seed", 5, "--batch-size", 20)
    code, out, err = program(eval, "--checkpoint", checkpoint, "--samples", COUNT, "--device", "cpu", *flags)
    assert (code, err) == (0, "")
    stored = json.loads((checkpoint.parent / "scores_0.json").read_text())
    (judging,) = results.glob("digits/classifier_8x8x1_*.pth")
    assert (stored["averaged"], stored["sampler"], stored["steps"], stored["seed"]) == (True, "ddpm", 2, 5)
    assert stored["configuration"]["data"].startswith("100+140 images") and stored["checkpoint"] == str(checkpoint)
    assert stored["features"]["file"] == str(judging) and stored["features"]["number"] == 64
    assert stored["environment"]["torch"] == torch.__version__ and stored["environment"]["torchmetrics"]

    trained = load(checkpoint)
    noise = first_noise(5, range(COUNT), (1, 8, 8))
    (samples,) = draw(trained.model, noise, trained.settings, Sampler("ddpm", 2), 5)
    split = open_pictures("digits", results, 100, 140)
    extractor = classifier.classifier_extractor(split, split.fingerprint(), 1, 8, results / "digits")
    real, _ = read_images(split.val, 2 * COUNT, 1, 8)
    rows = compare(extractor, samples, to_pixels(noise), real)
    for row, expected in zip(stored["scores"], rows, strict=True):
        assert row["scores"].pop("fid") == pytest.approx(expected.scores.fid, rel=1e-3)  # other batches round
        assert row["scores"]["kid"] == pytest.approx(expected.scores.kid, rel=1e-3, abs=1e-5)
        assert (row["name"], row["count"], row["against"]) == (expected.name, expected.count, expected.against)
    assert [each.count for each in rows] == [each.against for each in rows] == [COUNT] * 3

    assert (
        table(extractor, rows).splitlines()[-1] in out and "features: 64 of a classifier of 10 classes, right on" in out
    )
    place = checkpoint.parent
    assert out.splitlines()[-1] == f"stored in {place / 'scores_0.json'}, with samples in {place / 'scores_0.png'}"
    with Image.open(place / "scores_0.png") as picture:
        shown = torch.tensor(list(picture.convert("L").tobytes())).view(picture.height, picture.width)
    assert (shown - grid(samples[:64])[0].int()).abs().max() <= 1

    again = evaluate(*flags)
    assert "training" in out and "training" not in again[1]
    assert out.splitlines()[-7:-1] == again[1].splitlines()[-7:-1]
    same = json.loads((tmp_path / "out/scores.json").read_text())
    assert same["features"] == stored["features"] and same["configuration"] == stored["configuration"]


def test_the_seed_the_sampler_and_the_average_count(evaluate, tmp_path):
    def found(*arguments):
        code, _, err = evaluate(*arguments)
        assert (code, err) == (0, "")
        return json.loads((tmp_path / "out/scores.json").read_text())

    first = found()
    others = [found(*each) for each in (("--seed", 1), ("--no-average",), ("--sampler", "ddpm"))]
    assert [each["seed"] for each in others] == [1, 0, 0] and others[2]["sampler"] == "ddpm"
    assert [each["averaged"] for each in (first, *others)] == [True, True, False, True]
    fids = [each["scores"][0]["scores"]["fid"] for each in (first, *others)]
    assert len(set(fids)) == 4
    assert first["scores"][2] == others[2]["scores"][2]  # real images are the same


def test_a_checkpoint_that_was_moved_has_its_classifier_beside_it(checkpoint, evaluate, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(checkpoint, moved / "mine.pth")
    code, out, _ = evaluate("--output", moved / "x.json", at=moved / "mine.pth")
    assert code == 0 and "training a classifier on 100 training images" in out
    assert [each.suffix for each in sorted(moved.iterdir())] == [".pth", ".pth", ".json", ".png"]
    code, out, _ = evaluate("--classifiers", tmp_path / "classifiers")
    assert code == 0 and [each.suffix for each in (tmp_path / "classifiers").iterdir()] == [".pth"]


class Means(nn.Module):
    """Four features: means of quarters of an image."""

    def forward(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images.float(), 2).flatten(1)


def pictures(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(100, 200, (count, 1, 4, 4), generator=generator, dtype=torch.uint8)


def test_comparison_with_noise_and_with_other_real_images():
    extractor = Extractor(Means(), 4, "means of quarters")
    samples, noise, real = pictures(20, 0), pictures(20, 1) // 2, pictures(31, 2)
    done = []
    rows = compare(extractor, samples, noise, real, after_batch=done.append)
    assert sum(done) == 71
    assert [(each.name, each.count, each.against) for each in rows] == [
        (SAMPLES, 20, 20), (NOISE, 20, 20), (REAL, 15, 15)
    ]  # fmt: skip
    found = [features_of(Means(), each) for each in (samples, noise, real)]
    pairs = [(found[0], found[2][:20]), (found[1], found[2][:20]), (found[2][:15], found[2][15:30])]
    assert [asdict(each.scores) for each in rows] == [asdict(scores(*each)) for each in pairs]
    assert rows[1].scores.fid > 10 * rows[0].scores.fid
    lines = table(extractor, rows).splitlines()
    assert lines[0].split() == ["FID", "KID", "inception", "score", "images", "real", "ones"]
    first = [*SAMPLES.split(), f"{rows[0].scores.fid:.4g}", f"{rows[0].scores.kid:.3g}", "none", "20", "20"]
    assert lines[2].split() == first
    assert lines[5:] == [
        "15 images against as many have a larger FID than 20, however alike they are",
        "no inception score: the images have no classes",
        "features: means of quarters",
        "lower is better for FID and KID, higher for the inception score; scores by other features, or of other "
        "numbers of images, cannot be compared with these",
    ]


def test_halves_that_are_too_small_have_no_row():
    extractor = Extractor(Means(), 4, "means of quarters")
    rows = compare(extractor, pictures(20, 0), pictures(20, 1), pictures(9, 2))
    assert (rows[2].count, rows[2].scores) == (4, None) and rows[0].against == 9
    lines = table(extractor, rows).splitlines()
    assert len(lines) == 8 and lines[4] == f"no row of {REAL}: halves of 4 are too few for 4 features"
    assert compare(extractor, pictures(20, 0), pictures(20, 1), pictures(10, 2))[2].scores is not None


def test_as_few_images_as_features_are_refused():
    require_enough(64, 65, 65)
    with pytest.raises(UserError, match=r"^--samples 64 are too few for 64 features: take at least 65$"):
        require_enough(64, 64, 65)
    with pytest.raises(UserError, match=r"^64 validation images are too few for 64 features: at least 65 are needed$"):
        require_enough(64, 65, 64)


WHOLE = "must be a whole number of at least 1, not '0' (--help explains every flag)"
REFUSED = {
    "--samples 0": f"argument --samples: {WHOLE}",
    "--steps 0": f"argument --steps: {WHOLE}",
    "--steps 1001": "--steps 1001 does not divide the 1000 diffusion steps of the training: take 1000",
    "--samples 64": "--samples 64 are too few for 64 features: take at least 65",
    "--features inception": "--samples 66 are too few for 2048 features: take at least 2049",
    "--features inception --samples 2049": "140 validation images are too few for 2048 features: at least 2049 are "
    "needed",
    "--weights x.pth": "--weights are Inception's: add --features inception",
    "--output x.txt": "--output x.txt has to end with .json",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_mistakes_are_one_line_and_leave_nothing(arguments, evaluate, tmp_path):
    assert evaluate(*arguments.split()) == (2, "", f"error: {REFUSED[arguments]}\n")
    assert list(tmp_path.iterdir()) == []


OTHER = "is no checkpoint of tasks.diffusion.train_ddp"
UNFIT = {
    "diverged": (
        lambda state: state["model"]["conv_in.bias"].fill_(torch.nan),
        "is of a training that diverged: its weights are no numbers",
    ),
    "another task's": (
        lambda state: state.update(program="tasks.gpt.train"),
        f"{OTHER}: tasks.gpt.train has written it",
    ),
    "another model's": (lambda state: state["configuration"].update(channels=[4, 4]), OTHER),
    "without an average": (
        lambda state: state.update(ema=None),
        "has no moving average of the weights: it was trained without one",
    ),
}


@pytest.mark.parametrize("change", UNFIT)
def test_a_checkpoint_that_cannot_be_used_is_named(change, checkpoint, evaluate, tmp_path):
    path = altered(checkpoint, tmp_path, UNFIT[change][0])
    assert evaluate("--average", at=path) == (2, "", f"error: {path} {UNFIT[change][1]}\n")
    assert list(tmp_path.iterdir()) == [path]


def test_other_images_than_those_of_the_training_are_refused(checkpoint, evaluate, tmp_path):
    stored = torch.load(checkpoint, weights_only=True)["configuration"]["data"]
    path = altered(checkpoint, tmp_path, lambda state: state["configuration"].update(limit_val=150))
    now = open_pictures("digits", tmp_path, 100, 150).fingerprint()
    code, out, err = evaluate("--data", tmp_path, at=path)
    assert (code, out) == (2, "")
    assert err == (
        f"error: the model was trained on other images ({stored}) than those of digits in {tmp_path} ({now}): "
        "give the folder of its own with --data\n"
    )


def test_images_that_are_gone_are_named(checkpoint, evaluate, tmp_path):
    path = altered(checkpoint, tmp_path, lambda state: state["configuration"].update(dataset="folder"))
    assert evaluate("--data", tmp_path / "none", at=path) == (
        2, "", f"error: there is no folder {tmp_path / 'none'}: --data gives the folder of images\n"
    )  # fmt: skip


def test_help_begins_with_a_command(program):
    code, out, _ = program(eval, "--help")
    assert code == 0
    assert "  python -m tasks.diffusion.eval --checkpoint results/digits/tiny_unet/GoLU/checkpoint_0.pth\n" in out
