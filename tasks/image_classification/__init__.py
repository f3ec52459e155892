"""Classify the images of ImageNet-1K, or of any folder, with torchvision's and timm's models."""
