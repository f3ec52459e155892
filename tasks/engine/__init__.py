"""What every task shares. Nothing here knows a task."""
