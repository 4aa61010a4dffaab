"""`dragoman export`: a trained model as ONNX graphs, so that it translates without PyTorch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from dragoman.cli.arguments import AsJson, ModelPath
from dragoman.cli.flags import flags_of_models
from dragoman.cli.output import show_messages
from dragoman.config import ThreadOptions


@flags_of_models
def export(
    model: ModelPath,
    /,
    *,
    precision: Annotated[
        Literal["auto", "float32", "int8", "float16"],
        Parameter(help="Number format of the graphs; auto makes float32 and int8."),
    ] = "auto",
    bundle: Annotated[
        Path | None,
        Parameter(help="Also write all that translating needs into this one file, with graphs of one precision."),
    ] = None,
    as_json: AsJson = False,
    machine: ThreadOptions,
) -> None:
    """Write a model's ONNX graphs, with which it translates without PyTorch.

    Training already ends with this step. Repeat it if the weights have changed since, or for a model of an earlier version.
    The graphs are kept only if they agree with PyTorch, which is tested on sentences of the development data. The commands
    that translate take the file that --bundle writes in place of a model directory.
    """
    show_messages()
    from dragoman.making import export as export_model
    from dragoman.places import locate

    path = locate(model)
    found = export_model(path, precision=precision, bundle=bundle, threads=machine.threads)
    if as_json:
        facts = {name: asdict(parity) for name, parity in found.items()}
        print(json.dumps({"model": str(path), "bundle": bundle and str(bundle), "precisions": facts}))
        return
    for name, parity in found.items():
        print(f"{path / 'onnx'}, {name}: {parity}")
    if bundle is not None:
        print(f"{bundle}: {bundle.stat().st_size / 1e6:.1f} MB")
