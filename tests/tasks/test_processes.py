"""What only a process of its own shows."""

import os
import signal
import subprocess
import time

import pytest
import torch

from tests.conftest import ENVIRONMENT, PLAIN
from workbench.vision.coco.scenes import write_scenes

RUN = [
    "tasks.small_poc.main",
    "--dataset",
    "digits",
    "--model",
    "mlp_1",
    "--epochs",
    "1",
    "--device",
    "cpu",
    "--results",
]


@pytest.mark.parametrize("module", ["tasks.small_poc.main", "tasks.compare", "visualizations.golu_plots.gates"])
def test_ctrl_c_while_it_imports_is_one_word(module, tmp_path):
    process = subprocess.Popen(
        [*PLAIN, module], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=ENVIRONMENT
    )
    maps = f"/proc/{process.pid}/maps"
    for _ in range(2000):  # torch's libraries are being loaded
        time.sleep(0.01)
        with open(maps) as file:  # noqa: PTH123
            if "libtorch" in file.read():
                break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "stopped\n")


def test_a_folder_whose_name_is_no_utf8(tmp_path):
    folder = os.fsencode(tmp_path) + b"/\xe4"
    for said in (b"final: ", b"has ended already"):
        done = subprocess.run([*PLAIN, *RUN, folder], capture_output=True, env=ENVIRONMENT, check=False)
        assert (done.returncode, done.stderr) == (0, b"") and said in done.stdout


MANY_STEPS = {
    "small_poc": "tasks.small_poc.main --dataset digits --model mlp_1 --epochs 400 --checkpoint-steps 5",
    "object_detection": "tasks.object_detection.train --dataset own --min-size 32 --max-size 54 --epochs 60 "
    "--batch-size 2 --checkpoint-steps 2 --workers 0 --picture-every 3",
    "instance_segmentation": "tasks.instance_segmentation.train --dataset own --min-size 32 --max-size 54 --epochs 40 "
    "--batch-size 2 --checkpoint-steps 2 --workers 1 --picture-every 0",
    "semantic_segmentation": "tasks.semantic_segmentation.train --dataset own --base-size 32 --crop-size 32 "
    "--epochs 100 --batch-size 4 --checkpoint-steps 1 --workers 0 --picture-every 5",
    "diffusion": "tasks.diffusion.train_ddp --dataset digits --model small_unet --image-size 8 --channels 8 16 "
    "--norm-groups 4 --timesteps 50 --dropout 0.1 --ema-decay 0.9 --limit-train 64 --limit-val 20 --batch-size 8 "
    "--epochs 60 --checkpoint-steps 2 --workers 1 --samples 4 --sample-steps 3 --sample-every 20",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("task", MANY_STEPS)
def test_killed_twenty_times_it_ends_the_same(task, tmp_path):
    """By SIGKILL, at moments that nothing chose; the suite for every program stops at chosen ones."""
    write_scenes("scenes", tmp_path / "own", tmp_path, train=8, val=3)
    flags = f"{MANY_STEPS[task]} --device cpu --data {tmp_path} --results"
    command = [*PLAIN, *flags.split()]
    quiet = {"env": ENVIRONMENT, "stdout": subprocess.DEVNULL}

    def weights(folder):
        (path,) = folder.rglob("checkpoint_0.pth")
        return torch.load(path, weights_only=True)["model"]

    subprocess.run([*command, str(tmp_path / "whole")], check=True, **quiet)
    command.append(str(tmp_path / "killed"))
    killed = 0
    for number in range(20):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
        while "steps with" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(0.05 + 0.37 * number % 0.5)
        killed += process.poll() is None
        process.kill()
        process.wait()
    assert killed == 20  # none had ended before
    subprocess.run(command, check=True, **quiet)
    ours, theirs = weights(tmp_path / "killed"), weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
