"""Train small models on small images: CIFAR ResNets, WRN, DenseNet, a small ViT, and the ablations with MLPs."""
