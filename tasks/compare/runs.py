"""The finished runs on disk, one file each: what a stopped comparison goes on from."""

import json
from pathlib import Path
from typing import Any

from workbench.cli.errors import UserError
from workbench.output.storage import require_same, write_json

Run = dict[str, Any]
_KEYS = {"configuration", "activation", "seed", "seconds", "diverged_at", "final", "best", "epochs"}


def run_path(output: Path, activation: str, seed: int) -> Path:
    return output / "runs" / f"{activation}_seed{seed}.json"


def store_run(output: Path, run: Run) -> None:
    write_json(run_path(output, run["activation"], run["seed"]), run)


def load_runs(output: Path, configuration: dict[str, Any]) -> dict[tuple[str, int], Run]:
    """Every finished run in `output`, by activation and seed.

    Raises:
        UserError: a file is not a run, or a run had another configuration and so cannot be compared with new ones.
    """
    runs = {}
    for path in sorted((output / "runs").glob("*.json")):
        run = _read(path, output)
        require_same(f"{output} holds runs", run["configuration"], configuration, "--output")
        runs[run["activation"], run["seed"]] = run
    return runs


def _read(path: Path, output: Path) -> Run:
    try:
        run = json.loads(path.read_text())
        complete = run.keys() >= _KEYS and path == run_path(output, run["activation"], run["seed"])
        complete = complete and isinstance(run["configuration"], dict)
    except (OSError, ValueError, AttributeError):  # not to be read, no JSON, no object
        complete = False
    if not complete:
        raise UserError(f"{path} is not a complete run: delete it to have it run again")
    return run
