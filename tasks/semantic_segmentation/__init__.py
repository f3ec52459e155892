"""Give each pixel of an image a class."""
