"""What the README shows runs as it stands."""

import re
from pathlib import Path

import torch

from benchmarks import summary

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_python_blocks_run(capsys) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 3
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    x = torch.randn(8, 128)
    assert torch.equal(names["layer"](x), names["golu"](x))
    # the counts that the README states of DenseNet
    report = capsys.readouterr().out
    assert re.search(r"ReLU +120 .*module", report) and "F.relu(features, inplace=True) in DenseNet" in report
    assert not [c for c in names["find_activations"](names["model"]).functional if c.activation == "ReLU"]


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (Path(__file__).parents[1] / target).exists(), target


def test_commands_exist() -> None:
    for module in re.findall(r"python -m ((?:tasks|benchmarks|visualizations)\.[\w.]+)", README):
        path = Path(__file__).parents[1] / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_tables_are_those_of_the_results() -> None:
    for table in summary.tables():
        assert table in README, f"the README's table is not what python -m benchmarks.summary prints:\n{table}"
