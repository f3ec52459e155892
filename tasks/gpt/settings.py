"""The settings of a training; each is a flag, and tasks/gpt/config has named sets of them."""

from dataclasses import dataclass

from golu.activations import unknown_name
from workbench.cli.arguments import non_negative_float, non_negative_int, positive_float, positive_int, unit_float
from workbench.cli.errors import UserError
from workbench.cli.settings import setting

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Settings:
    """With data, activation and seed, all that the numbers of a run depend on."""

    model: str = setting(str, "tiny", "the recipe")
    n_layer: int = setting(positive_int, 12, "layers")
    n_head: int = setting(positive_int, 12, "attention heads of a layer")
    n_embd: int = setting(positive_int, 768, "width of the residual stream")
    block_size: int = setting(positive_int, 1024, "tokens of context")
    dropout: float = setting(unit_float, 0.0, "after embeddings, attention and MLPs")
    bias: bool = setting(bool, False, "biases in linear layers and norms")
    vocab_multiple: int = setting(positive_int, 64, "the rows of the embedding are made a multiple of this, for speed")
    batch_size: int = setting(positive_int, 12, "sequences that a process runs through the model at once, at most")
    gradient_accumulation_steps: int = setting(
        positive_int, 40, "batches of a step over all processes; a step has this times --batch-size sequences"
    )
    max_iters: int = setting(positive_int, 600000, "steps of the training")
    epochs: int | None = setting(
        positive_int,
        None,
        "passes over the text instead of --max-iters, each evaluated; a warm-up longer than a fifth of them is cut",
    )
    learning_rate: float = setting(positive_float, 6e-4, "the highest learning rate")
    warmup_iters: int = setting(non_negative_int, 2000, "steps in which it rises from near 0")
    lr_decay_iters: int | None = setting(positive_int, None, "steps until it is lowest; none: all")
    min_lr: float | None = setting(non_negative_float, None, "the lowest learning rate; none: a tenth of the highest")
    decay_lr: bool = setting(bool, True, "the learning rate rises and falls along a cosine, or is constant")
    weight_decay: float = setting(non_negative_float, 0.1, "of matrices; biases and norms have none")
    beta1: float = setting(unit_float, 0.9, "of AdamW")
    beta2: float = setting(unit_float, 0.95, "of AdamW")
    grad_clip: float = setting(non_negative_float, 1.0, "largest norm of the gradient; 0: any")
    eval_interval: int = setting(positive_int, 1000, "steps between two evaluations")
    eval_iters: int = setting(positive_int, 200, "validation batches of --batch-size sequences, spread over the text")
    dtype: str | None = setting(str, None, "float32, bfloat16 or float16 where safe; none: bfloat16 on a GPU")

    def __post_init__(self) -> None:
        if self.n_embd % self.n_head:
            raise UserError(f"--n-embd {self.n_embd} is no multiple of --n-head {self.n_head}")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise UserError(unknown_name("dtype", self.dtype, DTYPES))
        if max(self.beta1, self.beta2) >= 1:
            raise UserError(f"--beta1 {self.beta1} and --beta2 {self.beta2} must be below 1")

    @property
    def step_sequences(self) -> int:
        """Sequences of a step, whatever the number of processes."""
        return self.batch_size * self.gradient_accumulation_steps
