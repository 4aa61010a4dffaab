"""What is settled before the model is first asked: lengths, ranking, ids that are never chosen; knows no model.

Every contradiction is found here, so that a search either starts with a plan that can be carried out or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dragoman.config import SearchOptions
from dragoman.errors import OptionError, counted
from dragoman.generation.constraints import Constraints, check_ids, settle
from dragoman.generation.hypothesis import Ranking
from dragoman.generation.rules import Rules, first_rules, make_tables
from dragoman.generation.stepper import BOS, EOS, PAD, UNK, Floats, Ints


@dataclass(frozen=True)
class Plan:
    """One call of `search`, with all defaults filled in."""

    options: SearchOptions
    """As the caller gave them."""
    source_ids: list[list[int]]
    """The sources."""
    source_lengths: Ints
    """(sources,): their lengths."""
    max_lengths: Ints
    """(sources,): most ids in an output, `</s>` included."""
    ranking: Ranking
    """How outputs are ranked."""
    never: Floats
    """(vocab,): -inf for ids that are never chosen (`<pad>`, `<s>`, perhaps `<unk>`), 0 for all others."""
    rules: Rules | None
    """The constraints before the first id; None where there are none, which is faster."""

    @property
    def required(self) -> bool:
        """Whether some phrases are required."""
        return self.rules is not None and self.rules.progress.size > 0

    def top_k(self, wanted: int) -> int:
        """How many ids to ask the model for so that `wanted` remain after those that are never chosen."""
        return min(wanted + self._barred, len(self.never))

    def bars(self, ids: Ints) -> bool:
        """Whether any of these ids is one that is never chosen."""
        return int(ids.min()) < EOS and bool((self.never[ids] < 0).any())

    @cached_property
    def _barred(self) -> int:
        """How many ids are never chosen."""
        return int(np.isinf(self.never).sum())

    def receive(self, received: Floats | None, attention: Floats | None, sentences: Ints) -> Floats:
        """Add a step's attention, (rows, source_length), to what source positions got so far, for the coverage penalty.

        Positions beyond a source's end count as fully covered.
        """
        if attention is None:
            raise OptionError("`coverage_penalty` needs a model with attention, but this model has none")
        if received is None:
            padding = np.arange(attention.shape[1]) >= self.source_lengths[sentences][:, None]
            return padding + attention
        # A Stepper may drop columns that are padding in all rows that are left: those count as covered anyway.
        total: Floats = received[:, : attention.shape[1]] + attention
        return total


def make_plan(
    source_ids: Iterable[Sequence[int]],
    vocab_size: int,
    *,
    options: SearchOptions,
    constraints: Constraints | Sequence[Constraints | None] | None = None,
) -> Plan:
    """Fill in the defaults and check everything that can be checked without the model."""
    for name in ("rerank", "num_candidates", "reverse_weight", "min_confidence", "replace_unknown", "phrase_table"):
        if getattr(options, name) is not None and getattr(options, name) is not False:
            raise OptionError(f"`{name}` works on texts: it is for `translate`, not for `search`")
    if options.shortlist:
        raise OptionError(
            "`shortlist` is for `translate`: here the Stepper decides, as `OnnxStepper(shortlist=...)` does"
        )
    sources = [list(ids) for ids in source_ids]
    lengths = lengths_of(sources)
    shortest, longest = length_limits(lengths, options=options)
    never = np.zeros(vocab_size, np.float32)  # adding it leaves float32 as it is
    never[[PAD, BOS]] = -np.inf
    if not options.allow_unknown:
        never[UNK] = -np.inf
    ranking = Ranking(options.length_penalty, options.length_norm, options.coverage_penalty)
    rules = _make_rules(_per_source(constraints, len(lengths), options), shortest, longest, never, options)
    return Plan(options, sources, lengths, longest, ranking, never, rules)


def _per_source(
    constraints: Constraints | Sequence[Constraints | None] | None, sources: int, options: SearchOptions
) -> list[Constraints]:
    """One set of constraints for every source."""
    if constraints is None:
        texts = ("prefix", "require", "forbid", "choices", "match")
        given = [name for name in texts if getattr(options, name)]
        if given:
            raise OptionError(f"`{given[0]}` must be turned into ids for `search`: pass them as `constraints`")
    if constraints is None or isinstance(constraints, Constraints):
        return [constraints or Constraints()] * sources
    if len(constraints) != sources:
        raise OptionError(
            f"`constraints` must be one for all or one per source ({sources}), but are {len(constraints)}"
        )
    return [each or Constraints() for each in constraints]


def _make_rules(
    per_source: list[Constraints], shortest: Ints, longest: Ints, never: Floats, options: SearchOptions
) -> Rules | None:
    """The constraints of all sources, checked; None if nothing is constrained."""
    if options.beam_groups > 1 and any(each.require for each in per_source):
        raise OptionError("`require` must not be given with several `beam_groups`")
    if options.method not in ("beam", "best_first") and any(each.require for each in per_source):
        raise OptionError(f"`require` needs `method` beam or best_first, but it is {options.method}")
    limited = options.no_repeat_ngram or options.repetition_penalty or shortest.max(initial=0) > 1
    if not per_source or not (limited or any(per_source)):
        return None
    for each in {id(each): each for each in per_source}.values():
        check_ids(each, vocab_size=len(never), allow_unknown=options.allow_unknown)
    n = options.no_repeat_ngram
    limits = list(zip(map(id, per_source), shortest.tolist(), longest.tolist(), strict=True))
    settled = {  # once for all sources of the same: a list of choices may be long
        case: settle(each, min_length=case[1], max_length=case[2], no_repeat_ngram=n)
        for case, each in dict(zip(limits, per_source, strict=True)).items()
    }
    tables = make_tables(
        [settled[case] for case in limits],
        never=never,
        min_lengths=shortest,
        max_lengths=longest,
        no_repeat_ngram=n,
        repetition_penalty=options.repetition_penalty,
    )
    return first_rules(tables)


def lengths_of(source_ids: Sequence[Sequence[int]]) -> Ints:
    """(sources,): how many ids each has; an `OptionError` names one that has none, for which an engine may answer anything."""
    lengths = np.array([len(ids) for ids in source_ids], np.int64)
    if not lengths.all():
        raise OptionError(f"every source must have at least one id, but number {int(lengths.argmin()) + 1} has none")
    return lengths


def length_limits(source_lengths: Ints, *, options: SearchOptions) -> tuple[Ints, Ints]:
    """Fewest and most ids per output, `</s>` included, for sources of these lengths.

    Without `max_length` and `max_length_ratio` the most is 3 x source + 50, or twice the fewest if that is more. Where
    both an absolute and a relative limit are given, the stricter one holds.
    """
    shortest = np.full_like(source_lengths, options.min_length)
    if options.min_length_ratio:
        shortest = np.maximum(shortest, _multiple(options.min_length_ratio, source_lengths))
    longest = np.maximum(3 * source_lengths + 50, 2 * shortest)
    if options.max_length is not None or options.max_length_ratio is not None:
        longest = np.full_like(source_lengths, np.iinfo(np.int32).max)
    if options.max_length is not None:
        longest = np.minimum(longest, options.max_length)
    if options.max_length_ratio is not None:
        longest = np.minimum(longest, np.maximum(_multiple(options.max_length_ratio, source_lengths), 1))
    clash = np.flatnonzero(shortest > longest)
    if len(clash):
        i = int(clash[0])
        raise OptionError(
            f"the shortest output allowed ({shortest[i]}) must not be longer than the longest ({longest[i]}), "
            f"but is for a source of {counted(source_lengths[i], 'token')}"
        )
    return shortest, longest


def _multiple(ratio: float, lengths: Ints) -> Ints:
    """`ratio` times `lengths`, rounded up; 1.1 times 50 is 55, which floats make a little more of."""
    multiple: Ints = np.ceil(np.round(ratio * lengths, 6)).astype(np.int64)
    return multiple
