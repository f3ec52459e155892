"""Take single steps of a task on one batch, to find out what they cost; nothing is stored."""

import time
from collections.abc import Callable

import torch

from workbench.training.optimizers import take_step
from workbench.training.seeding import seed_everything
from workbench.training.task import Batch, Task


class Stepper:
    """Train and infer on one batch as the training loop does, with a model of its own.

    Args:
        task: an opened task.
        learning_rate: of the training steps; None: the optimiser's own.
        prepare: called with the model before the optimiser is made.
    """

    def __init__(
        self,
        task: Task,
        activation: str,
        batch: Batch,
        learning_rate: float | None = None,
        prepare: Callable[[torch.nn.Module], object] | None = None,
    ) -> None:
        seed_everything(0)
        self.task, self.batch, self.model = task, batch, task.model(activation)
        if prepare is not None:
            prepare(self.model)
        self.device = next(self.model.parameters()).device
        self.optimizer = task.optimizer(self.model)
        for group in self.optimizer.param_groups:
            group["lr"] = group["lr"] if learning_rate is None else learning_rate
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=task.autocast == torch.float16)
        if task.machine.compile:
            self.model.compile()

    def training(self, batches: int = 1) -> None:
        """Take a step: forward and backward of so many accumulated batches, clipping, optimiser."""
        self.model.train()
        for _ in range(batches):
            with self._precision():
                loss = self.task.loss(self.model, self.batch) / batches
            self.scaler.scale(loss).backward()
        take_step(self.optimizer, self.scaler, self.model, self.task.clip_norm)

    @torch.inference_mode()
    def inference(self) -> None:
        """Give the batch to the model as one that is used gets it."""
        self.model.eval()
        with self._precision():
            self.task.predict(self.model, self.batch)

    def seconds(self, step: Callable[[], None]) -> float:
        """Return how long one of the two takes, all that it starts on a GPU included."""
        self._wait()
        start = time.perf_counter()
        step()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.task.autocast, enabled=self.task.autocast is not None)
