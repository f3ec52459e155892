"""TinyViT on ImageNet-1K; its recipes are in configs/."""
