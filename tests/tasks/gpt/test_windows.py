"""Which sequences of a text make up a step, and which are evaluated."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.gpt.tokens import TokenFiles
from tasks.gpt.windows import Windows
from tests.tasks.gpt.examples import CPU
from workbench.cli.errors import UserError
from workbench.training.sampling import Sampling
from workbench.training.seeding import generator_for


def token_files(train_tokens, val_tokens=None, known=2**16):
    val_tokens = train_tokens if val_tokens is None else val_tokens
    train, val = (np.array(each, np.uint16) for each in (train_tokens, val_tokens))
    return TokenFiles(Path("text"), train, val, known, {}, {})


def dealt(batch_size=8, steps=5, seed=0, **sharing):
    return Sampling(steps * batch_size, batch_size, seed, **sharing)


def drawn(content, epoch=0, first=0, total=10**9, **dealing):
    """The tokens of each step's batches, targets left out."""
    steps = Windows(content, 7, CPU).training(dealt(**dealing), epoch, first, total)
    return [[tokens.tolist() for tokens, _ in step] for step in steps]


def test_a_window_is_cut_out_of_the_text_and_its_targets_are_shifted_by_one():
    content = np.random.default_rng(0).permutation(3000)
    place = {int(token): position for position, token in enumerate(content)}
    steps = Windows(token_files(content), 7, CPU).training(dealt(seed=3), epoch=2, first=0, total=10**9)
    for step, batches in enumerate(steps, start=2 * 5):
        ((tokens, targets),) = batches
        assert tokens.dtype == targets.dtype == torch.int64 and tokens.shape == targets.shape == (8, 7)
        starts = [place[int(row[0])] for row in tokens]
        assert starts == torch.randint(3000 - 7, (8,), generator=generator_for(3, "windows", step)).tolist()
        for start, row, following in zip(starts, tokens, targets, strict=True):
            assert row.tolist() == content[start : start + 7].tolist()
            assert following.tolist() == content[start + 1 : start + 8].tolist()


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 2), (2, 1), (2, 2), (4, 2)])
def test_a_step_has_the_same_windows_however_it_is_shared(processes, accumulation):
    content = token_files(range(1000))
    whole = [step[0] for step in drawn(content)]
    for process in range(processes):
        torch.manual_seed(process)
        made = drawn(content, process=process, processes=processes, accumulation=accumulation)
        each = 8 // processes // accumulation
        for step, batches in zip(whole, made, strict=True):
            dealt = step[process::processes]
            assert batches == [dealt[first : first + each] for first in range(0, len(dealt), each)]


def test_windows_depend_neither_on_how_often_is_evaluated_nor_on_a_stop():
    content = token_files(range(1000))
    often = [step for epoch in range(3) for step in drawn(content, epoch, steps=2)]
    assert often == drawn(content, steps=6)
    assert [step for epoch in range(3) for step in drawn(content, epoch, total=5, steps=2)] == often[:5]
    for first in (1, 5):
        assert drawn(content, 1, first, steps=6) == drawn(content, 1, steps=6)[first:]


def test_a_token_beyond_the_vocabulary_names_its_file():
    good, bad = [1] * 20, [1] * 19 + [61]
    with pytest.raises(UserError, match=r"train\.bin holds the token 61, but its vocabulary has 61"):
        list(Windows(token_files(bad, good, 61), 19, CPU).training(dealt(), 0, 0, 10))
    with pytest.raises(UserError, match=r"val\.bin holds the token 61, but its vocabulary has 61"):
        list(Windows(token_files(good, bad, 61), 7, CPU).validation(dealt(), 3))
    assert list(Windows(token_files(bad, bad, 62), 7, CPU).validation(dealt(), 3))


def validated(content, count, **dealing):
    batches = Windows(content, 7, CPU).validation(dealt(**dealing), count)
    return [row for tokens, _ in batches for row in tokens.tolist()]


@pytest.mark.parametrize(("length", "count", "those"), [(1000, 10, 10), (1000, 142, 142), (1000, 999, 142), (29, 9, 4)])
def test_validation_is_spread_evenly_over_the_text(length, count, those):
    content = token_files(range(length))
    found = validated(content, count)
    starts = [row[0] for row in found]
    assert found == [list(range(start, start + 7)) for start in starts]
    assert (len(starts), starts[0], starts[-1]) == (those, 0, length - 1 - 7)
    gaps = np.diff(starts)
    assert min(gaps) >= 7 and max(gaps) - min(gaps) <= 1
    assert validated(content, count, seed=5, batch_size=4) == found
    for tokens, targets in Windows(content, 7, CPU).validation(dealt(), count):
        assert torch.equal(tokens + 1, targets) and len(tokens) <= 8


@pytest.mark.parametrize(("length", "count", "processes"), [(1000, 11, 2), (1000, 11, 4), (8, 5, 2)])
def test_validation_over_all_processes_is_the_whole(length, count, processes):
    content = token_files(range(length))
    parts = [validated(content, count, process=each, processes=processes) for each in range(processes)]
    assert sorted(row for part in parts for row in part) == validated(content, count)
    assert max(map(len, parts)) - min(map(len, parts)) == 1


def test_the_shortest_text_is_one_sequence():
    content = token_files(range(8))
    assert validated(content, 100) == [list(range(7))]
    assert drawn(content, steps=1) == [[[list(range(7))] * 8]]
    assert Windows(content, 7, CPU).example(1)[0].tolist() == [list(range(7))]


def test_an_example_is_spread_over_the_training_text():
    tokens, targets = Windows(token_files(range(1000), range(8)), 7, CPU).example(4)
    assert tokens[:, 0].tolist() == [0, 330, 661, 992] and torch.equal(tokens + 1, targets)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_text_too_short_is_named(split):
    train, val = (range(7 if each == split else 100) for each in ("train", "val"))
    with pytest.raises(UserError, match=rf"{split}\.bin has 7 tokens, too few for a context of 7"):
        Windows(token_files(train, val), 7, CPU)
