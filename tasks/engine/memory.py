"""How much memory a forward pass keeps."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def kept_for_backward(forward: Callable[[], Tensor], own: Iterable[Tensor] = ()) -> int:
    """The bytes that autograd keeps of one forward pass: each storage once and whole, those of `own` not counted.

    Args:
        forward: called once; what it returns holds the graph.
        own: tensors that are there anyway, as a model's parameters and buffers.
    """
    owned = {each.untyped_storage().data_ptr() for each in own}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = forward()  # holds the graph, and so the storages, until they are counted
    total = sum(kept.values())
    del output
    return total
