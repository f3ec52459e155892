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
from tasks.diffusion.sampling import Sampler, draw, first_noise, load
from tests.celeba_miniature import write
from workbench.output.pictures import grid

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
    found = draw(trained.model, noise, trained.settings, Sampler(name, steps), range(3), seed=3)
    kind = {"ddim": DDIMScheduler, "ddpm": DDPMScheduler}[name]
    scheduler = kind(num_train_timesteps=100, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    assert scheduler.timesteps.tolist() == list(range(99, 0, -10))
    for number in range(3):
        from workbench.training.seeding import generator_for

        generator, image = generator_for(3, "steps", number), noise[number : number + 1]
        for step in scheduler.timesteps:
            with torch.no_grad():
                predicted = trained.model(image, step).sample
            image = scheduler.step(predicted, step, image, generator=generator).prev_sample
        expected = ((image[0] / 2 + 0.5).clamp(0, 1) * 255).round()
        assert (found[number].float() - expected).abs().max() <= 1  # rounding


def test_a_sample_does_not_depend_on_the_others(called, tmp_path):
    for number, batch in ((5, 2), (2, 64)):
        flags = f"--number {number} --batch-size {batch} --sampler ddpm --steps 7 --seed 4 --separate"
        assert called(sample, flags)[0] == 0
        images = [picture(tmp_path / f"out/sample_{each}.png") for each in range(2)]
        if number == 5:
            first = images
            assert picture(tmp_path / "out/samples.png").equal(
                grid(torch.stack([picture(tmp_path / f"out/sample_{each}.png") for each in range(5)]))
            )
    assert all(ours.equal(theirs) for ours, theirs in zip(images, first, strict=True))
    assert not images[0].equal(images[1])
    called(sample, "--number 1 --steps 7 --sampler ddpm --seed 5 --separate")
    assert not picture(tmp_path / "out/sample_0.png").equal(first[0])


def test_the_animation_goes_from_noise_to_the_samples(called, checkpoint, tmp_path):
    code, out, _ = called(sample, "--number 4 --steps 6 --gif")
    assert code == 0 and out.endswith("out has denoising.gif, samples.png\n")
    with Image.open(tmp_path / "out/denoising.gif") as animation:
        assert animation.n_frames == 7
        first = pil_to_tensor(animation.convert("RGB"))
        animation.seek(6)
        last = pil_to_tensor(animation.convert("RGB"))
    samples = picture(tmp_path / "out/samples.png")
    assert first.shape == last.shape == samples.shape
    assert (last.float() - samples.float()).abs().mean() < 8 < (first.float() - samples.float()).abs().mean()


def test_an_interpolation_begins_and_ends_with_samples(called, tmp_path):
    assert called(sample, "--number 2 --steps 5 --interpolate 5 --separate")[0] == 0
    row = picture(tmp_path / "out/interpolation.png")
    assert row.shape == (3, 68, 5 * 66 + 2)
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
    refused(called(sample, "--steps 101"), "--steps 101 are more than the 100 diffusion steps of the training")
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
        "activation": lambda: state | {"configuration": state["configuration"] | {"activation": "Golu"}},
        "task": lambda: {name: each for name, each in state.items() if name != "extras"},
    }
    for name, change in changes.items():
        path = tmp_path / f"{name}.pth"
        torch.save(change(), path)
        refused(called(sample, path=path), f"{path} is no checkpoint of tasks.diffusion.train_ddp")
    path = tmp_path / "plain.pth"
    torch.save(state | {"ema": None}, path)
    refused(
        called(sample, "--average", path),
        f"{path} has no moving average of the weights: it was trained without --ema-decay",
    )
    assert not (tmp_path / "out").exists()


# Export


def test_the_exported_model_is_the_trained_one(called, checkpoint, tmp_path, monkeypatch):
    code, out, _ = called(export)
    assert code == 0 and out == f"{tmp_path / 'out'}/README.md says how to load the model\n"
    monkeypatch.setattr("diffusers.models.activations.ACT2CLS", dict(ACT2CLS))
    with pytest.raises(ValueError, match="activation function golu not found"):
        UNet2DModel.from_pretrained(tmp_path / "out", subfolder="unet")
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "out/README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path / "out")
    monkeypatch.setitem(ACT2CLS, "golu", None)  # undone after the test
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
