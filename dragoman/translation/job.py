"""Translating under one set of options: sources to ids, a batch of them to translations; knows no files and no order.

A job is checked when it is made, and from then on changes nothing: its batches may run one after another or at the same time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dragoman.config import SearchOptions
from dragoman.errors import OptionError
from dragoman.files import as_word
from dragoman.generation.ensemble import EnsembleStepper
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.search import search
from dragoman.generation.shortlist import restrict
from dragoman.generation.stepper import Stepper
from dragoman.storage import ModelDirectory
from dragoman.translation import lengths
from dragoman.translation.choosing import (
    UNREADABLE,
    by_all_models,
    by_likeness,
    by_reverse_model,
    each_text_once,
    search_options,
    with_confidence,
)
from dragoman.translation.outputs import Candidate, ScoredPair, Translation
from dragoman.translation.texts import Encoded, Texts
from dragoman.translation.unknown import UnknownWords

if TYPE_CHECKING:
    from dragoman.evaluation.calibration import Calibrator

Scorer = Callable[[Sequence[str], Sequence[str]], list[ScoredPair]]
"""Sources and targets to what a model thinks of each pair."""


class Job:
    """What a model is to do with any number of sources."""

    def __init__(
        self,
        directory: ModelDirectory,
        stepper: Stepper,
        texts: Texts,
        *,
        options: SearchOptions,
        attends: bool,
        reverse: Scorer | None = None,
        others: Sequence[Job] = (),
        scorers: Sequence[Scorer] = (),
    ) -> None:
        """`stepper` has a shortlist if `options` ask for one, and gives attention if it `attends`; `reverse` scores sources
        given outputs. `others` find the outputs of models with other vocabularies; then `scorers` are those of all models.

        Raises `OptionError` or `DataError` for what this model cannot do.
        """
        self._config = directory.config
        self._texts, self._options, self._reverse = texts, options, reverse
        self._others, self._scorers = others, scorers
        self._inner = search_options(options, reverse=reverse is not None, several=bool(others))
        together = isinstance(stepper, EnsembleStepper) or bool(others)
        self._calibrator = None
        if not options.shortlist:  # which makes scores others
            self._calibrator = calibrator_of(directory, together=together, needed=options.min_confidence is not None)
        self._constraints = texts.constraints(self._inner)
        self._stepper, self._inner = restrict(stepper, self._inner, self._constraints)
        self._unknown = UnknownWords.of(texts, options, attends=attends)
        lengths.check(self._inner, self._constraints, vocab_size=self._stepper.vocab_size)

    @property
    def width(self) -> int:
        """Unfinished outputs that the search follows for every source."""
        if self._inner.method == "best_first":
            return 1
        return self._inner.num_hypotheses if self._inner.method == "sample" else self._inner.beam_size

    def encode(self, sources: Sequence[str]) -> Encoded:
        """Sources in ids; one that cannot be used has a fault instead."""
        return self._texts.encode_sources(sources)

    def run(self, sources: Sequence[str], source_ids: Sequence[list[int]]) -> list[Translation]:
        """Translate one batch of sources and their ids, all at once."""
        try:
            found = self._search(source_ids)
            faults: dict[int, str] = {}
        except OptionError:
            fault_of = {length: self._fault(length) for length in set(map(len, source_ids))}
            faults = {place: fault for place, ids in enumerate(source_ids) if (fault := fault_of[len(ids)])}
            if not faults:
                raise
            found = self._search([ids for place, ids in enumerate(source_ids) if place not in faults])
        rest = iter(found)
        translations = [
            Translation(source, (), faults[place])
            if place in faults
            else self._texts.translation(source, ids, next(rest), self._inner)
            for place, (source, ids) in enumerate(zip(sources, source_ids, strict=True))
        ]
        if self._unknown is not None:
            translations = [self._unknown.replace(each) for each in translations]
        chosen = self._chosen(translations) if not self._others else self._combined(sources, translations)
        if self._calibrator is None:
            return chosen
        least = self._options.min_confidence
        return [with_confidence(each, calibrator=self._calibrator, least=least) for each in chosen]

    def _search(self, source_ids: Sequence[list[int]]) -> list[list[Hypothesis]]:
        return search(self._stepper, source_ids, options=self._inner, constraints=self._constraints)

    def _fault(self, length: int) -> str | None:
        return lengths.fault_of(length, self._inner, self._constraints, vocab_size=self._stepper.vocab_size)

    def _combined(self, sources: Sequence[str], translations: list[Translation]) -> list[Translation]:
        """The outputs of all models, in the order of the mean of what each model thinks of each."""
        found = [[each.candidates for each in translations]]
        for other in self._others:
            encoded = other.encode(sources)
            theirs = iter(other.run([sources[place] for place in encoded.ids], list(encoded.ids.values())))
            found.append([next(theirs).candidates if place in encoded.ids else () for place in range(len(sources))])
        texts = [
            list(dict.fromkeys(each.text for one in of_source for each in one))
            for of_source in zip(*found, strict=True)
        ]
        rows = [(source, text) for source, mine in zip(sources, texts, strict=True) for text in mine]
        scores: list[list[dict[str, float]]] = [[] for _ in sources]
        for scorer in self._scorers:
            pairs = iter(scorer([source for source, _ in rows], [text for _, text in rows]))
            for place, mine in enumerate(texts):
                scored = [(text, next(pairs)) for text in mine]
                scores[place].append(
                    {text: pair.normalized_score if pair.token_scores else UNREADABLE for text, pair in scored}
                )
        return [
            self._with(t, by_all_models(one, score))
            for t, one, score in zip(translations, zip(*found, strict=True), scores, strict=True)
        ]

    def _chosen(self, translations: list[Translation]) -> list[Translation]:
        """Candidates in the order that `rerank` or the reverse model puts them in."""
        options, reverse = self._options, self._reverse
        if not options.rerank and reverse is None:
            return [each_text_once(t, self._inner) for t in translations]
        if reverse is None:
            lists = [by_likeness(t.candidates, options, writing=self._config["writing"]) for t in translations]
        else:
            rows = [(c.text, t.source) for t in translations for c in t.candidates]
            scored = reverse([text for text, _ in rows], [source for _, source in rows])
            values = iter(each.normalized_score if each.token_scores else UNREADABLE for each in scored)
            lists = [
                by_reverse_model(t.candidates, [next(values) for _ in t.candidates], options) for t in translations
            ]
        return [self._with(t, chosen) for t, chosen in zip(translations, lists, strict=True)]

    def _with(self, translation: Translation, chosen: list[Candidate]) -> Translation:
        """The translation with what was chosen, best first: that an output was cut is said of the one that is the best now."""
        was_cut = bool(translation.candidates) and not translation.candidates[0].finished
        warning = None if was_cut and chosen[0].finished else translation.warning
        return dataclasses.replace(
            translation, candidates=tuple(chosen[: self._options.num_hypotheses]), warning=warning
        )


def calibrator_of(directory: ModelDirectory, *, together: bool, needed: bool) -> Calibrator | None:
    """What gives confidences; None without it, and for ensembles (`together`), whose scores are others."""
    if together and needed:
        raise OptionError("`min_confidence` must not be given with an `ensemble`: it has no calibration of its own")
    stored = directory.config.get("calibration")
    outdated = None
    if stored is not None and "temperature" in stored:  # one number, which calibrated badly
        outdated = "an older version did it"
    elif stored is not None and stored.get("weights", directory.weights_sum) != directory.weights_sum:
        outdated = "it was trained on since"
    if needed and (stored is None or outdated):
        kind = f"a model calibrated anew ({outdated})" if outdated else "a calibrated model"
        command = f"dragoman calibrate {as_word(directory.path)} DEV.tsv"
        if directory.is_bundle:
            command = "dragoman calibrate, for the directory that it was made of, and bundle that again"
        raise OptionError(f"`min_confidence` needs {kind}; run: {command}")
    if stored is None or outdated or together:
        return None
    from dragoman.evaluation.calibration import Calibrator

    return Calibrator(stored["a"], stored["b"], stored["c"])
