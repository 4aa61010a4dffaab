"""`dragoman evaluate`: how well a model does on a file of pairs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dragoman.cli.arguments import AsJson, ModelPath
from dragoman.cli.flags import flags_of_models
from dragoman.cli.inputs import check_output, files_of
from dragoman.cli.opening import open_model
from dragoman.cli.output import as_line, show_messages, table, warn, written
from dragoman.cli.pairs import TestPairs, read_rows, warn_of_sources
from dragoman.cli.progress import counting
from dragoman.config import CompanionOptions, EngineOptions, ReadOptions, SearchOptions
from dragoman.errors import counted

if TYPE_CHECKING:
    from dragoman.evaluation.breakdown import Part, Sentence, WordPart
    from dragoman.evaluation.metrics import Scores
    from dragoman.evaluation.perplexity import Perplexity
    from dragoman.translator import ScoredPair, Translation, Translator

_SCORED_AT_ONCE = 2_000
"""Pairs whose attention is held at a time."""
_LONGEST_IN_TABLE = 200
"""Characters of a text that a table shows: all its rows are as wide as the longest."""


@flags_of_models
def evaluate(
    model: ModelPath,
    /,
    *pairs: TestPairs,
    output: Annotated[
        Path | None,
        Parameter(
            help="Also write every source and its output to this file, as JSON lines, which `dragoman compare` can read."
        ),
    ] = None,
    as_json: AsJson = False,
    details: Annotated[
        bool,
        Parameter(
            help="Also show the perplexity of the references, scores by length and for sources seen or not seen in training, how "
            "well rare and common words come out, and the worst sentences.",
            negative=(),
        ),
    ] = False,
    reading: ReadOptions,
    search: SearchOptions,
    others: CompanionOptions,
    machine: EngineOptions,
) -> None:
    """Score a model on a file of pairs.

    Rows with the same source are one item with several right answers, and any of them counts as right. If rows repeat, the
    exact match of rows is shown too: it counts every row, and only the row's own target is right. With --num-hypotheses N there
    is also the share of sources that have a right one among N outputs. PAIRS is read as the training data was, unless an option
    says otherwise.
    """
    show_messages()
    check_output(output, [*pairs, *files_of(search).values()])
    translator = open_model(model, machine, others)
    sources, references, counts = read_rows(translator, pairs, reading)
    with nullcontext() if output is None else written(output) as file:
        with counting("translating", total=len(sources)) as listener:
            scores, translations = translator.evaluate(sources, references, options=search, listener=listener)
        if file is not None:
            for translation in translations:
                line = {"source": translation.source, "target": translation.text}
                file.write(f"{json.dumps(line, ensure_ascii=False)}\n")
    warn_of_sources(translations)
    of_rows = _by_rows(translations, references, counts)
    of_several = _by_candidates(translations, references) if search.num_hypotheses > 1 else None
    count = sum(map(sum, counts))
    surprise = _perplexity(translator, sources, references) if details else None
    runs = {"engine": translator.engine, "precision": translator.precision}
    facts: dict[str, Any] = {"model": model, **runs, "search": search.model_dump(), **scores.as_dict()}
    facts |= {"rows": count, "exact_match_of_rows": of_rows, "exact_match_of_several": of_several}
    parts, worst, seen = _details(translator, translations, references, scores) if details else ({}, [], None)
    unseen = [place for place, known in enumerate(seen or []) if not known]
    new_rows = _by_rows(translations, references, counts, unseen) if unseen else None
    words = _words(translator, translations, references) if details else []
    if as_json:
        if details:
            facts["perplexity"] = None if surprise is None else surprise.as_dict()
            facts["details"] = {name: [part.as_dict() for part in found] for name, found in parts.items()}
            facts["details"]["by_word"] = [part.as_dict() for part in words]
            facts["details"]["exact_match_of_unseen_rows"] = new_rows
            facts["details"]["worst"] = [sentence.as_dict() for sentence in worst]
        print(json.dumps(facts, ensure_ascii=False))
        return
    print(
        f"{counted(scores.items, 'source')}, {counted(scores.references, 'reference')}, {search_in_words(search)}, "
        f"{translator.engine} {translator.precision}"
    )
    rows = scores.rows()
    if of_several is not None:
        best = search.num_hypotheses
        rows.append((f"exact match in {best}", f"{of_several:.2f}", f"sources with a right one among {best} outputs"))
    if count > scores.references:
        rows.append(("exact match of rows", f"{of_rows:.2f}", f"{counted(count, 'row')}, each against its own target"))
    if count > scores.references and new_rows is not None:
        new = sum(sum(counts[place]) for place in unseen)
        rows.append(
            ("exact match of unseen rows", f"{new_rows:.2f}", f"{counted(new, 'row')} whose source is not in training")
        )
    if surprise is not None:
        rows.append(("perplexity per token", f"{surprise.per_token:.2f}", "fed the references"))
        rows.append(("perplexity per character", f"{surprise.per_character:.3f}", "fed the references"))
    print(table(rows, header=("metric", "score", "signature"), right=(1,)))
    for name, found in parts.items():
        print(f"\n{_in_table(name.replace('_', ' '), found)}")
    if words:
        print(f"\n{_words_in_table(words)}")
    if worst:
        print(f"\n{_worst_in_table(worst)}")


def _perplexity(translator: Translator, sources: list[str], references: list[list[str]]) -> Perplexity | None:
    from dragoman.translation.batches import windows
    from dragoman.translation.scoring import perplexity_of

    if not translator.scores_pairs:
        warn("there is no perplexity: models of different vocabularies have no score for a pair together")
        return None
    rows = [(source, text) for source, texts in zip(sources, references, strict=True) for text in texts]
    parts = (rows[start : start + _SCORED_AT_ONCE] for start in range(0, len(rows), _SCORED_AT_ONCE))
    # Of long texts fewer: the attention of each is as large as the product of its lengths.
    bounded = chain.from_iterable(windows(part, size=lambda row: sum(map(len, row))) for part in parts)
    unknown = 0

    def scored(count: Callable[[int], None]) -> Iterator[ScoredPair]:
        nonlocal unknown
        for part in bounded:
            found = translator.score([source for source, _ in part], [text for _, text in part])
            unknown += sum(bool(pair.token_scores and pair.warning) for pair in found)
            yield from found
            count(len(part))

    with counting("scoring the references", total=len(rows), unit="reference") as count:
        found = perplexity_of(scored(count))
    if unknown:
        warn(
            f"{counted(unknown, 'reference')} of {len(rows):,} cannot be spelled: for the perplexity what is unknown is <unk>, which is "
            "more probable than the word, so it must not be compared with that of another vocabulary"
        )
    return found


def _by_rows(
    translations: list[Translation],
    references: list[list[str]],
    counts: list[list[int]],
    which: Iterable[int] | None = None,
) -> float:
    """The exact match of the rows of all sources, or of some."""
    from dragoman.evaluation.metrics import exact_match_of_rows

    chosen = list(range(len(translations)) if which is None else which)
    return exact_match_of_rows(
        [translations[i].text for i in chosen], [references[i] for i in chosen], [counts[i] for i in chosen]
    )


def _by_candidates(translations: list[Translation], references: list[list[str]]) -> float:
    """The exact match of the best outputs together."""
    from dragoman.evaluation.metrics import exact_match_of_several

    return exact_match_of_several([[each.text for each in one.candidates] for one in translations], references)


def _details(
    translator: Translator, translations: list[Translation], references: list[list[str]], scores: Scores
) -> tuple[dict[str, list[Part]], list[Sentence], list[bool] | None]:
    """Scores of parts of the test set, its worst sentences, and which sources were trained on, if that is known."""
    from dragoman.evaluation.breakdown import by_length, by_seen, worst_sentences
    from dragoman.training.seen import seen_in_training

    # The metrics of the whole: TER may have been left out of it.
    how: Any = {"writing": scores.writing, "primary": scores.primary, "metrics": scores.names()}
    outputs = [translation.text for translation in translations]
    ids = translator.source_tokenizer.encode_batch([translation.source for translation in translations])
    lengths = [len(row) for row in ids]
    parts = {"by_length": by_length(lengths, outputs, references, **how)}
    seen = seen_in_training(translator.directory, ids)
    if seen is not None:
        parts["by_source"] = by_seen(seen, outputs, references, **how)
    sources = [translation.source for translation in translations]
    worst = worst_sentences(sources, outputs, references, writing=scores.writing)
    return parts, worst, seen


def _words(translator: Translator, translations: list[Translation], references: list[list[str]]) -> list[WordPart]:
    """How well words of each frequency in training come out; nothing if the training data is not there any more."""
    from dragoman.evaluation.breakdown import by_word_frequency
    from dragoman.training.seen import words_in_training

    writing = translator.config["writing"]
    with counting("counting the words of training", total=None, unit="target") as count:
        known = words_in_training(translator.directory, translator.target_tokenizer, writing=writing, listener=count)
    if known is None:
        return []
    return by_word_frequency(known, [each.text for each in translations], references, writing=writing)


def _words_in_table(parts: list[WordPart]) -> str:
    rows = [
        (
            part.label,
            f"{part.words:,}",
            *("-" if share is None else f"{share:.2f}" for share in (part.f1, part.recall, part.precision)),
        )
        for part in parts
    ]
    header = ("by word", "words", "F1", "recall", "precision")
    return table(rows, header=header, right=range(1, len(header)))


def _in_table(title: str, parts: list[Part]) -> str:
    names = parts[0].scores.names()[:4]
    header = (title, "sources", *(parts[0].scores.label(name) for name in names))
    rows = [
        (part.label, f"{part.scores.items:,}", *(f"{part.scores.value(name):.2f}" for name in names)) for part in parts
    ]
    return table(rows, header=header, right=range(1, len(header)))


def _start(text: str) -> str:
    text = as_line(text)
    return text if len(text) <= _LONGEST_IN_TABLE else f"{text[: _LONGEST_IN_TABLE - 1]}…"


def _worst_in_table(sentences: list[Sentence]) -> str:
    rows = [(f"{s.score:.1f}", *map(_start, (s.source, s.hypothesis, " | ".join(s.references)))) for s in sentences]
    label = "chrF" if sentences[0].metric == "chrf" else "errors"
    return table(rows, header=(f"worst by {label}", "source", "output", "right"), right=(0,))


def search_in_words(search: SearchOptions) -> str:
    """How outputs were chosen, in a few words."""
    words = search.method.replace("_", "-")
    if search.method == "beam":
        words = "greedy search" if search.beam_size == 1 else f"beam {search.beam_size}"
    return f"{words} with a shortlist" if search.shortlist else words
