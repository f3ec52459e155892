"""workbench/training/checkpoint.py."""

import pytest
import torch

from workbench.cli.errors import UserError
from workbench.training import checkpoint


def test_an_altered_byte_is_found(tmp_path):
    path = tmp_path / "checkpoint_0.pth"
    checkpoint.save(path, {"model": {"weight": torch.zeros(1000)}})
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is broken .damaged"):
        checkpoint.read(path)


def test_only_broken_checkpoints(tmp_path):
    path = tmp_path / "checkpoint_0.pth"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match="there is no other"):
        checkpoint.load(path)
    assert checkpoint.load(path) is None


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match="is a folder: give a checkpoint in it"):
        checkpoint.read(tmp_path)


def test_no_code_runs_when_a_checkpoint_is_read(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="is broken"):
        checkpoint.read(tmp_path / "evil.pth")


def test_killed_between_the_two_renames(tmp_path):
    path = tmp_path / "checkpoint_0.pth"
    checkpoint.save(path, {"model": {}, "step": 1})
    path.replace(checkpoint.previous(path))
    assert checkpoint.load(path)["step"] == 1
