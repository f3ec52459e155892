"""Provide what tasks on images share: data sets, image files, models, classification metrics."""
