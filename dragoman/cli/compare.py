"""`dragoman compare`: is one model better than another, or was it luck?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dragoman.cli.arguments import AsJson, ModelPath
from dragoman.cli.flags import flags_of_models
from dragoman.cli.output import notice, show_messages, table
from dragoman.cli.pairs import TestPairs, read_items
from dragoman.config import MachineOptions, ReadOptions, SearchOptions
from dragoman.errors import OptionError

if TYPE_CHECKING:
    from dragoman.evaluation.significance import Comparison


@flags_of_models
def compare(
    baseline: ModelPath,
    system: ModelPath,
    /,
    *pairs: TestPairs,
    resamples: Annotated[int, Parameter(help="Test sets drawn anew. Default: 1000.")] = 1000,
    as_json: AsJson = False,
    reading: ReadOptions,
    search: SearchOptions,
    machine: MachineOptions,
) -> None:
    """Say whether one model is better than another, or whether it was luck.

    Both translate the same sources with the same search, and a paired bootstrap tells how often the difference stands when
    the test set is drawn anew. A difference is called significant if p is below 0.05 and the 95 % interval leaves out 0.
    The file is read as the training data of the first model was.
    """
    show_messages()
    if resamples < 1:
        raise OptionError(f"`resamples` must be at least 1, but is {resamples}")
    from dragoman import load
    from dragoman.evaluation.significance import compare as compare_outputs

    models = [load(name, device=machine.device, threads=machine.threads) for name in (baseline, system)]
    kinds = [model.config["writing"] for model in models]
    if kinds[0] != kinds[1]:
        raise OptionError(f"the models' targets must be written alike, but are {kinds[0]} and {kinds[1]}")
    sources, references = read_items(models[0], pairs, reading)
    outputs = []
    for name, model in zip((baseline, system), models, strict=True):
        notice(f"translating with {name}")
        outputs.append([translation.text for translation in model.translate(sources, options=search)])
    found = compare_outputs(outputs[0], outputs[1], references, writing=kinds[0], resamples=resamples)
    if as_json:
        facts = {"baseline": baseline, "system": system, "items": len(sources), "search": search.model_dump()}
        print(json.dumps(facts | {"comparisons": [each.as_dict() for each in found]}, ensure_ascii=False))
        return
    print(f"{len(sources):,} sources, {resamples:,} resamples: A is {baseline}, B is {system}")
    header = ("metric", "A", "B", "B - A", "95 % interval", "p", "")
    print(table([_row(each) for each in found], header=header, right=range(1, 6)))


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
