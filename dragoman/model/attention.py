"""How a decoder looks back at the source: additive, dot, general and multi-head attention over a memory.

Every kind answers any number of queries at once: the whole target under teacher forcing, one position in decoding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dragoman.model.products import Linear, batched


@dataclass(frozen=True)
class Memory:
    """What the encoder hands over, once per source."""

    states: Tensor
    """(batch, source_length, hidden_size): the top layer's output at every source token."""
    mask: Tensor
    """(batch, source_length): True on real tokens."""
    context: Tensor
    """(batch, hidden_size): the context vector, the top layer's last state (both directions concatenated)."""
    keys: Tensor | None = None
    """(batch, source_length, key_size): `states` as the attention compares them, projected once."""
    values: Tensor | None = None
    """(batch, source_length, hidden_size): `states` as the attention sums them; None: as they are."""
    copied: Tensor | None = None
    """(batch, source_length): the target id that each source token is copied as, 0 for none; None without copying."""

    def select(self, rows: Tensor) -> Memory:
        """The memory whose row i is the old row `rows[i]`."""

        def pick(part: Tensor | None) -> Tensor | None:
            return None if part is None else part.index_select(0, rows)

        return Memory(
            self.states.index_select(0, rows),
            self.mask.index_select(0, rows),
            self.context.index_select(0, rows),
            pick(self.keys),
            pick(self.values),
            pick(self.copied),
        )


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis with exact zeros where `mask` is False; `mask` broadcasts to `scores`."""
    return torch.softmax(scores.masked_fill(~mask, -math.inf), dim=-1)


class Attention(nn.Module):
    """Base of the attentions: `prepare` a memory once, then `forward(queries, memory)` as often as needed."""

    def prepare(self, memory: Memory) -> Memory:
        """Project what does not depend on the query, once per source."""
        return memory

    def scores(self, queries: Tensor, memory: Memory) -> Tensor:
        """(batch, queries, hidden_size) -> scores (batch, queries, source_length)."""
        raise AssertionError(f"{type(self).__name__} defines no scores for {queries.shape} over {memory.mask.shape}")

    def forward(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Answer queries, (batch, queries, hidden_size).

        Returns `attended`, (batch, queries, hidden_size), and the weights, (batch, queries, source_length), which
        are 0 at padding and sum to 1.
        """
        weights = masked_softmax(self.scores(queries, memory), memory.mask.unsqueeze(1))
        return batched(weights, memory.states), weights


class DotAttention(Attention):
    """score(q, m) = q · m (Luong et al. 2015, "dot")."""

    def scores(self, queries: Tensor, memory: Memory) -> Tensor:
        return batched(queries, memory.states.transpose(1, 2))


class GeneralAttention(Attention):
    """score(q, m) = q · W m (Luong et al. 2015, "general")."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.key = Linear(hidden_size, hidden_size, bias=False)
        nn.init.xavier_uniform_(self.key.weight)

    def prepare(self, memory: Memory) -> Memory:
        return Memory(memory.states, memory.mask, memory.context, keys=self.key(memory.states))

    def scores(self, queries: Tensor, memory: Memory) -> Tensor:
        assert memory.keys is not None, "prepare() comes first"
        return batched(queries, memory.keys.transpose(1, 2))


class AdditiveAttention(Attention):
    """score(q, m) = v · tanh(W q + U m) (Bahdanau et al. 2015, eq. 6 and appendix A.1.2)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.query = Linear(hidden_size, hidden_size)
        self.key = Linear(hidden_size, hidden_size, bias=False)
        # It reads so many rows that code for them costs less than a copy with zeros after it.
        self.energy = nn.Linear(hidden_size, 1, bias=False)
        for layer in (self.query, self.key, self.energy):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(self.query.bias)

    def prepare(self, memory: Memory) -> Memory:
        return Memory(memory.states, memory.mask, memory.context, keys=self.key(memory.states))

    def scores(self, queries: Tensor, memory: Memory) -> Tensor:
        assert memory.keys is not None, "prepare() comes first"
        # (batch, queries, 1, hidden) + (batch, 1, source_length, hidden)
        energies = torch.tanh(self.query(queries).unsqueeze(2) + memory.keys.unsqueeze(1))
        return self.energy(energies).squeeze(3)  # type: ignore[no-any-return]


class MultiHeadAttention(Attention):
    """Scaled dot products in `heads` subspaces (Vaswani et al. 2017, section 3.2.2; for an LSTM: Chen et al. 2018).

    The weights returned are the mean over the heads.
    """

    def __init__(self, hidden_size: int, heads: int) -> None:
        super().__init__()
        assert hidden_size % heads == 0, "the caller checks that the heads divide the width"
        self.heads = heads
        self.query = Linear(hidden_size, hidden_size)
        self.key = Linear(hidden_size, hidden_size, bias=False)
        self.value = Linear(hidden_size, hidden_size)
        self.output = Linear(hidden_size, hidden_size)
        for layer in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(layer.weight)
        for biased in (self.query, self.value, self.output):
            nn.init.zeros_(biased.bias)

    def prepare(self, memory: Memory) -> Memory:
        states = memory.states
        return Memory(states, memory.mask, memory.context, keys=self.key(states), values=self.value(states))

    def forward(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        assert memory.keys is not None, "prepare() comes first"
        assert memory.values is not None, "prepare() comes first"
        query = self._split(self.query(queries))  # (batch, heads, queries, width)
        key = self._split(memory.keys)  # (batch, heads, source_length, width)
        scores = batched(query, key.transpose(2, 3)) / math.sqrt(query.size(3))
        weights = masked_softmax(scores, memory.mask[:, None, None, :])
        attended = batched(weights, self._split(memory.values))  # (batch, heads, queries, width)
        joined = attended.transpose(1, 2).flatten(2)  # (batch, queries, heads * width)
        output: Tensor = self.output(joined)
        return output, weights.mean(dim=1)

    def _split(self, states: Tensor) -> Tensor:
        # (batch, time, heads * width) -> (batch, heads, time, width)
        return states.view(*states.shape[:2], self.heads, -1).transpose(1, 2)


def build_attention(kind: str, hidden_size: int, *, heads: int = 1) -> Attention | None:
    """The attention called `kind`: none, additive, dot, general or multihead."""
    if kind == "none":
        return None
    if kind == "dot":
        return DotAttention()
    if kind == "general":
        return GeneralAttention(hidden_size)
    if kind == "additive":
        return AdditiveAttention(hidden_size)
    assert kind == "multihead", f"unknown attention {kind}"
    return MultiHeadAttention(hidden_size, heads)
