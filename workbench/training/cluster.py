"""Train the runs of a plan as jobs of a cluster: one that is preempted requeues, and resumes from its checkpoint."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from workbench.cli.errors import Stopped, UserError

R = TypeVar("R")
PAUSE = 1.0  # seconds between two looks at the jobs
QUEUE_PAUSE = 60.0  # seconds between two looks at Slurm's queue: a job that is missing in two is lost


@dataclass(frozen=True)
class Cluster:
    """Say where jobs run, and what each asks for.

    Args:
        kind: "slurm"; or "local", processes of this machine, all at once.
        logs: folder of what the jobs print.
        partition: Slurm's; None: its default.
        gpus: of each job.
        hours: the longest that a job takes before it is requeued.
    """

    kind: str
    logs: Path
    partition: str | None = None
    gpus: int = 0
    hours: float = 24.0


class _Job:
    """Do a piece of work; submitit requeues what `checkpoint` gives before a job is preempted or times out."""

    def __init__(self, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.work, self.arguments = work, arguments

    def __call__(self) -> Any:
        return self.work(*self.arguments)

    def checkpoint(self) -> Any:
        import submitit

        return submitit.helpers.DelayedSubmission(_Job(self.work, self.arguments))


def in_jobs(
    work: Callable[..., R],
    arguments: Iterable[tuple[Any, ...]],
    cluster: Cluster,
    finished: Callable[[R], None],
    failed: Callable[[tuple[Any, ...], str], None],
) -> None:
    """Call `finished` with what `work(*each)` returns in a job of its own, in the order in which they end.

    Args:
        work, arguments: picklable.
        failed: called with a job's arguments and, on a line, the reason why it ended without a result.

    Raises:
        UserError: submitit or Slurm is missing, or Slurm refuses the jobs.
        Stopped: Ctrl-C; the jobs go on.
    """
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise UserError("--cluster needs the package submitit: pip install -e '.[cluster]'") from error
    absent = [each for each in ("sbatch", "srun") if shutil.which(each) is None] if cluster.kind == "slurm" else []
    if absent:  # submitit asks for srun too, to tell whether this is a cluster
        raise UserError(
            f"--cluster slurm: there is no command {absent[0]} here; start this on a machine of the cluster"
        )
    executor = submitit.AutoExecutor(cluster.logs, cluster=cluster.kind)
    asked: dict[str, Any] = {"timeout_min": round(60 * cluster.hours), "gpus_per_node": cluster.gpus, "name": "golu"}
    if cluster.kind == "slurm" and cluster.partition:
        asked["slurm_partition"] = cluster.partition
    executor.update_parameters(**asked)
    try:
        waiting = {executor.submit(_Job(work, each)): each for each in arguments}
    except submitit.core.utils.FailedJobError as error:
        raise UserError(f"the cluster refuses the jobs: {str(error).strip().splitlines()[-1]}") from error
    queue = _Queue() if cluster.kind == "slurm" else None
    try:
        while waiting:
            gone = queue.gone([each.job_id for each in waiting]) if queue else set()
            for job in [each for each in waiting if each.done() or each.job_id in gone]:
                own = waiting.pop(job)
                lost = job.exception() if job.done() else "it has left the queue without a result"
                if lost is None:
                    finished(job.result())
                else:
                    failed(own, f"job {job.job_id}: {str(lost).strip().splitlines()[-1]}")
            time.sleep(PAUSE if waiting else 0)
    except KeyboardInterrupt:
        raise Stopped(f"stopped waiting: {len(waiting)} jobs go on, and the same command collects them") from None


class _Queue:
    """Watch Slurm's queue: where Slurm keeps no accounts, submitit waits for ever for a job that was killed."""

    def __init__(self) -> None:
        self.looked, self.missing = time.monotonic(), set[str]()

    def gone(self, jobs: list[str]) -> set[str]:
        """Return which of the jobs two looks in a row did not find."""
        if time.monotonic() - self.looked < QUEUE_PAUSE:
            return set()
        self.looked = time.monotonic()
        shown = subprocess.run(["squeue", "--me", "-h", "-o", "%i"], capture_output=True, text=True, check=False)
        if shown.returncode:
            return set()
        missing = set(jobs) - set(shown.stdout.split())
        gone, self.missing = missing & self.missing, missing
        return gone
