"""The recipes by name. A new size is a line here:

replace(GPT2S, model="gpt2m", n_layer=24, n_head=16, n_embd=1024),
"""

from tasks.gpt.config.train_baby_gpt_tiny_stories import BABY_GPT
from tasks.gpt.config.train_gpt2s_open_web_text import GPT2S
from tasks.gpt.config.train_tiny_text import TINY
from tasks.gpt.settings import Settings

RECIPES: dict[str, Settings] = {each.model: each for each in (TINY, BABY_GPT, GPT2S)}
