"""From files to what the trainer eats: reading, splitting, tokenisers, ids on disk; knows no model.

Everything lies in one folder, so that a resumed run needs neither the user's files nor the choices made from them.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from dragoman.config import ReadOptions, TrainOptions
from dragoman.corpus.augmentation import check_augmentation
from dragoman.corpus.cleaning import fold, hash64
from dragoman.corpus.dataset import LONGEST, EncodedPairs
from dragoman.corpus.doubts import ColumnDoubts
from dragoman.corpus.lines import check_read_once, label
from dragoman.corpus.reading import Pair, ReadReport, pairs_from_rows, read_pairs, require_usable
from dragoman.corpus.splitting import HeldOut, Split, default_dev, different, parse_held_out, split
from dragoman.corpus.store import PairStore, PairView
from dragoman.corpus.subword_dropout import check_subword_dropout
from dragoman.corpus.tokenization import Tokenizer
from dragoman.corpus.tokenizer_choice import TokenizationChoice, choose_tokenization
from dragoman.corpus.tokenizer_learning import DEFAULT_LIMITS, learn_tokenizers
from dragoman.corpus.vectors import read_vector_words
from dragoman.errors import DataError, OptionError, StorageError, counted
from dragoman.files import parse_json, write_json
from dragoman.training.events import Listener, Note, Stage, ignore

VOCABULARY_SAMPLE = 500_000
"""Pairs (so twice as many lines) a vocabulary is learned from at most."""
CHOICE_SAMPLE = 20_000
"""Pairs the defaults of tokenisation are chosen from at most."""
_REPORT_EVERY = 20_000

FILE_OPTIONS = frozenset({"format", "source", "target", "separator", "header", "pattern", "encoding"})
"""Options that tell how files are read, and mean nothing without one."""

Pairs = str | Path | Sequence[str | Path] | Iterable[tuple[str, str]]
"""A file, two aligned files, or (source, target) pairs."""


class Remaker(Protocol):
    """Makes the pairs that are trained on from those of the training part."""

    def __call__(
        self, train: PairView, held_out: Sequence[PairView], listener: Listener, /
    ) -> Iterator[tuple[str, str]]:
        """The pairs; none of them may tell what stands in `held_out`, the parts for dev and test."""
        ...

    def facts(self) -> dict[str, Any]:
        """What the model card says of them."""
        ...


@dataclass(frozen=True)
class Part:
    """Held-out texts: each source once, with every right answer."""

    sources: list[str]
    """In the order of the file."""
    references: list[list[str]]
    """One or more per source."""

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Part:
        """Group pairs by their source."""
        grouped: dict[str, list[str]] = {}
        for source, target in pairs:
            grouped.setdefault(source, []).append(target)
        return cls(list(grouped), list(grouped.values()))

    def first(self, count: int) -> Part:
        """At most `count` sources, spread evenly."""
        if len(self.sources) <= count:
            return self
        chosen = np.linspace(0, len(self.sources) - 1, count).astype(int)
        return Part([self.sources[i] for i in chosen], [self.references[i] for i in chosen])

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Every (source, target)."""
        for source, references in zip(self.sources, self.references, strict=True):
            for reference in references:
                yield source, reference


@dataclass(frozen=True)
class Prepared:
    """Data, ready for training."""

    source_tokenizer: Tokenizer
    """Of the source side."""
    target_tokenizer: Tokenizer
    """Of the target side, of the same columns with a shared vocabulary."""
    train: EncodedPairs
    """What is learned from."""
    dev: EncodedPairs
    """What the dev loss is measured on."""
    dev_part: Part
    """What dev decoding is scored on."""
    test_part: Part | None
    """What is scored once at the end."""
    facts: dict[str, Any]
    """Counts, split rule and fingerprint, for the model card."""
    kind: str
    """symbols or text."""
    writing: str
    """How targets are written: spaced, unspaced or symbols."""


def prepare(
    pairs: Pairs,
    options: TrainOptions,
    folder: Path,
    listener: Listener,
    *,
    tokenizers: tuple[Tokenizer, Tokenizer] | None = None,
    remake: Remaker | None = None,
) -> Prepared:
    """Read, split and tokenise into `folder`, with new tokenisers unless some are given.

    `remake` makes the pairs of the training part others; dev and test stay as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given = _parted(pairs, options, folder, listener)
    train, dev, test = given.train, given.dev, given.test
    _check_columns(given, None if tokenizers is None else tokenizers[0])
    if remake is not None:
        _check_tokens(train, options, tokenizers)  # what comes now may take hours
        train = _remade(remake, given, folder, options, listener)
    choice = _choose(train, options, listener if tokenizers is None else ignore)
    source_tokenizer, target_tokenizer = tokenizers or _tokenizers(train, choice, options, listener)
    facts = _facts(pairs, given, options)
    if remake is not None:
        facts["remade"] = {"from": facts["train"], **remake.facts()}
        facts["train"] = {"pairs": len(train), "sources": len(different(train.keys()))}
    encoded = {
        name: _encoded(folder, name, view, (source_tokenizer, target_tokenizer), listener)
        for name, view in (("train", train), ("dev", dev))
    }
    dev_part = _decodable(dev, source_tokenizer)
    test_part = None if test is None else _decodable(test, source_tokenizer, name="test", listener=listener)
    facts["train"]["used"] = len(encoded["train"])
    # Characters that spell a word are judged as text with spaces; ready-made symbols are symbols.
    symbols = target_tokenizer.methods[0] == "symbols"
    writing = "symbols" if symbols else "unspaced" if choice.unspaced_target else "spaced"
    texts = {
        "dev": _as_json(dev_part),
        "test": None if test_part is None else _as_json(test_part),
        "facts": facts,
        "kind": choice.kind,
        "writing": writing,
    }
    write_json(folder / "texts.json", texts)
    for name in ("pairs.arrow", "dev.arrow", "test.arrow", "remade.arrow"):
        (folder / name).unlink(missing_ok=True)
    return Prepared(
        source_tokenizer=source_tokenizer,
        target_tokenizer=target_tokenizer,
        train=encoded["train"],
        dev=encoded["dev"],
        dev_part=dev_part,
        test_part=test_part,
        facts=facts,
        kind=choice.kind,
        writing=writing,
    )


def remake_only(pairs: Pairs, options: TrainOptions, remake: Remaker, listener: Listener) -> None:
    """Let `remake` see the parts that training would have, and train nothing."""
    with tempfile.TemporaryDirectory(prefix="dragoman-") as folder:
        given = _parted(pairs, options, Path(folder), listener)
        remake(given.train, given.held_out, listener)


def reopen(folder: Path, source_tokenizer: Tokenizer, target_tokenizer: Tokenizer) -> Prepared:
    """What `prepare` left in `folder`; a `StorageError` says if some of it is missing or damaged."""
    train, dev = EncodedPairs.open(folder, "train"), EncodedPairs.open(folder, "dev")
    file = folder / "texts.json"
    try:
        texts = parse_json(file.read_text(encoding="utf-8"))
        test = texts["test"]
        return Prepared(
            source_tokenizer=source_tokenizer,
            target_tokenizer=target_tokenizer,
            train=train,
            dev=dev,
            dev_part=Part(texts["dev"]["sources"], texts["dev"]["references"]),
            test_part=None if test is None else Part(test["sources"], test["references"]),
            facts=texts["facts"],
            kind=texts["kind"],
            writing=texts["writing"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StorageError(f"{file} is missing or damaged: {reason}") from None


def _remade(remake: Remaker, given: _Parted, folder: Path, options: ReadOptions, listener: Listener) -> PairView:
    """Other pairs in the place of the training part's, cleaned as those are."""
    report, reading = ReadReport(), ReadOptions(normalization=options.normalization)
    rows = remake(given.train, given.held_out, listener)
    store = PairStore.write(folder / "remade.arrow", pairs_from_rows(rows, reading, report=report))
    require_usable(report)
    return store.select()


@dataclass(frozen=True)
class _Parted:
    """What was read, in its parts."""

    report: ReadReport
    fingerprint: str
    parts: Split
    dev_rule: HeldOut
    test_rule: HeldOut | None
    train: PairView
    dev: PairView
    test: PairView | None

    @property
    def held_out(self) -> list[PairView]:
        """The parts that nothing is learned from."""
        return [self.dev] if self.test is None else [self.dev, self.test]


def _parted(pairs: Pairs, options: TrainOptions, folder: Path, listener: Listener) -> _Parted:
    """Read and split; the pairs stay on disk in `folder`."""
    _check_given(pairs, options)
    dev_rule, test_rule = parse_held_out(options.dev, name="dev"), parse_held_out(options.test, name="test")
    given_rules = [rule for rule in (dev_rule, test_rule) if rule is not None and rule.paths]
    check_read_once([*files_of(pairs), *(path for rule in given_rules for path in rule.paths)])
    for rule in given_rules:
        # Reads nothing yet: that a file is not there is said before the others are read.
        read_pairs(rule.paths, options)
    store, report, fingerprint = _read(pairs, options, folder / "pairs.arrow", listener)
    keys = store.keys()
    if dev_rule is None:
        dev_rule = default_dev(keys)
    parts = split(keys, seed=options.splitting, dev=_held(dev_rule), test=_held(test_rule))
    train = store.select(parts.train)
    dev = _held_out_view(dev_rule, parts.dev, store, folder / "dev.arrow", options, listener)
    test = _held_out_view(test_rule, parts.test, store, folder / "test.arrow", options, listener)
    in_files = {"train": False, "dev": bool(dev_rule.paths), "test": test_rule is not None and bool(test_rule.paths)}
    views = {"train": train, "dev": dev, "test": test}
    for name, other in (("dev", "train"), ("test", "train"), ("test", "dev")):
        if in_files[name] or in_files[other] or options.group_by:  # else they were parted by source
            _say_what_is_shared(name, other, views, options, listener)
    return _Parted(report, fingerprint, parts, dev_rule, test_rule, train, dev, test)


def _check_columns(given: _Parted, tokenizer: Tokenizer | None) -> None:
    """Raise `DataError` if the sources of a part have other columns than an earlier model's `tokenizer`, or than the training part's."""
    views = {"train": given.train, "dev": given.dev, "test": given.test}
    found = {name: _columns(view) for name, view in views.items() if view}
    wanted, whose = (
        (found["train"], "those of the train pairs have")
        if tokenizer is None
        else (len(tokenizer.methods), "the model that training starts from reads")
    )
    for name, columns in found.items():
        if columns != wanted:
            raise DataError(f"the sources of the {name} pairs have {counted(columns, 'column')}, but {whose} {wanted}")


def _columns(view: PairView) -> int:
    """Columns of the sources of some pairs, which TAB joins."""
    ((source, _),) = view.take(np.zeros(1, np.int64))
    return source.count("\t") + 1


def _as_json(part: Part) -> dict[str, Any]:
    return {"sources": part.sources, "references": part.references}


def _read(pairs: Pairs, options: TrainOptions, path: Path, listener: Listener) -> tuple[PairStore, ReadReport, str]:
    report = ReadReport()
    digest = hashlib.blake2b(digest_size=8)
    doubts = ColumnDoubts()

    def stream() -> Iterator[Pair]:
        for count, pair in enumerate(doubts.over(_open(pairs, options, report))):
            digest.update(f"{pair.source}\t{pair.target}\n".encode())
            if count % _REPORT_EVERY == 0:
                listener(Stage("reading", count, None))
            yield pair

    store = PairStore.write(path, stream())
    listener(Stage("reading", report.usable, report.usable))
    require_usable(report)
    listener(Note(report.summary(), warning=report.unusable > 0))
    for doubt in doubts.found(report):
        listener(Note(doubt.note, warning=True))
    return store, report, digest.hexdigest()


def are_files(pairs: Pairs) -> bool:
    """Whether pairs are named by their files, not given in Python."""
    return isinstance(pairs, str | Path) or (
        isinstance(pairs, Sequence) and any(isinstance(p, str | Path) for p in pairs[:1])
    )


def files_of(pairs: Pairs) -> list[str | Path]:
    """The files that hold pairs; none for pairs that are given in Python."""
    if isinstance(pairs, str | Path):
        return [pairs]
    return list(cast("Sequence[str | Path]", pairs)) if are_files(pairs) else []


def reads_files(pairs: Pairs, options: TrainOptions) -> bool:
    """Whether files hold the pairs, or those for dev or test."""
    held_out = parse_held_out(options.dev, name="dev"), parse_held_out(options.test, name="test")
    return are_files(pairs) or any(rule is not None and rule.paths for rule in held_out)


def _check_given(pairs: Pairs, options: TrainOptions) -> None:
    """Raise `OptionError` for what cannot be pairs, and if pairs that are given in Python come with an option of files, which would change nothing."""
    if are_files(pairs):
        return
    if not isinstance(pairs, Iterable):
        raise OptionError(f"`pairs` must be a file, two aligned files or (source, target) pairs, but is {pairs!r:.80}")
    for name in ["group_by", *([] if reads_files(pairs, options) else sorted(FILE_OPTIONS))]:
        if getattr(options, name) != TrainOptions.model_fields[name].default:
            raise OptionError(f"`{name}` tells how a file is read, but the pairs are given in Python: leave it out")


def _open(pairs: Pairs, options: ReadOptions, report: ReadReport) -> Iterator[Pair]:
    if files := files_of(pairs):
        return read_pairs(files, options, report=report)
    return pairs_from_rows(cast("Iterable[tuple[str, str]]", pairs), options, report=report)


def _held(rule: HeldOut | None) -> HeldOut | None:
    return None if rule is None or rule.paths else rule


def _held_out_view(
    rule: HeldOut | None,
    rows: np.ndarray[Any, np.dtype[np.int64]],
    store: PairStore,
    path: Path,
    options: TrainOptions,
    listener: Listener,
) -> Any:
    """The dev or test part: rows held out, or a file of its own."""
    if rule is None:
        return None
    if not rule.paths:
        return store.select(rows)
    report = ReadReport()
    own = PairStore.write(path, read_pairs(rule.paths, options, report=report))
    require_usable(report)
    listener(Note(f"{path.stem}: {report.summary()}", warning=report.unusable > 0))
    return own.select()


def _say_what_is_shared(
    name: str, other: str, views: Mapping[str, PairView | None], options: ReadOptions, listener: Listener
) -> None:
    """Warn of pairs of one part whose source is in another, which is learned from or chosen by."""
    held_out, others = views[name], views[other]
    if held_out is None or others is None:
        return

    def keys(view: PairView) -> np.ndarray[Any, np.dtype[np.uint64]]:
        if options.group_by is None:
            return view.keys()
        return np.fromiter((hash64(fold(source)) for source, _ in view), np.uint64, len(view))  # not of its group

    shared = np.count_nonzero(np.isin(keys(held_out), keys(others)))
    if shared:
        listener(Note(f"in {shared:,} of {len(held_out):,} {name} pairs the source is also in {other}", warning=True))


def _sample(view: PairView, count: int, seed: int) -> list[tuple[str, str]]:
    """At most `count` pairs, spread over the whole view (files are often sorted)."""
    if len(view) <= count:
        return list(view)
    chosen = np.random.default_rng((seed, 1)).choice(len(view), count, replace=False)
    return view.take(np.sort(chosen))


def _choose(train: PairView, options: TrainOptions, listener: Listener) -> TokenizationChoice:
    choice = choose_tokenization(_sample(train, CHOICE_SAMPLE, options.splitting), pairs=len(train), options=options)
    for note in choice.notes():
        listener(Note(note))
    return choice


def _check_tokens(train: PairView, options: TrainOptions, tokenizers: tuple[Tokenizer, Tokenizer] | None) -> None:
    """Raise `OptionError` for options that do not go with how these pairs are split into tokens."""
    choice = _choose(train, options, ignore)
    source, methods = choice.source_methods, (*choice.source_methods, choice.target_method)
    if tokenizers is not None:
        source, methods = tokenizers[0].methods, (*tokenizers[0].methods, *tokenizers[1].methods)
    check_subword_dropout(methods, options.subword_dropout or 0)
    check_augmentation(len(source), options.model_dump())


def _tokenizers(
    train: PairView, choice: TokenizationChoice, options: TrainOptions, listener: Listener
) -> tuple[Tokenizer, Tokenizer]:
    sample = _sample(train, VOCABULARY_SAMPLE, options.splitting)
    listener(Stage("learning the vocabulary", 0, len(sample)))
    both = learn_tokenizers(
        sample,
        choice,
        source_words=_vector_words(options.source_vectors, *choice.source_vocab_sizes),
        target_words=_vector_words(options.target_vectors, choice.target_vocab_size),
    )
    listener(Stage("learning the vocabulary", len(sample), len(sample)))
    sizes = f"{both[0].vocab_size:,}" + ("" if both[0].shares_vocabulary(both[1]) else f" and {both[1].vocab_size:,}")
    listener(Note(f"vocabulary: {sizes} tokens"))
    return both


def _vector_words(path: str | None, *limits: int | None) -> tuple[str, ...]:
    """The first words of a file of vectors, as many as there is room for in any column."""
    return read_vector_words(path, limit=max(size or DEFAULT_LIMITS["word"] for size in limits)).words if path else ()


def _encoded(
    folder: Path, name: str, view: PairView, tokenizers: tuple[Tokenizer, Tokenizer], listener: Listener
) -> EncodedPairs:
    """One part in ids, written to `folder`; pairs that are too long are left out."""
    encoded = EncodedPairs.write(
        folder,
        name,
        _staged(view, f"encoding {name}", listener),
        *tokenizers,
    )
    if encoded.dropped:
        longer = f"left out {counted(encoded.dropped, f'{name} pair')} of more than {LONGEST:,} tokens"
        listener(Note(longer, warning=True))
    if not len(encoded):
        raise DataError(f"no {name} pair is left after tokenisation")
    return encoded


def _decodable(view: PairView, tokenizer: Tokenizer, *, name: str = "dev", listener: Listener = ignore) -> Part:
    """A held-out part without the sources that are too long, of which decoding would take hours."""
    part = Part.of(view)
    # No token is shorter than a byte
    long = [place for place, source in enumerate(part.sources) if len(source.encode()) >= LONGEST]
    ids = tokenizer.encode_batch([part.sources[place] for place in long])
    out = {place for place, tokens in zip(long, ids, strict=True) if len(tokens) > LONGEST}
    if not out:
        return part
    listener(Note(f"left out {counted(len(out), f'{name} source')} of more than {LONGEST:,} tokens", warning=True))
    if len(out) == len(part.sources):
        raise DataError(f"no {name} pair is left after tokenisation")
    kept = [place for place in range(len(part.sources)) if place not in out]
    return Part([part.sources[place] for place in kept], [part.references[place] for place in kept])


def _staged(view: PairView, name: str, listener: Listener) -> Iterator[tuple[list[str], list[str]]]:
    done = 0
    for sources, targets in view.iter_batches():
        listener(Stage(name, done, len(view)))
        done += len(sources)
        yield sources, targets
    listener(Stage(name, done, done))


def _facts(pairs: Pairs, given: _Parted, options: TrainOptions) -> dict[str, Any]:
    """What the model card says of the data."""
    files = [Path(label(path)).name for path in files_of(pairs)]  # without folders

    def part(rule: HeldOut, view: PairView, sources: int) -> dict[str, Any]:
        names = [Path(path).name for path in rule.paths]
        return {"pairs": len(view), "sources": sources or len(different(view.keys())), "files": names}

    test_rule, test = given.test_rule, given.test
    held = [rule for rule in (given.dev_rule, test_rule) if rule is not None and not rule.paths]
    by = f"the column {options.group_by}" if options.group_by else "source (NFC, white space and case folded)"
    return {
        "read": given.report.as_dict() | {"name": " and ".join(files) or given.report.name, "files": files},
        "fingerprint": given.fingerprint,
        "split": f"by {by}, seed {options.splitting}" if held else "given files",
        "train": {"pairs": len(given.parts.train), "sources": given.parts.train_sources},
        "dev": part(given.dev_rule, given.dev, given.parts.dev_sources),
        "test": None if test_rule is None or test is None else part(test_rule, test, given.parts.test_sources),
    }
