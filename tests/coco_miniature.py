"""COCO made small: its folders, its 80 categories with their ids, and a few images of random pixels."""

import json

import numpy as np
from PIL import Image

CATEGORIES = sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})


def write(folder, train=8, val=5, seed=0):
    """Images of 60 to 100 pixels, each with a person and one to three other objects, as polygons, and a crowd."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("val", val)):
        images, annotations = [], []
        (folder / f"{split}2017").mkdir(parents=True)
        for number in range(1, count + 1):
            width, height = (int(each) for each in rng.integers(60, 100, 2))
            name = f"{number:012}.jpg"
            pixels = rng.integers(0, 256, (height // 10, width // 10, 3), np.uint8)
            Image.fromarray(pixels).resize((width, height)).save(folder / f"{split}2017" / name)
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            others = rng.choice(CATEGORIES, rng.integers(1, 4)).tolist()
            for category in [1, *others]:
                x, y = (int(each) for each in rng.integers(0, 30, 2))
                w, h = (int(each) for each in rng.integers(15, 30, 2))
                polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
                annotations.append(
                    {"image_id": number, "category_id": category, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0,
                     "segmentation": [polygon]}
                )  # fmt: skip
        counts = [0, 50, images[-1]["height"] * images[-1]["width"] - 50]
        annotations.append(
            {"image_id": count, "category_id": 2, "bbox": [0, 0, 1, 50], "area": 50, "iscrowd": 1,
             "segmentation": {"size": [images[-1]["height"], images[-1]["width"]], "counts": counts}}
        )  # fmt: skip
        content = {
            "images": images,
            "annotations": [{"id": number, **each} for number, each in enumerate(annotations, start=1)],
            "categories": [{"id": each, "name": f"category {each}", "supercategory": "any"} for each in CATEGORIES],
        }
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / f"annotations/instances_{split}2017.json").write_text(json.dumps(content))
