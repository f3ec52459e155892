"""Provide the documented path of GoLU with its CUDA kernel: the same class, which runs without CUDA too."""

from golu.modules import GoLU as GoLUCUDA

__all__ = ["GoLUCUDA"]
