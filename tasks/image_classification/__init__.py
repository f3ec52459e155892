"""Image classification on ImageNet-1K, or any folder of images, with torchvision's and timm's models."""
