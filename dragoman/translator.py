"""The Python functions that use a model: `load` one, and let a `Translator` translate, score and save.

>>> import dragoman
>>> translator = dragoman.load("model")
>>> translator.translate("Go home.").text
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, overload

from dragoman.config import MachineOptions, SearchOptions, on_processor, processors
from dragoman.corpus.tokenization import Tokenizer
from dragoman.errors import OptionError, needs_extra
from dragoman.evaluation.references import check_references
from dragoman.generation.ensemble import EnsembleStepper
from dragoman.generation.stepper import Stepper
from dragoman.places import copy_model, locate, upload
from dragoman.storage import ModelDirectory
from dragoman.translation.batches import windows
from dragoman.translation.job import Job, Scorer, calibrator_of
from dragoman.translation.loading import choose_engine, load_model
from dragoman.translation.outputs import Candidate, ScoredPair, Translation
from dragoman.translation.pipeline import Counter, translate_windows, uncounted
from dragoman.translation.scoring import score_pairs
from dragoman.translation.texts import Texts

if TYPE_CHECKING:
    from dragoman.evaluation.calibration import Calibrator
    from dragoman.evaluation.exposure import Gap
    from dragoman.evaluation.metrics import MetricName, Scores
    from dragoman.model.seq2seq import Seq2Seq
    from dragoman.translation.calibrating import Calibration
    from dragoman.translation.watching import Piece, Traced

_LOG = logging.getLogger("dragoman")

__all__ = ["Candidate", "ScoredPair", "Translation", "Translator", "load"]


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
        usual = device == "auto" and threads is None
        machine = MachineOptions.of(None if usual else MachineOptions(device=device, threads=threads))  # or an error
        device, threads = self._machine = machine.device, machine.threads
        self.directory = directory
        self.config = directory.config
        self.engine = choose_engine(directory, engine, device=device, precision=precision)
        if precision == "auto" and not on_processor(device):
            precision = "float32"  # 8-bit products are for processors
        self.precision = directory.choose_precision(precision) if self.engine == "onnx" else "float32"
        """What the numbers of the model that runs are."""
        _ = directory.weights_sum  # what is opened later must be of the same
        self.stepper: Stepper = self._stepper(threads)
        self.workers = (threads or processors()) if self.engine == "onnx" and on_processor(device) else 1
        """How many batches are computed at the same time. PyTorch computes one, with all its threads, and so does a GPU."""
        self.texts = Texts(self.config, directory.read_text)
        self.reverse: Translator | None = None
        """A model from target to source that helps to choose among outputs."""
        self._others: list[Translator] = []
        """Models with the same vocabularies, which decide at every token."""
        self._apart: list[Translator] = []
        """Models with other vocabularies, which find outputs of their own."""
        self._shortlisted: dict[int | None, Stepper] = {}
        """What computes with a shortlist, by its threads; opened when it is first asked for."""

    def __repr__(self) -> str:
        """The model and what runs it."""
        return f"<Translator {self.directory.path}: {self.engine}, {self.precision}>"

    @cached_property
    def model(self) -> Seq2Seq:
        """The model in PyTorch, for looking inside; loaded when it is first asked for."""
        device, threads = self._machine
        self.directory.check_unchanged()
        return load_model(self.directory, device=device, threads=threads)

    def _stepper(self, threads: int | None) -> Stepper:
        if self.engine == "onnx":
            from dragoman.runtime.engine import OnnxStepper

            return OnnxStepper.open(self.directory, precision=self.precision, threads=threads, device=self._machine[0])
        model = self.model  # first, because it says what is missing if torch is
        from dragoman.model.stepper import TorchStepper

        return TorchStepper(model)

    @cached_property
    def _one_of_many(self) -> Stepper:
        """What computes each of several batches at once: with a single thread, so that results do not depend on their number."""
        if self.workers == 1:
            return self.stepper
        from dragoman.runtime.engine import OnnxStepper

        self.directory.check_unchanged()
        mine = OnnxStepper.open(self.directory, precision=self.precision, threads=1)
        return EnsembleStepper([mine, *(other._one_of_many for other in self._others)]) if self._others else mine

    @property
    def _attends(self) -> bool:
        """Whether some model that decides has attention."""
        return any(each.config["architecture"]["attention"] != "none" for each in (self, *self._others))

    def _runs(self, options: SearchOptions, *, many: bool) -> Stepper:
        """What computes under `options`: each of several batches at once, or a single one."""
        if options.coverage_penalty and not self._attends:
            raise OptionError("`coverage_penalty` needs a model with attention, but this model has none")
        if not options.shortlist:
            return self._one_of_many if many else self.stepper
        if self.engine != "onnx":
            raise OptionError("`shortlist` needs `engine` onnx, but torch runs the model")
        if self._others or self._apart:
            raise OptionError(
                "`shortlist` must not be given with an `ensemble`: its models would look at different words"
            )
        from dragoman.runtime.engine import OnnxStepper

        threads = 1 if many and self.workers > 1 else self._machine[1]
        if threads not in self._shortlisted:
            self.directory.check_unchanged()
            self._shortlisted[threads] = OnnxStepper.open(
                self.directory, precision=self.precision, threads=threads, shortlist=True, device=self._machine[0]
            )
        return self._shortlisted[threads]

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

    @property
    def leading_metric(self) -> MetricName | None:
        """The metric that chose the model in training; None if that was the loss."""
        metric = self.config["recipe"]["metric"]
        return None if metric == "loss" else metric

    @overload
    def translate(  # type: ignore[overload-overlap]
        self,
        sources: str,
        *,
        beam_size: int = ...,
        num_hypotheses: int = ...,
        max_length: int | None = ...,
        length_penalty: float = ...,
        shortlist: bool = ...,
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
        shortlist: bool = ...,
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
        shortlist: bool = False,
        options: SearchOptions | None = None,
    ) -> Translation | list[Translation]:
        """Translate one source, or several in their order.

        `shortlist` makes outputs only of words that usually translate the source's (`make_shortlist` first). `options` has all
        options of search, and takes the place of the other arguments: giving both is an `OptionError`. Several source columns
        are joined by TAB. A source that cannot be used gives a `Translation` without candidates, and with a warning.

            >>> translator.translate("Go home.", num_hypotheses=3).candidates
        """
        own = SearchOptions(
            beam_size=beam_size,
            num_hypotheses=num_hypotheses,
            max_length=max_length,
            length_penalty=length_penalty,
            shortlist=shortlist,
        )
        if options is None:
            options = own
        elif own != SearchOptions():
            raise OptionError("`options` takes the place of the other arguments of `translate`: put those into it")
        if isinstance(sources, str):
            return next(self.translate_many([sources], options=options))
        if not isinstance(sources, Iterable):
            raise OptionError(f"`sources` must be a text or a list of texts, but is {sources!r:.80}")
        return list(self.translate_many(sources, options=options))

    def translate_many(
        self, sources: Iterable[str], *, options: SearchOptions | None = None, listener: Counter = uncounted
    ) -> Iterator[Translation]:
        """Translate any number of sources, in their order and in bounded memory: each comes as soon as it and all before it are there.

        `sources` may be read from somewhere as they are needed, and are read ahead by some thousands. What `translate` says of
        options and of sources that cannot be used holds here too. `listener` is told how many more are done, in whatever order.

            >>> for translation in translator.translate_many(open("in.txt")): print(translation.text)
        """
        if isinstance(sources, str) or not isinstance(sources, Iterable):
            raise OptionError(f"`sources` must be a list of texts, but is {sources!r:.80}")
        job = self.job(SearchOptions.of(options))
        lines = windows(sources, size=_characters)
        some = translate_windows(job, lines, text=str, workers=self.workers, listener=listener)
        return chain.from_iterable(translations for _, translations in some)

    def job(self, options: SearchOptions, *, many: bool = True) -> Job:
        """Translating under these options, which are checked: for `dragoman.translation.pipeline`, with `workers` if `many`."""
        reverse = None
        if self.reverse is not None:
            if self.reverse.source_columns > 1:  # which no output has
                raise OptionError(
                    f"a `reverse` model must have one source column, which reads the outputs, but {self.reverse.directory.path} "
                    f"has {self.reverse.source_columns}"
                )
            reverse = self.reverse._scorer(many=many)
        stepper = self._runs(options, many=many)
        theirs = options.model_copy(
            update={"num_hypotheses": options.pool(), "num_candidates": None, "min_confidence": None}
        )
        if options.method == "best_first":  # where a beam's size says only how many there are to choose from
            theirs = theirs.model_copy(update={"beam_size": SearchOptions.model_fields["beam_size"].default})
        return Job(
            self.directory,
            stepper,
            self.texts,
            options=options,
            attends=self._attends,
            reverse=reverse,
            others=[other.job(theirs, many=many) for other in self._apart],
            scorers=[each._scorer(many=many) for each in (self, *self._apart)] if self._apart else [],
        )

    def _scorer(self, *, many: bool) -> Scorer:
        """What this model thinks of pairs of texts."""
        return partial(score_pairs, self._one_of_many if many else self.stepper, self.texts)

    def stream(self, source: str, *, options: SearchOptions | None = None) -> Iterator[Piece]:
        """Translate one source, and give its text as it becomes certain: at once with greedy search and sampling; with a
        beam, when all that can still win begins with it.

        The last piece has the whole `translation`: the best one that `translate` gives.

            >>> for piece in translator.stream("Go home."): print(piece.text, end="", flush=True)
        """
        self._refuse_choosing()
        options = _one(source, options)
        stepper, calibrator = self._runs(options, many=False), self._calibrator(options)
        from dragoman.translation.watching import stream_text

        return stream_text(stepper, self.texts, source, options, calibrator=calibrator)

    def trace(self, source: str, *, options: SearchOptions | None = None) -> Traced:
        """Translate one source, and keep every step of the beam: candidates, scores, what was pruned and why."""
        self._refuse_choosing()
        options = _one(source, options)
        stepper, calibrator = self._runs(options, many=False), self._calibrator(options)
        from dragoman.translation.watching import trace_text

        return trace_text(stepper, self.texts, source, options, calibrator=calibrator)

    def _calibrator(self, options: SearchOptions) -> Calibrator | None:
        """What gives confidences; with a shortlist scores are others."""
        if options.shortlist:
            return None
        return calibrator_of(self.directory, together=bool(self._others), needed=False)

    def _refuse_choosing(self) -> None:
        if self.reverse is not None:
            raise OptionError("a `reverse` model chooses among whole outputs: leave it out here")
        if self._apart:
            raise OptionError("an `ensemble` of different vocabularies chooses among whole outputs: leave it out here")

    def evaluate(
        self,
        sources: Sequence[str],
        references: Sequence[Sequence[str]],
        *,
        options: SearchOptions | None = None,
        listener: Counter = uncounted,
    ) -> tuple[Scores, list[Translation]]:
        """Translate sources and score the outputs against one or more references each, which are cleaned as targets were.

        `listener` is told how many more sources are translated.
        """
        with needs_extra("evaluating"):
            from dragoman.evaluation.metrics import score
        check_references(sources, references, each="source")
        translations = list(self.translate_many(sources, options=options, listener=listener))
        writing = self.config["writing"]
        outputs, references = [translation.text for translation in translations], self._cleaned(references)
        scores = score(outputs, references, writing=writing, primary=self.leading_metric)
        return scores, translations

    def _cleaned(self, references: Sequence[Sequence[str]]) -> list[list[str]]:
        """References as the training data had its targets: in another Unicode form no output would equal them."""
        return [[self.texts.clean_target(text) for text in texts] for texts in references]

    @property
    def scores_pairs(self) -> bool:
        """Whether `score` can be asked: an ensemble of different vocabularies has no score for a pair."""
        return not self._apart

    @overload
    def score(self, sources: str, targets: str) -> ScoredPair: ...  # type: ignore[overload-overlap]

    @overload
    def score(self, sources: Sequence[str], targets: Sequence[str]) -> list[ScoredPair]: ...

    def score(self, sources: str | Sequence[str], targets: str | Sequence[str]) -> ScoredPair | list[ScoredPair]:
        """How probable the model finds given targets, token by token: one pair, or as many targets as sources.

        A pair that cannot be used has no token scores, and a warning. The score is the one that `translate` gives the same output
        (of the same tokens: a search may spell a text with other pieces than the tokeniser does).

        >>> translator.score("Go home.", "Rentre à la maison.").token_scores
        """
        if not self.scores_pairs:
            raise OptionError("an `ensemble` of different vocabularies has no score for a pair: ask each of its models")
        if isinstance(sources, str) and isinstance(targets, str):
            return score_pairs(self.stepper, self.texts, [sources], [targets])[0]
        return score_pairs(self.stepper, self.texts, sources, targets)

    def gap(
        self,
        sources: Sequence[str],
        references: Sequence[Sequence[str]],
        *,
        horizon: int = 10,
        listener: Counter = uncounted,
    ) -> Gap:
        """The teacher-forcing gap: the model fed the right words against the model fed its own.

        Sources that cannot be used are left out. `horizon` is how many words after the first error are followed. `listener` is
        told how many more sources are done.
        """
        with needs_extra("measuring the gap"):
            from dragoman.evaluation.feeding import feed_both_ways
        if self.companions:
            raise OptionError("an ensemble has no gap of its own: ask each of its models")
        check_references(sources, references, each="source")
        sources, references = list(sources), list(references)  # a column of a table has its own names for places
        usable = self.texts.encode_sources(sources).ids
        answers = [self.texts.encode_targets(references[place]) for place in usable]
        return feed_both_ways(self.model, list(usable.values()), answers, horizon=horizon, listener=listener)

    def calibrate(
        self,
        sources: Sequence[str],
        references: Sequence[Sequence[str]],
        *,
        options: SearchOptions | None = None,
        seed: int = 1,
        listener: Counter = uncounted,
    ) -> Calibration:
        """Fit the calibrator that makes scores confidences, and keep it in the model's configuration.

        An output is right if it equals one of its references, which are cleaned as targets were. Fitted on a half of the
        outputs that `seed` draws and judged on the other. `listener` is told how many more sources are translated.
        """
        with needs_extra("calibrating"):
            from dragoman.evaluation.metrics import is_exact
        from dragoman.translation.calibrating import calibrate

        check_references(sources, references, each="source")
        options, seed = SearchOptions.of(options), SearchOptions(method="sample", seed=seed).seed  # or an error
        if options.min_confidence is not None:
            raise OptionError("`min_confidence` must not be given to a calibration: every output is looked at")
        if options.shortlist:
            raise OptionError("`shortlist` must not be given to a calibration: it is of the whole vocabulary")
        if self._others or self._apart:
            raise OptionError("an ensemble cannot be calibrated: what is kept with a model is of its own scores")
        self.directory.require_folder("calibrating")
        translations = list(self.translate_many(sources, options=options, listener=listener))
        self.directory.check_unchanged()  # it would be kept with another model
        answers = self._cleaned(references)
        correct = [is_exact(found.text, texts) for found, texts in zip(translations, answers, strict=True)]
        calibration = calibrate(translations, correct, seed=seed)
        of = {"weights": self.directory.weights_sum, "seed": seed, "search": options.model_dump()}
        self.config["calibration"] = calibration.facts() | of
        self.directory.update_config("calibration", self.config["calibration"])
        return calibration

    def save_pretrained(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the model directory, without what only resuming needs."""
        path = Path(path)
        if path.resolve() == self.directory.path.resolve():
            return path
        self.directory.check_unchanged()
        copy_model(self.directory, path, overwrite=overwrite)
        return path

    def push_to_hub(self, name: str, *, private: bool = False) -> str:
        """Upload the model to the Hugging Face Hub as `name` (`someone/model`); returns its address."""
        self.directory.check_unchanged()
        return upload(self.directory, name, private=private)

    @property
    def fingerprint(self) -> list[str]:
        """What tells this model from others: a checksum of it, of those that decide with it, and of the reverse model."""
        reverse = [f"reverse {self.reverse.directory.fingerprint()}"] if self.reverse else []
        return [each.directory.fingerprint() for each in (self, *self.companions)] + reverse

    def join(self, others: Iterable[Translator]) -> None:
        """Make an ensemble. From now on the probabilities of all models are averaged at every token.

        A model with other vocabularies, or one that reads in another case, finds outputs of its own instead, and all models choose
        among the outputs of all.
        Raises `OptionError` if it does not take the same sources, writes another kind of text, or is an ensemble itself.
        """
        if not isinstance(others, Iterable):
            raise OptionError(f"`others` must be a list of models that `load` gave, but is {others!r:.80}")
        others = list(others)
        for other in others:
            if not isinstance(other, Translator):
                raise OptionError(f"`others` must be models that `load` gave, but one is {other!r:.80}")
            if other is self or self in other.companions:
                raise OptionError(
                    "`others` must not hold the model itself, nor an ensemble that it is in: load it again"
                )
            if other.companions:  # which would count less than the others, or not at all
                raise OptionError(
                    f"`others` must be single models, but {other.directory.path} is an ensemble: join its models one by one"
                )
        present = self.stepper.steppers if isinstance(self.stepper, EnsembleStepper) else (self.stepper,)
        alike, apart = [], []
        for other in others:
            side = next((side for side in ("source", "target") if self._reading(side) != other._reading(side)), None)
            if side is None:
                alike.append(other)
                continue
            for what, mine, theirs in (
                ("source columns", self.source_columns, other.source_columns),
                ("kind of target", self.config["writing"], other.config["writing"]),
            ):
                if mine != theirs:
                    raise OptionError(
                        f"the models of an ensemble must have the same {what}, but {other.directory.path} has {theirs}, and "
                        f"{self.directory.path} {mine}"
                    )
            another = "vocabulary" if self._reading(side)[0] != other._reading(side)[0] else "case"
            _LOG.info(
                f"the {side} side of {other.directory.path} has another {another} than that of {self.directory.path}, so all models "
                "choose among whole outputs of each (models with the same --split-seed, --source-case and data decide at every token)"
            )
            apart.append(other)
        self._others += alike
        self._apart += apart
        self.__dict__.pop("_one_of_many", None)
        if alike:
            self.stepper = EnsembleStepper([*present, *(other.stepper for other in alike)])

    @property
    def companions(self) -> list[Translator]:
        """The other models of an ensemble."""
        return [*self._others, *self._apart]

    def _reading(self, side: str) -> tuple[list[str], list[str]]:
        """What the tokenisers of a side are made of, and in which case they read texts."""
        tokenizer: Tokenizer = getattr(self.texts, f"{side}_tokenizer")
        return list(tokenizer.files().values()), tokenizer.config()["case"]


def _one(source: str, options: SearchOptions | None) -> SearchOptions:
    """The options for one source; raises `OptionError` if that is no text."""
    if not isinstance(source, str):
        raise OptionError(f"`source` must be one text, but is {source!r:.80}")
    return SearchOptions.of(options)


def _characters(source: str) -> int:
    """How long a source is; raises `OptionError` for what is no text, as a missing value of a table."""
    if not isinstance(source, str):
        raise OptionError(f"`sources` must be texts, but one is {source!r:.80}")
    return len(source)


def models_of(ensemble: Iterable[str | Path]) -> list[str | Path]:
    """The names of several models, which may come from what gives them only once."""
    if isinstance(ensemble, str) or not isinstance(ensemble, Iterable):
        raise OptionError(f"`ensemble` must be a list of models, but is {ensemble!r:.80}")
    return list(ensemble)


def load(
    name: str | Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    engine: str = "auto",
    precision: str = "auto",
    ensemble: Iterable[str | Path] = (),
    reverse: str | Path | None = None,
) -> Translator:
    """Load a model directory, a bundle, or a model of the Hugging Face Hub such as `someone/model`.

    `engine` is onnx (ONNX Runtime, no PyTorch), torch, or auto: onnx if the directory has graphs of its weights and ONNX
    Runtime can compute on `device` (the CPU, if that is auto), else torch. `precision` says which graphs onnx runs: float32, int8, float16, or auto for
    those that the export found best.

    `ensemble` names models that decide with it (with the same vocabularies at every token, with others by choosing among the
    outputs of all), `reverse` one from target to source that helps to choose among outputs. Raises `StorageError` if there is none, or it is damaged, unfinished or too new.
    """

    def opened(one: str | Path) -> Translator:
        directory = ModelDirectory.open(locate(one))
        return Translator(directory, device=device, threads=threads, engine=engine, precision=precision)

    ensemble, translator = models_of(ensemble), opened(name)
    if ensemble:
        translator.join(opened(other) for other in ensemble)
    if reverse is not None:
        translator.reverse = opened(reverse)
    return translator
