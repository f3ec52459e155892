"""Show how far a program is: a bar with the time left on a terminal, a line now and then elsewhere."""

import sys
import time

_DAY = 86400
_ENOUGH = 10  # seconds after the first step, which may have had to compile, until the speed is known


class Progress:
    """Count steps towards a total; use it as a context manager. It says once if that takes days.

    Args:
        total: the number of steps.
        unit: what a step is called on the bar.
        done: the number of steps that were done before.
        shown: False: only count, as in all processes but the main one.
    """

    def __init__(self, total: int, unit: str = "step", done: int = 0, shown: bool = True) -> None:
        from tqdm import tqdm

        self._total, self._before, self._done, self._start = total, done, done, time.monotonic()
        self._shown, self._next, self._unit = shown, 0.0, unit
        self._first: tuple[float, int] | None = None  # when the first step was done, and how many there were then
        self._speed_is_known = not shown
        on_terminal = shown and sys.stderr.isatty()
        self._bar = (
            tqdm(total=total, unit=unit, initial=done, dynamic_ncols=True, smoothing=0.05) if on_terminal else None
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, steps: int = 1) -> bool:
        """Count more steps as done, and return whether it is time for `show`: on a terminal, twice a second."""
        self._done += steps
        self._warn_of_days()
        if self._bar is None:
            return False
        self._bar.update(steps)
        due = time.monotonic() >= self._next
        if due:
            self._next = time.monotonic() + 0.5
        return due

    def _warn_of_days(self) -> None:
        if self._speed_is_known:
            return
        now = time.monotonic()
        start, before = self._first = self._first or (now, self._done)
        if now - start < _ENOUGH or self._done == before:
            return
        self._speed_is_known = True
        each = (now - start) / (self._done - before)
        days = each * (self._total - self._done) / _DAY
        if days > 1:
            line = f"warning: at {each:.3g} s a {self._unit} this takes {days:.1f} days"
            print(line, file=sys.stderr, flush=True) if self._bar is None else self._bar.write(line, sys.stderr)

    def show(self, text: str) -> None:
        """Show a few numbers beside the bar; do nothing without a terminal."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def reach(self, done: int) -> None:
        """Set the number of steps done in all, whether or not each was counted."""
        self.advance(done - self._done)

    def doing(self, what: str) -> None:
        """Name on the bar what is being done; do nothing without a terminal."""
        if self._bar is not None:
            self._bar.set_description_str(what)

    def report(self, line: str, keep: bool = False) -> None:
        """Print a line with the time left where there is no terminal, and so no bar.

        Args:
            keep: print it on a terminal too, above the bar.
        """
        if self._bar is not None:
            if keep:
                self._bar.write(line)
        elif self._shown:
            elapsed = time.monotonic() - self._start
            left = elapsed * (self._total - self._done) / max(self._done - self._before, 1)
            print(f"[{self._done / self._total:4.0%}, {duration(left)} left] {line}", flush=True)


def span(seconds: float) -> str:
    """Say how long something took, in seconds below a minute."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{duration(seconds)} min" if seconds < 3600 else duration(seconds)


def duration(seconds: float) -> str:
    """Format as minutes and seconds, with hours where there are any."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
