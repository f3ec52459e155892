"""GPT2-S on OpenWebText, as in the GoLU paper and nanoGPT: 480 x 1024 tokens a step."""

from tasks.gpt.settings import Settings

GPT2S = Settings(
    model="gpt2s",
    n_layer=12,
    n_head=12,
    n_embd=768,
    block_size=1024,
    dropout=0.0,
    bias=False,
    batch_size=12,
    gradient_accumulation_steps=40,
    max_iters=600000,
    learning_rate=6e-4,
    warmup_iters=2000,
    beta2=0.95,
    eval_interval=1000,
)
