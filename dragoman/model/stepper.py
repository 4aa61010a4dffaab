"""The torch model as a Stepper: what search, evaluation and inspection drive; knows nothing of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dragoman.generation.stepper import Bools, Floats, Ints, Step
from dragoman.model.attention import Memory
from dragoman.model.decoder import DecoderState
from dragoman.model.seq2seq import Seq2Seq


@dataclass(frozen=True)
class TorchState:
    """Rows in the middle of their outputs."""

    sources: Memory
    """The encoded sources, one row per source."""
    source_rows: Tensor
    """(rows,): which source each row belongs to."""
    memory: Memory
    """`sources` laid out by row: what attention reads."""
    decoder: DecoderState
    """The decoder's state, by row."""


class TorchStepper:
    """Runs a `Seq2Seq` one token at a time; see `dragoman.generation.stepper.Stepper` for the three operations.

    The model is used in its evaluation mode, without gradients, and stays in that mode.
    """

    def __init__(self, model: Seq2Seq) -> None:
        self.model = model
        self.device = model.decoder.embedding.weight.device

    @property
    def vocab_size(self) -> int:
        """Size of the target vocabulary."""
        return self.model.decoder.embedding.weight.size(0)

    @torch.inference_mode()
    def start(self, source_ids: list[list[int]]) -> TorchState:
        """Encode sources, each a non-empty list of ids."""
        self.model.eval()
        memory, state = self.model.encode(*padded(source_ids, self.device))
        return TorchState(memory, torch.arange(len(source_ids), device=self.device), memory, state)

    @torch.inference_mode()
    def step(
        self,
        state: TorchState,
        last_ids: Ints,
        *,
        top_k: int | None,
        allowed: Bools | None = None,
        bias: Floats | None = None,
    ) -> Step:
        """Feed each row's last id and return its best next ids, ranked as the protocol says."""
        fed = torch.from_numpy(np.ascontiguousarray(last_ids)).to(self.device)
        features, attention, decoder = self.model.decoder.step(fed, state.memory, state.decoder)
        log_probs = self.model.decoder.log_probs(features, attention, state.memory.copied)
        ids, chosen = _ranked(log_probs, top_k, allowed, bias)
        weights = None if attention is None else numbers(attention)
        following = TorchState(state.sources, state.source_rows, state.memory, decoder)
        return Step(ids.cpu().numpy(), numbers(chosen), weights, following)

    @torch.inference_mode()
    def select(self, state: TorchState, rows: Ints) -> TorchState:
        """Reorder, repeat or drop rows; the memory is copied only when rows change their source."""
        index = torch.from_numpy(np.ascontiguousarray(rows)).to(self.device)
        source_rows = state.source_rows[index]
        memory = state.memory
        if not torch.equal(source_rows, state.source_rows):
            memory = state.sources.select(source_rows)
        return TorchState(state.sources, source_rows, memory, state.decoder.select(index))


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """(batch, longest) ids, padded on the right, and their lengths, (batch,)."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
    return ids.to(device), lengths.to(device)


def numbers(tensor: Tensor) -> Floats:
    """For the search; NumPy has no bfloat16."""
    found: Floats = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy()
    return found


def _ranked(log_probs: Tensor, top_k: int | None, allowed: Bools | None, bias: Floats | None) -> tuple[Tensor, Tensor]:
    if allowed is not None:
        log_probs = log_probs.masked_fill(~torch.from_numpy(allowed).to(log_probs.device), -torch.inf)
    if top_k is None:
        return torch.arange(log_probs.size(1)).expand(log_probs.size(0), -1), log_probs
    k = min(top_k, log_probs.size(1))
    if bias is None:
        chosen, ids = log_probs.topk(k, dim=1)
        return ids, chosen
    ids = (log_probs + torch.from_numpy(bias).to(log_probs)).topk(k, dim=1).indices
    return ids, log_probs.gather(1, ids)
