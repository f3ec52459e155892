"""What the figures share: their flags and files, the activations as functions, trained models."""
