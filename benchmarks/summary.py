"""The tables of docs/performance.md and docs/forms.md, from what is stored in benchmarks/results.

python -m benchmarks.summary
"""

from collections.abc import Sequence
from functools import partial

from benchmarks import compiled, forms, peaks, report, step_time
from workbench.cli.arguments import Parser
from workbench.cli.errors import UserError, run


def speed(numbers: dict) -> str:
    """GoLU's time over SiLU's at each size, for every dtype and number of threads, and the formula's over GoLU's."""
    rows = []
    for dtype, measured in numbers["elementwise"].items():
        for threads in sorted({row["threads"] for row in measured}):
            for direction in ("forward", "backward"):
                at = {
                    (row["log2"], row["name"]): row
                    for row in measured
                    if (row["threads"], row["direction"]) == (threads, direction) and row["log2"] >= 16
                }
                sizes = sorted({log2 for log2, _ in at})
                slower = [1 / at[log2, "GoLU"]["to_formula"] for log2 in sizes]
                ratios = [f"{at[log2, 'GoLU']['to_silu']:.2f}" for log2 in sizes]
                case = f"{dtype}, {direction}, {threads} thread{'s' * (threads > 1)}"
                rows.append([case, *ratios, f"{min(slower):.1f} to {max(slower):.1f}"])
    return report.table(["GoLU / SiLU", *(f"2^{log2}" for log2 in sizes), "formula / GoLU"], rows)


def overhead(numbers: dict) -> str:
    rows = []
    for row in numbers["overhead"]:
        forward, both = f"{row['forward_us']:.1f} us", f"{row['both_us']:.0f} us"
        rows.append([row["name"], forward, f"{row['forward_to_silu']:.2f}", both, f"{row['both_to_silu']:.2f}"])
    return report.table(["16 elements", "forward", "to SiLU", "forward and backward", "to SiLU"], rows)


def accuracy(numbers: dict) -> str:
    def cell(row: dict) -> str:
        value = row["value_ulp"]
        return f"{value if value == 'inf' else format(value, '.3g')} / {row['slope_score']:.2f}"

    dtypes = ["float32", "bfloat16", "float16"]
    rows = [[name, *(cell(numbers[dtype][name]) for dtype in dtypes)] for name in numbers["float32"]]
    return report.table(["value / derivative", *dtypes], rows)


def memory(numbers: dict) -> str:
    rows = [[name, *(f"{value:g}" for value in row.values())] for name, row in numbers.items()]
    return report.table(["bytes per element", *next(iter(numbers.values()))], rows)


def training(numbers: dict, unit: str = "images") -> str:
    rows = []
    for what, measured in numbers.items():
        base = next(iter(measured))
        for name, row in measured.items():
            rows.append([f"{what}: {name}", f"{row[f'{unit}_per_second']:.0f}", f"{row['speed']:.3f}", base])
    return report.table(["training step", f"{unit} / s", "speed", "relative to"], rows)


TABLES = [
    ("ops", speed), ("ops", overhead), ("compiled", compiled.table), ("accuracy", accuracy), ("memory", memory),
    ("training", training), ("dense_prediction", training), ("diffusion", training),
    ("language", partial(training, unit="tokens")), ("step_time", step_time.table),
]  # fmt: skip
FORMS = [
    ("peaks", peaks.table), ("forms", forms.keeping_table), ("forms", forms.learning_table),
    ("forms", forms.gating_table),
]  # fmt: skip


def tables(of: list, device: str = "cpu") -> list[str]:
    """All of a page, in its order."""
    return [make(report.read(name, device)["numbers"]) for name, make in of]


def main(arguments: Sequence[str] | None = None) -> None:
    Parser("python -m benchmarks.summary", __doc__).parse_args(arguments)
    try:
        print("\n\n".join(tables(TABLES) + tables(FORMS)))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing: `make benchmarks` measures it") from error


if __name__ == "__main__":
    run(main)
