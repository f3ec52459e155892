"""Runnable experiments, started from a clone of the repository: `python -m tasks.<task>`."""

from workbench.cli.errors import stop_quietly_while_importing

stop_quietly_while_importing()
