"""One run: one activation and one seed, from the first weights to the last epoch."""

from collections.abc import Callable
from typing import Any

from tasks.compare.problem import Problem
from workbench.training.launch import launched
from workbench.training.loop import train as run_loop


def train(
    problem: Problem, device: str, activation: str, seed: int, after_step: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Train once and return what happened: every epoch, the final one, and the best one (optimistic, being chosen
    by what it reports). At a loss that is no finite number the run ends as diverged: final and best are None.
    """
    with launched(device) as accelerator:
        outcome = run_loop(problem.experiment(activation, seed, accelerator), accelerator, after_step=after_step)
    seconds = outcome.pop("train_seconds") + outcome.pop("inference_seconds")
    return {"activation": activation, "seed": seed, "seconds": seconds, **outcome}
