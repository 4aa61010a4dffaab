"""The decoder: from the context vector and `<s>` to a distribution over the next word; all steps at once, or one.

Under teacher forcing every input is known beforehand, so the recurrent layers run as fused calls over the whole target
(`forward`). Only attention inside the recurrence and input feeding need the loop over `step`, which decoding uses too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dragoman.model.attention import Memory, build_attention
from dragoman.model.encoder import Encoded
from dragoman.model.layers import Embedding, Seam, dropout_mask, typed_list
from dragoman.model.pointer import Pointer
from dragoman.model.products import Linear
from dragoman.model.recomputation import run
from dragoman.model.recurrent import LayerState, RecurrentLayer


@dataclass(frozen=True)
class DecoderState:
    """Where a decoder stands between two steps."""

    layers: tuple[LayerState, ...]
    """Each layer's state, bottom first: tensors (batch, hidden_size)."""
    fed: Tensor | None
    """(batch, embedding or hidden size): the last features, with input feeding; else None."""

    def select(self, rows: Tensor) -> DecoderState:
        """The state whose row i is the old row `rows[i]`."""
        layers = tuple(tuple(part.index_select(0, rows) for part in layer) for layer in self.layers)
        return DecoderState(layers, None if self.fed is None else self.fed.index_select(0, rows))

    def detach(self) -> DecoderState:
        """The same state, through which no gradient flows back."""
        layers = tuple(tuple(part.detach() for part in layer) for layer in self.layers)
        return DecoderState(layers, None if self.fed is None else self.fed.detach())


@dataclass(frozen=True)
class Masks:
    """One pass's dropout masks, the same at every step."""

    embedding: Tensor | None
    """(batch, embedding_size)."""
    layers: tuple[Tensor | None, ...]
    """(batch, hidden_size) per layer."""
    states: tuple[Tensor | None, ...]
    """(gates · hidden_size, hidden_size) per layer: of the weights from the state, which all rows share."""
    words: Tensor | None = None
    """(batch, target_length): which words are dropped, if rows are to agree on that; None: drawn as they are read."""

    def select(self, rows: Tensor) -> Masks:
        """The masks whose row i is the old row `rows[i]`."""

        def pick(part: Tensor | None) -> Tensor | None:
            return None if part is None else part.index_select(0, rows)

        layers = tuple(pick(mask) for mask in self.layers)
        return replace(self, embedding=pick(self.embedding), layers=layers, words=pick(self.words))


class Bridge(nn.Module):
    """From the encoder's last states to the decoder's first: the identity where shapes agree, else a learned map.

    The identity copies each layer's (h, c) to the same decoder layer. The learned map is tanh(W context + b) for each
    tensor of each layer (Cho et al. 2014, appendix; Bahdanau et al. 2015, A.2.2).
    """

    def __init__(self, *, encoder_layers: int, decoder_layers: int, hidden_size: int, state_count: int) -> None:
        super().__init__()
        self.shape = (decoder_layers, state_count, hidden_size)
        learned = encoder_layers != decoder_layers
        self.map = nn.Linear(hidden_size, decoder_layers * state_count * hidden_size) if learned else None

    def forward(self, encoded: Encoded) -> tuple[LayerState, ...]:
        """The decoder's first state, per layer."""
        if self.map is None:
            return encoded.finals
        states = torch.tanh(self.map(encoded.memory.context)).view(-1, *self.shape)
        return tuple(tuple(part.unbind(1)) for part in states.unbind(1))


class Decoder(nn.Module):
    """A stack of recurrent layers over target embeddings, with or without attention.

    Where attention sits:
    - default: the first layer's states ask for all positions at once; the layers above read [state; attended]
    - `input_feeding`: the top layer's state asks, and the features feed the next step's input (Luong et al. 2015)
    - `attention_inside`: the previous top state asks, and the answer is part of the cell's input (Bahdanau et al. 2015)
    """

    def __init__(
        self,
        vocab_size: int,
        *,
        cell: str,
        embedding_size: int,
        hidden_size: int,
        layers: int,
        encoder_layers: int,
        attention: str = "none",
        attention_heads: int = 1,
        attention_inside: bool = False,
        input_feeding: bool = False,
        peek: bool = False,
        copying: bool = False,
        tied: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        word_dropout: float = 0.0,
        layer_norm: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = Embedding(vocab_size, embedding_size, word_dropout=word_dropout)
        self.attention = build_attention(attention, hidden_size, heads=attention_heads)
        self.inside = attention_inside and self.attention is not None
        self.input_feeding = input_feeding
        self.peek = peek
        self.dropout = dropout
        attends = self.attention is not None
        # Without attention the recurrent state goes straight to the dense layer, as the textbook has it.
        readout_size = hidden_size * (2 if attends else 1) + (embedding_size if self.inside else 0)
        self.feature_size = embedding_size if tied or attends else hidden_size
        needs_readout = attends or self.feature_size != hidden_size
        self.readout = Linear(readout_size, self.feature_size) if needs_readout else None
        first = embedding_size + hidden_size * (peek + self.inside) + self.feature_size * input_feeding
        self.early = attends and not self.inside and not input_feeding
        sizes = [first] + [hidden_size * (2 if self.early else 1)] * (layers - 1)
        self.layers = typed_list(
            RecurrentLayer(cell, size, hidden_size, recurrent_dropout=recurrent_dropout) for size in sizes
        )
        self.seams = typed_list(
            Seam(
                size if index == 0 else hidden_size,
                hidden_size,
                dropout=dropout,
                layer_norm=layer_norm,
                residual=residual,
            )
            for index, size in enumerate(sizes)
        )
        count = self.layers[0].state_count
        self.bridge = Bridge(
            encoder_layers=encoder_layers, decoder_layers=layers, hidden_size=hidden_size, state_count=count
        )
        self.output = nn.Linear(self.feature_size, vocab_size)
        nn.init.zeros_(self.output.bias)
        self.gate = nn.Linear(self.feature_size, 1) if copying else None
        if self.gate is not None:
            nn.init.xavier_uniform_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)
        if tied:
            self.output.weight = self.embedding.weight
        if self.readout is not None:
            nn.init.xavier_uniform_(self.readout.weight)
            nn.init.zeros_(self.readout.bias)

    @property
    def fused(self) -> bool:
        """Whether teacher forcing needs no loop over time."""
        return not self.inside and not self.input_feeding

    def start(self, encoded: Encoded) -> tuple[Memory, DecoderState]:
        """The memory, prepared for attention, and the state before `<s>` is read."""
        memory = encoded.memory if self.attention is None else self.attention.prepare(encoded.memory)
        fed = memory.context.new_zeros(memory.context.size(0), self.feature_size) if self.input_feeding else None
        return memory, DecoderState(self.bridge(encoded), fed)

    def masks(self, like: Tensor) -> Masks:
        """Draw this pass's dropout masks for the rows of `like`, (batch, ...)."""
        embedding = None
        if self.training and self.dropout > 0:
            embedding = dropout_mask(like, self.embedding.weight.size(1), share=self.dropout)
        layers = tuple(seam.mask(like) for seam in self.seams)
        return Masks(embedding, layers, tuple(layer.mask() for layer in self.layers))

    def forward(
        self,
        target_input: Tensor,
        memory: Memory,
        state: DecoderState,
        *,
        masks: Masks | None = None,
        recompute: bool = False,
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """Teacher forcing over target inputs, (batch, target_length), from a start or from any later state.

        `masks` are those of an earlier call if this one continues it; by default they are drawn. With `recompute` the
        activations within a layer (within a step, where there is a loop) are computed again in the backward pass.
        Returns features, (batch, target_length, feature_size), for the output layer; the attention, (batch,
        target_length, source_length), or None; and the state after the last input.
        """
        masks = masks or self.masks(memory.context)
        embedded = self._embed(target_input, masks)
        if self.fused:
            return self._forward_fused(embedded, memory, state, masks, recompute=recompute)
        features, weights = [], []
        for position in range(target_input.size(1)):
            feature, weight, state = run(self._step, embedded[:, position], memory, state, masks, recompute=recompute)
            features.append(feature)
            weights.append(weight)
        return torch.stack(features, dim=1), _stacked(weights), state

    def forward_sampling(
        self, target_input: Tensor, memory: Memory, state: DecoderState, *, own_share: float, recompute: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """Scheduled sampling (Bengio et al. 2015): after the first, an input is a draw of the model itself with
        probability `own_share`, else the true one of `target_input`, (batch, target_length).

        No gradient flows through a draw. Returns what `forward` does; it is that where `own_share` is 0.
        """
        masks = self.masks(memory.context)
        own = torch.rand(target_input.shape, device=target_input.device) < own_share
        features: list[Tensor] = []
        weights: list[Tensor | None] = []
        ids = target_input[:, 0]
        for position in range(target_input.size(1)):
            if position > 0:
                drawn = self._draw(features[-1], weights[-1], memory.copied)
                ids = torch.where(own[:, position], drawn, target_input[:, position])
            embedded = self._embed(ids.unsqueeze(1), masks).squeeze(1)
            feature, weight, state = run(self._step, embedded, memory, state, masks, recompute=recompute)
            features.append(feature)
            weights.append(weight)
        return torch.stack(features, dim=1), _stacked(weights), state

    @torch.no_grad()
    def _draw(self, features: Tensor, attention: Tensor | None = None, copied: Tensor | None = None) -> Tensor:
        """One id per row from the model's distribution, by the Gumbel trick; arguments as for `log_probs`."""
        log_probs = self.log_probs(features, attention, copied)
        noise = torch.empty_like(log_probs).exponential_().log_()
        return (log_probs - noise).argmax(dim=1)

    def log_probs(self, features: Tensor, attention: Tensor | None = None, copied: Tensor | None = None) -> Tensor:
        """The distribution over the next word, (..., vocab), of features, (..., feature_size).

        A copying decoder needs `attention`, (..., source_length), and the memory's `copied`, (batch, source_length).
        It is as exact as the weights, though the products may be in half precision.
        """
        log_probs = torch.log_softmax(self.output(features), dim=-1, dtype=self.output.weight.dtype)
        pointer = self.pointer(features, attention, copied)
        return log_probs if pointer is None else pointer.mixed(log_probs)

    def pointer(self, features: Tensor, attention: Tensor | None, copied: Tensor | None) -> Pointer | None:
        """What a copying decoder points at in each step; None if it does not copy. Arguments as for `log_probs`.

        It is as exact as the weights, though features and attention come from products in half precision.
        """
        if self.gate is None:
            return None
        assert attention is not None, "copying needs attention"
        assert copied is not None, "copying needs the target ids of the source"
        if attention.dim() == 3:  # (batch, source_length) -> (batch, target_length, source_length)
            copied = copied.unsqueeze(1).expand_as(attention)
        exact = self.output.weight.dtype
        return Pointer(self.gate(features.to(exact)).squeeze(-1).to(exact), attention.to(exact), copied)

    def step(self, last_ids: Tensor, memory: Memory, state: DecoderState) -> tuple[Tensor, Tensor | None, DecoderState]:
        """Feed one id per row, (batch,); returns features (batch, feature_size), attention (batch, source_length), state."""
        masks = self.masks(memory.context)
        return self._step(self._embed(last_ids.unsqueeze(1), masks).squeeze(1), memory, state, masks)

    def _embed(self, ids: Tensor, masks: Masks) -> Tensor:
        vectors: Tensor = self.embedding(ids, masks.words)
        return vectors if masks.embedding is None else vectors * masks.embedding.unsqueeze(1)

    def _forward_fused(
        self, embedded: Tensor, memory: Memory, state: DecoderState, masks: Masks, *, recompute: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        length = embedded.size(1)
        inputs = embedded
        if self.peek:
            inputs = torch.cat([inputs, memory.context.unsqueeze(1).expand(-1, length, -1)], dim=2)
        attended = weights = None
        finals: list[LayerState] = []
        for index, start in enumerate(state.layers):
            inputs, final = run(self._layer, index, inputs, attended, start, masks, recompute=recompute)
            finals.append(final)
            if index == 0 and self.attention is not None:
                attended, weights = run(self.attention, inputs, memory, recompute=recompute)
        features = run(self._features, inputs, attended, embedded, recompute=recompute)
        return features, weights, DecoderState(tuple(finals), None)

    def _layer(
        self, index: int, inputs: Tensor, attended: Tensor | None, state: LayerState, masks: Masks
    ) -> tuple[Tensor, LayerState]:
        """One layer over the whole target, and the seam after it."""
        read = inputs if attended is None else torch.cat([inputs, attended], dim=2)
        outputs, final = self.layers[index](read, state, mask=masks.states[index])
        return self.seams[index](inputs, outputs, masks.layers[index]), final

    def _step(
        self, embedded: Tensor, memory: Memory, state: DecoderState, masks: Masks
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        parts = [embedded]
        attended = weights = None
        if self.peek:
            parts.append(memory.context)
        if self.inside:
            attended, weights = self._attend(state.layers[-1][0], memory)
            parts.append(attended)
        if self.input_feeding:
            assert state.fed is not None
            parts.append(state.fed)
        inputs = torch.cat(parts, dim=1) if len(parts) > 1 else embedded
        finals: list[LayerState] = []
        for index, (layer, seam) in enumerate(zip(self.layers, self.seams, strict=True)):
            read = inputs if attended is None or index == 0 or not self.early else torch.cat([inputs, attended], dim=1)
            final = layer.step(read, state.layers[index], mask=masks.states[index])
            finals.append(final)
            inputs = seam(inputs, final[0], masks.layers[index])
            if index == 0 and self.early:
                attended, weights = self._attend(inputs, memory)
        if self.attention is not None and attended is None:
            attended, weights = self._attend(inputs, memory)
        features = self._features(inputs, attended, embedded)
        return features, weights, DecoderState(tuple(finals), features if self.input_feeding else None)

    def _attend(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        assert self.attention is not None
        attended, weights = self.attention(query.unsqueeze(1), memory)
        return attended.squeeze(1), weights.squeeze(1)

    def _features(self, states: Tensor, attended: Tensor | None, embedded: Tensor) -> Tensor:
        """h̃ = tanh(W [state; attended]) (Luong et al. 2015, eq. 5); the bare state without attention."""
        if self.readout is None:
            return states
        parts = [states] if attended is None else [states, attended]
        if self.inside:
            parts.append(embedded)
        read = torch.cat(parts, dim=-1) if len(parts) > 1 else states
        return torch.tanh(self.readout(read))


def _stacked(weights: list[Tensor | None]) -> Tensor | None:
    """Attention of all positions, (batch, target_length, source_length), or None without attention."""
    known = [one for one in weights if one is not None]
    return torch.stack(known, dim=1) if known else None
