"""What a run of a classification program is given beside its settings: its data, its place, and how it runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golu.activations import unknown_name
from workbench.cli.errors import UserError
from workbench.training.run_folder import RunFolder
from workbench.vision.datasets import DATASETS
from workbench.vision.files import Split, open_folder, open_pixels


@dataclass(frozen=True)
class Where:
    """What the numbers do not depend on, and where the data come from."""

    dataset: str  # torch/imagenet, folder, torch/cifar10, or one of workbench.vision.datasets
    data_dir: Path
    results: Path
    activation: str
    seed: int
    run_name: str | None = None
    workers: int = 4
    limit_train: int | None = None
    limit_val: int | None = None
    device: str | None = None
    compile: bool = False
    skip_broken: bool = False
    checkpoint_steps: int = 1000

    def choice(self) -> dict[str, Any]:
        """Which images are taken, as a run's configuration says it."""
        return {
            "limit_train": self.limit_train,
            "limit_val": self.limit_val,
            "bad_images": "skip" if self.skip_broken else "refuse",
        }

    def run_folder(self, model: str) -> RunFolder:
        """Where the run is stored; the data set is called by its own name, or by that of its folder."""
        name = _plain_name(self.dataset)
        dataset = self.data_dir.resolve().name if name == "folder" else name
        return RunFolder(self.results, dataset, model, self.activation, self.seed)

    def open(self) -> Split:
        """The pictures."""
        name = _plain_name(self.dataset)
        if name == "folder":
            return open_folder(self.data_dir, self.limit_train, self.limit_val)
        return open_pixels(name, self.data_dir, self.limit_train, self.limit_val)


def _plain_name(dataset: str) -> str:
    """timm's names, in any case, with their prefix or without."""
    name = dataset.lower().removeprefix("torch/").replace("fashionmnist", "fashion_mnist")
    name = "folder" if name in ("imagenet", "image_folder", "") else name
    if name != "folder" and name not in DATASETS:
        raise UserError(unknown_name("dataset", dataset, ["torch/imagenet", "folder", "torch/cifar10", *DATASETS]))
    return name
