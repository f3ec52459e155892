"""What trains: the loop, its processes, samples, rates, checkpoints and stored runs."""
