"""Right answers: several per item, grouped from the rows of a file; does not know how they are scored."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence, Sized
from typing import Literal, Protocol

from dragoman.errors import OptionError


class SourceAndTarget(Protocol):
    """Anything with a source and a target, such as `dragoman.corpus.reading.Pair`."""

    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def target(self) -> str: ...  # noqa: D102


def source_key(source: str) -> str:
    """What is the same for the same source: Unicode NFC, runs of white space as one space.

    Case counts, because the model sees it ("polish" and "Polish" may need different answers).
    """
    return " ".join(unicodedata.normalize("NFC", source).split())


def item_key(source: str) -> tuple[str, ...]:
    """What is the same for the same item: the `source_key` of each source column; TAB joins them."""
    return tuple(map(source_key, source.split("\t")))


def group_references(pairs: Iterable[SourceAndTarget]) -> tuple[list[str], list[list[str]]]:
    """Make one item of all rows with the same source: `(sources, references)`, in the order first seen.

    Sources are the same if their `item_key` is. A target that is repeated is one reference, not two.
    """
    return group_rows(pairs)[:2]


def group_rows(pairs: Iterable[SourceAndTarget]) -> tuple[list[str], list[list[str]], list[list[int]]]:
    """What `group_references` gives, and in how many rows each reference stands."""
    items: dict[tuple[str, ...], tuple[str, dict[str, int]]] = {}
    for pair in pairs:
        counts = items.setdefault(item_key(pair.source), (pair.source, {}))[1]
        counts[pair.target] = counts.get(pair.target, 0) + 1
    sources = [source for source, _ in items.values()]
    return (
        sources,
        [list(counts) for _, counts in items.values()],
        [list(counts.values()) for _, counts in items.values()],
    )


def check_texts(name: str, texts: Sequence[str]) -> None:
    """Raise `OptionError` unless `texts`, which messages call `name`, are one text or more."""
    if isinstance(texts, str) or not isinstance(texts, Sized):
        raise OptionError(f"`{name}` must be a list of texts, but is {texts!r:.80}")
    if not len(texts):
        raise OptionError(f"`{name}` must not be empty: there is nothing to score")
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise OptionError(f"`{name}` must be texts, but number {number} is {text!r:.80}")


def check_references(
    texts: Sequence[str], references: Sequence[Sequence[str]], *, each: Literal["hypothesis", "source"] = "hypothesis"
) -> None:
    """Raise `OptionError` unless there are texts (hypotheses, or sources) and `each` has at least one reference."""
    name = {"hypothesis": "hypotheses", "source": "sources"}[each]
    check_texts(name, texts)
    if not isinstance(references, Sized):
        raise OptionError(f"`references` must be a list of texts for each {each}, but is {references!r:.80}")
    if len(texts) != len(references):
        raise OptionError(
            f"`references` must have one entry per {each}, but {len(references):,} stand against {len(texts):,}"
        )
    for number, alternatives in enumerate(references, 1):
        if isinstance(alternatives, str):
            raise OptionError(f"`references` must be a list of texts for each {each}, but entry {number} is one text")
        if not isinstance(alternatives, Sized):
            raise OptionError(
                f"`references` must be a list of texts for each {each}, but entry {number} is {alternatives!r:.80}"
            )
        if not len(alternatives):
            raise OptionError(f"`references` must not be empty for any {each}, but entry {number} is")
        for text in alternatives:
            if not isinstance(text, str):
                raise OptionError(f"`references` must be texts, but in entry {number} one is {text!r:.80}")


def reference_streams(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """References as sacreBLEU wants them: stream k holds every item's k-th reference, None where it has fewer.

    An empty string would be scored as a right answer of length 0; None is no answer.
    """
    most = max(len(alternatives) for alternatives in references)
    return [[texts[k] if k < len(texts) else None for texts in references] for k in range(most)]


def characters(text: str) -> str:
    """The characters that the character error rate counts: white space as single spaces, none at the ends."""
    return " ".join(text.split())
