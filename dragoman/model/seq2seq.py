"""The whole model: encoder, bridge and decoder; plain keyword arguments in, tensors out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from dragoman.model.attention import Memory
from dragoman.model.decoder import Decoder, DecoderState
from dragoman.model.encoder import Encoder


@dataclass(frozen=True)
class Output:
    """What a teacher-forced pass gives."""

    features: Tensor
    """(batch, target_length, feature_size): what the dense output layer reads."""
    attention: Tensor | None
    """(batch, target_length, source_length), or None without attention."""
    copied: Tensor | None = None
    """(batch, source_length): the target id that each source token is copied as, 0 for none; None without copying."""


class Seq2Seq(nn.Module):
    """A recurrent encoder-decoder (Sutskever et al. 2014; Cho et al. 2014), with attention if asked.

    `hidden_size` is the width of every layer's output on both sides, so the bridge from encoder to decoder is the
    identity unless the numbers of layers differ. `tie_embeddings` is none, target (target embeddings are the output
    layer's weights) or all (the source's too; the vocabularies must be one).

    With `copying` a word may also be copied from where attention points (see `dragoman.model.pointer`). Which target id
    each source id is copied as is the buffer `copy_ids`, (source_vocab_size,), 0 for none; `set_copy_ids` fills it.
    """

    copy_ids: Tensor | None

    def __init__(
        self,
        *,
        source_vocab_size: int,
        target_vocab_size: int,
        cell: str = "lstm",
        embedding_size: int = 256,
        source_embedding_size: int | None = None,
        hidden_size: int = 256,
        encoder_layers: int = 1,
        decoder_layers: int = 1,
        bidirectional: bool = False,
        reverse_source: bool = False,
        attention: str = "none",
        attention_heads: int = 1,
        attention_inside: bool = False,
        input_feeding: bool = False,
        peek: bool = False,
        copying: bool = False,
        tie_embeddings: str = "none",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        word_dropout: float = 0.0,
        layer_norm: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        assert tie_embeddings in ("none", "target", "all"), f"unknown tying {tie_embeddings}"
        for share in (dropout, recurrent_dropout, word_dropout):
            assert 0 <= share < 1, f"a dropout must be from 0 to below 1, but is {share}"
        self.encoder = Encoder(
            source_vocab_size,
            cell=cell,
            embedding_size=source_embedding_size or embedding_size,
            hidden_size=hidden_size,
            layers=encoder_layers,
            bidirectional=bidirectional,
            reverse_source=reverse_source,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            word_dropout=word_dropout,
            layer_norm=layer_norm,
            residual=residual,
            attended=attention != "none",
        )
        self.decoder = Decoder(
            target_vocab_size,
            cell=cell,
            embedding_size=embedding_size,
            hidden_size=hidden_size,
            layers=decoder_layers,
            encoder_layers=encoder_layers,
            attention=attention,
            attention_heads=attention_heads,
            attention_inside=attention_inside,
            input_feeding=input_feeding,
            peek=peek,
            copying=copying,
            tied=tie_embeddings != "none",
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            word_dropout=word_dropout,
            layer_norm=layer_norm,
            residual=residual,
        )
        if tie_embeddings == "all":
            assert source_vocab_size == target_vocab_size, "tying all embeddings needs one vocabulary"
            self.encoder.embedding.weight = self.decoder.embedding.weight
        assert not copying or attention != "none", "copying needs attention"
        self.register_buffer("copy_ids", torch.zeros(source_vocab_size, dtype=torch.long) if copying else None)

    @property
    def parameter_count(self) -> int:
        """Trainable values, shared ones counted once."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def forward(
        self,
        source_ids: Tensor,
        source_lengths: Tensor,
        target_input: Tensor,
        *,
        own_share: float = 0.0,
        recompute: bool = False,
    ) -> Output:
        """Teacher forcing: sources (batch, source_length) with lengths (batch,), targets (batch, target_length).

        With `own_share` that share of the target inputs is drawn by the model itself (scheduled sampling). With
        `recompute` the backward pass computes the activations within layers again instead of finding them in memory.
        """
        memory, state = self.encode(source_ids, source_lengths, recompute=recompute)
        if own_share > 0:
            features, attention, _ = self.decoder.forward_sampling(
                target_input, memory, state, own_share=own_share, recompute=recompute
            )
        else:
            features, attention, _ = self.decoder(target_input, memory, state, recompute=recompute)
        return Output(features, attention, memory.copied)

    def encode(
        self, source_ids: Tensor, source_lengths: Tensor, *, recompute: bool = False
    ) -> tuple[Memory, DecoderState]:
        """Encode sources and cross the bridge: the memory, and the decoder's state before `<s>`."""
        memory, state = self.decoder.start(self.encoder(source_ids, source_lengths, recompute=recompute))
        return replace(memory, copied=self.copied(source_ids)), state

    def copied(self, source_ids: Tensor) -> Tensor | None:
        """The target id that each of `source_ids`, (batch, source_length), is copied as; None without copying."""
        return None if self.copy_ids is None else self.copy_ids[source_ids]

    def set_copy_ids(self, target_ids: Sequence[int]) -> None:
        """Say which target id each source id is copied as: (source_vocab_size,), 0 for none, as for special tokens."""
        assert self.copy_ids is not None, "this model does not copy"
        self.copy_ids.copy_(torch.tensor(target_ids))

    def log_probs(self, output: Output) -> Tensor:
        """The distributions over each next word of a teacher-forced pass: (batch, target_length, vocab)."""
        return self.decoder.log_probs(output.features, output.attention, output.copied)


def outline(architecture: Mapping[str, Any]) -> Seq2Seq:
    """A model of this architecture, the arguments of `Seq2Seq`, that has shapes but no numbers, and so takes no memory."""
    with torch.device("meta"):
        return Seq2Seq(**architecture)
