"""The gates as distribution functions: which random variable each activation's gate belongs to."""
