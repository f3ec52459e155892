"""Who may import whom, and that importing a module does nothing but define things."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["golu", "workbench", "tasks", "benchmarks", "visualizations", "release"]
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
# what `golu` may import beside the standard library; an integration may also import its host, inside a function
GOLU_MAY_IMPORT = {"golu", "torch"}
LEVELS = ["cli", "output", "training", "vision"]
# what a task may import beside itself and the workbench, which imports no task
MAY_ALSO_IMPORT = {
    "small_poc": {"image_classification"},  # its ViT is trained as timm's script trains
    "compare": {"table", "gpt"},  # any task, by its name; and which texts are prepared
    "instance_segmentation": {"object_detection"},  # detection with masks
    "results": {"table"},  # which program a run's task is of
    "evaluate": {"table"},
    "predict": {"table"},
    "export": {"table"},  # a checkpoint of any task
    "table": {path.name for path in (ROOT / "tasks").iterdir()} - {"compare"},  # by name, when one is asked for
}


def name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Every module that the file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write the full path, not a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_import_rules(path: Path) -> None:
    package, *rest = name(path).split(".")
    for imported in imports(path):
        top, *below = imported.split(".")
        if package == "golu" and rest[:1] != ["integrations"]:
            may_import = GOLU_MAY_IMPORT | ({"jax"} if rest == ["jax"] else set())  # golu.jax is GoLU in JAX
            assert top in may_import or top in sys.stdlib_module_names, imported
        if package == "workbench":  # cli and output at the bottom, then training, then vision
            assert top not in ("tasks", "benchmarks", "visualizations", "tests"), imported
            if top == "workbench" and below and rest:
                assert LEVELS.index(below[0]) <= LEVELS.index(rest[0]) or {below[0], rest[0]} == {"cli", "output"}, (
                    imported
                )
        if package == "tasks":
            assert top not in ("benchmarks", "visualizations", "tests"), imported
        if package == "tasks" and top == "tasks" and below:
            own = rest[0] if rest else None
            assert below[0] in {own} | MAY_ALSO_IMPORT.get(own, set()), imported
        if package == "visualizations":
            assert top not in ("benchmarks", "tests") and imported.split(".")[-1] != "train", imported
        if package == "benchmarks":
            assert top not in ("visualizations", "tests"), imported
        if package == "release":
            assert top in {"golu", "torch", "release"} or top in sys.stdlib_module_names, imported


def test_importing_does_nothing() -> None:
    """All modules in one process: no output, files, plots or threads, no random numbers drawn, nothing registered."""
    modules = [name(path) for path in FILES if path.name != "__main__.py"]
    if importlib.util.find_spec("jax") is None:
        modules.remove("golu.jax")
    program = f"""
import importlib, os, threading, torch
from golu import available_activations

def state():
    names = sorted(os.listdir()), available_activations()
    return *names, threading.active_count(), torch.get_num_threads(), torch.get_rng_state().tolist()

before = state()
for module in {modules!r}:
    importlib.import_module(module)
assert state() == before
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"
