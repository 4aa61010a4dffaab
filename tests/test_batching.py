"""Laws of the order: every pair once, a pure function of seed, epoch and position, nothing lost between processes."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.corpus import batching
from dragoman.corpus.batching import Batch, BatchPlan, dev_batches, make_batch
from dragoman.corpus.dataset import EncodedPairs
from dragoman.corpus.tokenization import BOS, EOS, PAD

ROWS = st.lists(
    st.tuples(
        st.lists(st.integers(4, 60), min_size=1, max_size=30), st.lists(st.integers(4, 60), min_size=1, max_size=30)
    ),
    min_size=1,
    max_size=80,
)


def many(count: int = 3_000) -> EncodedPairs:
    """Pairs with lengths like those of sentences; a row's ids say which it is."""
    random = np.random.default_rng(3)
    sources = random.poisson(8, count) + 1
    targets = np.maximum(1, sources + random.integers(-3, 4, count))
    return EncodedPairs.of(
        [([4 + i % 90] * s, [4 + i % 89] * t) for i, (s, t) in enumerate(zip(sources, targets, strict=True))]
    )


def same(left: Batch, right: Batch) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(vars(left).values(), vars(right).values(), strict=True))


@given(rows=ROWS, batch_tokens=st.integers(1, 200), seed=st.integers(0, 2**31 - 1), window=st.integers(1, 4))
@settings(max_examples=80, deadline=None)
def test_an_epoch_has_every_pair_once_within_the_budget(
    rows: list[tuple[list[int], list[int]]], batch_tokens: int, seed: int, window: int
) -> None:
    plan = BatchPlan(EncodedPairs.of(rows), batch_tokens=batch_tokens, seed=seed, window_batches=window)
    seen: list[int] = []
    for batch in plan.epoch(2):
        seen += batch.indices.tolist()
        assert len(batch) == 1 or max(batch.source_ids.size, batch.target_output.size) <= batch_tokens
        for row, index in enumerate(batch.indices):
            source, target = rows[index]
            s, t = batch.source_lengths[row], batch.target_lengths[row]
            assert batch.source_ids[row, :s].tolist() == source
            assert batch.target_input[row, :t].tolist() == [BOS, *target]
            assert batch.target_output[row, :t].tolist() == [*target, EOS]
            for padded, length in ((batch.source_ids, s), (batch.target_input, t), (batch.target_output, t)):
                assert (padded[row, length:] == PAD).all()
        assert batch.target_tokens == sum(len(rows[i][1]) + 1 for i in batch.indices)
    assert sorted(seen) == list(range(len(rows)))


def test_the_order_depends_on_seed_epoch_and_position_only() -> None:
    pairs = many()
    first = list(BatchPlan(pairs, batch_tokens=300, seed=1).epoch(4))
    plan = BatchPlan(pairs, batch_tokens=300, seed=1)
    assert plan.batches_per_epoch == len(plan.plan(0))
    for start in (0, 1, 17, len(first) - 1):
        rest = list(plan.epoch(4, start=start))
        assert len(rest) == len(first) - start
        assert all(same(a, b) for a, b in zip(rest, first[start:], strict=True))
        list(plan.epoch(start))  # another epoch in between changes nothing


def test_epochs_and_seeds_differ_in_order_and_in_company() -> None:
    pairs = many()

    def company(seed: int, epoch: int) -> set[frozenset[int]]:
        return {frozenset(rows.tolist()) for rows in BatchPlan(pairs, batch_tokens=300, seed=seed).plan(epoch)}

    a, b, c = company(1, 0), company(1, 1), company(2, 0)
    assert len(a & b) < 0.1 * len(a)
    assert len(a & c) < 0.1 * len(a)


def test_lengths_do_not_follow_the_position() -> None:
    lengths = [batch.target_output.shape[1] for batch in BatchPlan(many(), batch_tokens=300, seed=1).epoch(0)]
    assert abs(np.corrcoef(lengths, np.arange(len(lengths)))[0, 1]) < 0.3


def test_little_is_padding() -> None:
    real = padded = 0
    for batch in BatchPlan(many(20_000), batch_tokens=1_000, seed=1).epoch(0):
        real += int(batch.source_lengths.sum() + batch.target_lengths.sum())
        padded += batch.source_ids.size + batch.target_output.size
    assert 1 - real / padded < 0.05


@given(rows=ROWS, world=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_processes_share_a_batch_without_loss(rows: list[tuple[list[int], list[int]]], world: int) -> None:
    batch = make_batch(EncodedPairs.of(rows), np.arange(len(rows)))
    parts = [batch.slice(rank, world) for rank in range(world)]
    assert sorted(i for part in parts for i in part.indices) == list(range(len(rows)))
    assert sum(part.target_tokens for part in parts) == batch.target_tokens
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for part in parts:
        assert part.source_ids.shape[1] == batch.source_ids.shape[1]
        assert np.array_equal(part.target_output, batch.target_output[part.indices])


@given(rows=ROWS, batch_tokens=st.integers(1, 200))
@settings(max_examples=40, deadline=None)
def test_no_batch_has_room_for_the_pair_that_comes_next(
    rows: list[tuple[list[int], list[int]]], batch_tokens: int
) -> None:
    pairs = EncodedPairs.of(rows)
    found = list(dev_batches(pairs, batch_tokens=batch_tokens))
    for batch, following in itertools.pairwise(found):
        longest = max(batch.source_ids.shape[1], batch.target_output.shape[1])
        first = max(int(following.source_lengths[0]), int(following.target_lengths[0]))
        assert (len(batch) + 1) * max(longest, first) > batch_tokens
    one_window = BatchPlan(pairs, batch_tokens=batch_tokens, seed=1, window_batches=10**6)
    assert sorted(map(len, one_window.plan(0))) == sorted(map(len, found))


@pytest.mark.parametrize(("count", "window"), [(3_000, 300), (1_030, 344), (100, 100)])
@pytest.mark.parametrize("lengths", [(4, 9), (10, 3)])
def test_a_window_holds_about_as_many_batches_as_are_asked_for_and_all_are_about_equal(
    count: int, window: int, lengths: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_SAMPLE", 7)
    pairs = EncodedPairs.of(
        [([4] * lengths[0], [4] * lengths[1])] * count
    )  # ten tokens on the longer side, with `</s>`
    assert BatchPlan(pairs, batch_tokens=300, seed=1, window_batches=10)._window_size(pairs, pairs.indices()) == window


@pytest.mark.parametrize(("longest", "alone"), [(48, True), (44, False)])
def test_the_largest_of_a_sample_has_the_most_positions_on_both_sides(longest: int, alone: bool) -> None:
    """A pair with so many tokens on either side against nine with five: 96 or 88 positions against 90."""
    pairs = EncodedPairs.of([([4] * longest, [4] * (longest - 1)), *([([4] * 5, [4] * 4)] * 9)])
    assert len(BatchPlan(pairs, batch_tokens=48, seed=1).sample(1)[-1]) == (1 if alone else 9)


def test_a_pair_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    pairs = EncodedPairs.of([([5] * 50, [6]), ([5], [6] * 50), ([5], [6]), ([5], [7])])
    sizes = sorted(len(batch) for batch in BatchPlan(pairs, batch_tokens=10, seed=1).epoch(0))
    assert sizes in ([1, 1, 1, 1], [1, 1, 2])


@pytest.mark.parametrize("most", [None, 1, 100, 5_000])
def test_dev_batches_hold_every_pair_once_in_order_of_length(most: int | None) -> None:
    pairs = many()
    batches = list(dev_batches(pairs, batch_tokens=300, most=most))
    indices = np.concatenate([batch.indices for batch in batches])
    assert len(set(indices.tolist())) == len(indices) == min(most or 3_000, 3_000)
    apart = np.diff([-1, *np.sort(indices), 3_000])  # spread evenly over the file, which may be sorted
    assert apart.max() <= 3_000 / len(indices) + 2 or most == 1
    assert indices.min() == 0
    assert indices.max() == 2_999 or most == 1
    widths = [batch.target_output.shape[1] for batch in batches]
    assert widths == sorted(widths)
    assert all(same(a, b) for a, b in zip(batches, dev_batches(pairs, batch_tokens=300, most=most), strict=True))


def test_a_sample_of_batches_is_spread_over_the_epoch_and_ends_with_the_largest() -> None:
    plan = BatchPlan(many(), batch_tokens=300, seed=1)
    *spread, largest = plan.sample(9)
    order = [rows.tolist() for rows in plan.plan(0)]
    places = [order.index(batch.indices.tolist()) for batch in spread]
    assert (places[0], places[-1], len(places)) == (0, len(order) - 1, 9)
    assert max(np.diff(places)) <= len(order) / 8 + 1
    positions = [batch.source_ids.size + batch.target_output.size for batch in (*plan.epoch(0), largest)]
    assert positions[-1] == max(positions)


def test_source_lengths_do_not_jump_where_the_target_length_changes() -> None:
    pairs = EncodedPairs.of([([4] * source, [4] * target) for target in (1, 2, 3) for source in range(1, 21)])
    lengths = np.concatenate([batch.source_lengths for batch in dev_batches(pairs, batch_tokens=60)])
    assert np.abs(np.diff(lengths)).max() == 1


def test_no_pairs_make_no_batches() -> None:
    assert list(BatchPlan(EncodedPairs.of([]), batch_tokens=10, seed=1).epoch(0)) == []
    assert list(dev_batches(EncodedPairs.of([]), batch_tokens=10)) == []


def test_a_plan_keeps_little_per_pair() -> None:
    held = []
    for count in (100_000, 300_000):
        offsets = np.append(0, np.cumsum(np.random.default_rng(1).integers(4, 28, count)))
        pairs = EncodedPairs((np.zeros(offsets[-1], np.uint16),) * 2, (offsets, offsets))
        tracemalloc.start()
        plan = BatchPlan(pairs, batch_tokens=1_500, seed=1)
        plan.plan(0)
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert (held[1] - held[0]) / 200_000 < 4.5  # a number of four bytes, and its share of the batch that it is in
