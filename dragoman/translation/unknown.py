"""Words that the vocabulary lacks: each `<unk>` of an output becomes the source word behind it; knows no model.

Luong et al. 2015 (Addressing the Rare Word Problem), Jean et al. 2015: the source word is the one that the model looked at most
when it said `<unk>`. A phrase table says what it becomes; without an entry it is copied, which is right for names and numbers.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from dragoman.config import ReadOptions, SearchOptions
from dragoman.corpus.reading import ReadReport, read_pairs, require_usable
from dragoman.corpus.tokenization import PAD, UNK
from dragoman.errors import DataError, OptionError
from dragoman.generation.hypothesis import align
from dragoman.translation.outputs import Candidate, Translation
from dragoman.translation.texts import Texts

_WORD = re.compile(r"\w+(?:['’\-]\w+)*")


class UnknownWords:
    """Replaces `<unk>` in translations."""

    def __init__(self, texts: Texts, table: Mapping[str, str]) -> None:
        """`table` maps source words to what they become."""
        self.texts = texts
        self.table = table
        self.by_words = texts.target_tokenizer.methods[0] == "word"
        """Whether what is unknown is a whole word; otherwise it is a character, as the source token behind it is."""

    @classmethod
    def of(cls, texts: Texts, options: SearchOptions, *, attends: bool) -> UnknownWords | None:
        """What the options ask for, if anything; an `OptionError` if the model looks at nothing (`attends`)."""
        if not options.replace_unknown and options.phrase_table is None:
            return None
        if not attends:
            name = "replace_unknown" if options.replace_unknown else "phrase_table"
            raise OptionError(f"`{name}` follows the model's attention, but this model has none")
        table: dict[str, str] = {}
        if options.phrase_table is not None:
            report, reading = ReadReport(), ReadOptions(normalization=texts.normalization)
            for pair in read_pairs([options.phrase_table], reading, report=report):
                table.setdefault(pair.source, pair.target)
            if report.unusable:
                line, fault = min((reason.lines[0], name) for name, reason in report.reasons.items())
                raise DataError(
                    f"{report.name}:{line}: {fault}; a phrase table has two columns, a source word and what it becomes, "
                    "with TAB between them (or a comma in a .csv file)"
                )
            require_usable(report)
        return cls(texts, table)

    def replace(self, translation: Translation) -> Translation:
        """The translation with texts that hold no `<unk>`; tokens and scores stay the model's own."""
        if not any(UNK in candidate.ids for candidate in translation.candidates):
            return translation
        source = self.texts.clean_source(translation.source)
        spans = self.texts.source_tokenizer.spans(source)
        candidates = tuple(self._candidate(candidate, source, spans) for candidate in translation.candidates)
        return dataclasses.replace(translation, candidates=candidates)

    def _candidate(self, candidate: Candidate, source: str, spans: list[tuple[int, int]]) -> Candidate:
        if UNK not in candidate.ids or candidate.attention is None:
            return candidate
        words: list[str] = []
        ids, before = list(candidate.ids), (0, 0)
        for place, looked_at in enumerate(align(candidate.attention).tolist()):
            span = (0, 0)
            if ids[place] == UNK:
                span = _whole_word(source, spans[looked_at]) if self.by_words else spans[looked_at]
                if self.by_words and span == before:  # one word in several unknown tokens
                    ids[place] = PAD
                else:
                    words.append(self._word(source[slice(*span)].strip()))
            before = span
        return dataclasses.replace(candidate, text=self.texts.target_tokenizer.decode(ids, unknown=words))

    def _word(self, word: str) -> str:
        return self.table.get(word) or self.table.get(word.lower()) or word


def _whole_word(source: str, span: tuple[int, int]) -> tuple[int, int]:
    """The span of the word that a piece of one stands in; that of anything else as it is."""
    begin, end = span
    begin += source.startswith(" ", begin, end)  # which the first piece of a word has before it
    for word in _WORD.finditer(source, source.rfind(" ", 0, begin + 1) + 1):
        if word.start() <= begin and end <= word.end():
            return word.span()
        if word.start() > begin:
            break
    return span
