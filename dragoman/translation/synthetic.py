"""Training pairs that models make: by distillation and by back-translation; knows how to translate texts, not models.

Both translate a column of texts and write the outputs down as pairs, in a file that grows as they come: a long work that was
stopped goes on where it stopped, and a finished one is not done again. Nothing is held in memory but one chunk of texts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from dragoman.config import ReadOptions
from dragoman.corpus.cleaning import clean, fold, hash64
from dragoman.corpus.lines import STANDARD_INPUT, check_file
from dragoman.corpus.reading import read_sources
from dragoman.corpus.store import PairView
from dragoman.errors import DataError, Interrupted, OptionError, StorageError, counted
from dragoman.files import check_place, through_link, write_json
from dragoman.training.events import Listener, Note, Stage
from dragoman.translation.outputs import Translation
from dragoman.translation.part import failing, lock_part, write_all

CHUNK = 512
"""Texts that are translated between two looks at the disk."""

Translate = Callable[[list[str]], list[Translation]]
Texts = Callable[[], Iterator[str]]
"""Gives the same texts every time it is called."""


@dataclass(frozen=True)
class Made:
    """How far a file of made pairs is: what stands beside it as JSON."""

    maker: dict[str, Any]
    """The models and the search."""
    texts: int = 0
    """Texts that were translated."""
    pairs: int = 0
    """Pairs that they gave."""
    without_output: int = 0
    """Texts that gave none: they could not be read, or every output was empty or cut at the maximum length."""
    digest: str = hashlib.blake2b(digest_size=8).hexdigest()
    """Of the texts."""
    size: int = 0
    """Bytes of the file."""
    complete: bool = False
    """Whether no text is left."""


class PairsFile:
    """A TSV file of (output, text) or (text, output) pairs, with a `.json` beside it that says what it holds.

    Until it is complete its name ends in `.part`.
    """

    def __init__(self, path: Path, maker: dict[str, Any], *, overwrite: bool = False) -> None:
        """Raises `StorageError` if something else stands or was begun at `path`, unless it may be overwritten."""
        path = through_link(path)
        self.path, self.maker, self._overwrite = path, maker, overwrite
        self.part = path.with_name(path.name + ".part")
        self.notes = path.with_name(path.name + ".json")
        self.made = found = Made(maker)
        with suppress(OSError, ValueError, TypeError):
            found = Made(**json.loads(self.notes.read_text(encoding="utf-8")))
            if not found.complete and not self.part.exists() and path.stat().st_size == found.size:
                found = replace(found, complete=True)  # killed when the file had just got its name
            stands = path if found.complete else self.part
            if found.maker == maker and stands.stat().st_size >= found.size:
                self.made = found
        if not self.made.complete:
            self._check(found if found.maker != maker else Made(maker))

    def _check(self, other: Made) -> None:
        """Raise `StorageError` if nothing can be written here, or if that would cost what `other` models or texts gave."""
        if self.path.exists() and not (self._overwrite and self.path.is_file()):
            raise StorageError(
                f"{self.path} exists, and is not what these models and this search make of these texts; choose another `write`, "
                "or give `overwrite`"
            )
        check_place(self.path)
        if other.texts and self.part.exists() and not self._overwrite:
            raise StorageError(
                f"{self.part} has {counted(other.texts, 'text')} of other models, another search or other texts; give the same again to go on "
                "with it, choose another `write`, or give `overwrite`"
            )

    def fill(
        self,
        texts: Texts,
        translate: Translate,
        *,
        swapped: bool,
        total: int | None,
        listener: Listener,
    ) -> Made:
        """Translate what is not yet there. With `swapped` the outputs are the sources of the pairs.

        An interrupt leaves a file that the next call goes on with.
        """
        source, digest = self._skip(texts)
        if self.made.complete and digest.hexdigest() == self.made.digest and next(source, None) is None:
            listener(Note(f"using the pairs that {self.path} holds already"))
            return self.made
        if self.made.complete or digest.hexdigest() != self.made.digest:  # of other texts
            self._check(self.made)
            self.made, digest, source = Made(self.maker), hashlib.blake2b(digest_size=8), texts()
        elif self.made.texts:
            listener(Note(f"going on after {counted(self.made.texts, 'text')} translated already"))
        try:
            with self.part.open("r+b" if self.made.size else "ab", buffering=0) as file:
                lock_part(file, self.part)
                file.truncate(self.made.size)
                file.seek(self.made.size)
                while chunk := list(islice(source, CHUNK)):
                    listener(Stage("translating", self.made.texts, total, "text"))
                    rows = [_rows(translation, swapped=swapped) for translation in translate(chunk)]
                    with failing(self.path):
                        write_all(file, "".join(row for some in rows for row in some).encode("utf-8"))
                        os.fsync(file.fileno())
                        digest.update(_bytes(chunk))
                        self.made = replace(
                            self.made,
                            texts=self.made.texts + len(chunk),
                            pairs=self.made.pairs + sum(map(len, rows)),
                            without_output=self.made.without_output + rows.count([]),
                            digest=digest.hexdigest(),
                            size=file.tell(),
                        )
                        self._note()
                listener(Stage("translating", self.made.texts, self.made.texts, "text"))
                if not self.made.texts:
                    self.part.unlink()
                    return self.made
                self.part.replace(self.path)  # while it is locked: nobody else goes on with what is whole
                self.made = replace(self.made, complete=True)
                self._note()
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped after {counted(self.made.texts, 'text')}, which {self.part} keeps; the same command goes on from there"
            ) from None
        return self.made

    def _skip(self, texts: Texts) -> tuple[Iterator[str], Any]:
        """The texts after those that are translated, and the digest of those."""
        source, digest = texts(), hashlib.blake2b(digest_size=8)
        left = self.made.texts
        while left and (chunk := list(islice(source, min(CHUNK, left)))):
            digest.update(_bytes(chunk))
            left -= len(chunk)
        return source, digest

    def _note(self) -> None:
        write_json(self.notes, asdict(self.made))

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Every (source, target); several source columns are joined by TAB."""
        with self.path.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                source, _, target = line.rstrip("\n").rpartition("\t")
                yield source, target


def _rows(translation: Translation, *, swapped: bool) -> list[str]:
    """The lines of one text's outputs, each different output once; outputs that were cut are no examples."""
    texts = dict.fromkeys(clean(each.text, "none") for each in translation.candidates if each.finished)
    sides = [(text, translation.source) if swapped else (translation.source, text) for text in texts if text]
    return [f"{source}\t{target}\n" for source, target in sides]


def _bytes(texts: Sequence[str]) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode("utf-8")


@dataclass
class Distillation:
    """Puts a teacher's outputs in the place of the targets (sequence-level knowledge distillation, Kim and Rush 2016)."""

    translate: Translate
    """The teacher."""
    file: PairsFile
    """Where the pairs go."""

    def __call__(self, train: PairView, held_out: Sequence[PairView], listener: Listener) -> Iterator[tuple[str, str]]:
        """The pairs to train on, for those of the training part."""
        del held_out  # the parts differ in their sources, unless they are files, of which reading warns
        rows = _first_of_each_source(train)
        made = self.file.fill(
            lambda: (source for source, _ in train.store.select(rows)),
            self.translate,
            swapped=False,
            total=len(rows),
            listener=listener,
        )
        _tell(made, self.file, listener)
        return self.file.pairs()

    def facts(self) -> dict[str, Any]:
        """For the model card."""
        return {"kind": "distillation", **asdict(self.file.made)}


@dataclass
class BackTranslation:
    """Adds pairs whose sources a reverse model made from texts of the target language (Sennrich et al. 2016)."""

    translate: Translate
    """The reverse model."""
    file: PairsFile
    """Where the pairs go."""
    texts: str | Path
    """The file of texts, one a line."""
    options: ReadOptions
    """How it is read."""
    repeat: int = 1
    """How often each true pair counts."""
    leaked: int = 0
    """Texts that were left out because they are targets of dev or test."""
    shared: int = 0
    """Made pairs that are not trained on because their source is one of dev or test."""
    unusable: int = 0
    """Lines that cannot be read as text, or are empty."""
    true_pairs: int = 0
    """Pairs of the training part, each counted once."""

    def __post_init__(self) -> None:
        """Find what is wrong with the file before any work is done."""
        if str(self.texts) == STANDARD_INPUT:
            raise OptionError(
                "TEXTS must be a file, which can be read again after an interruption, but is standard input"
            )
        check_file(str(self.texts))

    def __call__(self, train: PairView, held_out: Sequence[PairView], listener: Listener) -> Iterator[tuple[str, str]]:
        """The pairs to train on: those of the training part, then the made ones."""
        known = {hash64(fold(target)) for view in held_out for _, target in view}
        made = self.file.fill(
            lambda: self._texts(known),
            self.translate,
            swapped=True,
            total=None,
            listener=listener,
        )
        for count, why in ((self.unusable, "not usable"), (self.leaked, "targets of dev or test")):
            if count:
                listener(Note(f"left out {counted(count, 'line')} of {self.texts}: {why}"))
        if not made.texts:
            raise DataError(f"{self.texts} has no line to translate back")
        _tell(made, self.file, listener)
        return self._all(train, {hash64(fold(source)) for view in held_out for source, _ in view}, listener)

    def _all(self, train: PairView, secret: set[int], listener: Listener) -> Iterator[tuple[str, str]]:
        """The pairs to train on; none has one of the `secret` sources."""

        def made_pairs() -> Iterator[tuple[str, str]]:
            form = self.options.normalization
            return (pair for pair in self.file.pairs() if hash64(fold(clean(pair[0], form))) not in secret)

        made = sum(1 for _ in made_pairs())
        self.true_pairs, self.shared = len(train), self.file.made.pairs - made
        if self.shared:
            listener(Note(f"left out {counted(self.shared, 'made pair')} whose source is in dev or test"))
        times = f", {self.repeat} times" if self.repeat > 1 else ""
        text = f"training on {counted(len(train), 'true pair')}{times}, and {made:,} made ones"
        listener(Note(f"{text} ({made / (made + self.repeat * len(train)):.0%})"))
        for _ in range(self.repeat):
            yield from train
        yield from made_pairs()

    def _texts(self, known: set[int]) -> Iterator[str]:
        self.leaked = self.unusable = 0
        for line in read_sources(self.texts, self.options):
            if line.text is None:
                self.unusable += 1
                continue
            if hash64(fold(line.text)) in known:
                self.leaked += 1
                continue
            yield line.text

    def facts(self) -> dict[str, Any]:
        """For the model card."""
        own = ("true_pairs", "repeat", "leaked", "shared", "unusable")
        return {"kind": "back-translation", **asdict(self.file.made), **{name: getattr(self, name) for name in own}}


def _first_of_each_source(train: PairView) -> Any:
    """The rows of the store that hold each different source for the first time."""
    keys = np.fromiter((hash64(source) for source, _ in train), np.uint64, len(train))
    _, first = np.unique(keys, return_index=True)
    return train.indices[np.sort(first)]


def _tell(made: Made, file: PairsFile, listener: Listener) -> None:
    """Say what came of it; nothing at all is an error."""
    if made.texts and not made.pairs:
        raise DataError(f"none of {counted(made.texts, 'text')} gave an output that can be trained on")
    lost = f"; {made.without_output:,} gave no output that can be trained on: left out" if made.without_output else ""
    listener(
        Note(
            f"{counted(made.texts, 'text')} gave {counted(made.pairs, 'pair')}, in {file.path}{lost}",
            warning=bool(lost),
        )
    )
