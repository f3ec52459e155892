"""What training a diffusion model promises beyond the contract suite."""

import json
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.datasets.folder import default_loader
from torchvision.transforms.functional import pil_to_tensor

from golu import GoLU, find_activations
from tasks.diffusion.models import build_unet
from tasks.diffusion.recipes import RECIPES
from tasks.diffusion.sampling import Sampler, draw, first_noise
from tasks.diffusion.train_ddp import PROGRAM
from tasks.diffusion.trained import load
from tasks.diffusion.transforms import transform
from tests.celeba_miniature import write
from tests.conftest import PLAIN, TORCHRUN, in_processes
from workbench.output.pictures import grid
from workbench.training.launch import launched
from workbench.training.loop import Loop
from workbench.training.runs import StoredRun
from workbench.training.seeding import derived_seed, seed_everything
from workbench.training.task import opened

TINY = "--model small_unet --image-size 16 --channels 8 16 --norm-groups 4 --sample-every 0 --device cpu --workers 0"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write(folder)
    return folder


def task_of(data, flags):
    options = PROGRAM.parse(["--data", str(data), *shlex.split(flags)])
    return opened(PROGRAM.spec(options), torch.device("cpu"))


# The paper's recipe


def test_the_recipe_is_the_papers():
    paper = RECIPES["ddpm_unet"]
    expected = {
        "epochs": 50, "batch_size": 64, "lr": 3e-4, "warmup_steps": 1000, "weight_decay": 0.01, "grad_clip": 0,
        "image_size": 64, "mirror": True, "channels": (128, 256, 256, 256), "blocks": 2, "attention_levels": (2,),
        "middle_attention": True, "dropout": 0.1, "timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02,
        "ema_decay": 0,
    }  # fmt: skip
    assert {name: getattr(paper, name) for name in expected} == expected
    assert PROGRAM.parse([]).recipe == "ddpm_unet" and PROGRAM.parse([]).dataset == "celeba"
    assert RECIPES["ddpm_unet_lr1e-3"].lr == 1e-3
    with torch.device("meta"):
        model = build_unet(paper, 3, "ReLU")
        theirs = UNet2DModel(
            64, 3, 3, block_out_channels=(128, 256, 256, 256), layers_per_block=2, dropout=0.1,
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )  # fmt: skip
    assert [each.shape for each in model.parameters()] == [each.shape for each in theirs.parameters()]
    assert sum(each.numel() for each in model.parameters()) == 35_746_307
    attention = [name for name, each in model.named_modules() if type(each).__name__ == "Attention"]
    assert len(attention) == 2 + 1 + 3 and all(
        name.startswith(("down_blocks.1.", "mid_block.", "up_blocks.2.")) for name in attention
    )


@pytest.mark.parametrize("model", ["ddpm_unet", "small_unet"])
def test_every_activation_is_swapped(model):
    with torch.device("meta"):
        plain, ours = (build_unet(RECIPES[model], 3, each) for each in ("Swish", "GoLU"))
    silus = [name for name, each in plain.named_modules() if isinstance(each, nn.SiLU)]
    assert [name for name, each in ours.named_modules() if isinstance(each, GoLU)] == silus
    assert len(silus) == {"ddpm_unet": 24, "small_unet": 14}[model]
    assert {"time_embedding.act", "conv_act"} <= set(silus)
    assert find_activations(ours).counts() == f"GoLU x{len(silus)}"


def test_initial_weights_do_not_depend_on_the_activation():
    models = []
    for activation in ("Swish", "GoLU", "ReLU"):
        seed_everything(5)
        models.append(build_unet(RECIPES["small_unet"], 1, activation).state_dict())
    for other in models[1:]:
        assert other.keys() == models[0].keys() and all(torch.equal(other[name], models[0][name]) for name in other)


def test_the_learning_rate_rises_from_a_tenth_and_falls_to_nothing(data):
    task = task_of(data, f"{TINY} --epochs 50 --batch-size 8 --lr 0.5 --warmup-steps 10")
    rates = task.rates(3)  # 150 steps
    assert len(rates) == 150
    for step in range(10):
        assert rates[step] == pytest.approx(0.5 * (0.1 + 0.9 * step / 10))
    cosine = [0.25 * (1 + torch.cos(torch.tensor(torch.pi * each / 140)).item()) for each in range(140)]
    assert rates[10:] == pytest.approx(cosine, abs=1e-6)
    assert max(rates) == rates[10] == 0.5
    short = task_of(data, f"{TINY} --epochs 20 --batch-size 8 --lr 0.5 --warmup-steps 1000").rates(3)
    assert short[6] == 0.5 and short[5] < 0.5  # a tenth of 60 steps


# Against a plain loop


def test_ten_steps_are_those_of_a_plain_loop(data, tmp_path):
    """As diffusers' documentation trains, on files that torchvision reads."""
    flags = f"{TINY} --epochs 5 --batch-size 12 --lr 0.002 --warmup-steps 3 --no-mirror --seed 2"
    task, losses = task_of(data, flags), []
    task.evaluate = lambda *_: {"val_loss": 0.0}
    original = task.loss

    def loss(model, batch):
        losses.append(original(model, batch))
        return losses[-1]

    task.loss = loss
    try:
        with launched("cpu") as accelerator:
            Loop(task, StoredRun(tmp_path, "celeba", "small_unet", "Swish", 2), accelerator).train(lambda: None)
    finally:
        opened.cache_clear()

    prepare = transforms.Compose(
        [
            transforms.Resize(16, transforms.InterpolationMode.BOX),
            transforms.CenterCrop(16),
            transforms.ToTensor(),
            transforms.Normalize([0.5], [0.5]),
        ]
    )
    lines = (data / "celeba/list_eval_partition.txt").read_text().split("\n")
    names = [line.split()[0] for line in lines if line.endswith(" 0")]
    load = default_loader
    images = [prepare(load(str(data / "celeba/img_align_celeba" / name))) for name in names]
    seed_everything(2)
    model = UNet2DModel(
        16, 3, 3, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2, block_out_channels=(8, 16),
        add_attention=False, norm_num_groups=4,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 9)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], [1])
    noise_scheduler = DDPMScheduler(num_train_timesteps=1000)
    expected = []
    model.train()
    for epoch in range(5):
        for [(samples, positions)] in task.sampling(2).steps(epoch):
            noise, steps = [], []
            for position in positions.tolist():
                torch.manual_seed(derived_seed(2, "augment", epoch, position))
                noise.append(torch.randn(3, 16, 16))
                steps.append(torch.randint(0, 1000, ()))
            clean = torch.stack([images[each] for each in samples])
            noise, steps = torch.stack(noise), torch.stack(steps)
            predicted = model(noise_scheduler.add_noise(clean, noise, steps), steps, return_dict=False)[0]
            loss = F.mse_loss(predicted, noise)
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            expected.append(loss.item())
    assert len(expected) == 10
    assert [each.item() for each in losses] == pytest.approx(expected, rel=1e-5)


def test_the_validation_loss_is_that_of_fixed_noise(data):
    """Whatever the activation, the seed and the step of the training."""
    task = task_of(data, f"{TINY} --batch-size 6")
    first, second = (list(task.batches.validation(task.sampling(seed))) for seed in (0, 7))
    for ours, theirs in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    images, noise, steps = (torch.cat(each) for each in zip(*first, strict=True))
    assert images.shape == noise.shape == (8, 3, 16, 16) and images.min() >= -1 and images.max() <= 1
    assert len(steps.unique()) > 4 and not torch.equal(noise[0], noise[1])

    class Zero(nn.Module):
        def forward(self, noisy, steps):
            return SimpleNamespace(sample=torch.zeros_like(noisy))

    with launched("cpu") as accelerator:
        found = task.evaluate(Zero(), task.sampling(0), accelerator)
    assert found["val_loss"] == pytest.approx(noise.double().square().mean().item(), rel=1e-6)


def test_noise_does_not_depend_on_how_a_step_is_shared_out(data):
    whole, half = task_of(data, f"{TINY} --batch-size 6"), task_of(data, f"{TINY} --batch-size 3")
    half.batch_size = 6
    ((together,), *_) = whole.training(whole.sampling(3), 0, 0)
    shares = []
    for process in range(2):
        ((share,), *_) = half.training(half.sampling(3, process, 2), 0, 0)
        shares.append(share)
    for part in range(3):
        interleaved = torch.stack([shares[0][part], shares[1][part]], 1).flatten(0, 1)
        assert torch.equal(interleaved, together[part])


# The specification's command


def test_the_command_of_the_specification(data, tmp_path):
    """In two processes, on a miniature of CelebA, only made smaller by further flags."""
    command = (
        f"--num_workers 1 --save_dir {tmp_path} --data_dir {data} --seed 3 --activation GoLU --batch-size 6 --epochs 2 "
        "--image-size 16 --channels 8 16 --norm-groups 4 --samples 4 --sample-steps 2 --device cpu --dropout 0"
    )
    done = in_processes(TORCHRUN, "tasks.diffusion.train_ddp", *shlex.split(command))
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "celeba/ddpm_unet/GoLU"
    results = json.loads((folder / "results_3.json").read_text())
    assert results["configuration"]["overall_batch"] == 12
    assert results["configuration"]["data"].startswith("24+8 images ")
    assert (folder / "pictures_3/epoch_1.png").exists() and (folder / "pictures_3/epoch_2.png").exists()
    alone = f"{command} --save_dir {tmp_path / 'one'} --batch-size 12 --sample-every 0"
    done = in_processes(PLAIN, "tasks.diffusion.train_ddp", *shlex.split(alone))
    assert done.returncode == 0, done.stderr
    one, two = (
        [entry["val_loss"] for entry in json.loads((each / "celeba/ddpm_unet/GoLU/opt_trace_3.json").read_text())]
        for each in (tmp_path / "one", tmp_path)
    )
    assert one == pytest.approx(two, rel=1e-5)


def test_grids_of_samples_are_drawn_from_the_same_noise_by_the_model_that_judges(data, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    flags = (
        f"{TINY} --epochs 2 --batch-size 12 --lr 0.01 --ema-decay 0.5 --sample-every 1 --samples 3 --sample-steps 10"
    )
    PROGRAM.main(["--data", str(data), "--results", str(tmp_path), *shlex.split(flags)])
    folder = tmp_path / "celeba/small_unet/GoLU"
    pictures = {}
    for epoch in (1, 2):
        with Image.open(folder / f"pictures_0/epoch_{epoch}.png") as picture:
            pictures[epoch] = pil_to_tensor(picture)
    trained, noise = load(folder / "checkpoint_0.pth"), first_noise(0, range(3), (3, 16, 16))
    assert trained.averaged
    (samples,) = draw(trained.model, noise, trained.settings, Sampler("ddim", 10))
    assert pictures[2].equal(grid(samples)) and not pictures[1].equal(pictures[2])
    plain = load(folder / "checkpoint_0.pth", averaged=False).model
    assert not pictures[2].equal(grid(*draw(plain, noise, trained.settings, Sampler("ddim", 10))))
    events = EventAccumulator(str(folder / "tensorboard_0")).Reload()
    assert [event.step for event in events.Images("pictures")] == [1, 2]
    assert events.Images("pictures")[1].encoded_image_string == (folder / "pictures_0/epoch_2.png").read_bytes()


def test_validation_images_that_are_all_broken_are_named(tmp_path, program):
    folder = tmp_path / "own"
    write(folder)
    for path in sorted((folder / "celeba/img_align_celeba").iterdir())[24:32]:
        path.write_bytes(b"no image")
    flags = f"{TINY} --batch-size 12 --epochs 1 --bad-images skip --results {tmp_path / 'results'}"
    code, _, err = program(PROGRAM, "--data", folder, *shlex.split(flags))
    assert code == 2 and err.count("warning: ") == 8
    assert err.splitlines()[-1] == "error: no validation image could be read: see the warnings above"


def test_the_ends_of_very_long_pictures_are_cut_off_first():
    """What is left is what would have been left of all of it."""
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40 * 40, 3), np.uint8))
    whole = transforms.Resize(20, transforms.InterpolationMode.BOX)(wide)
    expected = transforms.functional.to_tensor(transforms.CenterCrop(20)(whole)) * 2 - 1
    assert torch.allclose(transform(20, 3)(wide), expected, atol=1e-6)


def test_mixed_precision_is_for_gpus_unless_asked_for(data):
    assert task_of(data, TINY.replace("small_unet", "ddpm_unet")).configuration()["mixed_precision"] == "no"
    task = task_of(data, f"{TINY} --mixed-precision bf16")
    assert task.autocast is torch.bfloat16
