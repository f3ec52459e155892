"""workbench/output/storage.py: a file is whole, or as it was."""

import json
import math

import pytest

from workbench.cli.errors import UserError
from workbench.output import storage


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    storage.write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        storage.write_json(path, {"a": math.nan})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(UserError, match="No space left"):
        storage.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]
