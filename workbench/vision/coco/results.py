"""Write what a detector finds as COCO's results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def results_of(output: Mapping[str, Tensor], image_id: int) -> list[dict[str, Any]]:
    """Return what was found in an image as COCO's results, an entry an object.

    Args:
        output: of a detector of torchvision: boxes, float (N, 4), x1 y1 x2 y2; scores; labels; perhaps masks,
            float (N, 1, H, W), the probability of each pixel.
    """
    boxes = output["boxes"].float().cpu()
    boxes = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    columns = boxes.tolist(), output["scores"].float().tolist(), output["labels"].tolist()
    found: list[dict[str, Any]] = [
        {"image_id": image_id, "category_id": label, "bbox": box, "score": score}
        for box, score, label in zip(*columns, strict=True)
    ]
    if "masks" in output:
        masks = (output["masks"][:, 0] > 0.5).cpu()  # at once: a GPU takes as long for one
        for entry, mask in zip(found, masks, strict=True):
            entry["segmentation"] = encoded(mask)
    return found


def region(mask: Tensor) -> dict[str, Any]:
    """Return a mask, bool (H, W), with at least a pixel, as an annotation has it: segmentation, area and box."""
    rows, columns = (torch.nonzero(mask.any(axis)).flatten() for axis in (1, 0))
    (x, y), (right, bottom) = (int(columns[0]), int(rows[0])), (int(columns[-1]), int(rows[-1]))
    return {
        "segmentation": encoded(mask), "area": int(mask.sum()), "bbox": [x, y, right - x + 1, bottom - y + 1],
    }  # fmt: skip


def encoded(mask: Tensor) -> dict[str, Any]:
    """Return a mask, bool (H, W), as a compressed run-length encoding that JSON can hold."""
    import numpy as np
    from faster_coco_eval import mask as masks

    encoding: dict[str, Any] = masks.encode(np.asfortranarray(mask.cpu().numpy().astype(np.uint8)))
    counts = encoding["counts"]
    return {"size": list(encoding["size"]), "counts": counts.decode() if isinstance(counts, bytes) else counts}
