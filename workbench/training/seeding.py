"""Seed everything random in a run by one seed."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, on the CPU and on every GPU in use: initial weights depend on `seed` alone."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    # torch.manual_seed looks for every kind of device: a hundred times slower
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def own_random_numbers(seed: int) -> Iterator[None]:
    """Seed torch's random numbers on the CPU within the block, and leave those of the caller alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def derived_seed(*parts: int | str) -> int:
    """Derive a seed (63 bits) for one purpose at one place, as in derived_seed(seed, "step", 17, rank).

    All that is random in a run is seeded so: a run resumes without stored random states, and other numbers of
    processes or workers change no augmentation.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator_for(*parts: int | str) -> torch.Generator:
    """Make a generator with a derived seed, which nothing in the model can advance."""
    return torch.Generator().manual_seed(derived_seed(*parts))
