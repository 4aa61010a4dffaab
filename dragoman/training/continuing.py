"""An earlier model that a new training starts from: its weights, tokenisers and architecture; knows no optimiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dragoman.config import TrainOptions, splitting_of
from dragoman.corpus.dataset import EncodedPairs
from dragoman.corpus.tokenization import UNK, Tokenizer
from dragoman.errors import OptionError
from dragoman.model.seq2seq import Seq2Seq
from dragoman.places import locate
from dragoman.storage import ModelDirectory
from dragoman.training.checkpoint import load_tensors, load_weights
from dragoman.training.recipe import MODEL_FIELDS

_FREE = ("dropout", "recurrent_dropout", "word_dropout")
"""Options of the model that shape no weight."""
_KEPT = (
    "tokenizer",
    "source_tokenizer",
    "target_tokenizer",
    "vocab_size",
    "shared_vocabulary",
    "byte_fallback",
    "jamo",
    "source_case",
    "source_vectors",
    "target_vectors",
)
"""Options of what comes with the weights: the tokenisers and what the embeddings started from."""
_SAMPLE = 2_000


@dataclass(frozen=True)
class Earlier:
    """A finished model, taken up again with new data, a new schedule and a new optimiser."""

    directory: ModelDirectory
    """Where it is."""
    tokenizers: tuple[Tokenizer, Tokenizer]
    """Of the source and of the target, of the same columns with a shared vocabulary."""

    @classmethod
    def of(cls, options: TrainOptions, *, files: bool = True) -> Earlier | None:
        """The model that `options.from_model` names; an `OptionError` if other options would change its shape.

        Without `files` pairs are given in Python: they tell their columns, and `source` does not.
        """
        if options.from_model is None:
            if options.minimum_risk:
                raise OptionError("`minimum_risk` needs a trained model to start from: give `from`")
            return None
        directory = ModelDirectory.open(locate(options.from_model))
        directory.require_folder("training on")
        earlier = cls(directory, Tokenizer.of_model(directory.config, directory.read_text))
        earlier._check(options, files=files)
        return earlier

    def agreed(self, options: TrainOptions) -> TrainOptions:
        """`options` with the preset and the normalisation of this model; the same data is held out by the same seed.

        Another one would hold out what this model was trained on.
        """
        split_seed = splitting_of(self.directory.config["options"])
        held_out = {"split_seed": split_seed} if options.split_seed is None else {}
        return options.model_copy(update=self._habits() | held_out)

    def shaped(self, options: TrainOptions) -> TrainOptions:
        """`options` with the architecture of this model; dropout only where they leave it unset."""
        free = {name: self._recipe[name] for name in _FREE if getattr(options, name) is None}
        return options.model_copy(update=self._shape() | free)

    def architecture(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """Keyword arguments of `Seq2Seq`: this model's, with the dropout of `chosen`."""
        own: dict[str, Any] = self.directory.config["architecture"]
        return own | {name: chosen[name] for name in _FREE}

    def load_into(self, model: Seq2Seq) -> None:
        """Copy this model's weights."""
        load_weights(model, load_tensors(self.directory.weights)[0], self.directory.weights)

    @property
    def _recipe(self) -> dict[str, Any]:
        recipe: dict[str, Any] = self.directory.config["recipe"]
        return {"copying": False, "recurrent_dropout": 0.0} | recipe  # which models of an earlier version lack

    def _shape(self) -> dict[str, Any]:
        return {name: self._recipe[name] for name in MODEL_FIELDS if name in self._recipe and name not in _FREE}

    def _habits(self) -> dict[str, Any]:
        config = self.directory.config
        return {"preset": config["options"].get("preset", "default"), "normalization": config["normalization"]}

    def _check(self, options: TrainOptions, *, files: bool) -> None:
        given = {name for name in options.model_fields_set if getattr(options, name) not in (None, ())}
        place = self.directory.path
        for name in _KEPT:
            if name in given:
                raise OptionError(
                    f"`{name}` was given, but a model that goes on from {place} keeps its tokenisers and embeddings: leave it out"
                )
        known = self._shape() | self._habits()
        for name, value in known.items():
            option = "layers" if name.endswith("_layers") and name not in given else name
            if option in given and getattr(options, option) != value:
                raise OptionError(
                    f"`{option}` is {value} in the model at {place}, but {getattr(options, option)} was given: leave it out"
                )
        columns = len(self.tokenizers[0].methods)
        if (files or options.source) and max(1, len(options.source)) != columns:
            raise OptionError(
                f"`source` must name the {columns} source column{'s' * (columns > 1)} that the model at {place} reads"
            )


def unknown_share(pairs: EncodedPairs) -> float:
    """The share of `<unk>` among the tokens of at most 2,000 pairs, the side that has more of them."""
    rows = np.linspace(0, len(pairs) - 1, min(len(pairs), _SAMPLE)).astype(np.int64)
    return max(float(np.mean(side(rows)[0] == UNK)) for side in (pairs.sources, pairs.targets))
