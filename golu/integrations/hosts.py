"""Import a host library, and add entries to its tables that can be taken out again."""

import importlib
import re
from collections.abc import Sequence
from types import ModuleType, TracebackType
from typing import Any

NAME = "golu"


def imported(host: str, at_least: str, needed_by: str = "") -> ModuleType:
    """Return the host's package, for `needed_by`: the integration, unless it says another module.

    Raises:
        ImportError: it is missing or older than `at_least`; the message says which version is needed.
    """
    needed = f"{needed_by or f'golu.integrations.{host}'} needs {host} >= {at_least}"
    try:
        module = importlib.import_module(host)
    except ModuleNotFoundError as error:
        if error.name != host:  # the host is there, and lacks something itself
            raise
        raise ImportError(f"{needed}, which is not installed: pip install '{host}>={at_least}'", name=host) from None
    if _numbers(module.__version__) < _numbers(at_least):
        raise ImportError(f"{needed}, not {module.__version__}: pip install '{host}>={at_least}'", name=host)
    return module


def _numbers(version: str) -> list[int]:
    """Return the release of a version: 2 and 9 of 2.9.0.dev3+cpu; what comes after three numbers does not count."""
    return [int(number) for number in re.findall(r"\d+", version.split("+")[0])[:3]]


class Registration:
    """Hold the entries that were added to a host; `undo`, or the end of a `with` block, takes them out again."""

    def __init__(self, host: str, entries: Sequence[tuple[dict[str, Any], Any]]) -> None:
        """Add each value to its table under the name golu.

        Raises:
            ValueError: a table has another golu, which is somebody else's; then nothing is changed.
        """
        for table, value in entries:
            found = dict.get(table, NAME)  # not table.get: transformers' table makes a module of what it is asked for
            if found is not None and found != value:
                raise ValueError(f"{host} has an activation {NAME!r} already, which is not this package's: {found!r}")
        self._added = [(table, value) for table, value in entries if NAME not in table]
        for table, value in self._added:
            table[NAME] = value

    def undo(self) -> None:
        """Take out what was added here; what was there before stays, and so do models that were built."""
        for table, value in self._added:
            if dict.get(table, NAME) == value:
                del table[NAME]
        self._added = []

    def __enter__(self) -> "Registration":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.undo()
