"""What activations do to random inputs, photographs and networks at initialisation, measured and computed."""
