"""The Python facade: `train` a model from pairs, `load` one, and let a `Translator` translate, score and save.

>>> import dragoman
>>> translator = dragoman.train("pairs.tsv", out="model")
>>> translator.translate("Go home.").text
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from dragoman.config import SearchOptions, TrainOptions
from dragoman.corpus.tokenization import Tokenizer
from dragoman.errors import DragomanError, MissingExtraError, OptionError, StorageError
from dragoman.generation.ensemble import EnsembleStepper
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.search import search
from dragoman.generation.stepper import Stepper
from dragoman.storage import (
    CARD,
    GRAPHS,
    PRECISIONS,
    TRAINING,
    WEIGHTS,
    ModelDirectory,
    atomic,
    claim,
    locate,
    write_text,
)
from dragoman.training.events import Listener, Note, ignore
from dragoman.translation.choosing import UNREADABLE, by_likeness, by_reverse_model, search_options, with_confidence
from dragoman.translation.outputs import Candidate, ScoredPair, Translation
from dragoman.translation.scoring import score_pairs
from dragoman.translation.texts import Texts, batches

if TYPE_CHECKING:
    from dragoman.evaluation.exposure import Gap
    from dragoman.evaluation.metrics import Scores
    from dragoman.model.seq2seq import Seq2Seq
    from dragoman.runtime.parity import Parity
    from dragoman.training.preparation import Pairs
    from dragoman.translation.calibrating import Calibration

__all__ = ["Candidate", "ScoredPair", "Translation", "Translator", "export", "load", "resume", "train"]

_log = logging.getLogger("dragoman")


class Translator:
    """A loaded model: translates, scores, saves. Made by `load` or `train`."""

    def __init__(
        self,
        directory: ModelDirectory,
        *,
        device: str = "auto",
        threads: int | None = None,
        engine: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.directory = directory
        self.config = directory.config
        self._machine = (device, threads)
        self.engine = _choose_engine(directory, engine, device=device, precision=precision)
        self.precision = directory.choose_precision(precision) if self.engine == "onnx" else "float32"
        """What the numbers of the model that runs are."""
        self.stepper: Stepper = self._stepper(threads)
        self.texts = Texts(self.config, directory.read_text)
        self.reverse: Translator | None = None
        """A model from target to source that helps to choose among outputs."""

    @cached_property
    def model(self) -> Seq2Seq:
        """The model in PyTorch, for looking inside; loaded when it is first asked for."""
        device, threads = self._machine
        return _load_model(self.directory, device=device, threads=threads)

    def _stepper(self, threads: int | None) -> Stepper:
        if self.engine == "onnx":
            from dragoman.runtime.engine import OnnxStepper

            return OnnxStepper.open(self.directory, precision=self.precision, threads=threads)
        model = self.model  # first, because it says what is missing if torch is
        from dragoman.model.stepper import TorchStepper

        return TorchStepper(model)

    @property
    def source_tokenizer(self) -> Tokenizer:
        """Text to ids on the source side."""
        return self.texts.source_tokenizer

    @property
    def target_tokenizer(self) -> Tokenizer:
        """Ids to text on the target side."""
        return self.texts.target_tokenizer

    @property
    def source_columns(self) -> int:
        """How many source columns the model was trained on; they are joined by TAB in a source."""
        return self.texts.source_columns

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

    @overload
    def score(self, sources: str, targets: str) -> ScoredPair: ...  # type: ignore[overload-overlap]

    @overload
    def score(self, sources: Sequence[str], targets: Sequence[str]) -> list[ScoredPair]: ...

    def score(self, sources: str | Sequence[str], targets: str | Sequence[str]) -> ScoredPair | list[ScoredPair]:
        """How probable the model finds given targets, token by token: one pair, or as many targets as sources.

        A pair that cannot be used has no token scores, and a warning. The score is the one that `translate` gives the same output.

        >>> translator.score("Go home.", "Rentre à la maison.").token_scores
        """
        if isinstance(sources, str) and isinstance(targets, str):
            return score_pairs(self.stepper, self.texts, [sources], [targets])[0]
        return score_pairs(self.stepper, self.texts, sources, targets)

    def gap(self, sources: Sequence[str], references: Sequence[Sequence[str]], *, horizon: int = 10) -> Gap:
        """The teacher-forcing gap: the model fed the right words against the model fed its own.

        Sources that cannot be used are left out. `horizon` is how many words after the first error are followed.
        """
        from dragoman.evaluation.feeding import feed_both_ways

        usable = self.texts.encode_sources(sources).ids
        answers = [self.texts.encode_targets(references[place]) for place in usable]
        return feed_both_ways(self.model, list(usable.values()), answers, horizon=horizon)

    def calibrate(
        self,
        sources: Sequence[str],
        references: Sequence[Sequence[str]],
        *,
        options: SearchOptions | None = None,
        seed: int = 1,
    ) -> Calibration:
        """Fit the temperature that makes scores confidences, and keep it in the model's configuration.

        An output is right if it equals one of its references. Fitted on a half of the outputs that `seed` draws and judged on the other.
        """
        from dragoman.evaluation.metrics import is_exact
        from dragoman.translation.calibrating import calibrate

        options = options or SearchOptions()
        if options.min_confidence is not None:
            raise OptionError("`min_confidence` must not be given to a calibration: every output is looked at")
        translations = self._translate(list(sources), options)
        correct = [is_exact(found.text, texts) for found, texts in zip(translations, references, strict=True)]
        calibration = calibrate(translations, correct, seed=seed)
        self.config["calibration"] = calibration.facts() | {"seed": seed, "search": options.model_dump()}
        self.directory.write_config()
        return calibration

    def save_pretrained(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the model directory, without what only resuming needs."""
        path = Path(path)
        self.directory.require_folder("saving a copy")
        if path.resolve() == self.directory.path.resolve():
            return path
        claim(path, overwrite=overwrite)
        for folder in (Path(), Path(GRAPHS)):
            files = sorted((self.directory.path / folder).glob("*"))
            if files:
                (path / folder).mkdir(exist_ok=True)
            for file in files:
                if file.is_file() and not file.name.startswith("."):
                    with atomic(path / folder / file.name) as temporary:
                        shutil.copyfile(file, temporary)
        return path

    def push_to_hub(self, name: str, *, private: bool = False) -> str:
        """Upload the model to the Hugging Face Hub as `name` (`someone/model`); returns its address."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        self.directory.require_folder("the hub")
        api = HfApi()
        try:
            address = api.create_repo(name, private=private, exist_ok=True)
            api.upload_folder(repo_id=name, folder_path=self.directory.path, ignore_patterns=[f"{TRAINING}/*"])
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise StorageError(f"{name} could not be uploaded: {str(error).splitlines()[0]}") from None
        return str(address)

    def _translate(self, sources: list[str], options: SearchOptions) -> list[Translation]:
        inner = search_options(options, reverse=self.reverse is not None)
        temperature = self._temperature(needed=options.min_confidence is not None)
        constraints = self.texts.constraints(inner)
        encoded = self.texts.encode_sources(sources)
        results = {place: Translation(sources[place], (), fault) for place, fault in encoded.faults.items()}
        for batch in batches({place: len(ids) for place, ids in encoded.ids.items()}):
            found = search(self.stepper, [encoded.ids[i] for i in batch], options=inner, constraints=constraints)
            for place, hypotheses in zip(batch, found, strict=True):
                results[place] = self._translation(sources[place], encoded.ids[place], hypotheses)
        translations = self._chosen([results[place] for place in range(len(sources))], options)
        if temperature is None:
            return translations
        return [with_confidence(t, temperature=temperature, least=options.min_confidence) for t in translations]

    def _chosen(self, translations: list[Translation], options: SearchOptions) -> list[Translation]:
        if not options.rerank and self.reverse is None:
            return translations
        if self.reverse is None:
            lists = [by_likeness(t.candidates, options, writing=self.config["writing"]) for t in translations]
        else:
            rows = [(c.text, self.texts.clean_source(t.source)) for t in translations for c in t.candidates]
            scored = self.reverse.score([text for text, _ in rows], [source for _, source in rows])
            values = iter(each.normalized_score if each.token_scores else UNREADABLE for each in scored)
            lists = [
                by_reverse_model(t.candidates, [next(values) for _ in t.candidates], options) for t in translations
            ]
        return [
            dataclasses.replace(t, candidates=tuple(chosen[: options.num_hypotheses]))
            for t, chosen in zip(translations, lists, strict=True)
        ]

    def _temperature(self, *, needed: bool) -> float | None:
        """The temperature of confidences; None without one, and for ensembles, whose scores are others."""
        stored = self.config.get("calibration")
        if stored is None and needed:
            raise OptionError(
                f"`min_confidence` needs a calibrated model; run: dragoman calibrate {self.directory.path} DEV.tsv"
            )
        together = isinstance(self.stepper, EnsembleStepper)
        if together and needed:
            raise OptionError("`min_confidence` must not be given with an `ensemble`: it has no calibration of its own")
        return None if stored is None or together else float(stored["temperature"])

    def join(self, others: Iterable[Translator]) -> None:
        """Make an ensemble: from now on the probabilities of all models are averaged at every token.

        Raises `OptionError` unless all have the same vocabularies.
        """
        others = list(others)
        for other in others:
            for side in ("source", "target"):
                mine, theirs = (getattr(each.texts, f"{side}_tokenizer") for each in (self, other))
                if list(mine.files().values()) != list(theirs.files().values()):
                    raise OptionError(
                        f"the models of an ensemble must share their vocabularies, but the {side} side of "
                        f"{other.directory.path} has another than that of {self.directory.path}"
                    )
        self.stepper = EnsembleStepper([self.stepper, *(other.stepper for other in others)])

    def _translation(self, source: str, ids: list[int], hypotheses: list[Hypothesis]) -> Translation:
        candidates = tuple(self.texts.candidate(hypothesis) for hypothesis in hypotheses)
        cut = candidates and not candidates[0].finished
        warning = "the output was cut at the maximum length" if cut else None
        return Translation(source, candidates, warning, tuple(self.source_tokenizer.tokens(ids)))


def load(
    name: str | Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    engine: str = "auto",
    precision: str = "auto",
    ensemble: Sequence[str | Path] = (),
    reverse: str | Path | None = None,
) -> Translator:
    """Load a model directory, a bundle, or a model of the Hugging Face Hub such as `someone/model`.

    `engine` is onnx (ONNX Runtime on the CPU, no PyTorch), torch, or auto: onnx if the directory has graphs of its
    weights and `device` is auto or cpu, else torch. `precision` says which graphs onnx runs: float32, int8, float16, or auto for
    those that the export found best.

    `ensemble` names models with the same vocabularies that decide with it, `reverse` one from target to source that helps
    to choose among outputs. Raises `StorageError` if there is none, or it is damaged, unfinished or too new.
    """

    def opened(one: str | Path) -> Translator:
        directory = ModelDirectory.open(locate(one))
        return Translator(directory, device=device, threads=threads, engine=engine, precision=precision)

    translator = opened(name)
    if ensemble:
        translator.join(opened(other) for other in ensemble)
    if reverse is not None:
        translator.reverse = opened(reverse)
    return translator


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
    translator = _finished(path, options or TrainOptions(), listener)
    if out is None:
        weakref.finalize(translator, shutil.rmtree, path.parent, ignore_errors=True)
    return translator


def resume(path: str | Path, *, options: TrainOptions | None = None, listener: Listener = ignore) -> Translator:
    """Go on with a training that was stopped, exactly as if it had not been.

    The stored options hold; `options` may only raise the limits (`epochs`, `max_steps`, `max_minutes`, `patience`) and
    choose the machine. Any other that differs is an `OptionError`.
    """
    _training_session().go_on(Path(path), options or TrainOptions(), listener=listener)
    return _finished(Path(path), options or TrainOptions(), listener)


def export(
    path: str | Path,
    *,
    precision: str = "auto",
    bundle: str | Path | None = None,
    threads: int | None = None,
) -> dict[str, Parity]:
    """Write a model's ONNX graphs into its directory, so that it translates without PyTorch.

    `precision` is float32, int8, float16, or auto for float32 and int8. They are held against PyTorch on sentences of the model's
    development data (random ones, if it has none any more); the result is returned by precision, and stands in the
    configuration and the model card. Graphs of other precisions stay if they are of the same weights. `bundle` names a file to
    write besides: all that translating needs, with the graphs of that precision (auto: of the default). Raises `StorageError`
    if the graphs differ from PyTorch.
    """
    try:
        from dragoman.runtime.export import STANDARD, check_sample, export_graphs
        from dragoman.training.card import model_card
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dragoman"):
            raise
        raise MissingExtraError("exporting", "train") from error
    _check_precision(precision)
    directory = ModelDirectory.open(path)
    directory.require_folder("exporting")
    texts = Texts(directory.config, directory.read_text)
    model = _load_model(directory, device="cpu", threads=threads)
    sample = check_sample(directory, lambda some: texts.encode_sources(some).ids, texts.target_tokenizer.decode)
    precisions = STANDARD if precision == "auto" else (precision,)
    found = export_graphs(directory, model, sample, precisions=precisions, threads=threads)
    directory.write_config()
    write_text(directory.path / CARD, model_card(directory.config))
    if bundle is not None:
        directory.write_bundle(Path(bundle), precision=precision)
    return found


def _finished(path: Path, options: TrainOptions, listener: Listener) -> Translator:
    """Export what was trained, which must not spoil the training if it fails, and load it."""
    try:
        for precision, parity in export(path, threads=options.threads).items():
            listener(Note(f"ONNX graphs, {precision}: {parity}"))
    except DragomanError as error:
        listener(Note(f"the model has no ONNX graphs: {error}", warning=True))
    return load(path, device=options.device, threads=options.threads)


def _training_session() -> Any:
    try:
        from dragoman.training import session
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dragoman"):
            raise  # our own fault, not a missing extra
        raise MissingExtraError("training", "train") from error
    return session


def _choose_engine(directory: ModelDirectory, engine: str, *, device: str, precision: str) -> str:
    """Onnx or torch; `auto` is onnx if the model has graphs of these weights, and no other device is asked for."""
    if engine not in ("auto", "onnx", "torch"):
        raise OptionError(f'`engine` must be auto, onnx or torch, but is "{engine}"')
    _check_precision(precision)
    on_cpu = device in ("auto", "cpu")
    if engine == "onnx" and not on_cpu:
        raise OptionError(f'`engine` onnx computes on the cpu, but `device` is "{device}"')
    if precision != "auto":
        if engine == "torch" or not on_cpu:
            raise OptionError(
                "`precision` is of the graphs that `engine` onnx runs on the cpu, but another is asked for"
            )
        return "onnx"
    if engine != "auto":
        return engine
    if directory.is_bundle:
        if not on_cpu:
            directory.require_folder("another device")
        return "onnx"
    if not on_cpu or not directory.has_graphs:
        return "torch"
    if directory.graphs_are_stale:
        _log.warning(
            "the ONNX graphs are of other weights or an older dragoman, so PyTorch runs the model; %s",
            directory.renewal,
        )
        return "torch"
    return "onnx"


def _check_precision(precision: str) -> None:
    if precision not in ("auto", *PRECISIONS):
        raise OptionError(f'`precision` must be auto, {", ".join(PRECISIONS)}, but is "{precision}"')


def _load_model(directory: ModelDirectory, *, device: str, threads: int | None) -> Seq2Seq:
    directory.require_folder("PyTorch")
    try:
        from dragoman.model.seq2seq import Seq2Seq
        from dragoman.training.checkpoint import load_tensors, load_weights
        from dragoman.training.machine import choose_device, use_threads
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dragoman"):
            raise
        raise MissingExtraError("running a model in PyTorch", "train") from error
    use_threads(threads)
    try:
        model = Seq2Seq(**directory.config["architecture"])
    except (KeyError, TypeError) as error:
        raise StorageError(f"{directory.path / 'config.json'} describes no model of this version: {error}") from None
    weights, _ = load_tensors(directory.path / WEIGHTS)
    load_weights(model, weights, directory.path / WEIGHTS)
    return model.to(choose_device(device)).eval()
