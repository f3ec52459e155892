"""python -m tasks.image_classification.tiny_vit.main: TinyViT, by a recipe in a YAML file."""

from pathlib import Path
from typing import Any

from tasks.image_classification.timm_settings import Settings
from tasks.image_classification.timm_task import TimmClassification
from workbench.cli.arguments import Parser
from workbench.cli.errors import UserError, run
from workbench.cli.settings import from_mapping
from workbench.training.program import Options, TrainingProgram
from workbench.vision.files import DATA_HELP, DATASETS_HELP

CONFIGS = Path(__file__).parent / "configs"
DESCRIPTION = """\
Train TinyViT on ImageNet-1K or other images. Stopped and started again, it resumes.

  torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.tiny_vit.main \\
      --cfg tasks/image_classification/tiny_vit/configs/1k/tiny_vit_21m.yaml --data data/imagenet_1k --activation GoLU
  python -m tasks.image_classification.tiny_vit.main --dataset digits --img-size 64 --batch-size 8 --epochs 1 \\
      --model tiny_vit_5m_224 --limit-train 160 --limit-val 50      # a minute on a laptop, no download"""


def _add_flags(parser: Parser) -> None:
    parser.add_argument(
        "--cfg", type=Path, default=CONFIGS / "1k/tiny_vit_21m.yaml", metavar="FILE",
        help="the recipe (default: configs/1k/tiny_vit_21m.yaml beside the program)",
    )  # fmt: skip
    parser.add_argument("--run-name", metavar="NAME", help="a name that is stored with the results (default: none)")


def _base(options: Options) -> Settings:
    return from_mapping(read_recipe(options.cfg), Settings(), str(options.cfg))


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


PROGRAM = TrainingProgram(
    module="tasks.image_classification.tiny_vit.main",
    description=DESCRIPTION,
    task_class=TimmClassification,
    recipes={"timm": Settings()},
    datasets=DATASETS_HELP,
    data_help=DATA_HELP,
    dataset="folder",
    data=Path("data/imagenet_1k"),
    pictures=True,
    aliases={"results": ["--output"], "data": ["--data-path"], "activation": ["--act"]},
    add_flags=_add_flags,
    base=_base,
    default_text="the recipe's",
    published="tiny_vit_21m_224.dist_in22k",
)
main = PROGRAM.main

if __name__ == "__main__":
    run(main)
