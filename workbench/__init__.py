"""What every program stands on; knows no task."""
