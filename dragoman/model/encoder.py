"""The encoder: reads a source of any length into a context vector and a memory; knows nothing of the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dragoman.model.attention import Memory
from dragoman.model.gpu_layer import run_whole, takes_whole
from dragoman.model.layers import Embedding, Seam, dropout_mask, typed_list
from dragoman.model.padding import HELD
from dragoman.model.recomputation import run
from dragoman.model.recurrent import LayerState, RecurrentLayer, reverse_within_length


@dataclass(frozen=True)
class Encoded:
    """A batch of encoded sources."""

    memory: Memory
    """Every top state, the mask and the context vector."""
    finals: tuple[LayerState, ...]
    """Each layer's state after the last real token, both directions concatenated: tensors (batch, hidden_size)."""


class Encoder(nn.Module):
    """A stack of recurrent layers over embeddings; the top layer's last state is the context vector.

    Right padding is inert: a backward direction reads each source reversed within its own length, and last states are
    those at the last real token. A bidirectional layer has `hidden_size / 2` units per direction.
    """

    def __init__(
        self,
        vocab_size: int,
        *,
        cell: str,
        embedding_size: int,
        hidden_size: int,
        layers: int,
        bidirectional: bool = False,
        reverse_source: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        word_dropout: float = 0.0,
        layer_norm: bool = False,
        residual: bool = False,
        attended: bool = True,
    ) -> None:
        super().__init__()
        self.embedding = Embedding(vocab_size, embedding_size, word_dropout=word_dropout)
        self.reverse_source = reverse_source
        self.dropout = dropout
        width = hidden_size // 2 if bidirectional else hidden_size
        sizes = [embedding_size] + [hidden_size] * (layers - 1)

        def layers_of(sizes: list[int]) -> Sequence[RecurrentLayer]:
            return typed_list(RecurrentLayer(cell, size, width, recurrent_dropout=recurrent_dropout) for size in sizes)

        self.forward_layers = layers_of(sizes)
        self.backward_layers = layers_of(sizes if bidirectional else [])
        self.seams = typed_list(
            # Without attention nothing reads the top layer's outputs, so a norm there would never learn.
            Seam(
                size,
                hidden_size,
                dropout=dropout,
                layer_norm=layer_norm and (attended or index + 1 < layers),
                residual=residual,
            )
            for index, size in enumerate(sizes)
        )

    def embed(self, source_ids: Tensor, source_lengths: Tensor) -> Tensor:
        """(batch, source_length) ids -> (batch, source_length, embedding_size), in reading order, with dropout."""
        if self.reverse_source:
            source_ids = reverse_within_length(source_ids, source_lengths)
        vectors: Tensor = self.embedding(source_ids)
        if self.training and self.dropout > 0:
            vectors = vectors * dropout_mask(vectors, vectors.size(2), share=self.dropout).unsqueeze(1)
        return vectors

    def forward(self, source_ids: Tensor, source_lengths: Tensor, *, recompute: bool = False) -> Encoded:
        """Encode ids, (batch, source_length), padded on the right, with their true lengths, (batch,), at least 1.

        With `recompute` the activations within a layer are computed again in the backward pass instead of held.
        """
        inputs = self.embed(source_ids, source_lengths)
        finals: list[LayerState] = []
        for index in range(len(self.seams)):
            masks = self._masks(index, inputs)
            inputs, final = run(self._layer, index, inputs, source_lengths, masks, recompute=recompute)
            finals.append(final)
        position = torch.arange(source_ids.size(1), device=source_ids.device)
        mask = position < source_lengths.unsqueeze(1)
        states = reverse_within_length(inputs, source_lengths) if self.reverse_source else inputs
        if self.forward_layers[0].cell == "rnn_relu":
            # At padding its state may grow without bounds, and no weight of attention makes infinity 0.
            states = states.masked_fill(~mask.unsqueeze(2), 0)
        return Encoded(Memory(states, mask, context=finals[-1][0]), tuple(finals))

    def _masks(self, index: int, like: Tensor) -> list[Tensor | None]:
        """This pass's dropout masks of a layer: of its outputs, and of the weights from the state in each direction."""
        directions = (self.forward_layers, self.backward_layers) if self.backward_layers else (self.forward_layers,)
        return [self.seams[index].mask(like), *(layers[index].mask() for layers in directions)]

    def _layer(
        self, index: int, inputs: Tensor, source_lengths: Tensor, masks: Sequence[Tensor | None]
    ) -> tuple[Tensor, LayerState]:
        """One layer, in both directions where there are two, and the seam after it."""
        dropped, *states = masks
        if self.backward_layers:
            outputs, final = self._both_directions(index, inputs, source_lengths, states)
        else:
            outputs, final = self.forward_layers[index](inputs, lengths=source_lengths, mask=states[0])
        return self.seams[index](inputs, outputs, dropped), final

    def _both_directions(
        self, index: int, inputs: Tensor, source_lengths: Tensor, masks: Sequence[Tensor | None]
    ) -> tuple[Tensor, LayerState]:
        """The outputs side by side, and so the states: forwards first."""
        forward, backward = self.forward_layers[index], self.backward_layers[index]
        if takes_whole(inputs) and forward.cell in HELD:
            start = [torch.stack([part, part]) for part in forward.zero_state(inputs)]
            both = [layer.dropped(mask) for layer, mask in zip((forward, backward), masks, strict=True)]
            outputs, finals = run_whole(forward.cell, both, inputs, start, lengths=source_lengths)
            return outputs, tuple(torch.cat([*part], dim=1) for part in finals)
        ahead, ahead_final = forward(inputs, lengths=source_lengths, mask=masks[0])
        turned = reverse_within_length(inputs, source_lengths)
        back, back_final = backward(turned, lengths=source_lengths, mask=masks[1])
        outputs = torch.cat([ahead, reverse_within_length(back, source_lengths)], dim=2)
        return outputs, tuple(torch.cat(pair, dim=1) for pair in zip(ahead_final, back_final, strict=True))
