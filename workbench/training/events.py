"""Write what a run's trace says as TensorBoard's events and, if the command line asks for it, to Weights & Biases."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.cli.errors import UserError, first_line
from workbench.training.runs import StoredRun, Trace, position


def recorders(
    run: StoredRun, trace: Trace, project: str | None, configuration: Mapping[str, Any], begun: bool
) -> list[Events | WandbEvents]:
    """Make all that writes a run's events.

    Args:
        trace: the evaluations so far.
        project: at Weights & Biases; None: nothing is sent there.
        configuration: of the run.
        begun: whether the run resumes from a checkpoint.

    Raises:
        UserError: Weights & Biases is missing, or refuses the run.
    """
    events = Events(run, trace)
    return [events] if project is None else [events, WandbEvents(run, trace, project, configuration, begun)]


class Events:
    """Write a run's events at once and in this thread: TensorBoard's own writer fails in a thread of its own.

    If they cannot be written (a full disk), a warning says so once and the training goes on without them.
    """

    def __init__(self, run: StoredRun, trace: Trace) -> None:
        self._run, self._failed = run, False
        self._writer: Any = None
        for entry in trace:
            self.add(entry)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Write one evaluation, with its picture if there is one."""
        from torch.utils.tensorboard.summary import scalar

        axis, at = position(entry)
        summaries = [scalar(name, v) for name, v in entry.items() if name != axis and v is not None]
        self._write(at, *summaries, *_picture(self._run.picture_path(entry)))

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, at: int, *summaries: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        if self._failed:
            return
        try:
            self._writer = self._writer or self._begin(self._run.events_path)
            for each in summaries:
                self._writer.write(Event(wall_time=time.time(), step=at, summary=each).SerializeToString())
            self._writer.flush()
        except OSError as error:
            self._writer, self._failed = None, True
            reason = error.strerror or error
            print(f"warning: no more TensorBoard events in {self._run.events_path}: {reason}", file=sys.stderr)

    @staticmethod
    def _begin(folder: Path) -> Any:
        from tensorboard.summary.writer.record_writer import RecordWriter

        shutil.rmtree(folder, ignore_errors=True)  # a resumed run writes its whole trace again
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
        return RecordWriter((folder / name).open("wb"))


def _picture(path: Path) -> list[Any]:
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary

    if not path.exists():
        return []
    with Image.open(path) as picture:
        width, height = picture.size
    content = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes())
    return [Summary(value=[Summary.Value(tag="pictures", image=content)])]


class WandbEvents:
    """Send a run's events to Weights & Biases, which in offline mode stores them in the run's folder.

    A run that resumes goes on as the same run there, whose id follows from its key and configuration. If something
    cannot be sent, a warning says so once and the training goes on without it.

    Args:
        trace: the evaluations so far; those that are not there yet are sent.
        begun: whether the run resumes; a new run takes the place of one with the same id.

    Raises:
        UserError: the package is missing, or refuses the run.
    """

    def __init__(
        self, run: StoredRun, trace: Trace, project: str, configuration: Mapping[str, Any], begun: bool
    ) -> None:
        self._wandb, self._stored, self._failed = import_wandb(), run, False
        # what was stored offline takes, when it is synced, the place of what was there: it is written whole
        resume = "allow" if begun and os.environ.get("WANDB_MODE") != "offline" else None
        try:
            run.wandb_path.mkdir(parents=True, exist_ok=True)
            self._run = self._wandb.init(
                project=project, id=wandb_id(run, configuration), resume=resume, name=run.title,
                group=f"{run.dataset}, {run.model}", config=dict(configuration), dir=str(run.wandb_path),
            )  # fmt: skip
            there = self._run.step  # the first one that is not there; offline it is 0, and all is written again
        except Exception as error:  # of login, network, or the package's own
            raise UserError(
                f"--wandb: Weights & Biases refuses the run ({first_line(error)}): "
                "log in by `wandb login`, or store it here by WANDB_MODE=offline"
            ) from error
        for entry in trace:
            if position(entry)[1] >= there:
                self.add(entry)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Send one evaluation, with its picture if there is one."""
        values = {name: value for name, value in entry.items() if value is not None}
        picture = self._stored.picture_path(entry)

        def send() -> None:
            pictures = {"pictures": self._wandb.Image(str(picture))} if picture.exists() else {}
            self._run.log(values | pictures, step=position(entry)[1], commit=True)

        self._try(send)

    def close(self) -> None:
        """Send what is left, and end the run there."""
        self._try(self._run.finish)

    def _try(self, send: Callable[[], object]) -> None:
        if self._failed:
            return
        try:
            send()
        except Exception as error:  # the package has many, and none is worth the training
            self._failed = True
            print(f"warning: no more events at Weights & Biases: {first_line(error)}", file=sys.stderr)


def import_wandb() -> Any:
    """Import the package of Weights & Biases.

    Raises:
        UserError: it is missing.
    """
    try:
        package = importlib.import_module("wandb")
    except ImportError:
        package = None
    if not hasattr(package, "init"):  # a folder of that name, which the package itself makes, imports as well
        raise UserError("--wandb needs the package wandb: pip install wandb")
    return package


def wandb_id(run: StoredRun, configuration: Mapping[str, Any]) -> str:
    """Return what names a run at Weights & Biases: at most 64 letters, the same whenever and wherever it resumes."""
    words = "-".join(str(value) for value in run.identity.values())
    checksum = hashlib.sha256(json.dumps([run.identity, configuration], sort_keys=True).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', words)[:51]}-{checksum[:12]}"
