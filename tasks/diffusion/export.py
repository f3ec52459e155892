"""python -m tasks.diffusion.export writes a trained model as a pipeline of diffusers; `--help` explains every flag."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from golu import get_activation_function
from tasks.diffusion.models import noise_of
from tasks.diffusion.trained import Trained, add_model_flags, load
from workbench.cli.arguments import Parser
from workbench.cli.errors import UserError, run
from workbench.output.storage import whole_folder

DESCRIPTION = """\
Write a trained model as a folder of diffusers, to be used without this repository.

  python -m tasks.diffusion.export --checkpoint results/digits/tiny_unet/GoLU/checkpoint_0.pth --output golu_digits

The README.md in the folder has the lines that load it; they need diffusers and golu."""

CARD = """\
---
library_name: diffusers
tags: [unconditional-image-generation]
---

A denoising diffusion model with the activation {activation}, trained on {dataset}: {channels} x {size} x {size} pixels.

```python
from diffusers import DDPMPipeline, UNet2DModel
from diffusers.models.activations import ACT2CLS
from golu import get_activation_function, replace_activation_by_name

folder = "."  # this one
ACT2CLS["{name}"] = lambda: get_activation_function("{activation}")  # the act_fn of its configuration
model = UNet2DModel.from_pretrained(folder, subfolder="unet")
model = replace_activation_by_name(model, "SiLU", "{activation}")  # in the two places that act_fn does not reach
pipeline = DDPMPipeline.from_pretrained(folder, unet=model)
pipeline(batch_size=4, num_inference_steps={steps}).images[0].save("sample.png")
```
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser("python -m tasks.diffusion.export", DESCRIPTION)
    add_model_flags(parser)
    parser.add_argument(
        "--output", type=Path, default=Path("exported"), metavar="DIR", help="folder to write, which must not be there"
    )
    options = parser.parse_args(arguments)
    if options.output.exists():
        raise UserError(f"--output {options.output} is there already: choose another, or delete it")
    export(load(options.checkpoint, options.average), options.output)
    print(f"{options.output}/README.md says how to load the model")


def export(trained: Trained, folder: Path) -> None:
    """Write a model and its schedule of noise as diffusers' DDPMPipeline, whole or not at all.

    Its configuration names the activation in a way that diffusers does not know, so that without the lines of the
    README.md it refuses to load the model instead of taking another activation in two places.

    Raises:
        UserError: the activation has parameters, or the folder cannot be written.
    """
    from diffusers import DDPMPipeline

    activation = trained.configuration["activation"]
    if any(True for _ in get_activation_function(activation).parameters()):
        raise UserError(
            f"{activation} has parameters of its own, which diffusers cannot load in all places of the model: only "
            "activations without any are exported"
        )
    name = f"golu_{activation.lower()}"
    trained.model.register_to_config(act_fn=name)
    with whole_folder(folder) as unfinished:
        DDPMPipeline(trained.model, noise_of(trained.settings)).save_pretrained(unfinished)
        card = CARD.format(
            activation=activation, name=name, dataset=trained.configuration["dataset"],
            channels=trained.image_channels, steps=trained.settings.timesteps, size=trained.settings.image_size,
        )  # fmt: skip
        (unfinished / "README.md").write_text(card)


if __name__ == "__main__":
    run(main)
