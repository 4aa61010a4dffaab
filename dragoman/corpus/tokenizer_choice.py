"""Chooses how both sides are split, from a sample of the pairs; learns nothing and reads no file.

The rules are predicates over a `ColumnProfile`, a handful of counts. They are few and named, so that the reason that is
printed is the rule that decided. Whatever the user sets wins.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dragoman.config import TokenizerMethod, TrainOptions
from dragoman.errors import OptionError

_SUBWORDS = ("bpe", "unigram")
_SUBWORD_SIZES = ((1_000, 1_000), (10_000, 2_000), (50_000, 4_000), (500_000, 8_000), (2_000_000, 16_000))
_MANY_CHARACTERS = 1_000
_JAMO_BELOW = 200_000
_SENTENCE_END = tuple(".!?。！？…؟।,、，;:")
_FEATURE = re.compile(r"[;,|()\s]")
_UNSPACED = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\U00020000-\U0002ffff]"
)
_HANGUL = re.compile("[\u1100-\u11ff\uac00-\ud7a3]")


@dataclass(frozen=True)
class TokenizationChoice:
    """How both sides are to be split, and why."""

    source_methods: tuple[TokenizerMethod, ...]
    """One method per source column."""
    target_method: TokenizerMethod
    """Method of the target."""
    source_vocab_size: int | None
    """Largest vocabulary of each source column, special tokens included; None takes the limit of its method."""
    target_vocab_size: int | None
    """Largest vocabulary of the target."""
    shared: bool
    """Whether both sides have one vocabulary, learned over both."""
    byte_fallback: bool
    """Whether unknown characters are spelled in bytes (columns split by bpe or unigram)."""
    source_jamo: tuple[bool, ...]
    """For each source column, whether Hangul is decomposed."""
    target_jamo: bool
    """Whether the target's Hangul is decomposed, and composed again in the output."""
    kind: Literal["text", "symbols"]
    """What the task is: `text` is scored by BLEU and chrF, `symbols` (spellings, phones, actions) by exact match."""
    unspaced_target: bool
    """Whether the target is text that puts no spaces between words: metrics then compare characters."""
    reasons: dict[str, str]
    """For each decision (source, target, vocabulary, shared, byte_fallback, jamo) the reason in a few words."""


@dataclass(frozen=True)
class ColumnProfile:
    """Counts over one column of the sample."""

    rows: int
    """Texts that are not empty."""
    words: int
    """Pieces between white space, repeated ones included."""
    distinct: int
    """Different pieces."""
    letters: Counter[str]
    """How often each letter occurs, in lower case."""
    long_words: int
    """Pieces of more than one letter or other visible base character."""
    ended_words: int
    """Pieces with sentence punctuation at their end."""
    ended_rows: int
    """Texts with sentence punctuation at their end."""
    characters: int
    """Characters, white space excluded."""
    distinct_characters: int
    """Different ones."""
    unspaced: int
    """Characters of scripts without spaces between words (Han, kana, Thai, Lao, Khmer, Burmese)."""
    hangul: int
    """Hangul characters."""
    distinct_hangul: int
    """Different ones."""
    feature_rows: int
    """Texts without white space that have a separator of features: `;`, `|`, `,` or a bracket."""
    features: int
    """Pieces between such separators, repeated ones included."""
    distinct_features: int
    """Different ones."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> ColumnProfile:
        """Count over `texts`."""
        words: Counter[str] = Counter()
        characters: Counter[str] = Counter()
        features: Counter[str] = Counter()
        rows = ended_rows = feature_rows = 0
        for text in texts:
            pieces = text.split()
            rows += bool(pieces)
            words.update(pieces)
            if pieces:
                ended_rows += len(pieces[-1]) > 1 and pieces[-1].endswith(_SENTENCE_END)
            if len(pieces) == 1:
                parts = [part for part in _FEATURE.split(text) if part]
                features.update(parts)
                feature_rows += bool(_FEATURE.search(text.strip()))
        for word, count in words.items():
            for character in word:
                characters[character] += count
        return cls(
            rows=rows,
            words=words.total(),
            distinct=len(words),
            letters=_letters(characters),
            long_words=sum(n for word, n in words.items() if _base_length(word) > 1),
            ended_words=sum(n for word, n in words.items() if len(word) > 1 and word.endswith(_SENTENCE_END)),
            ended_rows=ended_rows,
            characters=characters.total(),
            distinct_characters=len(characters),
            unspaced=sum(n for c, n in characters.items() if _UNSPACED.match(c)),
            hangul=sum(n for c, n in characters.items() if _HANGUL.match(c)),
            distinct_hangul=sum(bool(_HANGUL.match(c)) for c in characters),
            feature_rows=feature_rows,
            features=features.total(),
            distinct_features=len(features),
        )

    def are_features(self) -> bool:
        """`V;IND;PST;NOM(3,PL)`: no white space, separators in most rows, few different pieces used again and again."""
        return self.feature_rows >= 0.5 * self.rows and self.features >= 8 * self.distinct_features

    def are_spelled_out(self) -> bool:
        """`예 나 리 스`, `k æ t`: nearly every piece is one character, and most rows have several."""
        return self.words >= 1.5 * self.rows and self.long_words <= 0.05 * self.words

    def are_closed_symbols(self) -> bool:
        """`K AH Z`, `I_TURN_LEFT I_JUMP`, labels: few different pieces, each used often, none with a full stop."""
        return self.distinct <= 300 and self.words >= 8 * self.distinct and self.ended_words <= 0.005 * self.words

    def are_spellings(self) -> bool:
        """`hàng xóm`, `birleşmek`: one to three short words in a row, and hardly a sentence among them."""
        if self.characters > 30 * self.rows or self.ended_rows > 0.05 * self.rows:
            return False
        if self.is_mostly_unspaced():
            return self.characters <= 8 * self.rows
        return self.words <= 2.5 * self.rows

    def is_mostly_unspaced(self) -> bool:
        """Most characters are of scripts that put no spaces between words."""
        return self.unspaced > 0.5 * self.characters

    def is_hangul(self) -> bool:
        """At least a third of the characters are Hangul."""
        return self.hangul * 3 >= self.characters > 0

    def shares_letters(self, other: ColumnProfile) -> float:
        """The smaller share of one side's letters, repeated ones counted, that occur on the other side too."""
        shares = [
            sum(n for letter, n in a.letters.items() if letter in b.letters) / max(1, a.letters.total())
            for a, b in ((self, other), (other, self))
        ]
        return min(shares)

    def method(self) -> tuple[TokenizerMethod, str]:
        """The method that suits this column, and why."""
        if self.are_features():
            return "features", "separators in most rows, few different pieces"
        if self.are_closed_symbols():
            return "symbols", f"only {self.distinct} different pieces between spaces"
        if self.are_spelled_out():
            return "symbols", "single characters between spaces"
        if self.are_spellings():
            return "char", "single words, not sentences"
        if self.is_mostly_unspaced():
            return "bpe", "sentences without spaces between words"
        return "bpe", "sentences"

    def is_text(self) -> bool:
        """Whether these are sentences, whatever the method."""
        return self.method()[0] == "bpe"


def choose_tokenization(sample: Sequence[tuple[str, str]], *, pairs: int, options: TrainOptions) -> TokenizationChoice:
    """Choose from `sample`, pairs spread over the whole training part, of which there are `pairs`.

    Source columns are joined by TAB. Raises `OptionError` where the options contradict each other or the data.
    """
    columns = [ColumnProfile.of(texts) for texts in _source_columns(sample)]
    target = ColumnProfile.of([text for _, text in sample])
    reasons: dict[str, str] = {}
    sources = _source_methods(columns, options, reasons)
    target_method = _target_method(target, options, reasons)
    methods = (*sources, target_method)
    shared = _shared(columns, target, methods, options, reasons)
    source_jamo, target_jamo = _jamo(columns, target, methods, options, reasons, pairs=pairs, shared=shared)
    return TokenizationChoice(
        source_methods=sources,
        target_method=target_method,
        source_vocab_size=_vocab_size(sources, pairs, options, reasons),
        target_vocab_size=_vocab_size((target_method,), pairs, options, reasons),
        shared=shared,
        byte_fallback=_byte_fallback([*columns, target], methods, (*source_jamo, target_jamo), options, reasons),
        source_jamo=source_jamo,
        target_jamo=target_jamo,
        kind="text" if target.is_text() else "symbols",
        unspaced_target=target.is_text() and target.is_mostly_unspaced(),
        reasons=reasons,
    )


def _source_columns(sample: Sequence[tuple[str, str]]) -> list[list[str]]:
    rows = [source.split("\t") for source, _ in sample]
    width = max((len(row) for row in rows), default=1)
    return [[row[c] if c < len(row) else "" for row in rows] for c in range(width)]


def _source_methods(
    columns: list[ColumnProfile], options: TrainOptions, reasons: dict[str, str]
) -> tuple[TokenizerMethod, ...]:
    asked = options.source_tokenizer
    if asked:
        if len(asked) not in (1, len(columns)):
            raise OptionError(
                f"`source_tokenizer` must be given once or for each of {len(columns)} source columns, "
                f"but is given {len(asked)} times"
            )
        reasons["source"] = "as asked"
        return asked if len(asked) == len(columns) else asked * len(columns)
    if options.source_vectors is not None and len(columns) == 1 and options.tokenizer is None:
        reasons["source"] = "words, as in the vectors file"
        return ("word",)
    if options.tokenizer is not None:
        reasons["source"] = "as asked"
        return (options.tokenizer,) * len(columns)
    found = [column.method() for column in columns]
    reasons["source"] = "; ".join(reason for _, reason in found)
    return tuple(method for method, _ in found)


def _target_method(target: ColumnProfile, options: TrainOptions, reasons: dict[str, str]) -> TokenizerMethod:
    asked = options.target_tokenizer or options.tokenizer
    if asked is not None:
        reasons["target"] = "as asked"
        return asked
    if options.target_vectors is not None:
        reasons["target"] = "words, as in the vectors file"
        return "word"
    method, reasons["target"] = target.method()
    return method


def _shared(
    columns: list[ColumnProfile],
    target: ColumnProfile,
    methods: tuple[TokenizerMethod, ...],
    options: TrainOptions,
    reasons: dict[str, str],
) -> bool:
    possible = len(columns) == 1 and methods[0] == methods[1]
    if options.shared_vocabulary is not None:
        if options.shared_vocabulary and not possible:
            raise OptionError(
                "`shared_vocabulary` needs one source column and one tokenizer for both sides, "
                f"but the source has {' + '.join(methods[:-1])} and the target {methods[-1]}"
            )
        reasons["shared"] = "as asked"
        return options.shared_vocabulary
    if not possible:
        reasons["shared"] = "the sides are split in different ways"
        return False
    if options.source_vectors is not None or options.target_vectors is not None:
        reasons["shared"] = "a vectors file belongs to one side"
        return False
    common = columns[0].shares_letters(target)
    if methods[0] in ("symbols", "features"):
        reasons["shared"] = "each side has symbols of its own"
        return False
    reasons["shared"] = f"{common:.0%} of the letters are common to both sides"
    return common >= 0.5


def _vocab_size(
    methods: tuple[TokenizerMethod, ...], pairs: int, options: TrainOptions, reasons: dict[str, str]
) -> int | None:
    """The size asked for; else for subwords one that grows with the pairs, and None for all that occurs.

    Few pairs want few merges: Sennrich and Zhang (2019), "Revisiting low-resource neural machine translation".
    """
    if options.vocab_size is not None:
        reasons["vocabulary"] = "as asked"
        return options.vocab_size
    if not set(methods) & set(_SUBWORDS):
        reasons.setdefault("vocabulary", "all that occur, up to a limit")
        return None
    reasons["vocabulary"] = f"for {pairs:,} pairs"
    return next((size for bound, size in _SUBWORD_SIZES if pairs < bound), 32_000)


def _byte_fallback(
    columns: list[ColumnProfile],
    methods: tuple[TokenizerMethod, ...],
    jamo: tuple[bool, ...],
    options: TrainOptions,
    reasons: dict[str, str],
) -> bool:
    possible = bool(set(methods) & set(_SUBWORDS))
    if options.byte_fallback is not None:
        if options.byte_fallback and not possible:
            raise OptionError(
                f"`byte_fallback` needs a side with the tokenizer bpe or unigram, but they are {', '.join(methods)}"
            )
        reasons["byte_fallback"] = "as asked"
        return options.byte_fallback
    if not possible:
        reasons["byte_fallback"] = "no side is split into subwords"
        return False
    most = max(
        column.distinct_characters - (column.distinct_hangul if decomposed else 0)
        for column, method, decomposed in zip(columns, methods, jamo, strict=True)
        if method in _SUBWORDS
    )
    if most > _MANY_CHARACTERS:
        reasons["byte_fallback"] = f"{most:,} different characters: the rare ones teach the bytes"
        return True
    reasons["byte_fallback"] = f"only {most:,} different characters: bytes would never be trained"
    return False


def _jamo(
    columns: list[ColumnProfile],
    target: ColumnProfile,
    methods: tuple[TokenizerMethod, ...],
    options: TrainOptions,
    reasons: dict[str, str],
    *,
    pairs: int,
    shared: bool,
) -> tuple[tuple[bool, ...], bool]:
    """Whether to decompose Hangul, for each source column and the target."""
    sides = [*columns, target]
    if options.jamo is not None:
        reasons["jamo"] = "as asked"
        wanted = [options.jamo and side.hangul > 0 for side in sides]
    else:
        small = pairs < _JAMO_BELOW
        wanted = [
            side.is_hangul() and (method == "char" or (method in _SUBWORDS and small))
            for side, method in zip(sides, methods, strict=True)
        ]
        if not any(side.is_hangul() for side in sides):
            reasons["jamo"] = "hardly any Hangul"
        elif any(wanted):
            reasons["jamo"] = "Hangul syllables are too many for the data, their parts are not"
        else:
            reasons["jamo"] = (
                "syllables are ready-made symbols" if "symbols" in methods else "data enough for syllables"
            )
    if shared:
        wanted = [any(wanted)] * len(wanted)
    return tuple(wanted[:-1]), wanted[-1]


def _letters(characters: Counter[str]) -> Counter[str]:
    letters: Counter[str] = Counter()
    for character, count in characters.items():
        if character.isalpha():
            letters[character.lower()] += count
    return letters


def _base_length(word: str) -> int:
    """Characters that stand on their own: no combining marks, no modifier letters such as ʰ, no tie bars."""
    return sum(unicodedata.category(c) not in ("Mn", "Mc", "Me", "Lm", "Sk") for c in word)
