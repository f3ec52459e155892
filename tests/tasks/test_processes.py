"""What only a process of its own shows."""

import os
import signal
import subprocess
import time

import pytest
import torch

from tests.conftest import ENVIRONMENT, PLAIN

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


@pytest.mark.slow
def test_killed_twenty_times_it_ends_the_same(tmp_path):
    """By SIGKILL, at moments that nothing chose; the suite for every program stops at chosen ones."""
    command = [*PLAIN, *RUN[:-1], "--epochs", "400", "--checkpoint-steps", "5", "--results"]
    quiet = {"env": ENVIRONMENT, "stdout": subprocess.DEVNULL}

    def weights(folder):
        (path,) = folder.rglob("checkpoint_0.pth")
        return torch.load(path, weights_only=True)["model"]

    subprocess.run([*command, str(tmp_path / "whole")], check=True, **quiet)
    command.append(str(tmp_path / "killed"))
    for number in range(20):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
        while "steps with" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(0.05 + 0.37 * number % 0.5)
        process.kill()
        process.wait()
    subprocess.run(command, check=True, **quiet)
    ours, theirs = weights(tmp_path / "killed"), weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
