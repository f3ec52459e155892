"""Provide what every program stands on; nothing here imports a task."""
