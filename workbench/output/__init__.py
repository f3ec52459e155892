"""What a program writes: storage, tables, estimates, plot style, environment."""
