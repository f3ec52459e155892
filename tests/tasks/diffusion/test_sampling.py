"""What draws from a diffusion model: samples, animations, interpolations, and the exported model."""

import re
import shlex

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.models.activations import ACT2CLS
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from golu import GoLU, find_activations
from tasks.diffusion import export, sample, train_ddp
from tasks.diffusion.models import build_unet
from tasks.diffusion.sampling import Sampler, draw, first_noise
from tasks.diffusion.trained import load
from tests.celeba_miniature import write
from workbench.cli.errors import UserError
from workbench.output.pictures import grid
from workbench.training.seeding import generator_for

TINY = (
    "--model small_unet --image-size 8 --channels 8 16 --norm-groups 4 --sample-every 0 --device cpu --workers 0 "
    "--epochs 1 --batch-size 12 --timesteps 100 --ema-decay 0.5 --lr 0.01"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    write(folder)
    train_ddp.main(shlex.split(f"{TINY} --data {folder} --results {folder}"))
    return folder / "celeba/small_unet/GoLU/checkpoint_0.pth"


@pytest.fixture
def called(program, checkpoint, tmp_path):
    """sample or export with this checkpoint and folder; returns (exit code, stdout, stderr)."""

    def call(module, flags="", path=checkpoint):
        return program(module, "--checkpoint", path, "--output", tmp_path / "out", *shlex.split(flags))

    return call


def picture(path):
    with Image.open(path) as file:
        return pil_to_tensor(file)


def refused(called, said):
    code, _, err = called
    assert (code, err) == (2, f"error: {said}\n")


# Samples


@pytest.mark.parametrize("name", ["ddim", "ddpm"])
def test_samples_are_those_of_diffusers(name, checkpoint):
    """Drawn one by one in the loop of diffusers' documentation."""
    trained, steps = load(checkpoint), 10
    noise = first_noise(3, range(3), trained.shape)
    (found,) = draw(trained.model, noise, trained.settings, Sampler(name, steps), seed=3, batch_size=2)
    kind = {"ddim": DDIMScheduler, "ddpm": DDPMScheduler}[name]
    scheduler = kind(num_train_timesteps=100, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    assert scheduler.timesteps.tolist() == list(range(99, 0, -10))
    for number in range(3):
        generator, image = generator_for(3, "steps", number), noise[number : number + 1]
        for step in scheduler.timesteps:
            with torch.no_grad():
                predicted = trained.model(image, step).sample
            image = scheduler.step(predicted, step, image, generator=generator).prev_sample
        expected = ((image[0] / 2 + 0.5).clamp(0, 1) * 255).round()
        assert (found[number].float() - expected).abs().max() <= 1  # rounding


def test_a_sample_does_not_depend_on_the_others(called, tmp_path):
    for number, batch in ((5, 2), (2, 64)):
        flags = f"--number {number} --batch-size {batch} --sampler ddpm --steps 10 --seed 4 --separate"
        assert called(sample, flags)[0] == 0
        images = [picture(tmp_path / f"out/sample_{each}.png") for each in range(2)]
        if number == 5:
            first = images
            assert picture(tmp_path / "out/samples.png").equal(
                grid(torch.stack([picture(tmp_path / f"out/sample_{each}.png") for each in range(5)]))
            )
    assert all(ours.equal(theirs) for ours, theirs in zip(images, first, strict=True))
    assert not images[0].equal(images[1])
    called(sample, "--number 1 --steps 10 --sampler ddpm --seed 5 --separate")
    assert not picture(tmp_path / "out/sample_0.png").equal(first[0])


def test_the_animation_goes_from_noise_to_the_samples(called, checkpoint, tmp_path):
    code, out, _ = called(sample, "--number 4 --steps 5 --gif")
    assert code == 0 and out == f"wrote {tmp_path / 'out/samples.png'}, {tmp_path / 'out/denoising.gif'}\n"
    with Image.open(tmp_path / "out/denoising.gif") as animation:
        assert animation.n_frames == 6
        first = pil_to_tensor(animation.convert("RGB"))
        animation.seek(5)
        last = pil_to_tensor(animation.convert("RGB"))
    samples = picture(tmp_path / "out/samples.png")
    assert first.shape == last.shape == samples.shape
    assert (last.float() - samples.float()).abs().mean() < 8 < (first.float() - samples.float()).abs().mean()


def test_an_interpolation_begins_and_ends_with_samples(called, tmp_path):
    assert called(sample, "--number 2 --steps 5 --interpolate 5 --separate")[0] == 0
    row = picture(tmp_path / "out/interpolation.png")
    assert row.shape == (3, 68, 5 * 66 + 2)
    ends = first_noise(0, range(2), (3, 8, 8))
    between = sample.spherical(*ends, 5)
    assert torch.allclose(between[0], ends[0], atol=1e-5) and torch.allclose(between[4], ends[1], atol=1e-5)
    norms = between.flatten(1).norm(dim=1)  # a straight way would lead through the inside of the sphere
    assert norms.min() > 0.95 * norms[[0, 4]].min()
    for left, number in ((2, 0), (2 + 4 * 66, 1)):
        found = row[:, 2:66:8, left : left + 64 : 8].float()
        assert (found - picture(tmp_path / f"out/sample_{number}.png").float()).abs().max() <= 1


def test_the_moving_average_is_taken_if_there_is_one(checkpoint):
    state = torch.load(checkpoint, weights_only=True)
    for averaged, key in ((None, "ema"), (True, "ema"), (False, "model")):
        weights = load(checkpoint, averaged).model.state_dict()
        assert all(torch.equal(weights[name], state[key][name]) for name in weights)
    assert not all(torch.equal(state["ema"][name], state["model"][name]) for name in state["model"])


def test_mistakes_in_sampling(called, checkpoint, tmp_path):
    for steps, instead in ((101, 100), (61, 50), (3, 2)):
        refused(
            called(sample, f"--steps {steps}"),
            f"--steps {steps} does not divide the 100 diffusion steps of the training: take {instead}",
        )
    refused(
        called(sample, "--steps 0"),
        "argument --steps: must be a whole number of at least 1, not '0' (--help explains every flag)",
    )
    refused(
        called(sample, "--interpolate 1"),
        "--interpolate takes at least 2 images, and --sampler ddim: ddpm's noise would hide the way",
    )
    refused(
        called(sample, "--interpolate 3 --sampler ddpm"),
        "--interpolate takes at least 2 images, and --sampler ddim: ddpm's noise would hide the way",
    )
    refused(called(sample, path="nowhere.pth"), "there is no checkpoint nowhere.pth")
    state = torch.load(checkpoint, weights_only=True)
    changes = {
        "other": lambda: state | {"model": {"weight": torch.zeros(3)}, "ema": None},
        "size": lambda: state | {"configuration": state["configuration"] | {"channels": [8, 8]}},
    }
    for name, change in changes.items():
        path = tmp_path / f"{name}.pth"
        torch.save(change(), path)
        refused(called(sample, path=path), f"{path} is no checkpoint of tasks.diffusion.train_ddp")
    path = tmp_path / "activation.pth"
    torch.save(state | {"configuration": state["configuration"] | {"activation": "Golu"}}, path)
    code, _, err = called(sample, path=path)
    assert code == 2 and err.startswith(f"error: {path}: unknown activation 'Golu': did you mean GoLU? choose from ")
    path = tmp_path / "diverged.pth"
    torch.save(state | {"ema": {name: each * torch.nan for name, each in state["ema"].items()}}, path)
    refused(called(sample, path=path), f"{path} is of a training that diverged: its weights are no numbers")
    path = tmp_path / "plain.pth"
    torch.save(state | {"ema": None}, path)
    refused(
        called(sample, "--average", path),
        f"{path} has no moving average of the weights: it was trained without one",
    )
    assert not (tmp_path / "out").exists()


# Export


def test_the_exported_model_is_the_trained_one(called, checkpoint, tmp_path, monkeypatch):
    code, out, _ = called(export)
    assert code == 0 and out == f"{tmp_path / 'out'}/README.md says how to load the model\n"
    with pytest.raises(ValueError, match="activation function golu_golu not found"):
        UNet2DModel.from_pretrained(tmp_path / "out", subfolder="unet")
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "out/README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path / "out")
    monkeypatch.setitem(ACT2CLS, "golu_golu", None)  # undone after the test
    names = {}
    exec(code, names)
    theirs, ours = names["model"], load(checkpoint).model
    assert find_activations(theirs).counts() == f"GoLU x{sum(isinstance(each, GoLU) for each in ours.modules())}"
    noisy, steps = torch.randn(2, 3, 8, 8), torch.tensor([0, 99])
    with torch.no_grad():
        assert torch.equal(theirs(noisy, steps).sample, ours(noisy, steps).sample)
    scheduler = names["pipeline"].scheduler
    assert isinstance(names["pipeline"], DDPMPipeline) and scheduler.config.num_train_timesteps == 100
    assert (tmp_path / "out/sample.png").exists()


def test_a_folder_that_is_there_is_not_written_over(called, tmp_path):
    (tmp_path / "out").mkdir()
    refused(called(export), f"--output {tmp_path / 'out'} is there already: choose another, or delete it")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("activation", "said"), [("ReLU", None), ("Swish", None), ("PReLU", "PReLU has parameters")])
def test_every_activation_is_exported_or_refused(activation, said, checkpoint, tmp_path, monkeypatch):
    """diffusers knows relu and silu: loaded as such, a model would be another in two places."""
    state = torch.load(checkpoint, weights_only=True)
    settings = load(checkpoint).settings
    model = build_unet(settings, 3, activation)
    configuration = state["configuration"] | {"activation": activation}
    torch.save(state | {"model": model.state_dict(), "ema": None, "configuration": configuration}, tmp_path / "c.pth")
    trained = load(tmp_path / "c.pth")
    if said:
        with pytest.raises(UserError, match=said):
            export.export(trained, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return
    export.export(trained, tmp_path / "out")
    with pytest.raises(ValueError, match=f"golu_{activation.lower()} not found"):
        UNet2DModel.from_pretrained(tmp_path / "out", subfolder="unet")


def test_a_model_of_few_diffusion_steps_is_sampled(checkpoint, tmp_path, program):
    """As many as its training had, where these are fewer than usual."""
    state = torch.load(checkpoint, weights_only=True)
    torch.save(state | {"configuration": state["configuration"] | {"timesteps": 20}}, tmp_path / "c.pth")
    flags = ["--checkpoint", tmp_path / "c.pth", "--output", tmp_path / "out", "--number", 1]
    assert program(sample, *flags)[0] == 0
    steps = Sampler("ddim", 20).scheduler(load(tmp_path / "c.pth").settings).timesteps
    assert steps.tolist() == list(range(19, -1, -1))
