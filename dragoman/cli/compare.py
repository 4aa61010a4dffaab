"""`dragoman compare`: is one model better than another, or was it luck?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dragoman.cli.arguments import AsJson, ModelPath
from dragoman.cli.flags import flags_of_models
from dragoman.cli.output import notice, show_messages, table
from dragoman.cli.pairs import TestPairs, read_items, read_outputs, warn_of_seen, warn_of_sources
from dragoman.cli.progress import counting
from dragoman.config import MachineOptions, ReadOptions, SearchOptions
from dragoman.errors import OptionError, counted

if TYPE_CHECKING:
    from dragoman.evaluation.significance import Comparison
    from dragoman.translator import Translator


@flags_of_models
def compare(
    baseline: ModelPath,
    system: Annotated[
        str,
        Parameter(
            help="Another model, or a file of sources and outputs: what `dragoman evaluate --output` wrote, or pairs of any other system."
        ),
    ],
    /,
    *pairs: TestPairs,
    resamples: Annotated[int, Parameter(help="Test sets that the paired bootstrap draws. Default: 1000.")] = 1000,
    as_json: AsJson = False,
    reading: ReadOptions,
    search: SearchOptions,
    machine: MachineOptions,
) -> None:
    """Test whether one model is significantly better than another.

    Both translate the same sources with the same search; outputs of another search or system come from a file. A paired
    bootstrap then draws new test sets from this one, and counts in how many of them the difference holds. A difference is
    called significant if p is below 0.05, the 95 % interval excludes 0, and at least six outputs are scored differently. PAIRS
    is read as the training data of BASELINE was, unless an option says otherwise.
    """
    show_messages()
    if resamples < 1:
        raise OptionError(f"`resamples` must be at least 1, but is {resamples}")
    from dragoman import load
    from dragoman.bundle import is_bundle
    from dragoman.evaluation.significance import compare as compare_outputs

    model = load(baseline, device=machine.device, threads=machine.threads)
    writing = model.config["writing"]
    from_file = Path(system).is_file() and not is_bundle(Path(system))
    other = None if from_file else load(system, device=machine.device, threads=machine.threads)
    if other is not None and other.config["writing"] != writing:
        raise OptionError(f"the models' targets must be written alike, but are {writing} and {other.config['writing']}")
    if other is not None and other.source_columns != model.source_columns:
        raise OptionError(
            f"the models must read as many source columns, but they read {model.source_columns} and {other.source_columns}"
        )
    for each in filter(None, (model, other)):
        each.job(search)  # what one of the models cannot do is an error before the other has done it
    sources, references = read_items(model, pairs, reading, name=baseline)
    if other is not None:
        warn_of_seen(other, sources, name=system)
    others = read_outputs(model, system, sources) if other is None else []
    outputs = _translated(baseline, model, sources, search)
    if other is not None:
        others = _translated(system, other, sources, search)
    leading = model.leading_metric
    metrics = None if leading is None else list(dict.fromkeys((leading, "chrf")))
    with counting("comparing", total=None, unit=""):
        found = compare_outputs(outputs, others, references, writing=writing, metrics=metrics, resamples=resamples)
    if as_json:
        facts = {"baseline": baseline, "system": system, "items": len(sources), "search": search.model_dump()}
        print(json.dumps(facts | {"comparisons": [each.as_dict() for each in found]}, ensure_ascii=False))
        return
    print(f"{counted(len(sources), 'source')}, {resamples:,} resamples: A is {baseline}, B is {system}")
    header = ("metric", "A", "B", "B - A", "95 % interval", "p", "")
    print(table([_row(each) for each in found], header=header, right=range(1, 6)))


def _translated(name: str, model: Translator, sources: list[str], search: SearchOptions) -> list[str]:
    notice(f"translating with {name}")
    with counting("translating", total=len(sources)) as count:
        translations = list(model.translate_many(sources, options=search, listener=count))
    warn_of_sources(translations)
    return [translation.text for translation in translations]


def _row(each: Comparison) -> tuple[str, ...]:
    verdict = "no significant difference"
    if each.significant:
        verdict = "B is better" if each.better else "A is better"
    return (
        each.metric,
        f"{each.baseline:.2f}",
        f"{each.system:.2f}",
        f"{each.difference:+.2f}",
        f"{each.low:+.2f} to {each.high:+.2f}",
        f"{each.p_value:.3f}",
        verdict,
    )
