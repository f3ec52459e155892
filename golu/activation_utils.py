"""Provide the documented path of the utilities that fetch, swap and update activations."""

from golu.activations import get_activation_function
from golu.surgery import (
    replace_activation_by_name,
    replace_activation_by_torch_module,
    update_golu_parameters,
)

__all__ = [
    "get_activation_function",
    "replace_activation_by_name",
    "replace_activation_by_torch_module",
    "update_golu_parameters",
]
