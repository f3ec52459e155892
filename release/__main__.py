"""Build the distributions, install each in fresh environments, and compare what they compute with this tree.

    python -m release --torch oldest newest --python python3.10 python3.13 --keep dist

A row is fine where `python -m golu` calls the values fine, the expected kernel serves on torch's threads, and each
instruction set gives the bits that this tree gives under the same Python and torch. --keep stores what was built.
"""

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

from release import arm64, build
from release.environments import Environment, Row, failed, version_of

HEADER = Row("installed", "python", "torch", "kernel", "threads", "self-check", "bits", False)


def oldest() -> str:
    """Return the oldest torch that pyproject.toml allows, as a version to install."""
    found = re.search(r'^dependencies = \["torch>=([\d.]+)"\]$', (build.ROOT / "pyproject.toml").read_text(), re.M)
    assert found, "pyproject.toml names the oldest torch"
    return f"{found[1]}.*"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    title, _, text = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m release", description=title, epilog=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--torch", nargs="+", default=["oldest", "newest"], metavar="VERSION",
        help="versions of torch to install beside golu: oldest (the least that golu takes), newest, or numbers as "
        "2.11.0 (default: oldest newest)",
    )  # fmt: skip
    parser.add_argument(
        "--python", nargs="+", default=[sys.executable], metavar="PROGRAM",
        help="Python interpreters that the environments are made with (default: this one)",
    )  # fmt: skip
    parser.add_argument("--no-arm64", action="store_true", help="neither build for arm64 nor run it under qemu")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder to copy what was built to (default: not kept)")
    options = parser.parse_args(arguments)
    for version in options.torch:
        if version not in ("oldest", "newest") and not re.fullmatch(r"\d+(\.\d+)+", version):
            parser.error(f"argument --torch: it is oldest, newest or a version as 2.11.0, not {version!r}")
    for folder in (options.keep, *options.keep.parents) if options.keep else ():
        if folder.exists() and not folder.is_dir():
            parser.error(f"argument --keep: {folder} is a file, and no folder")
    for python in options.python:
        try:
            version_of(python)
        except RuntimeError as error:
            parser.error(f"argument --python: {' '.join(str(error).split())}")
    return options


def check_one(environment: Environment, wheel: Path, archive: Path) -> list[Row]:
    """Install the wheel, then the source distribution with a compiler and without, one after the other."""
    ways = [("wheel", wheel, True), ("sdist", archive, True), ("sdist, no compiler", archive, False)]
    rows = []
    for name, distribution, compiler in ways:
        try:
            environment.install(distribution, compiler)
            rows.append(environment.check(name, kernel=compiler))
        except RuntimeError as error:
            rows.append(failed(name, environment.python, environment.torch, error))
        print(line(rows[-1], [0] * len(HEADER)), flush=True)
    return rows


def line(row: Row, widths: list[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)) + " |"


def table(rows: list[Row]) -> str:
    """Return all rows as a table, and below it what failed."""
    widths = [max(map(len, cells)) for cells in zip(*(row[:-1] for row in [HEADER, *rows]), strict=True)]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    bad = [row for row in rows if not row.fine]
    verdict = f"{len(bad)} of {len(rows)} rows are not as they should be" if bad else "everything is as it should be"
    return "\n".join([line(HEADER, widths), rule, *(line(row, widths) for row in rows), "", verdict])


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="golu-release-") as name:
        folder = Path(name)
        source = build.checkout(folder)
        programs = build.tools(folder)
        archive = build.sdist(source, programs, folder)
        wheel = build.wheel(archive, programs, folder)
        print(f"built {archive.name} and {wheel.name}", flush=True)
        if not options.no_arm64:
            rows.append(arm64.check(archive, programs, folder, oldest()))
            print(line(rows[-1], [0] * len(HEADER)), flush=True)
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            for built in (archive, *(folder / "wheels").iterdir()):
                shutil.copy(built, options.keep)
        for python in options.python:
            for torch in options.torch:
                version = {"oldest": oldest(), "newest": ""}.get(torch, torch)
                try:
                    with Environment(folder / "environment", python, version) as environment:
                        rows += check_one(environment, wheel, archive)
                except RuntimeError as error:
                    rows.append(failed("wheel", python, torch, error))
    print(table(rows))
    sys.exit(not all(row.fine for row in rows))


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:  # nothing could be built
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
