"""How training and validation go."""
