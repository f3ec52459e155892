"""Gather the cells of an ablation's sweeps: a point over all seeds, and the best of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tasks.small_poc.ablation import Ended, Grid, Point
from workbench.output.estimates import Estimate, estimate


@dataclass(frozen=True)
class Cell:
    """Hold a point of a sweep over all seeds: by stored seed, the epoch's numbers; None if it had diverged by then."""

    activation: str
    blocks: int
    value: float
    by_seed: dict[int, dict[str, Any] | None]

    @property
    def diverged(self) -> int:
        """Count the seeds that had diverged."""
        return sum(each is None for each in self.by_seed.values())

    def converged(self, metric: str) -> dict[int, float]:
        """Return val_loss or val_accuracy of each seed that has one."""
        return {seed: each[metric] for seed, each in self.by_seed.items() if each is not None}

    def estimate(self, metric: str) -> Estimate | None:
        """Estimate the mean over the seeds that did not diverge; None if there are none."""
        values = list(self.converged(metric).values())
        return estimate(values) if values else None


def cells(grid: Grid, runs: dict[Point, Ended], sweep: str) -> Iterator[Cell]:
    """Yield every cell of the sweep, whether or not there are runs of it."""
    for activation in grid.activations:
        for blocks in grid.blocks:
            for value in grid.values(sweep):
                by_seed = {}
                for seed in grid.seeds:
                    point, epoch = grid.training(sweep, activation, seed, blocks, value)
                    if point in runs:
                        by_seed[seed] = runs[point].at(epoch)
                yield Cell(activation, blocks, value, by_seed)


def best(some: Iterable[Cell], metric: str) -> tuple[Cell, Estimate] | None:
    """Return the cell of the lowest mean loss or highest mean accuracy among those in which no run diverged."""
    estimates = [(cell, cell.estimate(metric)) for cell in some if not cell.diverged]
    found = [(cell, result) for cell, result in estimates if result is not None]
    sign = -1 if metric == "val_loss" else 1
    return max(found, key=lambda each: sign * each[1].mean, default=None)


def csv_rows(grid: Grid, sweep: str, some: Iterable[Cell]) -> list[dict[str, Any]]:
    """Make a row for each cell: means and standard errors over the seeds that did not diverge."""
    rows = []
    for cell in some:
        point, epoch = grid.training(sweep, cell.activation, grid.seeds[0], cell.blocks, cell.value)
        row = {"sweep": sweep, "activation": cell.activation, "blocks": cell.blocks, "lr": point.lr, "epochs": epoch}
        row |= {"batch_size": point.batch_size, "seeds": len(cell.by_seed), "diverged": cell.diverged}
        row["missing"] = len(grid.seeds) - len(cell.by_seed)
        for metric in ("val_loss", "val_accuracy"):
            result = cell.estimate(metric)
            row |= {metric: result and result.mean, f"{metric}_standard_error": result and result.standard_error}
        rows.append(row)
    return rows
