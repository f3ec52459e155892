"""Activations side by side: the same model, weights and data order with each, over several seeds."""
