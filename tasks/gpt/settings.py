"""Define the settings of a training; each is a flag, and tasks/gpt/config has named sets of them."""

from dataclasses import dataclass

from golu.activations import unknown_name
from workbench.cli.arguments import non_negative_float, non_negative_int, positive_float, positive_int, unit_float
from workbench.cli.errors import UserError
from workbench.cli.settings import setting

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Settings:
    """Hold all that the numbers of a run depend on, with data, activation and seed."""

    model: str = setting(str, "tiny", "name of the recipe")
    n_layer: int = setting(positive_int, 12, "number of layers")
    n_head: int = setting(positive_int, 12, "number of attention heads in a layer")
    n_embd: int = setting(positive_int, 768, "width of the residual stream")
    block_size: int = setting(positive_int, 1024, "number of tokens of context")
    dropout: float = setting(unit_float, 0.0, "dropout after embeddings, attention and MLPs; 0 turns it off")
    bias: bool = setting(bool, False, "biases in linear layers and norms")
    gated: bool = setting(
        bool, False, "gated MLPs, activation(a) * b of two projections to 8/3 of the width: as many parameters"
    )
    vocab_multiple: int = setting(positive_int, 64, "the embedding has a multiple of so many rows, for speed")
    batch_size: int = setting(positive_int, 12, "largest number of sequences in a batch, which one process takes")
    gradient_accumulation_steps: int = setting(
        positive_int, 40, "accumulated batches over all processes; a step has this times --batch-size sequences"
    )
    max_iters: int = setting(positive_int, 600000, "number of training steps")
    epochs: int | None = setting(
        positive_int,
        None,
        "number of epochs, each evaluated, instead of --max-iters; warm-up takes at most a fifth of them",
    )
    learning_rate: float = setting(positive_float, 6e-4, "highest learning rate")
    warmup_iters: int = setting(non_negative_int, 2000, "warm-up steps, in which the learning rate rises from near 0")
    lr_decay_iters: int | None = setting(positive_int, None, "step with the lowest learning rate; none: the last")
    min_lr: float | None = setting(non_negative_float, None, "lowest learning rate; none: a tenth of the highest")
    decay_lr: bool = setting(bool, True, "warm-up and cosine decay of the learning rate; off: it is constant")
    weight_decay: float = setting(non_negative_float, 0.1, "weight decay of all but biases and norms")
    beta1: float = setting(unit_float, 0.9, "beta1 of AdamW")
    beta2: float = setting(unit_float, 0.95, "beta2 of AdamW")
    grad_clip: float = setting(non_negative_float, 1.0, "gradient clipping: largest gradient norm; 0 turns it off")
    eval_interval: int = setting(positive_int, 1000, "number of steps between evaluations")
    eval_iters: int = setting(positive_int, 200, "validation batches of --batch-size sequences, spread over the text")
    dtype: str | None = setting(str, None, "precision: float32, bfloat16 or float16 if safe; none: bfloat16 on a GPU")

    def __post_init__(self) -> None:
        if self.n_embd % self.n_head:
            raise UserError(f"--n-embd {self.n_embd} is no multiple of --n-head {self.n_head}")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise UserError(unknown_name("dtype", self.dtype, DTYPES))
        if max(self.beta1, self.beta2) >= 1:
            raise UserError(f"--beta1 {self.beta1} and --beta2 {self.beta2} must be below 1")

    @property
    def step_sequences(self) -> int:
        """Return the sequences of a step, whatever the number of processes."""
        return self.batch_size * self.gradient_accumulation_steps
