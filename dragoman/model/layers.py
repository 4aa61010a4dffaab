"""Small parts between the recurrent layers: embeddings with word dropout, dropout masks, the seam of a stack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

PAD = 0

Part = TypeVar("Part", bound=nn.Module)


def typed_list(parts: Iterable[Part]) -> Sequence[Part]:
    """A `ModuleList` that type checkers know the parts of."""
    return cast("Sequence[Part]", nn.ModuleList(parts))


class Embedding(nn.Module):
    """Ids to vectors, with whole words dropped in training (Sennrich and Zhang 2019: the strongest single remedy)."""

    def __init__(self, vocab_size: int, size: int, *, word_dropout: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, size))
        self.word_dropout = word_dropout
        nn.init.normal_(self.weight, std=size**-0.5)
        with torch.no_grad():
            self.weight[PAD].zero_()

    def mask(self, rows: int, length: int) -> Tensor | None:
        """This pass's factors of whole words, (rows, length), 0 where one is dropped; None outside training."""
        if not self.training or self.word_dropout == 0:
            return None
        keep = torch.rand(rows, length, device=self.weight.device) >= self.word_dropout
        return keep.to(self.weight.dtype) / (1 - self.word_dropout)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """(batch, time) -> (batch, time, size); a mask of whole words, (batch, time), is drawn if none is given."""
        vectors = nn.functional.embedding(ids, self.weight)
        mask = self.mask(*ids.shape) if mask is None else mask
        return vectors if mask is None else vectors * mask.unsqueeze(-1)


def dropout_mask(like: Tensor, size: int, *, share: float) -> Tensor:
    """A mask of one value per row and feature, (batch, size), the same at every step (Gal and Ghahramani 2016)."""
    keep = torch.rand(like.size(0), size, device=like.device) >= share
    return keep.to(like.dtype) / (1 - share)


class Seam(nn.Module):
    """What happens to a layer's output before the next layer reads it: dropout, residual, norm, in this order."""

    def __init__(self, input_size: int, size: int, *, dropout: float, layer_norm: bool, residual: bool) -> None:
        super().__init__()
        self.size = size
        self.dropout = dropout
        self.norm = nn.LayerNorm(size) if layer_norm else None
        self.residual = residual and input_size == size

    def mask(self, like: Tensor) -> Tensor | None:
        """This pass's dropout mask for the rows of `like`, (batch, size), or None outside training."""
        if not self.training or self.dropout == 0:
            return None
        return dropout_mask(like, self.size, share=self.dropout)

    def forward(self, inputs: Tensor, outputs: Tensor, mask: Tensor | None) -> Tensor:
        """`inputs` and `outputs` of a layer, (batch, size) or (batch, time, size), to the next layer's input."""
        if mask is not None:
            outputs = outputs * (mask if outputs.dim() == 2 else mask.unsqueeze(1))
        if self.residual:
            outputs = outputs + inputs
        return outputs if self.norm is None else self.norm(outputs)
