"""A look inside a model at work on one sentence: context, next words, attention, gradients through time.

Knows the torch model and ids; the caller brings the names of tokens. Nothing here changes the model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.errors import OptionError, StorageError
from dragoman.generation.stepper import BOS, EOS
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper
from dragoman.model.trace import Trace, trace

Floats = NDArray[np.floating[Any]]
TokenNames = Callable[[Sequence[int]], list[str]]
"""Ids to printable tokens, such as `Tokenizer.tokens`."""

FIRST_WORD = EOS + 1
"""Smaller ids are special tokens."""
_NEIGHBOURS = 3


@dataclass(frozen=True)
class SourceToken:
    """One token that the encoder reads."""

    token: str
    """Its name."""
    id: int
    """Its id."""
    neighbours: tuple[tuple[str, float], ...]
    """The tokens with the most similar embeddings, and the cosine of the angle between them, best first."""
    summary: float
    """Cosine between the encoder's top state after this token and its last one, the context vector (of a bidirectional
    encoder, the forward half of both): how much of the summary is already there."""


@dataclass(frozen=True)
class NextWord:
    """One word the model may say next."""

    token: str
    """Its name."""
    id: int
    """Its id."""
    probability: float
    """Its softmax probability."""


@dataclass(frozen=True)
class DecoderStep:
    """One step of the decoder."""

    input: str
    """The token it reads: `<s>` first, then the token before, its own or the reference's."""
    candidates: tuple[NextWord, ...]
    """The best next words, best first."""
    chosen: str
    """The best next word."""
    expected: str | None = None
    """The reference's next word, if there is a reference."""
    expected_probability: float | None = None
    """The softmax probability of `expected`."""

    @property
    def right(self) -> bool:
        """Whether the best word is the expected one."""
        return self.chosen == self.expected


@dataclass(frozen=True, eq=False)
class Inspection:
    """Everything seen on the way from one source to its output."""

    source: tuple[SourceToken, ...]
    """The tokens that the encoder reads, in the source's order."""
    context: Floats
    """(hidden_size,): the context vector."""
    steps: tuple[DecoderStep, ...]
    """Free-running: every step reads the word chosen before."""
    finished: bool
    """Whether the output ended with `</s>` and not at the maximum length."""
    attention: Floats | None
    """(steps, source_length): free-running attention, rows sum to 1; None without attention."""
    forced: tuple[DecoderStep, ...] | None = None
    """Teacher-forced: every step reads the reference's word before. None without a reference."""
    encoder_gradients: Floats | None = None
    """(forced steps, source_length): norm of the gradient of each step's loss at the encoder's top state (its forward
    direction) after each source token, in the source's order."""
    decoder_gradients: Floats | None = None
    """(forced steps, forced steps): the same at the decoder's top state of each step; 0 for steps yet to come."""

    @property
    def source_tokens(self) -> tuple[str, ...]:
        """The names of the source's tokens."""
        return tuple(token.token for token in self.source)

    @property
    def output(self) -> tuple[str, ...]:
        """The chosen tokens, free-running, without `</s>`."""
        chosen = tuple(step.chosen for step in self.steps)
        return chosen[:-1] if self.finished else chosen

    @property
    def gradient_left(self) -> Floats | None:
        """(forced steps,): what is left of a gradient at the decoder's state k steps back, as a share of its norm at the
        loss's own step; geometric mean over all losses that have such a state. None without a reference.
        """
        norms = self.decoder_gradients
        if norms is None:
            return None
        own = np.diagonal(norms)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):  # a loss of exactly 0 has no gradient and no share
            logarithms = np.log(np.where(own > 0, norms / own, np.nan))
        means = [np.diagonal(logarithms, -k) for k in range(len(norms))]
        return np.array([np.exp(m[~np.isnan(m)].mean()) if (~np.isnan(m)).any() else 0.0 for m in means])

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a gradient that has exploded beyond all numbers is None."""
        result: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                result[name] = _plain(value)
            else:
                result[name] = [asdict(part) for part in value] if isinstance(value, tuple) else value
        left = self.gradient_left
        return result | {
            "source_tokens": list(self.source_tokens),
            "output": list(self.output),
            "gradient_left": None if left is None else _plain(left),
        }


def inspect(
    model: Seq2Seq,
    source_ids: Sequence[int],
    *,
    source_names: TokenNames,
    target_names: TokenNames,
    reference_ids: Sequence[int] | None = None,
    candidates: int = 5,
    max_length: int | None = None,
) -> Inspection:
    """Run `model` greedily on one source and, given a reference, teacher-forced on it, and keep what is inside.

    `source_ids` are what the encoder reads and `reference_ids` a target without `<s>` and `</s>`; `candidates` is how
    many next words each step shows. `max_length` is by default 3 times the source's length + 50. Raises `StorageError` if the
    model's numbers are none.
    """
    if not source_ids:
        raise OptionError("`source_ids` must not be empty: there is nothing to read")
    if candidates < 1:
        raise OptionError(f"`candidates` must be at least 1, but is {candidates}")
    max_length = 3 * len(source_ids) + 50 if max_length is None else max_length
    if max_length < 1:
        raise OptionError(f"`max_length` must be at least 1, but is {max_length}")
    steps, attention = _run_freely(model, list(source_ids), target_names, candidates, max_length)
    reference = None if reference_ids is None else [*reference_ids, EOS]
    traced = _trace_with_gradients(model, source_ids, reference or [EOS])
    forced = _forced_steps(traced.log_probs[0], reference, target_names, candidates) if reference else None
    if any(np.isnan(step.candidates[0].probability) for step in (*steps, *(forced or ()))):  # NaN comes first
        raise StorageError("the model's scores are not numbers: its weights are too large")
    encoder_gradients, decoder_gradients = gradient_norms(traced, reference) if reference else (None, None)
    if encoder_gradients is not None and model.encoder.reverse_source:
        encoder_gradients = encoder_gradients[:, ::-1].copy()  # the trace is in reading order
    return Inspection(
        source=_source_tokens(model, source_ids, traced, source_names),
        context=traced.context[0].detach().cpu().numpy(),
        steps=steps,
        finished=steps[-1].candidates[0].id == EOS,
        attention=attention,
        forced=forced,
        encoder_gradients=encoder_gradients,
        decoder_gradients=decoder_gradients,
    )


def _plain(values: Floats) -> list[Any]:
    """The numbers as JSON knows them: None for what is infinite or not a number."""
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    numbers: list[Any] = plain.tolist()
    return numbers


def _source_tokens(
    model: Seq2Seq, source_ids: Sequence[int], traced: Trace, names: TokenNames
) -> tuple[SourceToken, ...]:
    states = torch.cat(traced.encoder_states).detach()  # (source_length, width), in reading order
    summaries = torch.cosine_similarity(states, states[-1:], dim=1).tolist()
    if model.encoder.reverse_source:
        summaries.reverse()
    table = torch.nn.functional.normalize(model.encoder.embedding.weight.detach(), dim=1)
    similar = table[torch.tensor(source_ids, device=table.device)] @ table.T  # (source_length, vocab)
    similar[:, :FIRST_WORD] = -torch.inf  # <pad>, <unk>, <s> and </s> are nobody's neighbours
    similar[range(len(source_ids)), list(source_ids)] = -torch.inf
    best = similar.topk(min(_NEIGHBOURS, max(similar.size(1) - FIRST_WORD - 1, 0)), dim=1)
    return tuple(
        SourceToken(
            token,
            int(source_ids[row]),
            tuple(zip(names(best.indices[row].tolist()), best.values[row].tolist(), strict=True)),
            summaries[row],
        )
        for row, token in enumerate(names(source_ids))
    )


def _run_freely(
    model: Seq2Seq, source_ids: list[int], names: TokenNames, candidates: int, max_length: int
) -> tuple[tuple[DecoderStep, ...], Floats | None]:
    """Greedy decoding, one recorded step after another."""
    stepper = TorchStepper(model)
    state, last = stepper.start([source_ids]), BOS
    steps: list[DecoderStep] = []
    attention: list[Floats] = []
    while last != EOS and len(steps) < max_length:
        step = stepper.step(state, np.array([last]), top_k=min(candidates, stepper.vocab_size))
        words = _next_words(step.ids[0], np.exp(step.log_probs[0]), names)
        steps.append(DecoderStep(names([last])[0], words, words[0].token))
        if step.attention is not None:
            attention.append(step.attention[0])
        state, last = step.state, words[0].id
    return tuple(steps), np.stack(attention) if attention else None


def _next_words(ids: NDArray[np.integer[Any]], probabilities: Floats, names: TokenNames) -> tuple[NextWord, ...]:
    tokens = names([int(i) for i in ids])
    return tuple(NextWord(token, int(i), float(p)) for token, i, p in zip(tokens, ids, probabilities, strict=True))


def _forced_steps(
    log_probs: Tensor, reference: list[int], names: TokenNames, candidates: int
) -> tuple[DecoderStep, ...]:
    """The teacher-forced steps of log-probabilities, (target_length, vocab)."""
    probabilities = (
        log_probs.detach().cpu().double().exp()
    )  # in single precision a loss over 103 would be one of nothing
    best = probabilities.topk(min(candidates, probabilities.size(1)), dim=1)
    inputs, expected = names([BOS, *reference[:-1]]), names(reference)
    steps = []
    for position, true_id in enumerate(reference):
        words = _next_words(best.indices[position].numpy(), best.values[position].numpy(), names)
        truth = float(probabilities[position, true_id])
        steps.append(DecoderStep(inputs[position], words, words[0].token, expected[position], truth))
    return tuple(steps)


def _trace_with_gradients(model: Seq2Seq, source_ids: Sequence[int], reference: list[int]) -> Trace:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        model = copy.deepcopy(model).requires_grad_(True)  # a frozen model keeps no gradients
    model.eval()
    device = model.decoder.embedding.weight.device
    with torch.enable_grad():
        source = torch.tensor([list(source_ids)], device=device)
        return trace(model, source, torch.tensor([[BOS, *reference[:-1]]], device=device))


def gradient_norms(traced: Trace, reference: Sequence[int]) -> tuple[Floats, Floats]:
    """Back-propagation through time, one target step at a time.

    Entry (t, i) is the norm of the gradient of step t's loss, -log p(reference[t]), at state i: for the encoder
    (target_length, source_length) in reading order, for the decoder (target_length, target_length). A gradient that is not
    there, as of a loss at a later state, is 0.
    """
    states = [*traced.encoder_states, *traced.decoder_states]
    losses = -traced.log_probs[0, torch.arange(len(reference)), torch.tensor(reference)]
    norms = np.zeros((len(reference), len(states)))
    for step in range(len(reference)):
        gradients = torch.autograd.grad(losses[step], states, retain_graph=True, allow_unused=True)
        norms[step] = [0.0 if g is None else float(g.cpu().double().norm()) for g in gradients]
    return norms[:, : len(traced.encoder_states)], norms[:, len(traced.encoder_states) :]
