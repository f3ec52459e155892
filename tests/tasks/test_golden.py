"""Short runs of the recipes learn what they learned before the workbench was made.

golden.json was recorded by the programs of commit 4fa9a76, on an AMD EPYC with torch 2.14.1 and one thread; there the
numbers are equal to the last bit. The tolerances are for other processors: a model that has just begun at a rate of 0.1
may have a validation loss of thousands, of which they share hardly more than the magnitude.
"""

import json
from pathlib import Path

import pytest

from tasks.table import program_of

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())

WILD = 10.0  # a loss of several times that of guessing


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize("name", GOLDEN)
def test_a_short_run(name, text, tmp_path):
    golden = GOLDEN[name]
    data = ["--data", str(text)] if golden["task"] == "gpt" else []
    program_of(golden["task"]).main(
        [*golden["arguments"].split(), "--results", str(tmp_path), "--device", "cpu", *data]
    )
    (path,) = tmp_path.rglob("opt_trace_0.json")
    found = json.loads(path.read_text())
    assert len(found) == len(golden["trace"])
    for ours, theirs in zip(found, golden["trace"], strict=True):
        assert ours["lr"] == pytest.approx(theirs["lr"], rel=1e-12)
        assert theirs.keys() <= ours.keys()
        for key, recorded in theirs.items():
            if recorded < WILD:
                assert ours[key] == pytest.approx(recorded, rel=2e-2), key
            else:
                assert recorded / 3 < ours[key] < 3 * recorded, key
