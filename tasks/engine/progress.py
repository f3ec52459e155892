"""How far a program is: a bar with the time left on a terminal, a line now and then elsewhere."""

import sys
import time


class Progress:
    """Counts steps towards a total; use it as a context manager.

    Args:
        total: the number of steps.
        unit: what a step is called on the bar.
    """

    def __init__(self, total: int, unit: str = "step") -> None:
        from tqdm import tqdm

        self._total, self._done, self._start = total, 0, time.monotonic()
        terminal = sys.stderr.isatty()
        self._bar = tqdm(total=total, unit=unit, dynamic_ncols=True, smoothing=0.05) if terminal else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, steps: int = 1) -> None:
        """So many steps more are done."""
        self._done += steps
        if self._bar is not None:
            self._bar.update(steps)

    def reach(self, done: int) -> None:
        """So many steps are done in all, whether or not each was counted."""
        self.advance(done - self._done)

    def doing(self, what: str) -> None:
        """Name what is being done on the bar; says nothing without a terminal."""
        if self._bar is not None:
            self._bar.set_description_str(what)

    def report(self, line: str) -> None:
        """A line without a terminal, where the bar cannot be seen: what is done, and the time left."""
        if self._bar is None:
            elapsed = time.monotonic() - self._start
            left = elapsed * (self._total - self._done) / max(self._done, 1)
            print(f"[{self._done / self._total:4.0%}, {_clock(left)} left] {line}", flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
