"""Train any task: step, evaluate, store; killed at any moment, a run resumes as if it had never stopped.

The random numbers of a step or a sample have a seed derived from the run's, the step and the process, and learning
rates are tables; so weights, optimiser and sums in a checkpoint suffice for a resumed run to give the same numbers, bit
for bit on a CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from workbench.cli.errors import UserError
from workbench.cli.progress import Progress
from workbench.output.storage import prepare_folder
from workbench.training import checkpoint, metrics
from workbench.training.events import recorders
from workbench.training.launch import by_process, share_buffers, share_statistics, sum_over_processes, utilisation
from workbench.training.optimizers import take_step
from workbench.training.runs import StoredRun, Trace
from workbench.training.seeding import derived_seed, seed_everything
from workbench.training.task import Batch, Task
from workbench.training.trained import usable

if TYPE_CHECKING:
    from accelerate import Accelerator

DIVERGENCE_STEPS = 10  # steps between two checks, over all processes, that the loss is finite


@dataclass
class Reached:
    """Hold how far a run is, and what it has counted."""

    step: int = 0
    losses: float = 0.0  # this process's, summed over the steps of the current epoch
    epoch_seconds: float = 0.0
    train_seconds: float = 0.0
    inference_seconds: float = 0.0
    diverged_at: int | None = None  # the epoch or step at which the training loss was found not finite
    trace: Trace = field(default_factory=list)


class Loop:
    """Train one run, a task with one activation and one seed, from its first weights or a checkpoint to the end.

    Args:
        run: names the activation and the seed.
        store: the configuration that checkpoints hold; None: neither checkpoints nor the trace are stored.
        state: the checkpoint to resume from; None: start from the first weights.
        record: whether events are written (events.py), and the task may write files after an evaluation.
        rate: the learning rate of all its steps; None: the task's.

    Raises:
        UserError: the task refuses its settings, or the checkpoint is of another model.
    """

    def __init__(
        self,
        task: Task,
        run: StoredRun,
        accelerator: Accelerator,
        store: dict[str, Any] | None = None,
        state: checkpoint.State | None = None,
        record: bool = False,
        rate: float | None = None,
    ) -> None:
        self.task, self.run, self.accelerator, self.store = task, run, accelerator, store
        self.sampling = task.sampling(run.seed, accelerator.process_index, accelerator.num_processes)
        self.steps_per_epoch = self.sampling.steps_per_epoch
        self.steps = task.epochs * self.steps_per_epoch if task.steps is None else task.steps
        self.samples_per_step = task.batch_size * task.samples_per_item
        seed_everything(run.seed)
        self.model = task.model(run.activation)
        task.beginning = ""
        if state is None:
            task.initialize(self.model, run)
        if task.sync_batch_norm:
            self.model = share_statistics(self.model, accelerator)
        self.ema = task.average(self.model, self.steps_per_epoch)
        self.optimizer = task.optimizer(self.model)
        self.rates = task.rates(self.steps_per_epoch) if rate is None else [rate]
        if task.machine.compile:
            self.model.compile()
        self.scaler = torch.amp.GradScaler(accelerator.device.type, enabled=task.autocast == torch.float16)
        self.reached = Reached()
        if state is not None:
            self._restore(state)
        self.wrapped = accelerator.prepare_model(self.model)  # for gradients over all processes, if there are several
        self.record = record and accelerator.is_main_process
        begun, project = state is not None, task.machine.wandb
        self.events = recorders(run, self.reached.trace, project, store or {}, begun) if self.record else []

    @property
    def metrics(self) -> Sequence[metrics.Metric]:
        """Say what the numbers of an evaluation mean; the first metric judges."""
        plain = list(self.task.metrics)
        return plain if self.ema is None else [*(each.averaged for each in plain), *plain]

    def train(
        self, after_step: Callable[[], object] | None = None, before: Callable[[Batch], object] | None = None
    ) -> Reached:
        """Train to the end, or until the training loss is not finite.

        Args:
            after_step: called after each step instead of showing progress.
            before: called with the first batch, before its step.

        Raises:
            UserError: a checkpoint cannot be written.
        """
        reached, self.before = self.reached, before
        shown = after_step is None and self.accelerator.is_main_process
        with Progress(self.steps, done=reached.step, shown=shown) as progress:
            while reached.step < self.steps and reached.diverged_at is None:
                self._epoch(progress, after_step)
        for each in self.events:
            each.close()
        return reached

    def evaluate(self) -> dict[str, float]:
        """Return the value of every metric over the whole validation set, the same in every process."""
        averaged = [] if self.ema is None else [self.ema.module]
        share_buffers(self.accelerator, self.model, *averaged)
        found: dict[str, float] = {}
        with torch.inference_mode(), self._precision():
            for prefix, model in zip(("", metrics.AVERAGED), [self.model, *averaged], strict=False):
                model.eval()
                values = self.task.evaluate(model, self.sampling, self.accelerator)
                found |= {prefix + name: value for name, value in values.items()}
        return found

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0 over the run."""
        return self.rates[step * len(self.rates) // self.steps]

    # One epoch

    def _epoch(self, progress: Progress, after_step: Callable[[], object] | None) -> None:
        reached = self.reached
        epoch, first = divmod(reached.step, self.steps_per_epoch)
        end = min((epoch + 1) * self.steps_per_epoch, self.steps)
        losses = torch.tensor(reached.losses, dtype=torch.float64).to(self.accelerator.device)
        clock, before = time.perf_counter(), reached.epoch_seconds
        self.wrapped.train()
        diverged = False
        for batches in self.task.training(self.sampling, epoch, first):
            if self.before is not None:
                self.before(batches[0])
                self.before = None
            loss = self._step(batches)
            losses += loss
            reached.step += 1
            reached.epoch_seconds = before + time.perf_counter() - clock
            if after_step is not None:
                after_step()
            elif progress.advance():
                progress.show(self._now(epoch, loss))
            if self.task.print_every and reached.step % self.task.print_every == 0:
                progress.report(f"step {reached.step}: {self._now(epoch, loss)}")
            if reached.step % DIVERGENCE_STEPS == 0:
                diverged = not math.isfinite(sum_over_processes(self.accelerator, losses.clone()).item())
            if diverged:
                break
            if reached.step < end and reached.step % self.task.machine.checkpoint_steps == 0:
                reached.losses = losses.item()  # an epoch's end is stored once it is evaluated
                self._store()
        self._finish_epoch(epoch, losses, progress, diverged)

    def _step(self, batches: list[Batch]) -> Tensor:
        """Take one step of the optimiser, and return this process's mean loss."""
        step = self.reached.step
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step) * group.get("lr_scale", 1.0)  # timm's layer decay sets lr_scale
        seed_everything(derived_seed(self.run.seed, "step", step, self.accelerator.process_index))
        mean = torch.zeros((), device=self.accelerator.device)
        for number, batch in enumerate(batches, start=1):
            last = number == len(batches)
            with nullcontext() if last else self.accelerator.no_sync(self.wrapped), self._precision():
                loss = self.task.loss(self.wrapped, batch) / len(batches)
                self.scaler.scale(loss).backward()
            mean += loss.detach()
        take_step(self.optimizer, self.scaler, self.model, self.task.clip_norm)
        if self.ema is not None and step % self.task.ema_every == 0:
            # counted from 1: the first update copies the weights, as timm's and torchvision's do
            self.ema.update(self.model, step // self.task.ema_every + 1)
        return mean

    def _precision(self) -> Any:
        if self.task.autocast is None:
            return nullcontext()
        return torch.autocast(self.accelerator.device.type, self.task.autocast)

    def _since_evaluation(self, epoch: int) -> int:
        """Count the steps whose losses are summed: a run that was extended may begin within an interval."""
        evaluated = self.reached.trace[-1].get("step", 0) if self.reached.trace else 0
        return self.reached.step - max(epoch * self.steps_per_epoch, evaluated)

    def _now(self, epoch: int, loss: Tensor) -> str:
        done = self._since_evaluation(epoch) * self.samples_per_step
        part = f"epoch {epoch + 1} " if self.task.axis == "epoch" else ""
        speed = f"{done / self.reached.epoch_seconds:.4g} {self.task.unit}/s"
        return f"{part}loss {loss.item():.4g} lr {self.rate(self.reached.step - 1):.3g} {speed}"

    def _finish_epoch(self, epoch: int, losses: Tensor, progress: Progress, diverged: bool) -> None:
        reached, axis = self.reached, self.task.axis
        steps = self._since_evaluation(epoch)
        mean = (sum_over_processes(self.accelerator, losses) / (steps * self.accelerator.num_processes)).item()
        at = epoch + 1 if axis == "epoch" else reached.step
        entry: dict[str, Any] = {axis: at, "lr": self.rate(reached.step - 1), "train_loss": mean}
        clock = time.perf_counter()
        if diverged or not math.isfinite(mean):
            reached.diverged_at = at
            entry |= {each.key: None for each in self.metrics}
        else:
            entry |= self.evaluate()
        inference, seconds = time.perf_counter() - clock, reached.epoch_seconds
        entry |= self.task.unreadable(self.accelerator)
        speed = steps * self.samples_per_step / seconds
        used = utilisation(self.task.flops_per_sample(self.model), speed, self.accelerator)
        entry |= {f"{self.task.unit}_per_second": speed, **used, "seconds": seconds + inference}
        entry = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in entry.items()}
        reached.trace.append(entry)
        reached.train_seconds += seconds
        reached.inference_seconds += inference
        reached.losses, reached.epoch_seconds = 0.0, 0.0
        progress.report(self._line(entry), keep=True)
        if self.record and reached.diverged_at is None:
            self.task.after_evaluation(self.model if self.ema is None else self.ema.module, self.run, entry)
        self._keep(entry)
        self._store()
        for each in self.events:
            each.add(entry)

    def _line(self, entry: dict[str, Any]) -> str:
        axis = self.task.axis
        shown = {name: value for name, value in entry.items() if name not in (axis, "seconds")}
        numbers = " ".join(f"{name} {'none' if v is None else format(v, '.4g')}" for name, v in shown.items())
        return f"{axis} {entry[axis]}/{self.task.epochs if axis == 'epoch' else self.steps}: {numbers}"

    # Stopping and resuming

    def _keep(self, entry: dict[str, Any]) -> None:
        """Keep the weights of this evaluation, if --keep says so: before the checkpoint, with which they come again."""
        keep, run = self.task.machine.keep, self.run
        if self.store is None or keep == "last" or not self.accelerator.is_main_process:
            return
        path = run.weights_path(entry) if keep == "all" else run.best_path
        if keep == "best" and self.metrics[0].best(self.reached.trace) is not entry:
            return
        prepare_folder(path.parent)
        checkpoint.write(path, self._usable(self.store))

    def _usable(self, configuration: dict[str, Any]) -> checkpoint.State:
        averaged = None if self.ema is None else self.ema.module
        return usable(self.task, self.model, averaged, metrics.stored(self.metrics), configuration)

    def _store(self) -> None:
        """Write the state to disk, by the main process; every process has to call it."""
        if self.store is None:
            return
        losses = by_process(self.accelerator, self.reached.losses)
        if not self.accelerator.is_main_process:
            return
        state = asdict(self.reached) | {"losses": losses} | self._usable(self.store)
        state |= {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        checkpoint.save(self.run.checkpoint_path, state)
        self.run.store_trace(self.reached.trace)

    def _restore(self, state: checkpoint.State) -> None:
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.ema is not None:
                self.ema.module.load_state_dict(state["ema"])
            self.scaler.load_state_dict(state["scaler"])
            sums = state["losses"]
            if len(sums) != processes:  # another number of processes than before: the main one takes all
                sums = [math.fsum(sums) * processes / len(sums)] + [0.0] * (processes - 1)
            names = Reached.__dataclass_fields__.keys() - {"losses"}
            self.reached = Reached(**{name: state[name] for name in names}, losses=sums[rank])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise UserError(f"{self.run.checkpoint_path} is of another model or program: {reason}") from error
        if self.accelerator.is_main_process:
            print(f"resuming from step {self.reached.step} of {self.steps}", flush=True)
