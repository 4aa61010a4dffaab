"""A graph cut in two, so that what lies behind the cut is differentiated once, after several passes before it.

With it the decoder runs a chunk at a time (truncated back-propagation through time, Williams and Peng 1990): each chunk's
activations are freed by its own backward pass, and the encoder's are used once, at the end.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dragoman.model.attention import Memory
from dragoman.model.decoder import DecoderState


class Cut:
    """Leaves that stand for tensors; `backward` hands the gradients that the leaves gathered on to the tensors."""

    def __init__(self) -> None:
        self._tensors: list[Tensor] = []
        self._leaves: list[Tensor] = []

    def leaf(self, tensor: Tensor) -> Tensor:
        """A leaf with the values of `tensor`; `tensor` itself if it needs no gradient."""
        if not tensor.requires_grad:
            return tensor
        leaf = tensor.detach().requires_grad_()
        self._tensors.append(tensor)
        self._leaves.append(leaf)
        return leaf

    def memory(self, memory: Memory) -> Memory:
        """A memory of leaves."""
        keys = None if memory.keys is None else self.leaf(memory.keys)
        values = None if memory.values is None else self.leaf(memory.values)
        return Memory(self.leaf(memory.states), memory.mask, self.leaf(memory.context), keys, values, memory.copied)

    def state(self, state: DecoderState) -> DecoderState:
        """A decoder's state of leaves."""
        layers = tuple(tuple(self.leaf(part) for part in layer) for layer in state.layers)
        return DecoderState(layers, None if state.fed is None else self.leaf(state.fed))

    def backward(self) -> None:
        """Differentiate what lies behind the cut."""
        reached = [(t, leaf.grad) for t, leaf in zip(self._tensors, self._leaves, strict=True) if leaf.grad is not None]
        torch.autograd.backward([tensor for tensor, _ in reached], [gradient for _, gradient in reached])
