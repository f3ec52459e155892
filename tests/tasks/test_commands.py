"""The commands of the specification, as it has them: what they train, on what, and where it is stored."""

import importlib
import shlex
import string
from pathlib import Path

import pytest

from tasks.diffusion import settings as diffusion
from tasks.image_classification import settings, timm_settings
from tasks.small_poc.recipes import RECIPES
from workbench.training.launch import Machine
from workbench.training.runs import StoredRun
from workbench.training.task import Source

VALUES = {"RESULTS_PATH": "/the/results", "DATA_PATH": "/the/data", "ACTIVATION": "Mish", "SEED": 3, "NUM_WORKERS": 7}
IMAGENET = Path("/the/data/imagenet_1k")
STORED = {"folder": "imagenet_1k", "torch/imagenet": "imagenet_1k", "torch/CIFAR10": "cifar10", "cifar10": "cifar10",
          "celeba": "celeba"}  # fmt: skip
COMMANDS = [
    (
        """torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.train --workers $NUM_WORKERS
        --output-dir $RESULTS_PATH --data-path "$DATA_PATH/imagenet_1k" --model resnet34
        --activation $ACTIVATION --seed $SEED --sync-bn""",
        settings.Settings(model="resnet34", sync_bn=True),
        Source("folder", IMAGENET),
    ),
    (
        """torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.train --workers $NUM_WORKERS
        --output-dir $RESULTS_PATH --data-path "$DATA_PATH/imagenet_1k" --model densenet121
        --activation $ACTIVATION --seed $SEED --opt "sgd_nesterov" --sync-bn""",
        settings.Settings(model="densenet121", opt="sgd_nesterov", sync_bn=True),
        Source("folder", IMAGENET),
    ),
    (
        """torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.timm_training_script
        --output $RESULTS_PATH --dataset "torch/imagenet" --data-dir "$DATA_PATH/imagenet_1k" --seed $SEED
        --activation $ACTIVATION --model "efficientnet_b0" --batch-size 384 --sched "step" --epochs 450
        --decay-epochs 2.4 --decay-rate 0.97 --opt "rmsproptf" --opt-eps 0.001 --workers $NUM_WORKERS --warmup-lr 1e-6
        --weight-decay 1e-5 --drop 0.2 --drop-connect 0.2 --model-ema --model-ema-decay 0.9999 --aa "rand-m9-mstd0.5"
        --remode "pixel" --reprob 0.2 --amp --lr 0.048""",
        timm_settings.Settings(
            model="efficientnet_b0", batch_size=384, sched="step", epochs=450, decay_epochs=2.4, decay_rate=0.97,
            opt="rmsproptf", opt_eps=0.001, warmup_lr=1e-6, weight_decay=1e-5, drop=0.2, drop_path=0.2, model_ema=True,
            model_ema_decay=0.9999, aa="rand-m9-mstd0.5", remode="pixel", reprob=0.2, amp=True, lr=0.048,
        ),
        Source("torch/imagenet", IMAGENET),
    ),
    (
        """torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.tiny_vit.main
        --cfg "./tasks/image_classification/tiny_vit/configs/1k/tiny_vit_21m.yaml" --data-path "$DATA_PATH/imagenet_1k"
        --batch-size 256 --seed $SEED --run-name $ACTIVATION --act $ACTIVATION
        --output "$RESULTS_PATH/$ACTIVATION/$SEED\"""",
        timm_settings.Settings(  # from scratch, as Wu et al., 2022
            model="tiny_vit_21m_224", img_size=224, epochs=300, batch_size=256, opt="adamw", opt_eps=1e-8,
            opt_betas=(0.9, 0.999), weight_decay=0.05, clip_grad=5.0, lr_base=2.5e-4, lr_base_scale="linear",
            sched="cosine", sched_on_updates=True, warmup_epochs=20, warmup_lr=1e-6, min_lr=1e-5, drop_path=0.2,
            mixup=0.8, cutmix=1.0, aa="rand-m9-mstd0.5-inc1", reprob=0.25, interpolation="bicubic", amp=True,
        ),
        Source("folder", IMAGENET),
    ),
    (
        """torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.train --workers $NUM_WORKERS
        --output-dir $RESULTS_PATH --data-path "$DATA_PATH/imagenet_1k" --model vit_b_16 --activation $ACTIVATION
        --seed $SEED --epochs 300 --batch-size 4096 --gradient-accumulation-steps 8 --opt "adamw" --lr 0.003 --wd 0.3
        --lr-scheduler "cosineannealinglr" --lr-warmup-method "linear" --lr-warmup-epochs 30 --lr-warmup-decay 0.033
        --amp --label-smoothing 0.11 --mixup-alpha 0.2 --cutmix-alpha 1.0 --auto-augment "imagenet"
        --clip-grad-norm 1.0 --ra-sampler --model-ema""",
        settings.Settings(
            model="vit_b_16", epochs=300, batch_size=4096, gradient_accumulation_steps=8, opt="adamw", lr=0.003, wd=0.3,
            lr_scheduler="cosineannealinglr", lr_warmup_method="linear", lr_warmup_epochs=30, lr_warmup_decay=0.033,
            amp=True, label_smoothing=0.11, mixup_alpha=0.2, cutmix_alpha=1.0, auto_augment="imagenet",
            clip_grad_norm=1.0, ra_sampler=True, model_ema=True,
        ),
        Source("folder", IMAGENET),
    ),
    (
        """python -m tasks.small_poc.main --model resnet110 --activation $ACTIVATION --seed $SEED
        --results_path $RESULTS_PATH""",
        RECIPES["resnet110"],
        Source("cifar10"),
    ),
    (
        """python -m tasks.small_poc.train_vit --model "vit_tiny_patch16_224" --dataset "torch/CIFAR10" --workers 1
        --data-dir "./data" --dataset-download --drop 0.0 --drop-path 0.1 --warmup-epochs 20 --weight-decay 0.05
        --lr-base 5e-4 --warmup-lr 5e-7 --min-lr 5e-6 --clip-grad 5 --layer-decay 1.0 --decay-epochs 30 --opt "adamw"
        --opt-eps 1e-8 --opt-betas 0.9 0.999 --aa "rand-m9-mstd0.5-inc1" --reprob 0.25 --mixup 0.8 --cutmix 1.0
        --batch-size 32 --epochs 300 --seed $SEED --ac $ACTIVATION --results_folder $RESULTS_PATH""",
        timm_settings.Settings(
            model="vit_tiny_patch16_224", drop=0.0, drop_path=0.1, warmup_epochs=20, weight_decay=0.05, lr_base=5e-4,
            warmup_lr=5e-7, min_lr=5e-6, clip_grad=5.0, layer_decay=1.0, decay_epochs=30.0, opt="adamw", opt_eps=1e-8,
            opt_betas=(0.9, 0.999), aa="rand-m9-mstd0.5-inc1", reprob=0.25, mixup=0.8, cutmix=1.0, batch_size=32,
            epochs=300,
        ),
        Source("torch/CIFAR10", Path("data")),
    ),
    (
        """torchrun --standalone --nproc_per_node=4 -m tasks.diffusion.train_ddp --num_workers $NUM_WORKERS
        --save_dir $RESULTS_PATH --data_dir $DATA_PATH --seed $SEED --activation $ACTIVATION""",
        diffusion.Settings(),
        Source("celeba", Path("/the/data")),
    ),
]  # fmt: skip


def words_of(command):
    """The program of a command of the specification, and its arguments."""
    words = shlex.split(string.Template(command).substitute(VALUES))
    start = words.index("-m")
    return importlib.import_module(words[start + 1]), words[start + 2 :]


def program_in(command):
    """For a test's name."""
    return words_of(command)[0].__name__.removeprefix("tasks.")


class Begun(Exception):
    """Its arguments are those of train_run."""


@pytest.fixture
def begins(monkeypatch):
    """What a program gives to train_run."""
    monkeypatch.chdir(Path(__file__).parents[2])  # a command names a file

    def train_run(spec, run, notes, check, extension):
        assert extension is None
        raise Begun(spec, run, notes)

    monkeypatch.setattr("workbench.training.program.train_run", train_run)

    def begin(program, arguments):
        with pytest.raises(Begun) as begun:
            program.main(arguments)
        return begun.value.args

    return begin


@pytest.mark.parametrize(("command", "wanted", "source"), COMMANDS, ids=[program_in(each) for each, *_ in COMMANDS])
def test_the_commands_of_the_specification_mean_what_they_say(command, wanted, source, begins):
    program, arguments = words_of(command)
    spec, run, notes = begins(program, arguments)
    assert (spec.settings, spec.source) == (wanted, source)
    flag = next((each for each in ("--workers", "--num_workers") if each in arguments), None)
    workers = arguments[arguments.index(flag) + 1] if flag else spec.machine.workers
    assert spec.machine == Machine(workers=int(workers), keep="best")
    named = program.__name__.endswith("tiny_vit.main")
    results = Path("/the/results/Mish/3" if named else "/the/results")
    assert run == StoredRun(results, STORED[source.dataset], wanted.model, "Mish", 3)
    assert notes == ({"run_name": "Mish"} if named else {})


OF_TIMM = [command for command, wanted, _ in COMMANDS if isinstance(wanted, timm_settings.Settings)]


@pytest.mark.parametrize("command", OF_TIMM, ids=program_in)
def test_the_programs_of_timm_have_the_specified_recipe_by_default(command, begins):
    program, arguments = words_of(command)
    assert begins(program, [])[0].settings == begins(program, arguments)[0].settings
