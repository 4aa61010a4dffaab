"""Under rules, a few candidates of every row give the same best ids as the whole vocabulary sorted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.generation.narrowing import FEW, best_of, narrow
from dragoman.generation.stepper import Bools, Floats, ranked

VOCAB = 2 * FEW


def distributions(random: np.random.Generator, rows: int) -> Floats:
    """Log-probabilities on a coarse grid, so that many are equal."""
    return -random.integers(1, 40, size=(rows, VOCAB)).astype(np.float32) / 4


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 4),
    top_k=st.integers(1, 7),
    rule=st.sampled_from(["forbids few", "allows few", "none"]),
    biased=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_the_candidates_hold_the_best(seed: int, rows: int, top_k: int, rule: str, biased: bool) -> None:
    """Law: `best_of` the narrowed candidates ranks as high as `ranked` over everything (of equals either may be taken)."""
    random = np.random.default_rng(seed)
    log_probs = distributions(random, rows)
    allowed: Bools | None = None
    if rule != "none":
        some = random.random((rows, VOCAB)) < random.uniform(0, 0.02)
        allowed = some if rule == "allows few" else ~some
    bias: Floats | None = None
    if biased or allowed is None:
        bias = np.zeros((rows, VOCAB), np.float32)
        bias[random.integers(rows, size=9), random.integers(VOCAB, size=9)] = random.choice(
            [-3.0, -0.25, 0.5, 1e4], size=9
        )
    narrowed = narrow(allowed, bias, top_k=top_k)
    assert narrowed is not None
    ids, own = ranked(log_probs, top_k=narrowed.top_k)
    found = best_of(
        narrowed, ids[:, : narrowed.top_k], own[:, : narrowed.top_k], log_probs, top_k=top_k, allowed=allowed, bias=bias
    )
    gains = np.zeros_like(log_probs) if bias is None else bias
    expected = ranked(log_probs, top_k=top_k, allowed=allowed, bias=bias)
    at = np.arange(rows)[:, None]
    np.testing.assert_array_equal(found[1] + gains[at, found[0]], expected[1] + gains[at, expected[0]])
    for own_ids, values, whole in zip(*found, log_probs, strict=True):
        real = own_ids[values > -np.inf]
        assert len(set(real.tolist())) == len(real)
        np.testing.assert_array_equal(values[values > -np.inf], whole[real])


def test_rules_that_touch_much_are_not_narrowed() -> None:
    random = np.random.default_rng(1)
    allowed = random.random((2, 4 * FEW)) < 0.5
    assert narrow(allowed, None, top_k=5) is None


@pytest.mark.parametrize("gain", [1e4, -1.0])
def test_only_ids_that_gain_are_looked_up(gain: float) -> None:
    """What loses rank can only be among the model's own best; what gains may come from anywhere."""
    bias = np.zeros((2, VOCAB), np.float32)
    bias[1, [3, 9]] = gain
    narrowed = narrow(None, bias, top_k=5)
    assert narrowed is not None
    assert narrowed.top_k == 7
    assert narrowed.named.tolist() == ([[-1, -1], [3, 9]] if gain > 0 else [[], []])
