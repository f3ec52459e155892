"""Small models on small images: CIFAR ResNets, a wide and a dense one, a small ViT, and the ablations with MLPs."""
