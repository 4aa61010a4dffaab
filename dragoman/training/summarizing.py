"""What the recipe is chosen from: figures of the training data, and what trains on it. Chooses nothing itself."""

from __future__ import annotations

from random import Random

import numpy as np
import torch

from dragoman.corpus.augmentation import HASTY, decoded, some_pairs, unpunctuated, without_end
from dragoman.corpus.names import OtherNames
from dragoman.corpus.recombination import Recombination
from dragoman.corpus.tokenization import SPECIAL_TOKENS
from dragoman.corpus.tokenizer_choice import SAME_TEXT, same_text
from dragoman.training.machine import multiplies_bfloat16, processor_threads
from dragoman.training.preparation import Prepared
from dragoman.training.recipe import DataSummary

LENGTHS_SAMPLE = 20_000
"""Pairs whose lengths are compared at most."""
NAMES_SAMPLE = 5_000
"""Training pairs that tell whether both sides have names."""
LEAST_CARRIED = 0.1
"""Share of the sources' numbers that stand in their targets too, where they mean the same: 0.2 to 0.9 in translations."""
COMMANDS_SAMPLE = 50_000
"""Commands that are looked at to find whether they are made of other commands."""
RECOMBINED = 20_000
"""Pairs that are made of parts of other pairs, to find how many are right,"""
LEAST_MET = 20
"""and those at least of which that can be known."""
JOINED_AGREE = 0.97
"""Share of the commands that are two others in a row which mean both in a row, from which on others may be joined."""
TEXTS_SAMPLE = 500
"""Texts that are compared at most."""
MOST_SIGNS = 0.1
"""Share of punctuation inside of sources that are prose (at most 0.034 in eight data sets; 0.13 in Python, 0.35 in JSON)."""
MOST_WORDS = 300
"""Different words that the commands of a formal language have at most, special tokens included,"""
MOST_DOUBT = 0.05
"""Other targets for each source of such a language at most,"""
LETTERS = 3
"""and letters that such a word has at least, in the mean: letters and phones between spaces have fewer."""


def summarized(
    prepared: Prepared,
    device: torch.device,
    minutes: float | None,
    source_width: int | None,
    target_width: int | None,
) -> DataSummary:
    """What the recipe is chosen from."""
    commands = _are_commands(prepared)
    return DataSummary(
        pairs=len(prepared.train),
        kind="symbols" if prepared.kind == "symbols" else "text",
        unspaced=prepared.writing == "unspaced",
        shared_vocabulary=prepared.source_tokenizer.shares_vocabulary(prepared.target_tokenizer),
        target_tokens=float(np.mean(prepared.train.target_lengths)),
        target_words=float(np.mean([len(target.split()) for _, target in prepared.dev_part.pairs()])),
        longer_tokens=float(np.mean(np.maximum(prepared.train.source_lengths, prepared.train.target_lengths + 1))),
        lengths_agree=_lengths_agree(prepared),
        edited=same_text(list(prepared.dev_part.first(TEXTS_SAMPLE).pairs())) >= SAME_TEXT,
        polished=_polished(prepared),
        named=_named(prepared),
        copied_share=_copied_share(prepared),
        commands=commands,
        built_up=_built_up(prepared) if commands else 0.0,
        recombined=_recombined(prepared) if commands else 0.0,
        with_features="features" in prepared.source_tokenizer.methods,
        native_bfloat16=multiplies_bfloat16(device),
        processor_minutes=minutes * processor_threads() if minutes and device.type == "cpu" else None,
        on_gpu=device.type == "cuda",
        source_vector_size=source_width,
        target_vector_size=target_width,
    )


def _lengths_agree(prepared: Prepared) -> float:
    """The correlation of the logarithms of the sources' and the targets' tokens; 0 for all equal ones, or several columns."""
    if len(prepared.source_tokenizer.methods) > 1:
        return 0.0
    sample = np.unique(np.linspace(0, len(prepared.train) - 1, LENGTHS_SAMPLE).astype(np.int64))
    source, target = prepared.train.lengths(sample)
    if np.ptp(source) == 0 or np.ptp(target) == 0:  # their logarithms' deviation may be what was rounded off
        return 0.0
    return float(np.corrcoef(np.log(source), np.log(target))[0, 1])


def _polished(prepared: Prepared) -> float:
    """The share of the sources that have punctuation at their end, or a capital letter, as they are read.

    0 where signs are much of what sources say, as in code, JSON and Morse: nobody leaves them out in haste.
    """
    tokenizer = prepared.source_tokenizer
    if len(tokenizer.methods) > 1:
        return 0.0
    sources = prepared.dev_part.first(TEXTS_SAMPLE).sources
    inside, said = ("".join("".join(map(put, sources)).split()) for put in (without_end, unpunctuated))
    if len(said) <= (1 - MOST_SIGNS) * len(inside):
        return 0.0
    read = tokenizer.encode_batch(sources)
    typed = [tokenizer.encode_batch(list(map(hasty, sources))) for hasty in HASTY[:2]]
    return float(np.mean([any(ids != others[row] for others in typed) for row, ids in enumerate(read)]))


def _named(prepared: Prepared) -> float:
    """The share of the training pairs whose sides share names or numbers; numbers do not count where that is chance, as in other units."""
    if len(prepared.source_tokenizer.methods) > 1 or prepared.kind == "symbols":
        return 0.0
    sample = np.unique(np.linspace(0, len(prepared.train) - 1, NAMES_SAMPLE).astype(np.int64))
    sources = decoded(prepared.source_tokenizer, *prepared.train.sources(sample))
    targets = decoded(prepared.target_tokenizer, *prepared.train.targets(sample))
    names = OtherNames([*sources, *targets])
    said = [word for source in sources for word in names.shared(source, source) if word.isdecimal()]
    found = [names.shared(*pair) for pair in zip(sources, targets, strict=True)]
    if sum(word.isdecimal() for words in found for word in words) < LEAST_CARRIED * len(said):
        found = [[word for word in words if not word.isdecimal()] for words in found]
    return float(np.mean(list(map(bool, found))))


def _are_commands(prepared: Prepared) -> bool:
    """Whether sources are rows of few words, and not of letters or phones, and targets rows of few symbols, one for each source."""
    sides = prepared.source_tokenizer, prepared.target_tokenizer
    if any(side.methods != ("symbols",) or side.vocab_size > MOST_WORDS for side in sides):
        return False
    words = prepared.source_tokenizer.surfaces()[len(SPECIAL_TOKENS) :]
    if sum(map(len, words)) < LETTERS * len(words):
        return False
    pairs = {(tuple(source), tuple(target)) for source, target in some_pairs(prepared.train, COMMANDS_SAMPLE)}
    return len(pairs) <= (1 + MOST_DOUBT) * len({source for source, _ in pairs})


def _built_up(prepared: Prepared) -> float:
    """The share of sources that begin with another source whose target theirs begins or ends with, as `walk twice` with `walk`.

    0 if some sources that are two others in a row have other targets than both of theirs, as where words are put in reverse.
    """
    pairs = {tuple(source): target for source, target in some_pairs(prepared.train, COMMANDS_SAMPLE)}
    count, beginnings = 0, list[tuple[int, ...]]()
    joined = agreeing = 0
    for source in sorted(pairs):  # what begins with another one follows it
        while beginnings and source[: len(beginnings[-1])] != beginnings[-1]:
            beginnings.pop()
        whole = pairs[source]
        if beginnings:
            part = pairs[beginnings[-1]]
            count += part in (whole[: len(part)], whole[-len(part) :])
        for beginning in beginnings:
            if (rest := pairs.get(source[len(beginning) :])) is not None:
                joined += 1
                agreeing += whole == pairs[beginning] + rest
        beginnings.append(source)
    return count / len(pairs) if agreeing >= JOINED_AGREE * joined else 0.0


def _recombined(prepared: Prepared) -> float:
    """How many of the pairs that are made of parts of one half of the commands are right, of those whose source is in the other half."""
    random, found = Random(1), some_pairs(prepared.train, COMMANDS_SAMPLE)
    pairs = list({(tuple(source), tuple(target)): (source, target) for source, target in found}.values())
    random.shuffle(pairs)
    half = len(pairs) // 2
    met, right = Recombination(pairs[:half]).agreement(pairs[half:], RECOMBINED, random)
    return right / met if met >= LEAST_MET else 0.0


def _copied_share(prepared: Prepared) -> float:
    """The share of target tokens that stand in their source too, in at most 2,000 training pairs."""
    train, same = prepared.train, np.array(prepared.source_tokenizer.ids_in(prepared.target_tokenizer))
    rows = np.linspace(0, len(train) - 1, min(len(train), 2_000)).astype(np.int64).tolist()
    return float(np.mean(np.concatenate([np.isin(train.target(row), same[train.source(row)]) for row in rows])))
