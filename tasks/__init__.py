"""Runnable experiments, started from a clone of the repository: `python -m tasks.<task>`."""
