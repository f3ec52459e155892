"""One figure a file, drawn by `python -m visualizations.<folder>.<file>`."""

from workbench.cli.errors import stop_quietly_while_importing

stop_quietly_while_importing()
