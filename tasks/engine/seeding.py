"""One seed for everything random in a run."""

import random

import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (every device): the initial weights depend on `seed` alone."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def data_generator(seed: int) -> torch.Generator:
    """A generator for the order and augmentation of the data, which nothing in the model can advance."""
    return torch.Generator().manual_seed(seed)
