"""python -m tasks.image_classification.tiny_vit.main: TinyViT, by a recipe in a YAML file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.image_classification.timm_training import Settings, run_timm
from workbench.cli.arguments import Parser
from workbench.cli.errors import UserError, run
from workbench.cli.settings import add_settings, chosen, from_mapping
from workbench.vision.flags import add_file_flags, add_run_flags, where

CONFIGS = Path(__file__).parent / "configs"
DESCRIPTION = """\
Train TinyViT on ImageNet-1K or other images. Killed and started again, it goes on.

  torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.tiny_vit.main \\
      --cfg tasks/image_classification/tiny_vit/configs/1k/tiny_vit_21m.yaml --data-path data/imagenet_1k --act GoLU
  python -m tasks.image_classification.tiny_vit.main --dataset digits --img-size 64 --batch-size 8 --epochs 1 \\
      --model tiny_vit_5m_224 --limit-train 160 --limit-val 50      # a minute on a laptop, no download"""


def main() -> None:
    parser = Parser("python -m tasks.image_classification.tiny_vit.main", DESCRIPTION)
    parser.add_argument(
        "--cfg", type=Path, default=CONFIGS / "1k/tiny_vit_21m.yaml", metavar="FILE",
        help="the recipe (default: configs/1k/tiny_vit_21m.yaml beside the program)",
    )  # fmt: skip
    add_file_flags(parser, ["--data-path"], "folder", Path("data/imagenet_1k"))
    add_run_flags(parser, ["--output"], ["--act", "--activation"])
    parser.add_argument("--run-name", metavar="NAME", help="a name that is stored with the results (default: none)")
    add_settings(parser, Settings(), default="the recipe's")
    options = parser.parse_args()
    settings = chosen(options, from_mapping(read_recipe(options.cfg), Settings(), str(options.cfg)))
    run_timm(settings, replace(where(options), run_name=options.run_name))


def read_recipe(path: Path) -> dict[str, Any]:
    """The settings in a YAML file.

    Raises:
        UserError: it is missing or no mapping of names to values.
    """
    import yaml

    try:
        recipe = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no YAML: {error}") from error
    if not isinstance(recipe, dict):
        raise UserError(f"{path} is no recipe: it has to hold lines as 'epochs: 300'")
    return recipe


if __name__ == "__main__":
    run(main)
