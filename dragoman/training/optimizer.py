"""Which parameters are trained, and the optimiser with its groups; knows no schedule and no steps."""

from __future__ import annotations

import torch
from torch import Tensor

from dragoman.model.seq2seq import Seq2Seq
from dragoman.training.recipe import Recipe

STATES = {"adamw": 2, "adam": 2, "sgd": 0}
"""Numbers that an optimiser keeps for each parameter."""
_EMBEDDING = "embedding.weight"


def trained_parameters(model: Seq2Seq) -> dict[str, Tensor]:
    """The parameters that are not frozen, by name; embeddings last, which is their order in the optimiser."""
    named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    return dict(sorted(named, key=lambda item: _EMBEDDING in item[0]))


def build_optimizer(recipe: Recipe, named: dict[str, Tensor]) -> torch.optim.Optimizer:
    """The optimiser a recipe names; its groups say which share of the learning rate is theirs.

    Embeddings have a rate of their own (`embedding_rate`): under Adam what a row of them should move in a step does not
    depend on how wide the layers are, that of the layers' weights falls with their width (Yang et al. 2022, table 3).
    """
    shares = {name: recipe.embedding_rate if _EMBEDDING in name else 1.0 for name in named}
    groups = [
        {"params": [value for name, value in named.items() if shares[name] == share], "share": share}
        for share in dict.fromkeys(shares.values())
    ]
    fused = all(parameter.device.type in {"cpu", "cuda"} for parameter in named.values())
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=fused)
    return torch.optim.AdamW(
        groups, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay, fused=fused
    )
