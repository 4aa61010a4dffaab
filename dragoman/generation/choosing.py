"""Which candidates of a beam go on: the operations on arrays that every beam search is made of; knows no model.

A *chooser* takes the candidates of all beams at one step and says which are kept:
- `choose_best`: the best ones, finished or not (Sutskever et al. 2014);
- `choose_diverse`: group after group, each shunning what the groups before it chose (Vijayakumar et al. 2018);
- `choose_by_banks`: places shared out by how much of the required phrases is met (Post and Vilar 2018).

Each can leave all places to unfinished outputs, which *open* beams do: a candidate that is `</s>` then takes none, and is
kept if it is among the best so many.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.generation.stepper import EOS, Bools, Floats, Ints, best


@dataclass(frozen=True)
class Layout:
    """Where the rows of all beams stand: those of a beam together, best first, each in a *slot* of its beam."""

    sizes: Ints
    """(beams,): rows of each beam."""

    @cached_property
    def beam_of_row(self) -> Ints:
        """(rows,): the beam of each."""
        return np.arange(len(self.sizes)).repeat(self.sizes)

    @cached_property
    def first_row(self) -> Ints:
        """(beams,): the row of each beam's best output; its others follow."""
        first: Ints = self.sizes.cumsum() - self.sizes
        return first

    @cached_property
    def slots(self) -> int:
        """Rows of the largest beam."""
        return int(self.sizes.max())

    @cached_property
    def _even(self) -> bool:
        return int(self.sizes.min()) == self.slots

    def by_beam(self, table: NDArray[Any], *, fill: float) -> NDArray[Any]:
        """A (rows, k) table laid out by beam, (beams, slots * k), with `fill` in slots that stand empty."""
        k = table.shape[1]
        if not self._even:
            slot_of_row = np.arange(len(table)) - self.first_row[self.beam_of_row]
            laid_out = np.full((len(self.sizes), self.slots, k), fill, table.dtype)
            laid_out[self.beam_of_row, slot_of_row] = table
            table = laid_out
        return table.reshape(len(self.sizes), self.slots * k)  # (B, S, k) -> (B, S·k)


@dataclass(frozen=True)
class Candidates:
    """All continuations of all rows at one step, laid out by beam."""

    values: Floats
    """(beams, slots * k): what candidates are ranked by; -inf where there is none."""
    ids: Ints
    """(rows, k): the ids, by row."""
    layout: Layout
    """Where the rows stand."""
    places: Ints
    """(beams,): how many outputs each beam may still choose."""
    sentences: Ints
    """(beams,): the source that each beam belongs to."""
    ends: Bools | None = None
    """(beams, slots * k): in open beams, which of them are `</s>`."""

    def locate(self, beams: Ints, flat: Ints) -> tuple[Ints, Ints]:
        """Row and column in `ids` of positions `flat` in the values of `beams` (broadcast against each other)."""
        slots, columns = np.divmod(flat, self.ids.shape[1])
        return self.layout.first_row[beams] + slots, columns


def choose_best(candidates: Candidates) -> tuple[Ints, Bools]:
    """The best candidates of each beam, as many as it has places: positions, (beams, n), best first, and which are kept."""
    return _choose(candidates.values, candidates.places, candidates.ends)


def _choose(values: Floats, places: Ints, ends: Bools | None) -> tuple[Ints, Bools]:
    most, beams = int(places.max(initial=0)), np.arange(len(values))[:, None]
    order = best(values, most if ends is None else 2 * most)
    taken: Bools = values[beams, order] > -np.inf
    within = np.arange(order.shape[1]) < places[:, None]
    if ends is not None:
        ended = ends[beams, order]
        within = np.where(ended, within, (~ended).cumsum(axis=1) <= places[:, None])
    taken &= within
    return order, taken


def choose_diverse(candidates: Candidates, *, groups: Ints, ids: Ints, penalty: float) -> tuple[Ints, Bools]:
    """Group after group: a candidate loses `penalty` for every time that an earlier group of its source chose its id.

    `groups`, (beams,), numbers the groups of a source; `ids`, (beams, slots * k), are the candidates' ids. Ending is
    free: groups may all choose `</s>`.
    """
    values, ends = candidates.values, candidates.ends
    n = min(int(candidates.places.max()) * (1 if ends is None else 2), values.shape[1])
    order = np.zeros((len(groups), n), np.int64)
    taken = np.zeros((len(groups), n), np.bool_)
    last = int(groups.max())
    used = np.full((int(candidates.sentences.max()) + 1, last * n), -1)
    """(sources, ids): what earlier groups chose, -1 for nothing and for `</s>`."""
    for group in range(last + 1):
        mine = (groups == group).nonzero()[0]
        own, rows, sentences = ids[mine], np.arange(len(mine))[:, None], candidates.sentences[mine]
        before = group * n
        if before:
            values[mine] -= penalty * (own[:, :, None] == used[sentences, None, :before]).sum(axis=2)
        places, kept = _choose(values[mine], candidates.places[mine], None if ends is None else ends[mine])
        order[mine, : places.shape[1]], taken[mine, : places.shape[1]] = places, kept
        if group < last:
            chosen = own[rows, places]
            used[sentences, before : before + places.shape[1]] = np.where(kept & (chosen != EOS), chosen, -1)
    return order, taken


def choose_by_banks(candidates: Candidates, *, met: Ints) -> tuple[Ints, Bools]:
    """Places shared equally by *banks*: candidates that have met as many ids of required phrases, `met`, (beams, slots * k).

    Only banks that have candidates count. What does not divide evenly goes to those that have met most, and what a bank
    cannot fill to the best candidates of any.
    """
    values, ends = candidates.values, candidates.ends
    if ends is None:
        return _choose_by_banks(values, candidates.places, met)
    # Open beams share out their places among unfinished candidates, and end as they do without banks.
    beams = np.arange(len(values))[:, None]
    order, taken = _choose_by_banks(np.where(ends, -np.inf, values), candidates.places, met)
    any_order, any_taken = _choose(values, candidates.places, ends)
    kept = np.full(values.shape, -np.inf)
    kept[beams, any_order] = np.where(any_taken & ends[beams, any_order], values[beams, any_order], -np.inf)
    kept[beams, order] = np.where(taken, values[beams, order], kept[beams, order])
    order = best(kept, 2 * int(candidates.places.max()))
    return order, kept[beams, order] > -np.inf


def _choose_by_banks(values: Floats, places: Ints, met: Ints) -> tuple[Ints, Bools]:
    most, places = int(places.max()), places[:, None]
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
    values = values[beams, order]
    first = best(np.where(sure, np.inf, values), most)  # then the best of the others
    kept = np.where(np.arange(first.shape[1]) < places, values[beams, first], -np.inf)
    final = best(kept, first.shape[1])
    return order[beams, first[beams, final]], kept[beams, final] > -np.inf
