"""Read the runs below folders, each counted once; what cannot be read is listed with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.cli.errors import UserError
from workbench.training.reading import Run, read_run, require_folders


@dataclass(frozen=True)
class Found:
    """Hold what was read.

    Args:
        left_out: files that are no runs, or count for nothing, each with the reason.
        twice: number of files that are copies of others.
    """

    runs: list[Run]
    left_out: list[str]
    twice: int


def read(folders: Sequence[Path]) -> Found:
    """Read every run below the folders.

    Raises:
        UserError: a folder is not there, no run is found, or two runs of one key are not the same.
    """
    found: dict[tuple[str, ...], Run] = {}
    left_out, twice, read_already = [], 0, set[Path]()
    for path in _files(folders):
        if path.resolve() in read_already:
            continue
        read_already.add(path.resolve())
        try:
            run = read_run(path)
        except UserError as error:
            left_out.append(str(error))
            continue
        key = (run.key.dataset, run.key.model, run.key.activation, str(run.key.seed), run.key.variant)
        if key in found:
            _require_copy(found[key], run)
            twice += 1
        else:
            found[key] = run
    if not found:
        where, why = ", ".join(map(str, folders)), f" ({'; '.join(left_out[:3])})" if left_out else ""
        raise UserError(f"there are no results of runs in {where}{why}: a run that has ended has results_<seed>.json")
    return Found(list(found.values()), left_out, twice)


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    require_folders(folders)
    for folder in folders:
        yield from sorted(folder.rglob("results_*.json"))


def _require_copy(first: Run, second: Run) -> None:
    """Refuse two runs of one key that are not the same.

    Raises:
        UserError: they are not.
    """
    names = dict.fromkeys([*first.configuration, *second.configuration])
    differing = [name for name in names if first.configuration.get(name) != second.configuration.get(name)]
    both = f"{first.place} and {second.place} are the same run by name"
    if differing:
        name = differing[0]
        values = f"{name} is {first.configuration.get(name)} and {second.configuration.get(name)}"
        more = f" (and {', '.join(differing[1:])})" if len(differing) > 1 else ""
        raise UserError(f"{both}, but {values}{more}: report on them one after the other")
    described = [each.key for each in first.metrics]
    if [(first.final or {}).get(key) for key in described] != [(second.final or {}).get(key) for key in described]:
        raise UserError(f"{both}, with the same settings but other numbers: name only one of the folders")
