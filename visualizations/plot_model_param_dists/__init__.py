"""How the weights of trained models are distributed."""
