"""The training loop of every task: step, evaluate, store; killed at any moment, it goes on as if never stopped.

What is random in a step or a sample has a seed derived from the run's, the step and the process, and learning rates are
tables; so a checkpoint needs to hold no more than weights, optimiser and sums for the numbers of a resumed run to be
the same, bit for bit on a CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from workbench.cli.errors import UserError
from workbench.cli.progress import Progress
from workbench.output.environment import peak_flops
from workbench.training import checkpoint
from workbench.training.launch import by_process, share_buffers, total
from workbench.training.run_folder import Events, RunFolder, Trace
from workbench.training.seeding import derived_seed, seed_everything

if TYPE_CHECKING:
    from accelerate import Accelerator
    from timm.utils import ModelEmaV3

Batch = Any


@dataclass
class Experiment:
    """What a task gives to the loop.

    `batches(epoch, first)` yields, for each step of an epoch (both counted from 0) from `first` on, this process's
    batches, whose gradients are accumulated; `loss(model, batch)` is the mean over a batch; `evaluate(model)` gives
    metrics over the whole validation set, the same in every process: val_loss, `judge` (it chooses the best epoch)
    and others.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    rates: Sequence[float]  # learning rates, one an epoch or one a step: spread evenly over the run
    epochs: int
    steps_per_epoch: int
    samples_per_step: int  # over all processes
    seed: int
    batches: Callable[[int, int], Iterator[list[Batch]]]
    loss: Callable[[nn.Module, Batch], Tensor]
    evaluate: Callable[[nn.Module], dict[str, float]]
    judge: str = "val_accuracy"
    higher_is_better: bool = True
    unit: str = "images"
    clip_norm: float | None = None
    ema: ModelEmaV3 | None = None
    ema_every: int = 1  # steps
    autocast: torch.dtype | None = None  # float16 is scaled, bfloat16 needs no scaling
    checkpoint_every: int = 1000  # steps, and at the end of each epoch
    steps: int | None = None  # of the whole run, if the last epoch is shorter than the others
    axis: str = "epoch"  # what the trace counts: "epoch" or "step"
    flops_per_sample: float | None = None  # forward and backward; None: no utilisation is reported
    carried: dict[str, Any] = field(default_factory=dict)  # plain values that a checkpoint holds for its users

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch if self.steps is None else self.steps

    def steps_in(self, epoch: int) -> int:
        """The steps of an epoch, counted from 0."""
        return min(self.steps_per_epoch, self.total_steps - epoch * self.steps_per_epoch)

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0 over the run."""
        return self.rates[step * len(self.rates) // self.total_steps]


@dataclass
class _Reached:
    """How far a run is, and what it has counted."""

    step: int = 0
    losses: float = 0.0  # this process's, summed over the steps of the current epoch
    epoch_seconds: float = 0.0
    train_seconds: float = 0.0
    inference_seconds: float = 0.0
    diverged_at: int | None = None
    trace: Trace = field(default_factory=list)


def train(
    experiment: Experiment,
    accelerator: Accelerator,
    folder: RunFolder | None = None,
    configuration: dict[str, Any] | None = None,
    after_step: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Train to the end, from the newest checkpoint in `folder` if there is one, and return what happened.

    Args:
        folder: where checkpoints, trace and events are stored; None: nowhere.
        configuration: all that the numbers depend on; a checkpoint of another one is refused.
        after_step: called after each step instead of showing progress.

    Returns:
        epochs (the trace), final, best (optimistic, being chosen by what it reports), diverged_at (None, or the epoch
        or step at which the loss was no finite number: then final and best are None), train_seconds, inference_seconds.

    Raises:
        UserError: the checkpoint is broken or of another configuration, or cannot be written.
    """
    loop = _Loop(experiment, accelerator, folder, configuration or {})
    return loop.run(after_step)


class _Loop:
    def __init__(
        self,
        experiment: Experiment,
        accelerator: Accelerator,
        folder: RunFolder | None,
        configuration: dict[str, Any],
    ) -> None:
        self.experiment, self.accelerator = experiment, accelerator
        self.folder, self.configuration = folder, configuration
        self.scaler = torch.amp.GradScaler(accelerator.device.type, enabled=experiment.autocast == torch.float16)
        self.reached = _Reached()
        if folder is not None:
            with accelerator.main_process_first():  # which may have to put a broken checkpoint aside
                self._restore(folder)
        self.model = accelerator.prepare_model(experiment.model)  # shared out over the processes, if there are several
        self.events = None
        if folder is not None and accelerator.is_main_process:
            self.events = Events(folder.events_path, self.reached.trace)

    def run(self, after_step: Callable[[], None] | None) -> dict[str, Any]:
        reached, steps = self.reached, self.experiment.total_steps
        shown = after_step is None and self.accelerator.is_main_process
        with Progress(steps, done=reached.step, shown=shown) as progress:
            while reached.step < steps and reached.diverged_at is None:
                self._epoch(progress, after_step)
        if self.events is not None:
            self.events.close()
        trace = reached.trace
        sign = 1 if self.experiment.higher_is_better else -1
        best = None if reached.diverged_at else max(trace, key=lambda entry: sign * entry[self.experiment.judge])
        return {
            "diverged_at": reached.diverged_at,
            "train_seconds": reached.train_seconds,
            "inference_seconds": reached.inference_seconds,
            "final": None if reached.diverged_at else trace[-1],
            "best": best,
            "epochs": trace,
        }

    # One epoch

    def _epoch(self, progress: Progress, after_step: Callable[[], None] | None) -> None:
        experiment, reached = self.experiment, self.reached
        epoch, first = divmod(reached.step, experiment.steps_per_epoch)
        clock, losses = time.perf_counter(), torch.tensor(reached.losses, dtype=torch.float64)
        losses = losses.to(self.accelerator.device)
        before = reached.epoch_seconds
        self.model.train()
        for batches in experiment.batches(epoch, first):
            loss = self._step(batches)
            losses += loss
            reached.step += 1
            reached.epoch_seconds = before + time.perf_counter() - clock
            if after_step is not None:
                after_step()
            elif progress.advance():
                rate = (reached.step - epoch * experiment.steps_per_epoch) * experiment.samples_per_step
                part = f"epoch {epoch + 1} " if experiment.axis == "epoch" else ""
                progress.show(
                    f"{part}loss {loss.item():.4g} lr {experiment.rate(reached.step - 1):.3g} "
                    f"{rate / reached.epoch_seconds:.4g} {experiment.unit}/s"
                )
            within = reached.step < epoch * experiment.steps_per_epoch + experiment.steps_in(epoch)
            if within and reached.step % experiment.checkpoint_every == 0:  # an epoch's end is stored once evaluated
                reached.losses = losses.item()
                self._store()
        self._finish_epoch(epoch, losses, progress)

    def _step(self, batches: list[Batch]) -> Tensor:
        """One step of the optimiser; returns this process's mean loss."""
        experiment, step = self.experiment, self.reached.step
        for group in experiment.optimizer.param_groups:
            group["lr"] = experiment.rate(step) * group.get("lr_scale", 1.0)  # timm's layer decay sets lr_scale
        seed_everything(derived_seed(experiment.seed, "step", step, self.accelerator.process_index))
        mean = torch.zeros((), device=self.accelerator.device)
        for number, batch in enumerate(batches, start=1):
            last = number == len(batches)
            with nullcontext() if last else self.accelerator.no_sync(self.model), self._precision():
                loss = experiment.loss(self.model, batch) / len(batches)
                self.scaler.scale(loss).backward()
            mean += loss.detach()
        if experiment.clip_norm is not None:
            self.scaler.unscale_(experiment.optimizer)
            torch.nn.utils.clip_grad_norm_(experiment.model.parameters(), experiment.clip_norm)
        self.scaler.step(experiment.optimizer)
        self.scaler.update()
        experiment.optimizer.zero_grad()
        if experiment.ema is not None and step % experiment.ema_every == 0:
            # counted from 1: the first update copies the weights, as timm's and torchvision's do
            experiment.ema.update(experiment.model, step // experiment.ema_every + 1)
        return mean

    def _precision(self) -> Any:
        dtype = self.experiment.autocast
        if dtype is None:
            return nullcontext()
        return torch.autocast(self.accelerator.device.type, dtype)

    def _finish_epoch(self, epoch: int, losses: Tensor, progress: Progress) -> None:
        experiment, reached = self.experiment, self.reached
        steps = experiment.steps_in(epoch)
        mean = total(self.accelerator, losses) / (steps * self.accelerator.num_processes)
        place = epoch + 1 if experiment.axis == "epoch" else reached.step
        entry: dict[str, Any] = {
            experiment.axis: place,
            "lr": experiment.rate(reached.step - 1),
            "train_loss": mean.item(),
        }
        clock = time.perf_counter()
        entry |= self._evaluate()
        inference = time.perf_counter() - clock
        seconds = reached.epoch_seconds
        speed = steps * experiment.samples_per_step / seconds
        entry |= {f"{experiment.unit}_per_second": speed, **self._utilisation(speed), "seconds": seconds + inference}
        reached.train_seconds += seconds
        reached.inference_seconds += inference
        reached.losses, reached.epoch_seconds = 0.0, 0.0
        if not (math.isfinite(entry["train_loss"]) and math.isfinite(entry["val_loss"])):
            reached.diverged_at = place
        else:
            reached.trace.append(entry)
        progress.report(self._line(entry), keep=True)
        self._store()
        if self.events is not None and reached.diverged_at is None:
            self.events.add(entry)

    def _evaluate(self) -> dict[str, float]:
        experiment, ema = self.experiment, self.experiment.ema
        averaged = [] if ema is None else [ema.module]
        share_buffers(self.accelerator, experiment.model, *averaged)
        with torch.inference_mode(), self._precision():
            experiment.model.eval()
            metrics = experiment.evaluate(experiment.model)
            for model in averaged:
                metrics |= {f"ema_{name}": value for name, value in experiment.evaluate(model).items()}
        return metrics

    def _utilisation(self, samples_per_second: float) -> dict[str, float]:
        """Model FLOP utilisation: what part of the GPUs' peak the model's own operations take."""
        flops, peak = self.experiment.flops_per_sample, peak_flops(self.accelerator.device)
        if flops is None or peak is None:
            return {}
        return {"mfu": samples_per_second * flops / (peak * self.accelerator.num_processes)}

    def _line(self, entry: dict[str, Any]) -> str:
        axis = self.experiment.axis
        numbers = " ".join(f"{name} {value:.4g}" for name, value in entry.items() if name not in (axis, "seconds"))
        of = self.experiment.epochs if axis == "epoch" else self.experiment.total_steps
        return f"{axis} {entry[axis]}/{of}: {numbers}"

    # Stopping and going on

    def _store(self) -> None:
        """The state on disk, by the main process; every process has to call it."""
        if self.folder is None:
            return
        experiment, reached = self.experiment, self.reached
        state = asdict(reached) | {"losses": by_process(self.accelerator, reached.losses)}
        if not self.accelerator.is_main_process:
            return
        state |= {
            "configuration": self.configuration,
            "model": experiment.model.state_dict(),
            "optimizer": experiment.optimizer.state_dict(),
            "ema": None if experiment.ema is None else experiment.ema.module.state_dict(),
            "scaler": self.scaler.state_dict(),
            "carried": experiment.carried,
        }
        checkpoint.save(self.folder.checkpoint_path, state)
        self.folder.store_trace(reached.trace)

    def _restore(self, folder: RunFolder) -> None:
        """Go on from the newest checkpoint, if there is one."""
        state = folder.resume(self.configuration)
        if state is None:
            return
        experiment, rank = self.experiment, self.accelerator.process_index
        try:
            experiment.model.load_state_dict(state["model"])
            experiment.optimizer.load_state_dict(state["optimizer"])
            if experiment.ema is not None:
                experiment.ema.module.load_state_dict(state["ema"])
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise UserError(f"{folder.checkpoint_path} is of another model: {reason}") from error
        self.scaler.load_state_dict(state["scaler"])
        sums = state["losses"]
        if len(sums) != self.accelerator.num_processes:  # other processes than before: the main one takes all
            sums = [math.fsum(sums)] + [0.0] * (self.accelerator.num_processes - 1)
        names = _Reached.__dataclass_fields__.keys() - {"losses"}
        self.reached = _Reached(**{name: state[name] for name in names}, losses=sums[rank])
        if self.accelerator.is_main_process:
            print(f"going on from step {self.reached.step} of {experiment.total_steps}", flush=True)
