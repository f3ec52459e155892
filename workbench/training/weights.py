"""Start from trained weights: of a checkpoint, or of a file of the model's own library."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workbench.cli.errors import UserError
from workbench.training.checkpoint import read, read_trained

WRAPPED = ("state_dict", "model", "module")  # where files of other programs hold the weights


@dataclass(frozen=True)
class Weights:
    """Hold trained weights by name, and say where they are from."""

    source: str
    tensors: Mapping[str, Tensor]
    activation: str = ""  # which they were trained with, if that is known

    def fingerprint(self) -> str:
        """Tell these weights from others, by a checksum of all of them."""
        checksum = 0
        for name, each in self.tensors.items():
            checksum = zlib.crc32(each.contiguous().numpy().data, zlib.crc32(name.encode(), checksum))
        return f"{checksum:08x}"

    def load_into(self, model: nn.Module) -> None:
        """Set all weights of a model.

        Raises:
            UserError: they are of another architecture.
        """
        try:
            model.load_state_dict(dict(self.tensors))
        except RuntimeError as error:
            _, _, reason = str(error).partition("\n")
            raise UserError(f"{self.source} does not fit this model: {' '.join(reason.split())[:200]}") from error

    def fit_into(self, model: nn.Module) -> list[str]:
        """Set the weights of a model, but those of another size, as of a head for other classes; return their names.

        Raises:
            UserError: they are of another architecture.
        """
        own = model.state_dict()
        other = [name for name, each in self.tensors.items() if name in own and own[name].shape != each.shape]
        if 2 * len(other) > len(own):
            sizes = f"{len(other)} of {len(own)} weights have another size"
            raise UserError(f"{self.source} does not fit this model: {sizes}")
        Weights(self.source, {**self.tensors, **{name: own[name] for name in other}}).load_into(model)
        return other


def weights_of(path: Path) -> Weights:
    """Read the weights in a file: a checkpoint of a training here, .safetensors, or a state_dict that torch.save wrote.

    Of a checkpoint, the moving average is taken, if there is one; of a folder, as transformers writes it, the file
    model.safetensors.

    Raises:
        UserError: it is missing or broken, or has no weights.
    """
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.exists():
        raise UserError(f"--init-from: there is no file {path}")
    file = path.stat()
    return _read(path, file.st_mtime_ns, file.st_size)


@functools.lru_cache(maxsize=1)  # a run asks what it starts from, and then for it; and so do all runs of a comparison
def _read(path: Path, changed: int, size: int) -> Weights:
    if _is_checkpoint(path):
        state: Mapping[str, Any] = read_trained(path)  # refuses a training that diverged
        described = "{model} with {activation}".format_map(state["configuration"])
        tensors = state.get("ema") or state["model"]
        return Weights(f"{path} ({described})", tensors, state["configuration"]["activation"])
    try:
        state = _load(path)
    except Exception as error:  # the many ways in which reading goes wrong; torch's texts advise what is unsafe
        kinds = "a checkpoint, a .safetensors, or a state_dict of torch.save"
        raise UserError(f"--init-from: {path} cannot be read: it has to be {kinds}") from error
    for name in WRAPPED:
        state = state[name] if isinstance(state.get(name), Mapping) else state
    tensors = {name: each for name, each in state.items() if isinstance(each, Tensor)}
    if not tensors:
        raise UserError(f"--init-from: {path} holds no weights")
    return Weights(str(path), tensors)


def _is_checkpoint(path: Path) -> bool:
    """Tell whether a training here has written the file, without reading its weights."""
    try:
        return "configuration" in read(path, weights=False)
    except UserError:
        return False


def _load(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        loaded: Mapping[str, Any] = load_file(path)
        return loaded
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, Mapping):
        raise ValueError("it is no state_dict")
    return state
