"""Compare activations: the same model, weights and data order with each, over several seeds."""
