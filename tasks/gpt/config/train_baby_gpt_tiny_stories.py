"""babyGPT on TinyStories, as in the GoLU paper: 640 x 256 tokens a step."""

from tasks.gpt.settings import Settings

BABY_GPT = Settings(
    model="baby_gpt",
    n_layer=6,
    n_head=6,
    n_embd=384,
    block_size=256,
    dropout=0.2,
    batch_size=16,
    gradient_accumulation_steps=40,
    max_iters=10000,
    learning_rate=1e-3,
    warmup_iters=100,
    beta2=0.99,
    eval_interval=250,
)
