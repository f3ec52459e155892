"""Runs as the training programs store them, with numbers of the test's choice."""

import json

from workbench.training.metrics import VAL_LOSS, stored
from workbench.training.runs import FORMAT, StoredRun
from workbench.vision.classification import ACCURACY

ENVIRONMENT = {"torch": "2.10", "cpu": "a processor", "gpu": None}


def write_run(
    results, activation, seed, value, *, lr=0.1, variant="", dataset="digits", model="mlp",
    metrics=(ACCURACY, VAL_LOSS), environment=ENVIRONMENT, **settings,
):  # fmt: skip
    """Store a run that ended with a value of its judge; None: it diverged. Returns its results file."""
    run = StoredRun(results, dataset, model, activation, seed, variant)
    final = None if value is None else {"epoch": 3, "lr": 0.0, metrics[0].key: value, "val_loss": 1.0}
    configuration = run.identity | {"epochs": 3, "data": "100 images"} | ({} if lr is None else {"lr": lr}) | settings
    content = {
        "format": FORMAT, **run.identity, "axis": "epoch", "metrics": stored(metrics), "final": final, "best": final,
        "diverged_at": 2 if value is None else None, "train_minutes": 1.0, "inference_minutes": 0.1,
        "configuration": configuration, "environment": environment,
    }  # fmt: skip
    run.folder.mkdir(parents=True, exist_ok=True)
    run.results_path.write_text(json.dumps(content))
    return run.results_path


def write_runs(results, values, **settings):
    """Store runs of seeds 0, 1, ... for each activation; "missing": there is none of that seed."""
    for activation, of in values.items():
        for seed, value in enumerate(of):
            if value != "missing":
                write_run(results, activation, seed, value, **settings)
