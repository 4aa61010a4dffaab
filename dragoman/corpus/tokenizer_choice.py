"""Chooses how both sides are split, from a sample of the pairs; learns nothing and reads no file.

How a column is split follows from what it looks like (`column_profile`); the rest from how the columns go together and
how many pairs there are. Each decision keeps its reason. Whatever the user sets wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal

from rapidfuzz.distance import Indel

from dragoman.config import Case, TokenizerMethod, TrainOptions
from dragoman.corpus.casing import usual_case
from dragoman.corpus.column_profile import ColumnProfile
from dragoman.errors import DataError, OptionError, counted

_SUBWORDS = ("bpe", "unigram")
_SUBWORD_SIZES = ((1_000, 1_000), (10_000, 2_000), (200_000, 4_000), (500_000, 8_000), (2_000_000, 16_000))
_WIDER_FROM = 50_000
"""Pairs from which a vocabulary is not below 8,000 if many different characters would fill much of it."""
_MANY_CHARACTERS = 1_000
_ROOM_FOR_BYTES = 1_000
_JAMO_BELOW = 200_000
_COMPARED = 500
"""Pairs of the sample whose sides are compared at least."""
_FEW_CHARACTERS = 60
"""Characters of a source, in the mean, up to which it is spelled if its target is one of its words in another form."""
SAME_TEXT = 0.75
"""Share of the characters of both sides that are the same, in the same order, from which they are one text: 0.9 where spaces
are put back, 0.2 to 0.5 in translations and dialogues."""


@dataclass(frozen=True)
class TokenizationChoice:
    """How both sides are to be split, and why."""

    source_methods: tuple[TokenizerMethod, ...]
    """One method per source column."""
    target_method: TokenizerMethod
    """Method of the target."""
    source_vocab_sizes: tuple[int | None, ...]
    """For each source column, its largest vocabulary, special tokens included; None takes the limit of its method."""
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
    source_case: tuple[Case, ...]
    """For each source column, the case in which it is read."""
    kind: Literal["text", "symbols"]
    """What the task is: `text` is scored by BLEU and chrF, `symbols` (spellings, phones, actions) by exact match."""
    unspaced_target: bool
    """Whether the target is text that puts no spaces between words: metrics then compare characters."""
    reasons: dict[str, str]
    """For each decision (source, target, vocabulary, shared, byte_fallback, jamo, source_case) the reason in a few words."""

    def notes(self) -> list[str]:
        """Each decision with its value and its reason, one line each."""
        sizes = dict.fromkeys(f"{size:,}" for size in (*self.source_vocab_sizes, self.target_vocab_size) if size)
        jamo = [name for name, on in (("source", any(self.source_jamo)), ("target", self.target_jamo)) if on]
        values = {
            "source": " + ".join(self.source_methods),
            "target": self.target_method,
            "vocabulary": f"at most {' and '.join(sizes)}" if sizes else "as large as the data needs",
            "shared": "yes" if self.shared else "no",
            "byte_fallback": "yes" if self.byte_fallback else "no",
            "jamo": " and ".join(jamo) or "no",
            "source_case": " + ".join(self.source_case),
        }
        return [f"{name} = {values[name]}: {reason}" for name, reason in self.reasons.items()]


def choose_tokenization(sample: Sequence[tuple[str, str]], *, pairs: int, options: TrainOptions) -> TokenizationChoice:
    """Choose from `sample`, pairs spread over the whole training part, of which there are `pairs`.

    Source columns are joined by TAB. Raises `OptionError` where the options contradict each other
    or the data, and `DataError` without any pair.
    """
    if not sample:
        raise DataError("there are no pairs to choose a tokenisation from")
    texts = [list(column) for column in zip(*(source.split("\t") for source, _ in sample), strict=True)]
    columns = [ColumnProfile.of(column) for column in texts]
    target = ColumnProfile.of([text for _, text in sample])
    reasons: dict[str, str] = {}
    spacing = _spacing(columns, target, sample)
    sources = _source_methods(texts, columns, target, sample, options, reasons, spacing)
    target_method = _target_method(target, options, reasons, spacing)
    methods = (*sources, target_method)
    shared = _shared(columns, target, methods, options, reasons)
    source_jamo, target_jamo = _jamo(
        columns, target, methods, options, reasons, pairs=pairs, shared=shared, spacing=spacing is not None
    )
    characters = _most_characters([*columns, target], methods, (*source_jamo, target_jamo))
    return TokenizationChoice(
        source_methods=sources,
        target_method=target_method,
        source_vocab_sizes=tuple(_vocab_size(method, pairs, characters, options, reasons) for method in sources),
        target_vocab_size=_vocab_size(target_method, pairs, characters, options, reasons),
        shared=shared,
        byte_fallback=_byte_fallback(methods, characters, options, reasons),
        source_jamo=source_jamo,
        target_jamo=target_jamo,
        source_case=_source_case(texts, columns, sample, options, reasons),
        kind="text" if target.is_text() else "symbols",
        unspaced_target=target.is_text() and target.is_mostly_unspaced(),
        reasons=reasons,
    )


def _spacing(columns: list[ColumnProfile], target: ColumnProfile, sample: Sequence[tuple[str, str]]) -> str | None:
    """Why both sides are to be split into characters if they are one text, of which one side has no spaces; else None."""
    source = columns[0]
    spaced = source if target.is_unbroken() else target
    if len(columns) > 1 or source.is_unbroken() == target.is_unbroken() or not spaced.is_text():
        return None
    same = same_text(sample)
    if same < SAME_TEXT:
        return None
    return f"{same:.0%} of the characters are the same on both sides, and one has no spaces"


def same_text(pairs: Sequence[tuple[str, str]]) -> float:
    """The share of the characters of both sides that are the same, in the same order, in the mean; case does not count."""
    return sum(Indel.normalized_similarity(a.lower(), b.lower()) for a, b in pairs) / len(pairs)


def _spells_a_word(pairs: Iterable[tuple[str, str]]) -> float:
    """Which share of the characters of a target and of the word that is most like it in its source is the same, in the mean."""
    return mean(
        max((Indel.normalized_similarity(word.lower(), target.lower()) for word in source.split()), default=0.0)
        for source, target in pairs
    )


def _source_case(
    texts: list[list[str]],
    columns: list[ColumnProfile],
    sample: Sequence[tuple[str, str]],
    options: TrainOptions,
    reasons: dict[str, str],
) -> tuple[Case, ...]:
    if options.source_case is not None:
        reasons["source_case"] = "as asked"
        return (options.source_case,) * len(columns)
    step = max(1, len(sample) // _COMPARED)
    found = [usual_case(column, sentences=profile.is_text()) for column, profile in zip(texts, columns, strict=True)]
    for c, (case, _) in enumerate(found):
        pairs = [(text, target) for text, (_, target) in zip(texts[c][::step], sample[::step], strict=True)]
        if case == "sentence" and same_text(pairs) >= SAME_TEXT:
            found[c] = ("keep", "both sides are one text, which keeps its capitals")
    reasons["source_case"] = "; ".join(reason for _, reason in found)
    return tuple(case for case, _ in found)


def _source_methods(
    texts: list[list[str]],
    columns: list[ColumnProfile],
    target: ColumnProfile,
    sample: Sequence[tuple[str, str]],
    options: TrainOptions,
    reasons: dict[str, str],
    spacing: str | None,
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
    if spacing:
        reasons["source"] = spacing
        return ("char",)
    step = max(1, len(sample) // _COMPARED)
    targets = [text for _, text in sample[::step]]
    found = [
        _source_method(column, target, list(zip(some[::step], targets, strict=True)))
        for column, some in zip(columns, texts, strict=True)
    ]
    reasons["source"] = "; ".join(reason for _, reason in found)
    return tuple(method for method, _ in found)


def _source_method(
    column: ColumnProfile, target: ColumnProfile, pairs: Sequence[tuple[str, str]]
) -> tuple[TokenizerMethod, str]:
    """The method that suits a source column, and why: words and numbers that are spelled anew in the target are no symbols.

    `pairs` are some of its texts with their targets.
    """
    method, reason = column.method()
    if target.method()[0] != "char":
        return method, reason
    if method == "bpe" and not column.letters:
        return "char", "numbers and signs without letters, and the target is spelled"
    words = method == "bpe" or (method == "symbols" and not column.are_spelled_out())
    if words and column.characters <= _FEW_CHARACTERS * column.rows and _spells_a_word(pairs) >= 0.5:
        return "char", "a few words, and the target is one of them in another form"
    if method == "symbols" and column.are_repeated_words() and column.shares_letters(target) >= 0.5:
        return "char", "few different words, but spelled with the letters of the target"
    return method, reason


def _target_method(
    target: ColumnProfile, options: TrainOptions, reasons: dict[str, str], spacing: str | None
) -> TokenizerMethod:
    asked = options.target_tokenizer or options.tokenizer
    if asked is not None:
        reasons["target"] = "as asked"
        return asked
    if options.target_vectors is not None:
        reasons["target"] = "words, as in the vectors file"
        return "word"
    if spacing:
        reasons["target"] = spacing
        return "char"
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


def _most_characters(columns: list[ColumnProfile], methods: tuple[TokenizerMethod, ...], jamo: tuple[bool, ...]) -> int:
    """Different characters of the subword column that has most of them; jamo count as jamo."""
    return max(
        (
            column.distinct_in_jamo if decomposed else column.distinct_characters
            for column, method, decomposed in zip(columns, methods, jamo, strict=True)
            if method in _SUBWORDS
        ),
        default=0,
    )


def _vocab_size(
    method: TokenizerMethod, pairs: int, characters: int, options: TrainOptions, reasons: dict[str, str]
) -> int | None:
    """The size asked for; else for subwords one that grows with the pairs, and None for all that occurs.

    Few pairs want few merges: Sennrich and Zhang (2019), "Revisiting low-resource neural machine translation". English-French
    with 4,000 tokens came out 0.9 BLEU better than with 8,000, and another seed, after half an hour (benchmarks/recipes/eng-fra.md).
    """
    if options.vocab_size is not None:
        reasons["vocabulary"] = "as asked"
        return options.vocab_size
    if method not in _SUBWORDS:
        reasons.setdefault("vocabulary", "all that occur, up to a limit")
        return None
    reasons["vocabulary"] = f"for {counted(pairs, 'pair')}"
    size = next((size for bound, size in _SUBWORD_SIZES if pairs < bound), 32_000)
    return max(size, 8_000) if characters > _MANY_CHARACTERS and pairs >= _WIDER_FROM else size


def _byte_fallback(
    methods: tuple[TokenizerMethod, ...], characters: int, options: TrainOptions, reasons: dict[str, str]
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
    if options.vocab_size is not None and options.vocab_size < _ROOM_FOR_BYTES:
        reasons["byte_fallback"] = "the vocabulary is too small for 256 bytes"
        return False
    if characters > _MANY_CHARACTERS:
        reasons["byte_fallback"] = f"{characters:,} different characters: the rare ones train the byte tokens"
        return True
    reasons["byte_fallback"] = f"only {characters:,} different characters: byte tokens would never be trained"
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
    spacing: bool,
) -> tuple[tuple[bool, ...], bool]:
    """Whether to decompose Hangul, for each source column and the target."""
    sides = [*columns, target]
    if options.jamo is not None:
        if options.jamo and not any(side.hangul for side in sides):
            raise OptionError("`jamo` needs Hangul on a side at least, but there is none")
        reasons["jamo"] = "as asked"
        wanted = [options.jamo and side.hangul > 0 for side in sides]
    else:
        small = pairs < _JAMO_BELOW
        wanted = [
            side.is_hangul() and not spacing and (method == "char" or (method in _SUBWORDS and small))
            for side, method in zip(sides, methods, strict=True)
        ]
        if not any(side.is_hangul() for side in sides):
            reasons["jamo"] = "hardly any Hangul"
        elif spacing:
            reasons["jamo"] = "only spaces change, and not syllables"
        elif any(wanted):
            reasons["jamo"] = "there are too many Hangul syllables for the data, but few letters"
        else:
            reasons["jamo"] = "syllables are symbols" if "symbols" in methods else "enough data for syllables"
    if shared:
        wanted = [any(wanted)] * len(wanted)
    return tuple(wanted[:-1]), wanted[-1]
