"""A small model for any text and two CPU cores: about a minute.

The learning rate is the best of 1, 2, 4 and 8e-3 with ReLU and one seed; the other values are customary.
"""

from tasks.gpt.settings import Settings

TINY = Settings(
    model="tiny",
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
