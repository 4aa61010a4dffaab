"""How good a model is on held-out texts: teacher-forced loss and real decoding; knows no steps and no files."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from dragoman.config import SearchOptions
from dragoman.corpus.batching import dev_batches
from dragoman.evaluation.metrics import Scores, fitting, score
from dragoman.generation.search import search
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper
from dragoman.training.objective import batch_loss
from dragoman.training.preparation import Part, Prepared
from dragoman.training.recipe import Recipe
from dragoman.training.trainer import DevScore

DEV_SOURCES = 500
"""Dev sources that are decoded at each evaluation."""
DEV_LOSS_PAIRS = 1_000
"""Dev pairs the dev loss is measured on at most."""
DECODED_AT_ONCE = 64
GPU_DECODES_AT_ONCE = 512
"""On a GPU a step takes as long for many rows as for few."""
GREEDY = SearchOptions(beam_size=1)


class Evaluator:
    """Scores a model on the development part: teacher-forced loss, and real greedy decoding."""

    def __init__(self, prepared: Prepared, recipe: Recipe) -> None:
        self.prepared, self.recipe = prepared, recipe
        self.part = prepared.dev_part.first(DEV_SOURCES)

    def __call__(self, model: Seq2Seq) -> DevScore:
        """Measure `model` as it is given, in evaluation mode."""
        device = model.decoder.embedding.weight.device
        total, tokens = 0.0, 0
        with torch.inference_mode():
            for batch in dev_batches(self.prepared.dev, batch_tokens=2_000, most=DEV_LOSS_PAIRS):
                loss = batch_loss(model, batch, device)
                total, tokens = total + loss.cross_entropy, tokens + loss.tokens
        before = time.monotonic()
        metric = self.recipe.metric
        value = -total / tokens
        if metric != "loss":
            value = decode(TorchStepper(model), self.prepared, self.part, GREEDY, metric).primary_value
        return DevScore(total / tokens, value, time.monotonic() - before, len(self.part.sources))

    def expected_seconds(self, model: Seq2Seq) -> float:
        """How long an evaluation takes, from one batch of each kind; outputs are held to the length of real targets."""
        device = model.decoder.embedding.weight.device
        begun = time.monotonic()
        with torch.inference_mode():
            loss = batch_loss(model, next(dev_batches(self.prepared.dev, batch_tokens=2_000, most=64)), device)
        pairs = min(DEV_LOSS_PAIRS, len(self.prepared.dev))
        tokens = pairs * (float(np.mean(self.prepared.dev.target_lengths)) + 1)
        seconds = (time.monotonic() - begun) * tokens / loss.tokens
        metric = self.recipe.metric
        if metric == "loss":
            return seconds
        decode(
            TorchStepper(model), self.prepared, self.part.first(1), GREEDY.model_copy(update={"max_length": 1}), metric
        )
        some = self.part.first(_at_once(device))  # by now everything is imported and warm
        longest = max(1, round(float(np.mean(self.prepared.dev.target_lengths)) * 1.5))
        begun = time.monotonic()
        decode(TorchStepper(model), self.prepared, some, GREEDY.model_copy(update={"max_length": longest}), metric)
        return seconds + (time.monotonic() - begun) * len(self.part.sources) / len(some.sources)


def _at_once(device: torch.device) -> int:
    """How many sources are decoded together."""
    return GPU_DECODES_AT_ONCE if device.type == "cuda" else DECODED_AT_ONCE


def decode(stepper: TorchStepper, prepared: Prepared, part: Part, options: SearchOptions, metric: str) -> Scores:
    """Decode a part and score it, `metric` leading; with greedy search, for the curves, by that metric alone."""
    encoded = prepared.source_tokenizer.encode_batch(part.sources)
    outputs = [""] * len(encoded)
    order = sorted(range(len(encoded)), key=lambda index: -len(encoded[index]))
    order = [index for index in order if encoded[index]]
    at_once = _at_once(stepper.device)
    for start in range(0, len(order), at_once):
        batch = order[start : start + at_once]
        found = search(stepper, [encoded[index] for index in batch], options=options)
        for index, hypotheses in zip(batch, found, strict=True):
            outputs[index] = prepared.target_tokenizer.decode(list(hypotheses[0].ids))
    primary: Any = None if metric == "loss" else metric
    writing: Any = prepared.writing
    metrics: Any = [primary]
    if options.beam_size > 1:
        metrics = fitting(["bleu", "chrf", "exact_match", "cer", "wer"], writing)
    references = [list(dict.fromkeys(texts)) for texts in part.references]  # rows may repeat
    return score(outputs, references, writing=writing, primary=primary, metrics=metrics)
