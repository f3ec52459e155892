import csv
import math

import pytest


def read_csv(path):
    """The rows of a CSV, with what looks like a number as one."""

    def value(text):
        try:
            return float(text)
        except ValueError:
            return text

    with path.open() as file:
        return [{name: value(text) for name, text in row.items()} for row in csv.DictReader(file)]


@pytest.fixture
def figure(program, tmp_path):
    """A figure drawn by its command into tmp_path; all three files are there; returns the rows of its CSV."""

    def draw(figure_program, *arguments):
        code, out, err = program(figure_program, "--output", tmp_path, "--dpi", 40, *arguments)
        assert (code, err) == (0, "")
        for ending in (".png", ".svg", ".csv"):
            path = tmp_path / f"{figure_program.name}{ending}"
            assert path.stat().st_size > 0 and str(path) in out
        rows = read_csv(tmp_path / f"{figure_program.name}.csv")
        assert rows and not any(isinstance(v, float) and math.isnan(v) for row in rows for v in row.values())
        return rows

    return draw
