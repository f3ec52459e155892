"""A small model for any text and two CPU cores: about a minute. The values are customary, tuned for no activation."""

from tasks.gpt.settings import Settings

TINY = Settings(
    n_layer=4,
    n_head=4,
    n_embd=128,
    block_size=64,
    vocab_multiple=1,
    batch_size=16,
    gradient_accumulation_steps=1,
    max_iters=1000,
    learning_rate=2e-3,
    warmup_iters=100,
    beta2=0.99,
    eval_interval=200,
    eval_iters=100,
)
