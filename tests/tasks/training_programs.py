"""The rows of the contract suite: a small run of every task, as noisy as the task can be."""

import gzip
import shlex
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from tasks.gpt.prepare_text import prepare_text
from tasks.table import program_of
from workbench.vision.coco.scenes import write_scenes

CORPUS = "".join(f"{n} and {n * n} are a number and its square.\n" for n in range(200))


class FashionMNIST:
    """60 training and 30 validation images in idx files of the real format."""

    flags = "--dataset fashion_mnist"
    limit = 20  # of the validation images, for a run on other data
    training: ClassVar = []  # what is of the training part alone, where an evaluation does without

    @staticmethod
    def write(folder: Path, seed: int = 0) -> None:
        raw, rng = folder / "FashionMNIST/raw", np.random.default_rng(seed)
        raw.mkdir(parents=True, exist_ok=True)
        for split, count in (("train", 60), ("t10k", 30)):
            for kind, array in (
                ("images-idx3", rng.integers(0, 256, (count, 28, 28), np.uint8)),
                ("labels-idx1", np.arange(count, dtype=np.uint8) % 10),
            ):
                header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
                (raw / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))

    @classmethod
    def alter(cls, folder: Path) -> None:
        """Other images, as many and as large."""
        cls.write(folder, seed=1)


class Pictures:
    """18 training and 7 validation images in folders of two classes."""

    flags = "--dataset folder"
    limit = 6
    training: ClassVar = ["train"]
    counts: ClassVar = {"train": 18, "val": 7}

    @classmethod
    def write(cls, folder: Path) -> None:
        from PIL import Image

        rng = np.random.default_rng(0)
        for split, count in cls.counts.items():
            for number in range(count):
                path = folder / split / f"class{number % 2}" / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(path)

    @staticmethod
    def alter(folder: Path) -> None:
        """A byte in one of them, which keeps its size."""
        path = folder / "train/class0/0.png"
        path.write_bytes(path.read_bytes()[:-20] + b"\0" + path.read_bytes()[-19:])


class Text:
    """A text in characters."""

    flags = "--dataset text"
    limit = 20
    training: ClassVar = []

    @staticmethod
    def write(folder: Path, corpus: str = CORPUS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / "text.txt"
        source.write_text(corpus)
        prepare_text(folder / "text", [source], "characters")

    @classmethod
    def alter(cls, folder: Path) -> None:
        """Another text of the same length."""
        for path in (folder / "text").iterdir():
            path.unlink()
        cls.write(folder, CORPUS.replace("number", "rebmun"))


class Scenes:
    """8 training and 3 validation images in COCO's layout."""

    flags = "--dataset own"
    limit = 2
    training: ClassVar = ["own/train2017", "own/annotations/instances_train2017.json"]

    @staticmethod
    def write(folder: Path) -> None:
        write_scenes("scenes", folder / "own", folder, train=8, val=3)

    @staticmethod
    def alter(folder: Path) -> None:
        """A byte in one of them, which keeps its size."""
        path = sorted((folder / "own/val2017").iterdir())[0]
        path.write_bytes(path.read_bytes()[:-2] + b"\0" + path.read_bytes()[-1:])


@dataclass(frozen=True)
class Row:
    """A task of the table and a run of three evaluations that takes a second or two.

    Args:
        data: writes what is trained on, and alters it.
        flags: of the run.
        plain: what takes the noise away that differs between numbers of processes.
        halved: what makes the step of two processes the same as that of one.
        rate: the flag of the learning rate.
        wrong: further flags that are refused, each with what is said.
        few: what is said of a single training image.
        padded: whether batches are padded to their largest image: how a step is shared out then changes it a little.
        files: what it stores beside what every task does.
    """

    task: str
    data: type
    flags: str
    plain: str = ""
    halved: str = ""
    rate: str = "--lr"
    wrong: tuple[tuple[str, str], ...] = ()
    few: str = "--limit-train 1 is out of range"
    padded: bool = False
    files: tuple[str, ...] = ()

    @property
    def program(self):
        return program_of(self.task)

    def arguments(self, data: Path, results: Path, *more: str) -> list[str]:
        """The command line of the run."""
        words = ["--data", str(data), "--results", str(results), *shlex.split(f"{self.data.flags} {self.flags}")]
        return [*words, *(word for each in more for word in shlex.split(each))]

    def module(self):
        """What has the program's main."""
        return self.program


FEW = "a batch of 2 is more than the 1 training samples"
COMMON = "--device cpu --workers 0 --checkpoint-steps 2 --seed 3 --activation GoLU"
QUIET = "--mixup 0 --cutmix 0 --drop 0 --drop-path 0 --no-amp"
ROWS = (
    Row(
        "small_poc", FashionMNIST, f"--model mlp_1 --epochs 3 --batch-size 20 {COMMON}",
        wrong=(
            ("--model ResNet20", "unknown model 'ResNet20': did you mean resnet20?"),
            ("--milestones 1", "--milestones has 1 epochs, but --factors 0"),
            ("--weight-decay inf", "argument --weight-decay"),
        ),
    ),
    Row(
        "train_vit", Pictures,
        f"--img-size 16 --epochs 3 --warmup-epochs 1 --batch-size 6 --drop 0.1 --model-ema {COMMON}",
        plain=f"{QUIET} --opt sgd --lr 0.01", halved="--batch-size 3",
    ),
    Row(
        "image_classification", Pictures,
        "--model squeezenet1_1 --train-crop-size 32 --epochs 3 --batch-size 6 --gradient-accumulation-steps 2 "
        f"--mixup-alpha 0.2 --cutmix-alpha 1 --auto-augment ra --model-ema --model-ema-steps 1 {COMMON}",
        plain="--model shufflenet_v2_x0_5 --mixup-alpha 0 --cutmix-alpha 0 --gradient-accumulation-steps 1 --epochs 1",
        wrong=(
            ("--model resnet81", "unknown model 'resnet81': did you mean resnet18?"),
            ("--gradient-accumulation-steps 4", "cannot be shared evenly by 1 processes"),
            ("--lr-warmup-decay 1.5", "must be a number above 0, at most 1"),
            ("--label-smoothing 1.5", "must be a number from 0 to 1"),
            ("--model alexnet", "does not take images of 32 x 32"),
            ("--model resnet18 --batch-size 2", "no statistics for this model"),
            ("--opt sdg", "unknown opt 'sdg': did you mean sgd?"),
        ),
    ),
    Row(
        "timm_training_script", Pictures,
        "--model mobilenetv3_small_050 --img-size 32 --epochs 3 --warmup-epochs 1 --batch-size 6 --no-amp --lr 0.01 "
        f"--mixup 0.2 {COMMON}",
        plain=f"{QUIET} --epochs 1", halved="--batch-size 3",
        wrong=(
            ("--model eficientnet_b0", "such as efficientnet_b0"),
            ("--batch-size 5", "a batch of 5 is odd"),
            ("--drop 1.1", "must be a number from 0 to 1"),
            ("--opt bnbadam", "the optimiser bnbadam cannot be made"),
            ("--opt sdg", "unknown opt 'sdg': did you mean sgd?"),
        ),
    ),
    Row(
        "tiny_vit", Pictures,
        f"--model mobilenetv3_small_050 --img-size 32 --epochs 3 --warmup-epochs 1 --batch-size 6 --no-amp {COMMON}",
        plain=f"{QUIET} --opt sgd --epochs 1", halved="--batch-size 3",
        wrong=(
            ("--model tiny_vit_2m_224", "such as tiny_vit_"),
            ("--sched cosin", "unknown sched 'cosin': did you mean cosine?"),
        ),
    ),
    Row(
        "gpt", Text,
        "--n-layer 2 --n-head 2 --n-embd 32 --block-size 16 --dropout 0.1 --batch-size 4 "
        f"--gradient-accumulation-steps 2 --eval-iters 5 --eval-interval 5 --max-iters 13 --warmup-iters 3 {COMMON}",
        plain="--dropout 0", rate="--learning-rate",
        wrong=(
            ("--n-embd 31", "--n-embd 31 is no multiple of --n-head 2"),
            ("--dtype float8", "unknown dtype 'float8'"),
            ("--beta2 1", "must be below 1"),
            ("--block-size 4000", "too few for a context of 4000"),
            ("--model-name gpt3", "unknown model 'gpt3'"),
        ),
    ),
    Row(
        "object_detection", Scenes,
        f"--model fasterrcnn_resnet10_fpn --min-size 32 --max-size 54 --epochs 3 --batch-size 2 {COMMON}",
        halved="--batch-size 1", few=FEW, padded=True, files=("pictures_3",),
        wrong=(
            ("--model fasterrcnn_resnet51_fpn", "unknown model 'fasterrcnn_resnet51_fpn': did you mean faster"),
            ("--data-augmentation flip", "unknown data_augmentation 'flip': did you mean hflip?"),
            ("--min-size 500 --max-size 100", "--min-size 500 is larger than --max-size 100"),
            ("--trainable-backbone-layers 3", "--trainable-backbone-layers is for a trained backbone"),
            ("--trainable-backbone-layers 6 --weights-backbone X", "--trainable-backbone-layers 6 is out of range"),
            ("--weights X --weights-backbone Y", "--weights and --weights-backbone are both given"),
            ("--model retinanet_resnet50_fpn --weights X", "unknown weights of retinanet_resnet50_fpn 'X'"),
            ("--backbone-checkpoint-path /nowhere", "there is no trained backbone /nowhere/GoLU/checkpoint_3.pth"),
            ("--batch-size 9", "a batch of 9 is more than the 8 training samples"),
            ("--dataset ../own", "--dataset ../own is no name"),
            ("--lr-scheduler step", "unknown lr_scheduler 'step'"),
            ("--rpn-score-thresh 2", "must be a number from 0 to 1"),
        ),
    ),
    Row(
        "instance_segmentation", Scenes,
        "--model maskrcnn_resnet10_fpn --min-size 32 --max-size 54 --epochs 3 --batch-size 2 "
        f"--data-augmentation multiscale {COMMON}",
        halved="--batch-size 1", few=FEW, padded=True, files=("pictures_3",),
        wrong=(
            ("--model fasterrcnn_resnet50_fpn", "unknown model 'fasterrcnn_resnet50_fpn'"),
            ("--opt sdg", "unknown opt 'sdg': did you mean sgd?"),
        ),
    ),
    Row(
        "semantic_segmentation", Scenes,
        f"--model lraspp_resnet10 --base-size 32 --crop-size 32 --epochs 3 --batch-size 4 {COMMON}",
        halved="--batch-size 2", few=FEW.replace("2", "4"), files=("pictures_3",),
        wrong=(
            ("--model deeplabv4", "unknown model 'deeplabv4'"),
            ("--aux-loss maybe", "must be True or False, not 'maybe'"),
            ("--aux-loss True", "lraspp_resnet10 has no second head: --aux-loss False"),
            ("--scales 2 1", "--scales 2.0 1.0: give the smallest and the largest"),
            ("--batch-size 1", "a batch of one image in a process has no statistics"),
        ),
    ),
    Row(
        "diffusion", Pictures,
        "--model small_unet --image-size 8 --channels 8 16 --norm-groups 4 --timesteps 20 --dropout 0.1 --mirror "
        f"--ema-decay 0.9 --epochs 3 --batch-size 6 --samples 4 --sample-steps 3 --sample-every 2 {COMMON}",
        plain="--dropout 0", halved="--batch-size 3", files=("pictures_3",),
        wrong=(
            ("--model ddpm_unett", "unknown model 'ddpm_unett': did you mean ddpm_unet?"),
            ("--mixed-precision fp8", "unknown mixed_precision 'fp8': choose from no, fp16, bf16"),
            ("--image-size 7", "--image-size 7 cannot be halved 1 times, as a UNet of 2 levels does"),
            ("--image-size 2", "take a multiple of 2 from 4 on"),
            ("--channels 6 16", "--channels 6 is no multiple of --norm-groups 4"),
            ("--channels 12 16 --middle-attention", "--channels 12 is no multiple of 8"),
            ("--attention-levels 3", "--attention-levels 3 is out of range: there are 2"),
            ("--beta-start 0.1 --beta-end 0.01", "--beta-start 0.1 and --beta-end 0.01 must rise, and be below 1"),
            ("--dropout 1", "--dropout and --ema-decay must be below 1"),
            ("--timesteps 0", "argument --timesteps"),
            ("--dataset celeba", "tasks.diffusion.prepare_celeba"),
        ),
    ),
)  # fmt: skip

# Tasks of which another row already takes nearly the same way through the code; where a test takes many seconds a row,
# these run only with -m slow.
ALIKE = ("train_vit", "timm_training_script", "tiny_vit", "object_detection", "instance_segmentation")
DISTINCT = [pytest.param(row, marks=[pytest.mark.slow] if row.task in ALIKE else []) for row in ROWS]
