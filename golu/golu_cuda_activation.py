"""The documented path of GoLU with its CUDA kernel. It is the same class everywhere, and runs without CUDA too."""

from golu.modules import GoLU as GoLUCUDA

__all__ = ["GoLUCUDA"]
