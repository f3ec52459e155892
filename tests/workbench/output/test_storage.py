"""workbench/output/storage.py: a file is whole, or as it was."""

import json
import math
from pathlib import Path

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


@pytest.mark.parametrize("below", [".", "deeper/still"])
def test_what_is_no_folder_is_named(below, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for place, what in (
        (tmp_path / "file", "a file"),
        (tmp_path / "link", "a link that leads nowhere"),
        (Path("/dev/null"), "a file"),
    ):
        with pytest.raises(UserError) as refused:
            storage.prepare_folder(place / below)
        assert str(refused.value) == f"cannot use {place} as a folder: it is {what}"
