"""One figure a file, drawn by `python -m visualizations.<folder>.<file>`."""
