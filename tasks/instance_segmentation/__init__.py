"""Detect objects and segment each of them: detection with masks."""
