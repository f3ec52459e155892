"""Speed, accuracy and memory of the activations; `results/` keeps what was measured, with hardware and versions."""
