"""The loss around trained models: how steep, how rough, how robust to noise in the weights."""
