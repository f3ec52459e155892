"""Draw images from noise: denoising diffusion models (DDPM) on CelebA, or any images."""
