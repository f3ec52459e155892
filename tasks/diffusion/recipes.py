"""List the recipes: that of the paper on CelebA, the same at the learning rate of its table, and a small one."""

from dataclasses import replace

from tasks.diffusion.settings import Settings

CELEBA = Settings()
RECIPES = {
    each.model: each
    for each in (
        CELEBA,
        replace(CELEBA, model="ddpm_unet_lr1e-3", lr=1e-3),
        # For small images without a download; a digit that is mirrored is none.
        Settings(
            model="small_unet", epochs=20, batch_size=32, lr=1e-3, warmup_steps=100, mixed_precision="no",
            image_size=32, mirror=False, channels=(32, 64), attention_levels=(0,), middle_attention=False,
            norm_groups=8, dropout=0.0, sample_every=5,
        ),
    )
}  # fmt: skip
