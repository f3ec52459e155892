"""Load small image data sets into memory as tensors: no workers, no transforms, the same numbers every time."""

import contextlib
import functools
import gzip
import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from workbench.cli.errors import UserError

if TYPE_CHECKING:
    import numpy as np

DIGITS_VALIDATION = 1000  # of 1797: a small training set keeps the task from saturating, a large rest measures finely
IDX_CLASSES = 10  # of MNIST and Fashion-MNIST
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # the Debian package dataset-fashion-mnist


@dataclass(frozen=True)
class Images:
    """Hold images (N, C, H, W) and labels, int64 (N,).

    Args:
        mean, std: by which pixels (0 to 255) were brought to zero mean and unit variance, one a channel.
    """

    train_x: Tensor
    train_y: Tensor
    val_x: Tensor
    val_y: Tensor
    classes: int
    mean: Sequence[float] = ()
    std: Sequence[float] = ()

    def to(self, device: torch.device | str) -> "Images":
        """Copy them to the device, all at once."""
        tensors = ("train_x", "train_y", "val_x", "val_y")
        return replace(self, **{name: getattr(self, name).to(device) for name in tensors})

    @functools.cached_property
    def fingerprint(self) -> str:
        """Tell these images from others: how many, and a checksum of all pixels and labels."""
        checksum = 0
        for tensor in (self.train_x, self.train_y, self.val_x, self.val_y):
            checksum = zlib.crc32(tensor.cpu().contiguous().numpy().data, checksum)
        return f"{len(self.train_y)}+{len(self.val_y)} images {checksum:08x}"


@functools.lru_cache(maxsize=1)  # the runs of a comparison share them
def load_images(
    name: str,
    data_dir: Path,
    limit_train: int | None = None,
    limit_val: int | None = None,
    device: torch.device | str = "cpu",
) -> Images:
    """Load as `load_pixels`, but as float32, with zero mean and unit variance per channel of the training images."""
    pixels = load_pixels(name, data_dir, limit_train, limit_val)
    train_x, val_x = pixels.train_x.float(), pixels.val_x.float()
    std, mean = torch.std_mean(train_x, dim=(0, 2, 3), keepdim=True)
    train_x, val_x = (train_x - mean) / std, (val_x - mean) / std
    scale = mean.flatten().tolist(), std.flatten().tolist()
    return Images(train_x, pixels.train_y, val_x, pixels.val_y, pixels.classes, *scale).to(device)


def load_pixels(name: str, data_dir: Path, limit_train: int | None = None, limit_val: int | None = None) -> Images:
    """Load the named data set as uint8: of each split a fixed stratified choice of so many images, or all.

    Raises:
        UserError: the data are missing or unreadable (it says what to put where), or a limit is out of range.
    """
    train_x, train_y, val_x, val_y = DATASETS[name](data_dir)
    classes = int(max(train_y.max(), val_y.max())) + 1
    train, val = (
        limited("--limit-train", train_y, limit_train, classes),
        limited("--limit-val", val_y, limit_val, classes),
    )
    return Images(train_x[train], train_y[train], val_x[val], val_y[val], classes)


def limited(flag: str, labels: Tensor, limit: int | None, classes: int) -> Tensor:
    """Choose `limit` of the samples with labels (N,), classes in proportion: int64 (limit,); None: all; 0: none.

    Raises:
        UserError: there are not so many, or they are fewer than the classes.
    """
    if limit is None:
        return torch.arange(len(labels))
    if limit == 0:
        return torch.arange(0)
    if not classes <= limit <= len(labels):
        raise UserError(f"{flag} {limit} is out of range: from {classes} (one image a class) to {len(labels)} (all)")
    return stratified_order(labels)[:limit]


def chosen(flag: str, count: int, limit: int | None) -> list[int]:
    """Choose `limit` of so many samples without labels, spread over them and in their order; None: all; 0: none.

    Raises:
        UserError: there are not so many.
    """
    if limit is None:
        return list(range(count))
    if limit == 0:
        return []
    if not 1 <= limit <= count:
        raise UserError(f"{flag} {limit} is out of range: from 1 to {count} (all)")
    order: list[int] = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
    return sorted(order[:limit])


def stratified_order(labels: Tensor) -> Tensor:
    """Return a fixed permutation of range(N) for labels (N,); every beginning of it has the classes in proportion."""
    position = torch.empty(len(labels), dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for label in labels.unique():
        members = torch.nonzero(labels == label).flatten()
        spread = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)  # evenly over (0, 1)
        position[members[torch.randperm(len(members), generator=generator)]] = spread
    return torch.argsort(position, stable=True)


# What a loader returns: training images (N, C, H, W) and labels (N,), then those for validation.
_Loaded = tuple[Tensor, Tensor, Tensor, Tensor]


def _digits(_: Path) -> _Loaded:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = torch.from_numpy(digits.images * 255 / 16).round().byte()  # they are given in 17 shades
    x, y = pixels.unsqueeze(1), torch.from_numpy(digits.target).long()
    order = stratified_order(y)
    val, train = order[:DIGITS_VALIDATION], order[DIGITS_VALIDATION:]
    return x[train], y[train], x[val], y[val]


def _mnist(data_dir: Path) -> _Loaded:
    return _idx_dataset("MNIST", data_dir, [])


def _fashion_mnist(data_dir: Path) -> _Loaded:
    return _idx_dataset("FashionMNIST", data_dir, [DEBIAN_FASHION_MNIST])


def _idx_dataset(name: str, data_dir: Path, elsewhere: list[Path]) -> _Loaded:
    """Read four idx files in <data_dir>/<name>/raw or elsewhere; torchvision downloads them if they are in neither."""
    stems = [f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    folder = data_dir / name / "raw"
    complete = next((each for each in (folder, *elsewhere) if all(_idx_file(each, stem) for stem in stems)), None)
    if complete is None:
        import torchvision

        dataset = getattr(torchvision.datasets, name)
        files = ", ".join(f"{stem}.gz" for stem in stems)
        _download(lambda: dataset(data_dir, download=True), f"put {files} of {dataset.mirrors[0]} into {folder}")
        complete = folder
    paths = [path for stem in stems if (path := _idx_file(complete, stem)) is not None]
    arrays = [_read_idx(path) for path in paths]
    _require_fitting(paths, arrays)
    train_x, train_y, val_x, val_y = map(torch.from_numpy, arrays)
    return train_x.unsqueeze(1), train_y.long(), val_x.unsqueeze(1), val_y.long()


def _require_fitting(paths: list[Path], arrays: "list[np.ndarray]") -> None:
    """Refuse images and labels that cannot belong together: the training images and labels, then those of validation.

    Raises:
        UserError: numbers or sizes of images differ, or a label is that of no class.
    """
    advice = "replace the one that is not the data set's, or delete all four to have them downloaded again"
    for path, array, dimensions in zip(paths, arrays, (3, 1, 3, 1), strict=True):
        if array.ndim != dimensions:
            what = "images" if dimensions == 3 else "labels"
            raise UserError(f"{path} holds no {what}, but an array of {array.ndim} dimensions: {advice}")
    for x, y in ((0, 1), (2, 3)):
        if len(arrays[x]) != len(arrays[y]):
            counts = f"{paths[x]} has {len(arrays[x])} images, but {paths[y].name} {len(arrays[y])} labels"
            raise UserError(f"{counts}: {advice}")
    train_x, train_y, val_x, val_y = arrays
    if train_x.shape[1:] != val_x.shape[1:]:
        ours, theirs = (f"{height} x {width} pixels" for height, width in (train_x.shape[1:], val_x.shape[1:]))
        raise UserError(f"{paths[0]} has images of {ours}, but {paths[2].name} of {theirs}: {advice}")
    for path, labels in ((paths[1], train_y), (paths[3], val_y)):
        if labels.max() >= IDX_CLASSES:
            known = f"the classes are 0 to {IDX_CLASSES - 1}"
            raise UserError(f"{path} has the label {labels.max()}, but {known}: {advice}")


def _idx_file(folder: Path, stem: str) -> Path | None:
    return next((path for path in (folder / stem, folder / f"{stem}.gz") if path.is_file()), None)


def _read_idx(path: Path) -> "np.ndarray":
    """Read an idx file of bytes: two zeros, the type 8, the number of dimensions, each as 4 bytes, the data."""
    import numpy as np

    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zeros, kind, dimensions = content[:2], content[2], content[3]
        shape = np.frombuffer(content, ">i4", dimensions, offset=4)
        values = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
        if zeros != b"\0\0" or kind != 8 or values.size == 0 or min(shape) < 0:
            raise ValueError("not an idx file of bytes")
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise UserError(f"cannot read {path} ({error}): delete it to have it downloaded again") from error
    return np.array(values)  # frombuffer gives memory that torch may not write to


def _cifar10(data_dir: Path) -> _Loaded:
    from torchvision.datasets import CIFAR10

    advice = f"unpack https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz in {data_dir}"
    train = _download(lambda: CIFAR10(data_dir, train=True, download=True), advice)
    val = _download(lambda: CIFAR10(data_dir, train=False, download=True), advice)
    arrays = (train.data.transpose(0, 3, 1, 2), train.targets, val.data.transpose(0, 3, 1, 2), val.targets)
    train_x, train_y, val_x, val_y = (torch.as_tensor(each) for each in arrays)
    return train_x, train_y, val_x, val_y


def _download(load: Callable[[], Any], advice: str) -> Any:
    """Return the torchvision data set that `load` downloads; without a network, advise how to do it by hand."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # torchvision prints every attempt
            return load()
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"the data are missing, and downloading them failed ({reason}): {advice}") from error


# name -> loader
DATASETS: dict[str, Callable[[Path], _Loaded]] = {
    "digits": _digits,
    "fashion_mnist": _fashion_mnist,
    "mnist": _mnist,
    "cifar10": _cifar10,
}

_DIGITS = tuple("0123456789")
CLASSES = {
    "digits": _DIGITS,
    "fashion_mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    "mnist": _DIGITS,
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}  # fmt: skip
