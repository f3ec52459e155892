"""What is kept of the comparisons of benchmarks.evidence."""

from pathlib import Path

from benchmarks.evidence import keep


def test_only_what_has_ended_is_kept_and_no_weights(tmp_path: Path) -> None:
    source, output = tmp_path / "runs", tmp_path / "kept"
    ended, under_way = source / "digits/cnn", source / "digits/mlp"
    wanted = ["GoLU/results_0.json", "ReLU/results_1000_tune_lr_0.1.json", "tuned/table.md", "tuned/tuning.json"]
    for each in (*wanted, "GoLU/checkpoint_0.pth", "tuned/comparison.png"):
        (ended / each).parent.mkdir(parents=True, exist_ok=True)
        (ended / each).write_text(each)
    (under_way / "GoLU").mkdir(parents=True)
    (under_way / "GoLU/results_1000_tune_lr_0.1.json").write_text("")
    assert keep(source, output) == len(wanted)
    assert {path.relative_to(output / "digits/cnn").as_posix() for path in output.rglob("*.*")} == set(wanted)
    assert (output / "digits/cnn/tuned/table.md").read_text() == "tuned/table.md"
