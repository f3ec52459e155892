"""Eigenvalues of random matrices after an activation."""
