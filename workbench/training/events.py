"""Write what a run's trace says as TensorBoard's events."""

from __future__ import annotations

import shutil
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.training.runs import StoredRun, Trace, position


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
