"""`dragoman calibrate`: from scores to confidences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dragoman.cli.arguments import AsJson, ModelPath
from dragoman.cli.flags import flags_of_models
from dragoman.cli.output import show_messages
from dragoman.cli.pairs import TestPairs, read_items
from dragoman.cli.pictures import check_picture, write_picture
from dragoman.cli.progress import counting
from dragoman.config import MachineOptions, ReadOptions, SearchOptions


@flags_of_models
def calibrate(
    model: ModelPath,
    /,
    *pairs: TestPairs,
    svg: Annotated[
        Path | None, Parameter(help="Write the reliability diagram and the risk-coverage curve to this file.")
    ] = None,
    as_json: AsJson = False,
    reading: ReadOptions,
    search: SearchOptions,
    machine: MachineOptions,
) -> None:
    """Fit a model's confidence to how often it is right, on pairs that it was not trained on.

    The fit uses one half of the outputs, where right means an exact match, and is tested on the other half. It is kept in
    the model directory: `dragoman translate --json` then gives every output its confidence, and --min-confidence leaves out
    uncertain outputs.
    """
    show_messages()
    check_picture(svg)
    from dragoman import load

    translator = load(model, device=machine.device, threads=machine.threads)
    sources, references = read_items(translator, pairs, reading)
    with counting("translating", total=len(sources)) as count:
        found = translator.calibrate(sources, references, options=search, listener=count)
    if svg is not None:
        from dragoman.evaluation.plots import calibration_svg

        write_picture(svg, calibration_svg(found.reliability, found.coverage))
    if as_json:
        print(json.dumps({"model": model, **found.as_dict()}))
        return
    fitted, sign = found.calibrator, "-" if found.calibrator.c < 0 else "+"
    print(
        f"confidence = sigmoid({fitted.a:.3f} log p - {fitted.b:.3f} log(1 - p) {sign} {abs(fitted.c):.3f}) "
        f"of the probability p, fitted on half of {found.items:,} outputs, of which {found.right:,} are right"
    )
    print(
        f"expected calibration error on the half that was not fitted: {100 * found.error_before:.2f} % before, "
        f"{100 * found.error_after:.2f} % after"
    )
