"""Which candidates of a beam go on: the operations on arrays that every beam search is made of; knows no model.

A *chooser* takes the candidates of all beams at one step and says which are kept:
- `choose_best`: the best ones, finished or not (Sutskever et al. 2014);
- `choose_open`: the best unfinished ones, and `</s>` beside them;
- `choose_diverse`: group after group, each shunning what the groups before it chose (Vijayakumar et al. 2018);
- `choose_by_banks`: places shared out by how much of the required phrases is met (Post and Vilar 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dragoman.generation.stepper import EOS, Bools, Floats, Ints

SORT_LIMIT = 4096
"""Rows of candidates longer than this are cut by selection before they are sorted."""


@dataclass(frozen=True)
class Candidates:
    """All continuations of all rows at one step, laid out by beam."""

    values: Floats
    """(beams, slots * k): what candidates are ranked by; -inf where there is none."""
    ids: Ints
    """(rows, k): the ids, by row."""
    first_row: Ints
    """(beams,): the row of each beam's best output; its others follow."""
    places: Ints
    """(beams,): how many outputs each beam may still choose."""
    sentences: Ints
    """(beams,): the source that each beam belongs to."""

    def locate(self, beams: Ints, flat: Ints) -> tuple[Ints, Ints]:
        """Row and column in `ids` of positions `flat` in the values of `beams` (broadcast against each other)."""
        slots, columns = np.divmod(flat, self.ids.shape[1])
        return self.first_row[beams] + slots, columns


def expand(totals: Floats, log_probs: Floats, beam_of_row: Ints, first_row: Ints) -> Floats:
    """Scores of all continuations by beam: `(rows,)` and `(rows, k)` -> (beams, slots * k), -inf for empty slots."""
    rows, k = log_probs.shape
    beams = len(first_row)
    candidates = totals[:, None] + log_probs
    slots = -(-rows // beams)
    if rows == beams * slots and (first_row == np.arange(beams) * slots).all():
        return candidates.reshape(beams, slots * k)  # (B·S, k) -> (B, S·k)
    slot_of_row = np.arange(rows) - first_row[beam_of_row]
    slots = int(slot_of_row.max()) + 1
    values = np.full((beams, slots, k), -np.inf)
    values[beam_of_row, slot_of_row] = candidates
    return values.reshape(beams, slots * k)  # (B, S, k) -> (B, S·k)


def best(values: Floats, n: int) -> Ints:
    """Positions of the n best of each row, best first, ties to the lower position: `(rows, width)` -> (rows, n)."""
    width = values.shape[1]
    n = min(n, width)
    if width <= SORT_LIMIT:
        order: Ints = (-values).argsort(axis=1, kind="stable")[:, :n]
        return order
    cutoffs = np.partition(values, width - n, axis=1)[:, width - n]
    order = np.empty((len(values), n), np.int64)
    for row, (line, cutoff) in enumerate(zip(values, cutoffs, strict=True)):
        places = np.flatnonzero(line >= cutoff)
        order[row] = places[(-line[places]).argsort(kind="stable")[:n]]
    return order


def choose_best(candidates: Candidates) -> tuple[Ints, Bools]:
    """The best candidates of each beam, finished or not, as many as it has places."""
    order = best(candidates.values, int(candidates.places.max()))
    values = candidates.values[np.arange(len(order))[:, None], order]
    taken: Bools = values > -np.inf
    taken &= np.arange(order.shape[1]) < candidates.places[:, None]
    return order, taken


def choose_open(candidates: Candidates) -> tuple[Ints, Bools]:
    """For "exact": the best unfinished candidates, as many as there are places, and every `</s>` among the best so many."""
    order = best(candidates.values, 2 * int(candidates.places.max()))
    beams = np.arange(len(order))[:, None]
    ends = candidates.ids[candidates.locate(beams, order)] == EOS
    places = candidates.places[:, None]
    within = np.where(ends, np.arange(order.shape[1]) < places, (~ends).cumsum(axis=1) <= places)
    return order, within & (candidates.values[beams, order] > -np.inf)


def lay_out(table: Ints, beam_of_row: Ints, first_row: Ints, *, fill: int) -> Ints:
    """A `(rows, k)` table by beam, as `expand` lays scores out: (beams, slots * k), `fill` for empty slots."""
    slot_of_row = np.arange(len(table)) - first_row[beam_of_row]
    shape = (len(first_row), int(slot_of_row.max()) + 1, table.shape[1])
    laid_out = np.full(shape, fill, np.int64)
    laid_out[beam_of_row, slot_of_row] = table
    return laid_out.reshape(shape[0], -1)  # (B, S, k) -> (B, S·k)


def choose_diverse(
    candidates: Candidates, *, groups: Ints, ids: Ints, penalty: float, vocab: int
) -> tuple[Ints, Bools]:
    """Group after group: a candidate loses `penalty` for every time that an earlier group of its source chose its id.

    `groups`, (beams,), numbers the groups of a source; `ids`, (beams, slots * k), are the candidates' ids. Ending is
    free: groups may all choose `</s>`.
    """
    n = min(int(candidates.places.max()), candidates.values.shape[1])
    order = np.zeros((len(groups), n), np.int64)
    taken = np.zeros((len(groups), n), np.bool_)
    counts = np.zeros((int(candidates.sentences.max()) + 1, vocab), np.int64)
    for group in range(int(groups.max()) + 1):
        mine = np.flatnonzero(groups == group)
        if not len(mine):
            continue
        sentences = candidates.sentences[mine, None]
        candidates.values[mine] -= penalty * counts[sentences, ids[mine]]
        order[mine] = best(candidates.values[mine], n)
        taken[mine] = candidates.values[mine[:, None], order[mine]] > -np.inf
        taken[mine] &= np.arange(n) < candidates.places[mine, None]
        chosen = ids[mine[:, None], order[mine]]
        np.add.at(counts, (np.broadcast_to(sentences, chosen.shape)[taken[mine]], chosen[taken[mine]]), 1)
        counts[:, EOS] = 0
    return order, taken


def choose_by_banks(candidates: Candidates, *, met: Ints) -> tuple[Ints, Bools]:
    """Places shared equally by *banks*: candidates that have met as many ids of required phrases, `met`, (beams, slots * k).

    Only banks that have candidates count. What does not divide evenly goes to those that have met most, and what a bank
    cannot fill to the best candidates of any.
    """
    values, places = candidates.values, candidates.places[:, None]
    beams = np.arange(len(values))[:, None]
    usable = values > -np.inf
    bank = np.where(usable, met, -1)
    order = np.lexsort((-values, -bank), axis=1)  # by bank, the fullest first, then by value
    bank, usable = bank[beams, order], usable[beams, order]
    new = np.concatenate([np.ones((len(bank), 1), np.bool_), bank[:, 1:] != bank[:, :-1]], axis=1)
    number = new.cumsum(axis=1) - 1
    place_in_bank = np.arange(bank.shape[1]) - np.maximum.accumulate(np.where(new, np.arange(bank.shape[1]), 0), axis=1)
    banks = (new & usable).sum(axis=1, keepdims=True)
    share, extra = np.divmod(places, np.maximum(banks, 1))
    sure = usable & (place_in_bank < share + (number < extra))
    spare = places - sure.sum(axis=1, keepdims=True)
    rest = np.where(usable & ~sure, values[beams, order], -np.inf)
    rank_of_rest = (-rest).argsort(axis=1, kind="stable").argsort(axis=1)
    chosen = sure | ((rest > -np.inf) & (rank_of_rest < spare))
    kept = np.where(chosen, values[beams, order], -np.inf)
    final = best(kept, int(candidates.places.max()))
    return order[beams, final], kept[beams, final] > -np.inf
