"""Provide the documented path of the GoLU module."""

from golu.modules import GoLU

__all__ = ["GoLU"]
