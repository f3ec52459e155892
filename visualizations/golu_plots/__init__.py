"""What GoLU looks like."""
