"""Speed, accuracy and memory of the activations; `results/` keeps what was measured, with hardware and versions."""

from workbench.cli.errors import stop_quietly_while_importing

stop_quietly_while_importing()
