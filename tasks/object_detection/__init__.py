"""Detect objects in images in COCO's format."""
