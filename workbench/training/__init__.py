"""Train: the loop, its processes, samples, learning rates, checkpoints and stored runs."""
