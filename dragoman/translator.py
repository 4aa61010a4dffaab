"""The Python facade: `train` a model from pairs, `load` one, and let a `Translator` translate, score and save.

>>> import dragoman
>>> translator = dragoman.train("pairs.tsv", out="model")
>>> translator.translate("Go home.").text
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from dragoman.config import ReadOptions, SearchOptions, TrainOptions
from dragoman.corpus.cleaning import clean, fault_in, join_columns
from dragoman.corpus.reading import read_sources
from dragoman.corpus.tokenization import Tokenizer
from dragoman.errors import MissingExtraError, StorageError
from dragoman.generation.automaton import Automaton
from dragoman.generation.constraints import Constraints, constraints_from_text
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.patterns import compile_pattern, token_texts
from dragoman.generation.search import search
from dragoman.storage import TRAINING, WEIGHTS, ModelDirectory, atomic, claim, locate
from dragoman.training.events import Listener, ignore

if TYPE_CHECKING:
    from dragoman.evaluation.metrics import Scores
    from dragoman.model.seq2seq import Seq2Seq
    from dragoman.training.preparation import Pairs

__all__ = ["Candidate", "Translation", "Translator", "load", "resume", "train"]

LONGEST_SOURCE = 5_000
"""Tokens of the longest source that is translated."""
_BATCH_SOURCES = 64
_BATCH_TOKENS = 4_000


@dataclass(frozen=True)
class Candidate:
    """One output, as text."""

    text: str
    """What a user reads."""
    score: float
    """Log-probability of the whole output, in nats."""
    normalized_score: float
    """What candidates are ranked by: the score after length normalisation."""
    tokens: tuple[str, ...]
    """The output's tokens, the final `</s>` left out."""
    token_scores: tuple[float, ...]
    """Log-probability of each token; the last one is that of `</s>` if the output is finished."""
    attention: NDArray[np.floating[Any]] | None
    """(tokens, source tokens), or None without attention."""
    finished: bool
    """False if the output was cut at the maximum length."""


@dataclass(frozen=True)
class Translation:
    """What one source gives."""

    source: str
    """The source as it was given."""
    candidates: tuple[Candidate, ...]
    """Best first; empty if the source could not be used."""
    warning: str | None = None
    """Why there is no output, or what is doubtful about it."""

    @property
    def text(self) -> str:
        """The best candidate's text, or an empty string."""
        return self.candidates[0].text if self.candidates else ""

    @property
    def score(self) -> float:
        """The best candidate's normalised score; -inf without one."""
        return self.candidates[0].normalized_score if self.candidates else float("-inf")


class Translator:
    """A loaded model: translates, scores, saves. Made by `load` or `train`."""

    def __init__(self, directory: ModelDirectory, *, device: str = "auto", threads: int | None = None) -> None:
        from dragoman.model.stepper import TorchStepper

        self.directory = directory
        self.config = directory.config
        self.model = _load_model(directory, device=device, threads=threads)
        self.stepper = TorchStepper(self.model)
        self._automata: dict[str, Automaton] = {}

    @cached_property
    def source_tokenizer(self) -> Tokenizer:
        """Text to ids on the source side."""
        return Tokenizer.from_files(self.config["tokenizer"]["source"], self.directory.read_text)

    @cached_property
    def target_tokenizer(self) -> Tokenizer:
        """Ids to text on the target side."""
        return Tokenizer.from_files(self.config["tokenizer"]["target"], self.directory.read_text)

    @property
    def source_columns(self) -> int:
        """How many source columns the model was trained on; they are joined by TAB in a source."""
        return len(self.source_tokenizer.methods)

    @overload
    def translate(  # type: ignore[overload-overlap]
        self,
        sources: str,
        *,
        beam_size: int = ...,
        num_hypotheses: int = ...,
        max_length: int | None = ...,
        length_penalty: float = ...,
        options: SearchOptions | None = ...,
    ) -> Translation: ...

    @overload
    def translate(
        self,
        sources: Iterable[str],
        *,
        beam_size: int = ...,
        num_hypotheses: int = ...,
        max_length: int | None = ...,
        length_penalty: float = ...,
        options: SearchOptions | None = ...,
    ) -> list[Translation]: ...

    def translate(
        self,
        sources: str | Iterable[str],
        *,
        beam_size: int = 5,
        num_hypotheses: int = 1,
        max_length: int | None = None,
        length_penalty: float = 1.0,
        options: SearchOptions | None = None,
    ) -> Translation | list[Translation]:
        """Translate one source, or several in their order.

        `options` takes the place of the other arguments and has all of them (`SearchOptions`). Several source columns
        are joined by TAB. A source that cannot be used gives a `Translation` without candidates, and with a warning.

            >>> translator.translate("Go home.", num_hypotheses=3).candidates
        """
        options = options or SearchOptions(
            beam_size=beam_size, num_hypotheses=num_hypotheses, max_length=max_length, length_penalty=length_penalty
        )
        if isinstance(sources, str):
            return self._translate([sources], options)[0]
        return self._translate(list(sources), options)

    def evaluate(
        self, sources: Sequence[str], references: Sequence[Sequence[str]], *, options: SearchOptions | None = None
    ) -> tuple[Scores, list[Translation]]:
        """Translate sources and score the outputs against one or more references each."""
        from dragoman.evaluation.metrics import score

        translations = self._translate(list(sources), options or SearchOptions())
        writing, metric = self.config["writing"], self.config["recipe"]["metric"]
        primary = None if metric == "loss" else metric
        scores = score([translation.text for translation in translations], references, writing=writing, primary=primary)
        return scores, translations

    def save_pretrained(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the model directory, without what only resuming needs."""
        path = Path(path)
        if path.resolve() == self.directory.path.resolve():
            return path
        claim(path, overwrite=overwrite)
        for file in sorted(self.directory.path.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                with atomic(path / file.name) as temporary:
                    shutil.copyfile(file, temporary)
        return path

    def push_to_hub(self, name: str, *, private: bool = False) -> str:
        """Upload the model to the Hugging Face Hub as `name` (`someone/model`); returns its address."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        api = HfApi()
        try:
            address = api.create_repo(name, private=private, exist_ok=True)
            api.upload_folder(repo_id=name, folder_path=self.directory.path, ignore_patterns=[f"{TRAINING}/*"])
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise StorageError(f"{name} could not be uploaded: {str(error).splitlines()[0]}") from None
        return str(address)

    def constraints(self, options: SearchOptions) -> Constraints | None:
        """The constraints that options give as text, in the ids of this model; None if there are none.

        Raises `OptionError` for what the vocabulary cannot spell, and `DataError` for a file of choices that cannot be
        read.
        """
        choices: list[str] = []
        if options.choices is not None:
            lines = read_sources(options.choices, ReadOptions(format="text"))
            choices = [line.text for line in lines if line.text is not None]
        found = constraints_from_text(
            self.target_tokenizer.encode,
            prefix=options.prefix,
            require=options.require,
            forbid=options.forbid,
            choices=choices,
            pattern=self._automaton(options.match) if options.match is not None else None,
        )
        return found or None

    def _automaton(self, pattern: str) -> Automaton:
        if pattern not in self._automata:
            first, inside = token_texts(self.target_tokenizer.decode, self.stepper.vocab_size)
            self._automata[pattern] = compile_pattern(pattern, inside, first_texts=first)
        return self._automata[pattern]

    def _translate(self, sources: list[str], options: SearchOptions) -> list[Translation]:
        constraints = self.constraints(options)
        usable: dict[int, list[int]] = {}
        results: dict[int, Translation] = {}
        texts = [self._clean(source) for source in sources]
        encoded = self.source_tokenizer.encode_batch(texts)
        for index, (source, ids) in enumerate(zip(sources, encoded, strict=True)):
            fault = fault_in(source) or self._fault(ids)
            if fault:
                results[index] = Translation(source, (), fault)
            else:
                usable[index] = ids
        for batch in _batches(usable):
            found = search(self.stepper, [usable[index] for index in batch], options=options, constraints=constraints)
            for index, hypotheses in zip(batch, found, strict=True):
                results[index] = self._translation(sources[index], hypotheses)
        return [results[index] for index in range(len(sources))]

    def _clean(self, source: str) -> str:
        cells = source.split("\t") if self.source_columns > 1 else [source]
        return join_columns([clean(cell, self.config["normalization"]) for cell in cells])

    def _fault(self, ids: list[int]) -> str | None:
        if not ids:
            return "the line is empty"
        if len(ids) > LONGEST_SOURCE:
            return f"the line has {len(ids):,} tokens, more than the {LONGEST_SOURCE:,} that are translated"
        return None

    def _translation(self, source: str, hypotheses: list[Hypothesis]) -> Translation:
        candidates = tuple(self._candidate(hypothesis) for hypothesis in hypotheses)
        cut = candidates and not candidates[0].finished
        return Translation(source, candidates, "the output was cut at the maximum length" if cut else None)

    def _candidate(self, hypothesis: Hypothesis) -> Candidate:
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
        )


def _batches(usable: dict[int, list[int]]) -> Iterator[list[int]]:
    """Indices in batches of like lengths, the longest first, so that little is padded."""
    order = sorted(usable, key=lambda index: -len(usable[index]))
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) == _BATCH_SOURCES or len(usable[batch[0]]) * (len(batch) + 1) > _BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def load(name: str | Path, *, device: str = "auto", threads: int | None = None) -> Translator:
    """Load a model directory, or a model of the Hugging Face Hub such as `someone/model`.

    Raises `StorageError` if there is none, or it is damaged, unfinished or too new.
    """
    return Translator(ModelDirectory.open(locate(name)), device=device, threads=threads)


def train(
    pairs: Pairs,
    *,
    out: str | Path | None = None,
    options: TrainOptions | None = None,
    overwrite: bool = False,
    listener: Listener = ignore,
    command: str | None = None,
) -> Translator:
    """Train a model on a file, on two aligned files, or on (source, target) pairs.

    Without `out` the model lives in memory (and a temporary folder) until `save_pretrained`. With `overwrite` a model
    that stands at `out` is kept as `OUT.old`. `listener` is called with the events of `dragoman.training.events`.
    `command` is what the model card says made the model.

        >>> train("pairs.tsv", out="model", options=TrainOptions(preset="textbook", max_minutes=5))
    """
    session = _training_session()
    path = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="dragoman-")) / "model"
    session.start(pairs, path, options or TrainOptions(), overwrite=overwrite, listener=listener, command=command)
    translator = _finished(path, options or TrainOptions())
    if out is None:
        weakref.finalize(translator, shutil.rmtree, path.parent, ignore_errors=True)
    return translator


def resume(path: str | Path, *, options: TrainOptions | None = None, listener: Listener = ignore) -> Translator:
    """Go on with a training that was stopped, exactly as if it had not been.

    The stored options hold; `options` may only raise the limits (`epochs`, `max_steps`, `max_minutes`, `patience`) and
    choose the machine. Any other that differs is an `OptionError`.
    """
    _training_session().go_on(Path(path), options or TrainOptions(), listener=listener)
    return _finished(Path(path), options or TrainOptions())


def _finished(path: Path, options: TrainOptions) -> Translator:
    return load(path, device=options.device, threads=options.threads)


def _training_session() -> Any:
    try:
        from dragoman.training import session
    except ImportError as error:
        raise MissingExtraError("training", "train") from error
    return session


def _load_model(directory: ModelDirectory, *, device: str, threads: int | None) -> Seq2Seq:
    from dragoman.model.seq2seq import Seq2Seq
    from dragoman.training.checkpoint import load_tensors, load_weights
    from dragoman.training.machine import choose_device, use_threads

    use_threads(threads)
    try:
        model = Seq2Seq(**directory.config["architecture"])
    except (KeyError, TypeError) as error:
        raise StorageError(f"{directory.path / 'config.json'} describes no model of this version: {error}") from None
    weights, _ = load_tensors(directory.path / WEIGHTS)
    load_weights(model, weights, directory.path / WEIGHTS)
    return model.to(choose_device(device)).eval()
