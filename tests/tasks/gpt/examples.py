"""What the tests of tasks/gpt share: small texts and models, another GPT-2, and what a run leaves behind."""

import contextlib
import io
import json
import random
import shlex
import zlib
from dataclasses import replace

import torch
from torch import nn

from tasks.gpt.config import RECIPES
from tasks.gpt.model import GPT
from tasks.gpt.prepare_text import prepare_text
from tasks.gpt.tokens import open_tokens
from tasks.gpt.vocabularies import described, name_of

CPU = torch.device("cpu")
SMALL = replace(
    RECIPES["tiny"],
    n_layer=2, n_head=2, n_embd=32, block_size=16, batch_size=4, max_iters=12, warmup_iters=4, eval_interval=5,
    eval_iters=3,
)  # fmt: skip
FLAGS = shlex.split(
    "--n_layer 2 --n_head 2 --n_embd 32 --block_size 16 --batch_size 4 --max_iters 12 --warmup_iters 4 "
    "--eval_interval 5 --eval_iters 3 --dropout 0.2 --vocab_multiple 64 --checkpoint_steps 2 --device cpu"
)


# Texts


def words(seed):
    """Words of which each follows some others more often, in lines."""
    draw, text = random.Random(seed), ["the"]
    known = ["the", "a", "quick", "brown", "fox", "dog", "jumps", "over", "lazy", "and", "sleeps", "again"]
    for _ in range(3000):
        text.append(known[(known.index(text[-1]) + draw.choice((1, 1, 1, 2, 5))) % len(known)])
    return " ".join(f"{word}.\n" if draw.random() < 0.1 else word for word in text)


def prepared(folder, text, vocabulary="characters", **keywords):
    folder.mkdir(parents=True)
    (folder / "input.txt").write_text(text)
    with contextlib.redirect_stdout(io.StringIO()):
        prepare_text(folder / "text", [folder / "input.txt"], vocabulary, **keywords)
    return folder / "text"


def some_tokens(*shape, known=61):
    return torch.randint(known, shape, generator=torch.Generator().manual_seed(1))


ENGLISH = "The quick brown fox jumps over the lazy dog, and the dog does not mind.\n" * 20
TEXTS = {
    "ASCII": "".join(map(chr, range(32, 127))),
    "English": ENGLISH,
    "one character": "x",
    "accents": "Ça coûte 3 € à la crémière; Łódź, naïve, Ångström, e\u0301 beside é",
    "CJK": "吾輩は猫である。名前はまだ無い。한국어와 漢字",
    "emoji with joiners": "👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇩🇪",
    "right to left": "שלום עולם, مرحبا بالعالم \u202eabc\u202c",
    "an empty line at the end": "the end\n\n",
    "only newlines": "\n" * 17,
    "only spaces": " " * 33,
    "Windows line ends": "one\r\ntwo\r\n\r\n\rthree\n\r",
    "tabs and spaces": "\tif x:\t\t  y   =  1 \n    \t \n  ",
    "control characters": "a\0b\0\0" + "".join(map(chr, range(32))) + "\x7f\x80\x85\x9f\u2028\u2029",
    "GPT-2's separator": "one<|endoftext|>two <|endoftext|>\n<|endoftext|>",
    "beyond 16 bits": "𐍃𐍄𐌰𐌽 \U0001f600 \U0010ffff 𐍈",
    "a byte order mark": "\ufeffbegin \ufeff end\ufffe\uffff\ufffd",
    "contractions and digits": "I'll've don't 'S 1234567 x2y  3.14",
}
BOOK = "".join(f"line {number}: Zoë said “{number * 7919 % 1000}”\r\n" for number in range(60)) + "\n"


# Models


def scrambled(bias, activation="GELU"):
    """A model whose every parameter matters."""
    model = GPT(61, 16, n_layer=3, n_head=4, n_embd=24, bias=bias, activation=activation)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator)
    return model


def closed_form(rows, block_size, n_layer, n_embd, bias):
    """The number of parameters."""
    matrices = (rows + block_size) * n_embd + n_layer * 12 * n_embd**2
    norms = (2 * n_layer + 1) * n_embd
    return matrices + norms + (norms + n_layer * 9 * n_embd if bias else 0)


RENAMED = (
    ("blocks.", "h."), ("attention.qkv", "attn.c_attn"), ("attention.proj", "attn.c_proj"), ("norm_", "ln_"),
    ("mlp.fc", "mlp.c_fc"), ("mlp.proj", "mlp.c_proj"), ("token_embedding", "wte"), ("position_embedding", "wpe"),
    ("norm.", "ln_f."),
)  # fmt: skip


def counterpart(name):
    """What transformers calls a parameter."""
    for ours, theirs in RENAMED:
        name = name.replace(ours, theirs)
    return f"transformer.{name}"


def turned(name, value):
    """Their layers hold their matrices transposed."""
    return value.T if name.startswith("blocks.") and value.ndim == 2 else value


def in_transformers(model, activation=None, tied=True):
    """Their GPT-2 with our weights, and GoLU unless they know the activation; what we have not is zero."""
    from transformers import GPT2Config, GPT2LMHeadModel

    rows, width = model.token_embedding.weight.shape
    reference = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=rows, n_positions=model.block_size, n_embd=width, n_layer=len(model.blocks),
            n_head=model.blocks[0].attention.n_head, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            activation_function=activation or "gelu", tie_word_embeddings=tied, attn_implementation="eager",
            bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip
    theirs = dict(reference.named_parameters())
    with torch.no_grad():
        for name, value in theirs.items():
            value.mul_(not name.endswith("bias"))
        for name, value in model.named_parameters():
            theirs[counterpart(name)].copy_(turned(name, value))
        reference.lm_head.weight.copy_(model.token_embedding.weight)
    for block in reference.transformer.h if activation is None else ():
        del block.mlp.act
        block.mlp.act = lambda x: x * torch.exp(-torch.exp(-x))
    return reference


# Programs


def arguments_of(text, results, *more):
    return ("--dataset", text.name, "--data", text.parent, "--results", results, *FLAGS, *more)


def line_of(answer):
    """What a program said that refused something: one line, and nothing else."""
    code, out, err = answer
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    return err


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def touched(folder):
    """As `contents`, and when each was written."""
    return {path: (path.stat().st_mtime_ns, content) for path, content in contents(folder).items()}


def stored(results, seed=0, place="text/tiny/GoLU"):
    """The results, the trace and the checkpoint of a run that has ended."""
    folder = results / place
    return (
        json.loads((folder / f"results_{seed}.json").read_text()),
        json.loads((folder / f"opt_trace_{seed}.json").read_text()),
        torch.load(folder / f"checkpoint_{seed}.pth", weights_only=True),
    )


# Prepared texts


def files_of(folder):
    """The files of a folder, but for what was downloaded: name -> content."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def text_of(folder):
    """The text of each split, decoded with the vocabulary beside it."""
    tokens = open_tokens(folder)
    vocabulary = described(json.loads((folder / "vocabulary.json").read_text()))
    return vocabulary.decode(tokens.train), vocabulary.decode(tokens.val)


def assert_meta(folder, source):
    """meta.json says what the other files hold."""
    meta = json.loads((folder / "meta.json").read_text())
    vocabulary = json.loads((folder / "vocabulary.json").read_text())
    expected = {"source": source, "vocabulary": name_of(vocabulary), "vocabulary_size": described(vocabulary).size}
    assert meta == expected | {"dtype": "uint16", "train": meta["train"], "val": meta["val"]}
    for split in ("train", "val"):
        content = (folder / f"{split}.bin").read_bytes()
        assert meta[split].pop("texts") >= 1
        assert meta[split] == {"tokens": len(content) // 2, "crc32": f"{zlib.crc32(content):08x}"}
    assert files_of(folder).keys() == {"train.bin", "val.bin", "meta.json", "vocabulary.json"}
