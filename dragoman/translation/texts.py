"""The text side of a model: texts to ids, outputs to text, constraints to ids; knows neither the model nor the search."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dragoman.config import ReadOptions, SearchOptions
from dragoman.corpus.cleaning import Normalization, clean, fault_in, join_columns
from dragoman.corpus.lines import STANDARD_INPUT, label
from dragoman.corpus.reading import read_sources
from dragoman.corpus.report import EMPTY_LINE, EMPTY_SOURCE
from dragoman.corpus.tokenization import UNK, Tokenizer
from dragoman.errors import DataError
from dragoman.generation.automaton import Automaton
from dragoman.generation.constraints import Constraints, constraints_from_text
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.plan import length_limits
from dragoman.translation.outputs import Candidate, Translation

LONGEST_SOURCE = 5_000
"""Tokens of the longest source that is translated."""
_KEPT = 16
"""Patterns whose automata are kept."""


@dataclass(frozen=True)
class Encoded:
    """Sources in ids, as far as they can be used."""

    ids: dict[int, list[int]]
    """Place of the source to its ids."""
    faults: dict[int, str]
    """Place of the source to why it cannot be used."""


class Texts:
    """Both tokenisers of a model, and how its data was cleaned."""

    def __init__(self, config: dict[str, Any], read: Callable[[str], str]) -> None:
        """`config` is a model's; `read` gives the text of one of its files."""
        self._config = config
        self._tokenizers = Tokenizer.of_model(config, read)
        self._automata: dict[str, Automaton] = {}

    @property
    def source_tokenizer(self) -> Tokenizer:
        """Text to ids on the source side."""
        return self._tokenizers[0]

    @property
    def target_tokenizer(self) -> Tokenizer:
        """Ids to text on the target side."""
        return self._tokenizers[1]

    @property
    def normalization(self) -> Normalization:
        """The Unicode form of both sides."""
        form: Normalization = self._config["normalization"]
        return form

    @property
    def source_columns(self) -> int:
        """How many source columns there are; they are joined by TAB in a source."""
        return len(self.source_tokenizer.methods)

    def clean_source(self, source: str) -> str:
        """A source as the training data had it."""
        cells = source.split("\t") if self.source_columns > 1 else [source]
        return join_columns([clean(cell, self.normalization) for cell in cells])

    def clean_target(self, target: str) -> str:
        """A target as the training data had it: what outputs are like."""
        return clean(target, self.normalization)

    def encode_sources(self, sources: Sequence[str]) -> Encoded:
        """Sources in ids; one that cannot be used has a fault instead."""
        faults = {place: fault for place, source in enumerate(sources) if (fault := self._fault_in(source))}
        sound = [place for place in range(len(sources)) if place not in faults]
        encoded = self.source_tokenizer.encode_batch([self.clean_source(sources[place]) for place in sound])
        usable: dict[int, list[int]] = {}
        for place, ids in zip(sound, encoded, strict=True):
            if fault := _fault(ids):
                faults[place] = fault
            else:
                usable[place] = ids
        return Encoded(usable, faults)

    def _fault_in(self, source: str) -> str | None:
        """Why a source cannot be encoded, or None."""
        columns = source.count("\t") + 1
        if not source or source.isspace():
            return "the line is empty"
        if self.source_columns not in (1, columns):  # a single column takes TAB as white space
            return f"the line must have {self.source_columns} columns joined by TAB, but has {columns}"
        return fault_in(source)

    def encode_targets(self, targets: Sequence[str]) -> list[list[int]]:
        """Targets in ids, cleaned as the training data was, without `<s>` and `</s>`."""
        return self.target_tokenizer.encode_batch([self.clean_target(text) for text in targets])

    def translation(
        self, source: str, ids: list[int], hypotheses: Sequence[Hypothesis], options: SearchOptions
    ) -> Translation:
        """What a search under `options` found for a source and its ids, best first, as texts."""
        candidates = tuple(self.candidate(hypothesis) for hypothesis in hypotheses)
        warning = None
        if candidates and not candidates[0].finished:
            longest = int(length_limits(np.array([len(ids)]), options=options)[1][0])
            at_limit = len(hypotheses[0].ids) >= longest
            warning = (
                f"the output was cut {'at the maximum length' if at_limit else 'where the search could not go on'}"
            )
        tokens = tuple(self.source_tokenizer.tokens(ids))
        return Translation(source, candidates, warning, tokens, self._unknown_in(source, ids))

    def _unknown_in(self, source: str, ids: list[int]) -> tuple[str, ...]:
        """What of a source the vocabulary lacks, each once."""
        if UNK not in ids:
            return ()
        text = self.clean_source(source)
        spans = self.source_tokenizer.spans(text)
        return tuple(dict.fromkeys(text[slice(*span)].strip() for span, i in zip(spans, ids, strict=True) if i == UNK))

    def candidate(self, hypothesis: Hypothesis) -> Candidate:
        """An output as text."""
        ids = list(hypothesis.ids[: len(hypothesis.ids) - hypothesis.finished])
        attention = hypothesis.attention
        return Candidate(
            text=self.target_tokenizer.decode(ids),
            score=hypothesis.score,
            normalized_score=hypothesis.normalized_score,
            tokens=tuple(self.target_tokenizer.tokens(ids)),
            token_scores=tuple(float(score) for score in hypothesis.token_scores),
            attention=None if attention is None else attention[: len(ids)],
            finished=hypothesis.finished,
            ids=tuple(ids),
        )

    def constraints(self, options: SearchOptions) -> Constraints | None:
        """The constraints that options give as text, in the ids of this model; None if there are none.

        Texts are cleaned as targets were: a text in another Unicode form would be spelled as no output ever is.

        Raises `OptionError` for what the vocabulary cannot spell, and `DataError` for a file of choices that cannot be
        read.
        """
        choices: list[str] = []
        if options.choices is not None:
            choices = self._choices(options.choices)
        found = constraints_from_text(
            lambda text: self.encode_targets([text])[0],
            spellings=self.target_tokenizer.spellings,
            prefix=options.prefix,
            require=options.require,
            forbid=options.forbid,
            choices=choices,
            pattern=self._automaton(options.match) if options.match is not None else None,
        )
        return found or None

    def _choices(self, path: str) -> list[str]:
        """The lines of a file, cleaned as targets are; empty ones are none."""
        options = ReadOptions(format="text", normalization=self.normalization)
        choices: list[str] = []
        for line in read_sources(path, options):
            if line.text is not None:
                choices.append(line.text)
            elif line.reason not in (EMPTY_LINE, EMPTY_SOURCE):
                raise DataError(f"{label(path)}:{line.line}: {line.reason}")
        if not choices:
            why = "every line is one, and all are empty"
            if path == STANDARD_INPUT:
                why += ", or were read already (`stream`, `trace` and several models need a file)"
            raise DataError(f"{label(path)} holds no choices: {why}")
        return choices

    def _automaton(self, pattern: str) -> Automaton:
        if (found := self._automata.get(pattern)) is None:
            from dragoman.generation.patterns import compile_pattern, token_texts

            first, inside = token_texts(self.target_tokenizer.decode, self.target_tokenizer.vocab_size)
            # Targets may be decomposed, too.
            apart = self.normalization == "none" or any(self.target_tokenizer.config()["jamo"])
            composed = pattern if apart else unicodedata.normalize("NFC", pattern)
            found = compile_pattern(composed, inside, first_texts=first)
            if len(self._automata) >= _KEPT:  # a program may give another one with every source
                self._automata.clear()
            self._automata[pattern] = found
        return found


def _fault(ids: list[int]) -> str | None:
    if not ids:
        return "the line is empty"
    if len(ids) > LONGEST_SOURCE:
        return f"the line has {len(ids):,} tokens, more than the {LONGEST_SOURCE:,} that are translated"
    return None
