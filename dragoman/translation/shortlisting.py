"""Makes a model's shortlist: which target words each source word may become; knows files of pairs, not how a shortlist is used."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from dragoman.config import ReadOptions, whole
from dragoman.corpus.alignment import Translations, align, best_targets
from dragoman.corpus.dataset import EncodedPairs
from dragoman.corpus.reading import ReadReport, read_pairs, require_usable
from dragoman.errors import DataError, OptionError, StorageError, counted, needs_extra
from dragoman.files import as_word
from dragoman.generation.shortlist import Shortlist
from dragoman.places import locate
from dragoman.storage import SHORTLIST, ModelDirectory
from dragoman.training.events import Listener, Note, Stage, ignore
from dragoman.translation.loading import load_model
from dragoman.translation.texts import Texts

BEST, FREQUENT = 50, 100
"""Translations of a source token, and frequent tokens, that are candidates if nothing else is asked for."""
_AT_ONCE = 10_000
_SOME = 1_000


@dataclass(frozen=True)
class MadeShortlist:
    """What a shortlist was made of, and how large it is."""

    pairs: int
    """Pairs that were aligned."""
    source_words: int
    """Source ids that have translations."""
    mean_candidates: float
    """Candidates of a source of the pairs, on average."""
    vocabulary: int
    """Size of the target vocabulary."""
    size: int
    """Bytes of the file."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def make_shortlist(
    model: str | Path,
    pairs: str | Path | Sequence[str | Path] = (),
    *,
    best: int = BEST,
    frequent: int = FREQUENT,
    options: ReadOptions | None = None,
    listener: Listener = ignore,
) -> MadeShortlist:
    """Learn from pairs which target words translate which source words, and keep that with the model.

    `pairs` are a file, or two aligned text files, read as `options` say; without them the training pairs are taken that the model's
    directory still has. A source's candidates are then the `best` likely translations
    of each of its tokens, the token of the same spelling, the `frequent` most frequent target tokens, and the special ones. The
    graphs for shortlists are written too. Raises `StorageError` if there is no such model or it cannot have a shortlist,
    `DataError` if there are no pairs.
    """
    with needs_extra("making a shortlist"):
        from dragoman.runtime.export import add_shortlist_graphs
    paths = [pairs] if isinstance(pairs, str | Path) else list(pairs)
    best, frequent = whole("best", best), whole("frequent", frequent)
    directory = ModelDirectory.open(locate(model))
    directory.require_folder("making a shortlist")
    if not directory.has_graphs:
        raise StorageError(
            f"{directory.path} has no ONNX graphs; make them with: dragoman export {as_word(directory.path)}"
        )
    directory.read_graphs()  # which are of these weights, or it says so
    _ = directory.weights_sum  # what is written is for the vocabularies that belong to them
    texts = Texts(directory.config, directory.read_text)
    reading, columns = ReadOptions.of(options), len(texts.source_tokenizer.methods)
    if paths and max(1, len(reading.source)) != columns:
        text = (
            f"`source` must name {counted(columns, 'column')} as in training, but names {max(1, len(reading.source))}"
        )
        raise OptionError(text)
    vocab = texts.target_tokenizer.vocab_size
    folder = tempfile.TemporaryDirectory(prefix="dragoman-") if paths else nullcontext(str(directory.training / "data"))
    with folder as path:
        if paths:
            _encode(texts, paths, reading, Path(path), listener)
        encoded = _open(Path(path), directory)
        table = align(encoded, target_vocab_size=vocab, watch=lambda *news: listener(Stage(*news)))
        arrays = _arrays(table, texts, best=best, frequent=frequent)
        mean = _mean_candidates(encoded, arrays)
    directory.check_unchanged()
    add_shortlist_graphs(directory, load_model(directory, device="cpu", threads=None))
    if directory.has_shortlist:
        listener(Note(f"the shortlist that {directory.path} had is replaced"))
    directory.write_shortlist(arrays, {"pairs": table.pairs, "best": best, "frequent": frequent})
    known = len(np.unique(table.sources)) - 1
    return MadeShortlist(table.pairs, known, mean, vocab, (directory.path / SHORTLIST).stat().st_size)


def _encode(texts: Texts, pairs: Sequence[str | Path], options: ReadOptions, folder: Path, listener: Listener) -> None:
    """Read pairs and write their ids to `folder`, as a training leaves its own."""
    report = ReadReport()
    rows = read_pairs(pairs, options, report=report)

    def batches() -> Iterator[tuple[list[str], list[str]]]:
        while some := list(islice(rows, _AT_ONCE)):
            listener(Stage("encoding", report.usable, None))
            yield [pair.source for pair in some], [pair.target for pair in some]

    EncodedPairs.write(
        folder,
        "train",
        batches(),
        texts.source_tokenizer,
        texts.target_tokenizer,
    )
    require_usable(report)
    listener(Note(report.summary(), warning=report.unusable > 0))


def _open(folder: Path, directory: ModelDirectory) -> EncodedPairs:
    if not (folder / "train.json").exists():
        raise OptionError(
            f"PAIRS is missing, and {directory.path} no longer has its training data; give a file of pairs"
        )
    pairs = EncodedPairs.open(folder, "train")
    if not len(pairs):
        raise DataError("no pair is left after tokenisation, so there is nothing to align")
    return pairs


def _arrays(table: Translations, texts: Texts, *, best: int, frequent: int) -> dict[str, Any]:
    """What `dragoman.generation.shortlist.Shortlist` is made of."""
    vocab, sources = texts.target_tokenizer.vocab_size, texts.source_tokenizer.vocab_size
    offsets, ids = best_targets(table, source_vocab_size=sources, most=best)
    # Names, numbers and what was never seen go over as they are.
    same = np.array(texts.source_tokenizer.ids_in(texts.target_tokenizer))
    spelled = np.flatnonzero(same)
    entries = np.unique(
        np.concatenate([np.repeat(np.arange(sources), np.diff(offsets)) * vocab + ids, spelled * vocab + same[spelled]])
    )
    return {
        "offsets": np.searchsorted(entries // vocab, np.arange(sources + 1)),
        "ids": (entries % vocab).astype(np.uint16 if vocab <= 1 << 16 else np.int32),
        "frequent": np.argsort(-table.target_counts, kind="stable")[:frequent],
        "vocab_size": np.array(vocab),
    }


def _mean_candidates(pairs: EncodedPairs, arrays: dict[str, Any]) -> float:
    """Candidates of a source, over some of the pairs."""
    shortlist = Shortlist(**{**arrays, "vocab_size": int(arrays["vocab_size"])})
    some = np.linspace(0, len(pairs) - 1, min(len(pairs), _SOME)).astype(int)
    found = shortlist.candidates([pairs.source(int(index)).tolist() for index in some])
    return float((found.places >= 0).sum(axis=1).mean())
