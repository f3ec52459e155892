"""List the recipes: that of the paper on CelebA, the same at the learning rate of its table, and small ones."""

from dataclasses import replace

from tasks.diffusion.settings import Settings

CELEBA = Settings()
# For small images without a download; a digit that is mirrored is none.
SMALL = Settings(
    model="small_unet", epochs=12, batch_size=32, lr=1e-3, warmup_steps=100, mixed_precision="no", image_size=32,
    mirror=False, channels=(32, 64), attention_levels=(0,), middle_attention=False, norm_groups=8, dropout=0.0,
    sample_every=4,
)  # fmt: skip
RECIPES = {
    each.model: each
    for each in (
        CELEBA,
        replace(CELEBA, model="ddpm_unet_lr1e-3", lr=1e-3),
        SMALL,
        replace(SMALL, model="tiny_unet", image_size=16),  # for digits, which are 8 x 8
    )
}  # fmt: skip
