"""One source's output as text that grows, and a beam's whole history with its words; knows a Stepper and both tokenisers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dragoman.config import SearchOptions
from dragoman.corpus.tokenization import BYTE_TOKENS
from dragoman.errors import OptionError
from dragoman.evaluation.calibration import Calibrator
from dragoman.generation.constraints import Constraints
from dragoman.generation.search import check_traceable, search
from dragoman.generation.shortlist import restrict
from dragoman.generation.stepper import Stepper
from dragoman.generation.streaming import check_method, stream
from dragoman.generation.tracing import Trace
from dragoman.translation.choosing import TEXT_OPTIONS, each_text_once, with_confidence
from dragoman.translation.lengths import fault_of
from dragoman.translation.outputs import Translation
from dragoman.translation.texts import Encoded, Texts


@dataclass(frozen=True)
class Piece:
    """News of an output."""

    text: str
    """What goes on from the pieces before; all of them together are the output's text."""
    translation: Translation | None = None
    """The whole, with the last piece."""


@dataclass(frozen=True)
class Traced:
    """A translation and how it was found."""

    translation: Translation
    """What `translate` gives."""
    steps: list[dict[str, Any]]
    """Every step with all its candidates, their scores and fates (`dragoman.generation.tracing`); empty without a search."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**self.translation.as_dict(), "steps": self.steps}


def check_stream(options: SearchOptions) -> None:
    """Raise `OptionError` for what finds or chooses whole outputs."""
    _refuse(options, "whole outputs, so that no text is certain before they are there")
    check_method(options)


def check_trace(options: SearchOptions) -> None:
    """Raise `OptionError` for what is no beam, or goes on after it."""
    _refuse(options, "outputs after the search, of which a trace knows nothing")
    check_traceable(options)


def stream_text(
    stepper: Stepper, texts: Texts, source: str, options: SearchOptions, *, calibrator: Calibrator | None = None
) -> Iterator[Piece]:
    """The best output's text as it becomes certain; raises `OptionError` for what chooses among whole outputs."""
    check_stream(options)
    constraints = texts.constraints(options)
    encoded = texts.encode_sources([source])
    stepper, options = restrict(stepper, options, constraints)
    if fault := _fault(encoded, options, constraints, stepper.vocab_size):
        return iter([Piece("", Translation(source, (), fault))])
    news = stream(stepper, encoded.ids[0], options=options, constraints=constraints)

    def pieces() -> Iterator[Piece]:
        known: list[int] = []
        shown = ""
        for each in news:
            known += each.ids
            if each.hypothesis is None:
                text = _certain(texts, known)
                if len(text) > len(shown):
                    yield Piece(text[len(shown) :])
                    shown = text
            else:
                whole = _with_confidence(
                    texts.translation(source, encoded.ids[0], [each.hypothesis], options), calibrator
                )
                yield Piece(whole.text[len(shown) :], whole)

    return pieces()


def trace_text(
    stepper: Stepper, texts: Texts, source: str, options: SearchOptions, *, calibrator: Calibrator | None = None
) -> Traced:
    """Translate one source by beam search, and keep everything that the beam saw."""
    check_trace(options)
    constraints = texts.constraints(options)
    encoded = texts.encode_sources([source])
    stepper, options = restrict(stepper, options, constraints)
    if fault := _fault(encoded, options, constraints, stepper.vocab_size):
        return Traced(Translation(source, (), fault), [])
    trace = Trace()
    found = search(stepper, [encoded.ids[0]], options=options, constraints=constraints, trace=trace)
    history = trace.as_dict(lambda token: texts.target_tokenizer.tokens([token])[0])
    whole = each_text_once(texts.translation(source, encoded.ids[0], found[0], options), options)
    whole = _with_confidence(whole, calibrator)
    return Traced(whole, history["sources"][0])


def _fault(encoded: Encoded, options: SearchOptions, constraints: Constraints | None, vocab_size: int) -> str | None:
    """Why the only source of `encoded` gets no output; None if it gets one."""
    if encoded.faults:
        return encoded.faults[0]
    return fault_of(len(encoded.ids[0]), options, constraints, vocab_size=vocab_size)


def _with_confidence(translation: Translation, calibrator: Calibrator | None) -> Translation:
    return translation if calibrator is None else with_confidence(translation, calibrator=calibrator, least=None)


def _refuse(options: SearchOptions, why: str) -> None:
    for name in TEXT_OPTIONS:
        if getattr(options, name) != SearchOptions.model_fields[name].default:
            raise OptionError(f"`{name}` must not be given here: it works on {why}")


def _certain(texts: Texts, ids: list[int]) -> str:
    """The text of these ids as far as ids that follow cannot change it: unfinished characters may still become others."""
    end = len(ids)
    while end and texts.target_tokenizer.tokens([ids[end - 1]])[0] in BYTE_TOKENS:
        end -= 1  # one more byte may spoil all that are in a row
    text = texts.target_tokenizer.decode(ids[:end])
    return text[:-1] if any(texts.target_tokenizer.config()["jamo"]) else text  # a syllable may get a last consonant
