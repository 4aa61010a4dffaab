"""Law 9: copying, reversing and sorting are learned to a stated accuracy in a stated number of steps."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from processor import needs_bfloat16

import dragoman
from dragoman.config import TrainOptions

pytestmark = pytest.mark.learning

TASKS: dict[str, Callable[[str], str]] = {
    "copy": lambda word: word,
    "reverse": lambda word: word[::-1],
    "sort": lambda word: "".join(sorted(word)),
}
PRESETS = {  # preset: (options, steps, accuracy in %)
    "default": ({"hidden_size": 128, "layers": 1, "dropout": 0.0}, 600, 95),
    "textbook": ({"hidden_size": 192, "embedding_size": 32, "learning_rate": 3e-3}, 1500, 80),
    "bahdanau2015": ({"hidden_size": 96, "embedding_size": 32, "learning_rate": 4e-3}, 500, 90),
    "luong2015": (
        {"hidden_size": 96, "layers": 1, "embedding_size": 32, "learning_rate": 4e-3, "dropout": 0.0},
        700,
        80,
    ),
}


HALF = ({**PRESETS["default"][0], "precision": "bfloat16"}, *PRESETS["default"][1:])
# The default learns every task, and each other architecture one of them.
PAIRED = [
    *(("default", task) for task in TASKS),
    ("textbook", "copy"),
    ("bahdanau2015", "sort"),
    ("luong2015", "reverse"),
]
CASES = {  # preset and task: what to train with, and what it must reach
    **{f"{preset}-{task}": (preset, task, PRESETS[preset]) for preset, task in PAIRED},
    "default-reverse-bfloat16": ("default", "reverse", HALF),
}


def words(count: int) -> list[str]:
    draw = random.Random(7)
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(draw.choices("abcdefghij", k=draw.randint(2, 7)))] = None
    return list(found)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[needs_bfloat16] if "bfloat16" in case else []) for case in CASES]
)
def test_law_9_a_task_is_learned_on_words_never_seen(case: str) -> None:
    preset, task, (settings, steps, accuracy) = CASES[case]
    spelled = [(" ".join(word), " ".join(TASKS[task](word))) for word in words(4_200)]
    train, unseen = spelled[:4_000], spelled[4_000:]
    options = TrainOptions(
        preset=preset,
        max_steps=steps,
        batch_tokens=600,
        eval_every=steps // 2,
        tokenizer="symbols",
        threads=1,
        label_smoothing=0.0,
        dev=200,  # type: ignore[arg-type]
        **settings,  # type: ignore[arg-type]
    )
    translator = dragoman.train(train, options=options)
    scores, _ = translator.evaluate([source for source, _ in unseen], [[target] for _, target in unseen])
    assert scores.exact_match is not None
    assert scores.exact_match >= accuracy
