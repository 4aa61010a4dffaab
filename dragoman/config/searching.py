"""How a trained model's outputs are found and chosen, alone or with the help of other models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator

from dragoman.config.base import Options, option
from dragoman.errors import OptionError


class CompanionOptions(Options):
    """Other models that help a model to choose."""

    ensemble: Annotated[
        tuple[str, ...],
        option(
            "Choosing",
            description="Another model that decides with it: at every token, or among whole outputs if its vocabularies differ. Repeat it for more.",
        ),
    ] = ()
    reverse: Annotated[
        str | None,
        option(
            "Choosing",
            description="Model from target to source; outputs from which it recovers the source well rank higher.",
            min_length=1,
        ),
    ] = None


class EnsembleOptions(Options):
    """Other models that score with a model."""

    ensemble: Annotated[
        tuple[str, ...],
        option(
            "Choosing",
            description="Another model with the same vocabularies: the probabilities of all are averaged at every token. Repeat it for more.",
        ),
    ] = ()


_METHODS_OF = {
    "temperature": ("sample", "stochastic_beam"),
    "top_k": ("sample",),
    "top_p": ("sample",),
    "min_p": ("sample",),
    "beam_groups": ("beam",),
    "stopping": ("beam",),
    "max_expansions": ("best_first",),
    "beam_size": ("beam", "stochastic_beam", "best_first"),
    "seed": ("sample", "stochastic_beam"),
}
"""Options of search that only some methods have a use for."""
_SAMPLES = 32
"""Samples that are drawn when something chooses among them."""


class SearchOptions(Options):
    """How an output is chosen."""

    method: Annotated[
        Literal["beam", "sample", "stochastic_beam", "best_first"],
        option(
            "Search",
            description="How outputs are found: beam search, random samples, samples without replacement (stochastic_beam), or the proven best (best_first; slow).",
        ),
    ] = "beam"
    beam_size: Annotated[
        int, option("Search", description="Candidates kept at every step; 1 is greedy search.", ge=1, le=1000)
    ] = 5
    num_hypotheses: Annotated[int, option("Search", description="Outputs per input, best first.", ge=1, le=1000)] = 1
    max_length: Annotated[
        int | None,
        option(
            "Search",
            description="Maximum tokens of an output, its end (</s>) included. Default: 3 x source + 50, or twice the minimum if that is more.",
            ge=1,
            le=100_000,
        ),
    ] = None
    max_length_ratio: Annotated[
        float | None,
        option(
            "Search", description="Maximum tokens of an output, as a multiple of the source's tokens.", gt=0, le=1000
        ),
    ] = None
    min_length: Annotated[
        int, option("Search", description="Minimum tokens of an output, its end (</s>) included.", ge=0, le=100_000)
    ] = 0
    min_length_ratio: Annotated[
        float,
        option(
            "Search", description="Minimum tokens of an output, as a multiple of the source's tokens.", ge=0, le=1000
        ),
    ] = 0.0
    length_penalty: Annotated[
        float,
        option(
            "Search",
            description="Exponent a of the length normalisation: score / length^a. 0 ranks by the plain score, 1 by the mean per token.",
            ge=0,
            le=10,
        ),
    ] = 1.0
    length_norm: Annotated[
        Literal["power", "gnmt"],
        option("Search", description="What scores are divided by: length^a (power) or ((5 + length) / 6)^a (gnmt)."),
    ] = "power"
    coverage_penalty: Annotated[
        float,
        option(
            "Search",
            description="Weight of GNMT's coverage term, which ranks outputs lower that leave source tokens without attention; 0.2 is usual.",
            ge=0,
            le=100,
        ),
    ] = 0.0
    stopping: Annotated[
        Literal["full", "first", "exact"],
        option(
            "Search",
            description="When beam search ends: every place of the beam has finished (full), `num_hypotheses` have (first), or no unfinished output can win any more (exact; slow).",
        ),
    ] = "full"
    max_expansions: Annotated[
        int,
        option(
            "Search",
            description="Model steps per source after which best_first gives up and returns the best so far.",
            ge=1,
        ),
    ] = 2000
    temperature: Annotated[
        float,
        option(
            "Sampling",
            description="Below 1, sampling prefers probable tokens; above 1, it evens them out.",
            ge=0.001,
            le=100,
        ),
    ] = 1.0
    top_k: Annotated[
        int | None,
        option("Sampling", description="Sample from this many most probable tokens only. Default: from all.", ge=1),
    ] = None
    top_p: Annotated[
        float | None,
        option(
            "Sampling",
            description="Sample from the fewest tokens that together have this probability. Default: from all.",
            gt=0,
            le=1,
        ),
    ] = None
    min_p: Annotated[
        float | None,
        option(
            "Sampling",
            description="Sample from tokens that have at least this share of the best token's probability. Default: from all.",
            ge=0,
            le=1,
        ),
    ] = None
    seed: Annotated[int, option("Sampling", description="Seed of the random draws.", ge=0, lt=2**31)] = 1
    shortlist: Annotated[
        bool,
        option(
            "Search",
            description="Choose only among words that usually translate the source's, which is faster; needs `dragoman shortlist` first, and onnx.",
        ),
    ] = False
    beam_groups: Annotated[
        int,
        option(
            "Search",
            description="Groups that the beam is split into, for different candidates: each avoids what earlier groups chose.",
            ge=1,
        ),
    ] = 1
    diversity_penalty: Annotated[
        float | None,
        option(
            "Search",
            description="What a token's log-probability loses for each earlier group that chose it at the same step. Default: 0.5.",
            gt=0,
            le=100,
        ),
    ] = None

    allow_unknown: Annotated[bool, option("Constraints", description="Whether <unk> may be chosen.")] = True
    prefix: Annotated[str | None, option("Constraints", description="Text that every output must begin with.")] = None
    require: Annotated[
        tuple[str, ...],
        option("Constraints", description="Word or phrase that every output must contain; repeat it for several."),
    ] = ()
    forbid: Annotated[
        tuple[str, ...],
        option("Constraints", description="Word or phrase that no output may contain; repeat it for several."),
    ] = ()
    choices: Annotated[
        str | None, option("Constraints", description="File with the allowed outputs, one per line.", min_length=1)
    ] = None
    match: Annotated[
        str | None,
        option("Constraints", description="Regular expression that every output must match as a whole.", min_length=1),
    ] = None
    no_repeat_ngram: Annotated[
        int,
        option(
            "Constraints",
            description="Length of token sequences that may not occur twice in an output; 0 sets no limit.",
            ge=0,
            le=100,
        ),
    ] = 0
    repetition_penalty: Annotated[
        float,
        option(
            "Constraints",
            description="What a token's log-probability loses if the output already contains the token.",
            ge=0,
            le=100,
        ),
    ] = 0.0

    rerank: Annotated[
        Literal["mbr"] | None,
        option(
            "Choosing",
            description="Reorder the candidates: mbr (minimum Bayes risk) puts the one first that is most like all the others.",
        ),
    ] = None
    utility: Annotated[
        Literal["chrf", "bleu", "edit"] | None,
        option("Choosing", description="Similarity that `rerank` mbr uses. Default: chrf."),
    ] = None
    num_candidates: Annotated[
        int | None,
        option(
            "Choosing",
            description="Outputs to find for `rerank` or `reverse` to choose from. Default: the beam size, or 32 samples.",
            ge=1,
            le=1000,
        ),
    ] = None
    reverse_weight: Annotated[
        float | None,
        option(
            "Choosing",
            description="Weight of the reverse model's score, beside 1 for the model's own. Default with `reverse`: 0.5.",
            ge=0,
            le=100,
        ),
    ] = None
    min_confidence: Annotated[
        float | None,
        option(
            "Choosing",
            description="Give an empty line instead of an output with less confidence (0 to 1); needs `dragoman calibrate` first.",
            ge=0,
            le=1,
        ),
    ] = None

    replace_unknown: Annotated[
        bool,
        option(
            "Choosing",
            description="Replace each <unk> by the source word with the most attention; needs a model with attention.",
        ),
    ] = False
    phrase_table: Annotated[
        str | None,
        option(
            "Choosing",
            description="File of source words and their replacements for <unk>, separated by TAB; other words are copied. Implies `replace_unknown`.",
            min_length=1,
        ),
    ] = None

    @property
    def draws(self) -> bool:
        """Whether outputs hang on `seed`."""
        return self.method in _METHODS_OF["seed"]

    def pool(self) -> int:
        """How many outputs are found when `rerank` or a reverse model chooses among them."""
        if self.num_candidates is not None:
            return self.num_candidates
        return max(self.num_hypotheses, _SAMPLES if self.method == "sample" else self.beam_size)

    @model_validator(mode="after")
    def _agree(self) -> SearchOptions:
        """Find options that contradict each other."""
        for name, methods in _METHODS_OF.items():
            if self.method not in methods and getattr(self, name) != SearchOptions.model_fields[name].default:
                raise OptionError(f"`{name}` needs `method` {' or '.join(methods)}, but it is {self.method}")
        if self.require and self.method not in ("beam", "best_first"):
            raise OptionError(f"`require` needs `method` beam or best_first, but it is {self.method}")
        if self.num_hypotheses > self.beam_size and self.method in ("beam", "stochastic_beam"):
            raise OptionError(
                f"`num_hypotheses` must be at most `beam_size` ({self.beam_size}), but is {self.num_hypotheses}"
            )
        if self.beam_size % self.beam_groups:
            raise OptionError(
                f"`beam_groups` must divide `beam_size` ({self.beam_size}) evenly, but is {self.beam_groups}"
            )
        if self.diversity_penalty is not None and self.beam_groups == 1:
            raise OptionError("`diversity_penalty` needs `beam_groups` of at least 2, but there is one group")
        if self.beam_groups > 1 and self.require:
            raise OptionError("`require` must not be given with several `beam_groups`")
        if (self.replace_unknown or self.phrase_table) and not self.allow_unknown:
            name = "replace_unknown" if self.replace_unknown else "phrase_table"
            raise OptionError(f"`{name}` needs `allow_unknown`: without <unk> there is nothing to replace")
        if self.utility and self.rerank != "mbr":
            raise OptionError("`utility` needs `rerank` mbr, but it is not given")
        if self.rerank and self.reverse_weight is not None:
            raise OptionError("`rerank` must not be given with `reverse_weight`: both put the outputs in order")
        if self.num_candidates is not None and self.num_hypotheses > self.num_candidates:
            raise OptionError(
                f"`num_hypotheses` must be at most `num_candidates` ({self.num_candidates}), but is {self.num_hypotheses}"
            )
        if (self.num_candidates or 0) > self.beam_size and self.method in ("beam", "stochastic_beam"):
            raise OptionError(
                f"`num_candidates` must be at most `beam_size` ({self.beam_size}), but is {self.num_candidates}"
            )
        if self.shortlist and self.match:
            raise OptionError(
                "`match` must not be given with `shortlist`: a pattern may need any word of the vocabulary"
            )
        if self.shortlist and self.min_confidence is not None:
            raise OptionError(
                "`min_confidence` must not be given with `shortlist`: it was fitted to the whole vocabulary"
            )
        if self.choices and self.match:
            raise OptionError("`choices` must not be given with `match`: both say what whole outputs may be")
        if self.max_length is not None and self.min_length > self.max_length:
            raise OptionError(
                f"`min_length` must be at most `max_length` ({self.max_length}), but is {self.min_length}"
            )
        if self.max_length_ratio is not None and self.min_length_ratio > self.max_length_ratio:
            raise OptionError(
                f"`min_length_ratio` must be at most `max_length_ratio` ({self.max_length_ratio:g}), "
                f"but is {self.min_length_ratio:g}"
            )
        return self
