"""Miniature ImageNet-1K archives in the format of the real ones."""

import io
import random
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

TRAIN, VAL, DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"
GROUND_TRUTH = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
META = "ILSVRC2012_devkit_t12/data/meta.mat"
# the fields of the real meta.mat, in its order: torchvision goes by the order
FIELDS = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height", "num_train_images"]


def write_archives(
    folder: Path, classes: int = 3, train_per_class: int = 4, val: int = 5, size: tuple[int, int] = (40, 48)
) -> tuple[list[str], list[str]]:
    """Write the three archives into the folder, which is made if it is missing.

    Images of one name and size have the same bytes in every call: `jpeg` gives them.

    Args:
        val: validation images; they go through the classes in turn, so that as many as classes have each class.
        size: width and height of the images.

    Returns:
        The classes' names, sorted, and the validation images' classes, in the images' order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wnids = [f"n{1440764 + 5 * number:08}" for number in range(classes)]
    by_id = wnids[::-1]  # IDs do not follow the names: in the real file n02119789 is 1 and n01440764 is 449
    ids = [number % classes + 1 for number in range(val)]

    images = {wnid: {name: jpeg(name, size) for name in train_names(wnid, train_per_class)} for wnid in wnids}
    (folder / TRAIN).write_bytes(pack({f"{wnid}.tar": pack(images[wnid]) for wnid in wnids}))
    (folder / VAL).write_bytes(pack({name: jpeg(name, size) for name in val_names(val)}))
    devkit = {META: _meta(by_id, train_per_class), GROUND_TRUTH: "".join(f"{each}\n" for each in ids).encode()}
    (folder / DEVKIT).write_bytes(pack(devkit, "w:gz"))
    return wnids, [by_id[each - 1] for each in ids]


def train_names(wnid: str, count: int) -> list[str]:
    """The file names of a class; as in the real archives their numbers have gaps and are not padded."""
    return [f"{wnid}_{7 * number + 3}.JPEG" for number in range(count)]


def val_names(count: int) -> list[str]:
    """The file names of the validation images, in the order of the ground truth."""
    return [f"ILSVRC2012_val_{number + 1:08}.JPEG" for number in range(count)]


def jpeg(name: str, size: tuple[int, int] = (40, 48)) -> bytes:
    """An image of noise around a colour of its own, the same for the same name and size."""
    width, height = size
    rng = np.random.default_rng(list(name.encode()))
    pixels = rng.integers(0, 156, 3) + rng.integers(0, 100, (height, width, 3))
    content = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(content, "JPEG")
    return content.getvalue()


def pack(files: dict[str, bytes], mode: str = "w") -> bytes:
    """A tar archive of the files, not in the order of their names, which real archives do not promise either."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode, format=tarfile.GNU_FORMAT) as tar:
        for name in random.Random(0).sample(list(files), len(files)):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            tar.addfile(member, io.BytesIO(files[name]))
    return content.getvalue()


def _meta(by_id: list[str], train_per_class: int) -> bytes:
    """A meta.mat: the classes by ID, then two synsets above them, which are no classes."""
    count = len(by_id)
    leaves = [
        (number, wnid, f"thing {number}, Res {number}", f"a thing of kind {number}", 0, [], 0, train_per_class)
        for number, wnid in enumerate(by_id, start=1)
    ]
    above = [
        (count + 1, "n00001740", "entity", "that which exists", 1, [count + 2], 2, 0),
        (count + 2, "n00002684", "object, physical object", "a thing", count, list(range(1, count + 1)), 1, 0),
    ]
    synsets = np.empty((count + 2, 1), [(field, object) for field in FIELDS])
    for row, synset in enumerate(leaves + above):
        synsets[row, 0] = synset
    content = io.BytesIO()
    savemat(content, {"synsets": synsets})
    return content.getvalue()
