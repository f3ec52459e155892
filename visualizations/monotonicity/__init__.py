"""Where the activations decrease, and what that does to a feature map."""
