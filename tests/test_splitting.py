"""Splitting is by key, exact, seeded, and blind to the order of rows."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dragoman.corpus.splitting import HeldOut, _mix_one, _ranks, default_dev, parse_held_out, split
from dragoman.errors import DataError, OptionError

KEYS = np.random.default_rng(0).integers(0, 2**64, 5000, dtype=np.uint64)
KEYS[1000:3000] = KEYS[:2000]  # repeated sources


def parts(result, keys):
    return [set(keys[rows].tolist()) for rows in (result.train, result.dev, result.test)]


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(
    keys=st.lists(st.integers(0, 40), min_size=30, max_size=120).filter(lambda keys: len(set(keys)) > 7),
    seed=st.integers(0, 2**31 - 1),
    dev=st.integers(1, 3),
    test=st.integers(1, 4),
)
def test_every_row_is_in_one_part_and_every_key_too(keys, seed, dev, test):
    keys = np.array(keys, np.uint64)
    result = split(keys, seed=seed, dev=HeldOut(sources=dev), test=HeldOut(sources=test))
    rows = np.concatenate([result.train, result.dev, result.test])
    assert sorted(rows.tolist()) == list(range(len(keys)))
    train, devs, tests = parts(result, keys)
    assert len(train | devs | tests) == len(train) + len(devs) + len(tests)
    assert (len(devs), len(tests)) == (dev, test) == (result.dev_sources, result.test_sources)
    assert len(train) == result.train_sources


def test_the_order_of_rows_and_repeated_rows_change_nothing():
    asked = {"seed": 7, "dev": HeldOut(sources=100), "test": HeldOut(share=0.1)}
    order = np.random.default_rng(1).permutation(len(KEYS))
    expected = parts(split(KEYS, **asked), KEYS)
    assert parts(split(KEYS[order], **asked), KEYS[order]) == expected
    twice = np.concatenate([KEYS, KEYS])
    assert parts(split(twice, **asked), twice) == expected


def test_seeds_give_unlike_parts():
    first, second = (parts(split(KEYS, seed=seed, dev=HeldOut(share=0.5)), KEYS)[1] for seed in (1, 2))
    assert 0.4 < len(first & second) / len(first) < 0.6


def test_every_version_holds_out_the_same():
    """Ranks are splitmix64 (Steele et al. 2014), whose first numbers from the seed 1234567 are published."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    states = [(1234567 + step * 0x9E3779B97F4A7C15) % 2**64 for step in (1, 2, 3)]
    assert [_mix_one(state) for state in states] == published
    for seed in (0, 5):
        start = _mix_one((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
        keys = np.array([state ^ start for state in states], np.uint64)
        assert _ranks(keys, seed).tolist() == published


def test_for_parts_in_files_nothing_is_held_out():
    held = split(KEYS, seed=1, dev=HeldOut(paths=("dev.tsv",)), test=HeldOut(paths=("test.en", "test.fr")))
    assert held.train.tolist() == list(range(len(KEYS)))
    assert (len(held.dev), len(held.test), held.dev_sources, held.test_sources) == (0, 0, 0, 0)


def test_a_share_is_one_source_at_least():
    held = split(KEYS[:30], seed=1, dev=HeldOut(share=0.01), test=HeldOut(share=0.1))
    assert (held.dev_sources, held.test_sources) == (1, 3)
    assert HeldOut(share=0.29).count(100) == 29  # though 0.29 · 100 is less in binary


def test_dev_stays_when_test_grows():
    small, large = (split(KEYS, seed=1, dev=HeldOut(sources=50), test=HeldOut(sources=n)) for n in (10, 500))
    assert small.dev.tolist() == large.dev.tolist()
    assert set(small.test.tolist()) < set(large.test.tolist())


@pytest.mark.parametrize("rule", [HeldOut(sources=50), HeldOut(share=0.1)])
def test_an_added_source_moves_at_most_one_key_of_each_held_out_part(rule):
    moved = []
    for count in range(200, 230):  # with one more, a share may come to one more of both parts
        before, after = (parts(split(KEYS[:n], seed=1, dev=rule, test=rule), KEYS[:n]) for n in (count, count + 1))
        moved.append(
            [len((one ^ other) - {int(KEYS[count])}) for one, other in zip(before[1:], after[1:], strict=True)]
        )
    assert max(map(max, moved)) == 1
    assert max(map(sum, moved)) == (2 if rule.share else 1)


@pytest.mark.parametrize(
    ("available", "held_out"), [(2, 1), (5, 1), (20, 4), (100, 10), (1000, 50), (40_000, 2000), (1_000_000, 2000)]
)
def test_the_default_dev_part(available, held_out):
    keys = np.arange(available, dtype=np.uint64)
    assert default_dev(np.concatenate([keys, keys])) == HeldOut(sources=held_out)


def test_nothing_left_to_train_on():
    with pytest.raises(DataError, match="1 different source, and 1 for dev would leave none to train on"):
        split(np.zeros(9, np.uint64), seed=1, dev=default_dev(np.zeros(9, np.uint64)))
    with pytest.raises(DataError, match=r"2,000 different sources.*1,500 for dev and 500 for test"):
        split(np.arange(2000, dtype=np.uint64), seed=1, dev=HeldOut(sources=1500), test=HeldOut(sources=500))
    with pytest.raises(DataError, match="no pairs to train on"):
        split(np.zeros(0, np.uint64), seed=1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), None),
        (("2000",), HeldOut(sources=2000)),
        (("1",), HeldOut(sources=1)),
        (("0.05",), HeldOut(share=0.05)),
        ((".5",), HeldOut(share=0.5)),
        ((" 2000 ",), HeldOut(sources=2000)),
        (("dev.tsv",), HeldOut(paths=("dev.tsv",))),
        (("dev.ko", "dev.en"), HeldOut(paths=("dev.ko", "dev.en"))),
    ],
)
def test_held_out_values(values, expected):
    assert parse_held_out(values, name="dev") == expected


@pytest.mark.parametrize("value", ["0", "-5", "1.0", "0.0", "1.5", "5%", "1e9"])
def test_held_out_numbers_that_mean_nothing(value):
    with pytest.raises(OptionError, match=r"`dev` must be a number of sources \(2000\), a share \(0.05\) or a file"):
        parse_held_out((value,), name="dev")


def test_held_out_files_and_numbers_do_not_mix():
    with pytest.raises(OptionError, match=r"`test` takes files or one number, but is a\.tsv 5"):
        parse_held_out(("a.tsv", "5"), name="test")
    with pytest.raises(OptionError, match=r"`test` takes files or one number, but is 5 6"):
        parse_held_out(("5", "6"), name="test")
    with pytest.raises(OptionError, match="but 3 were given"):
        parse_held_out(("a", "b", "c"), name="test")
