"""`dragoman export`: a trained model as ONNX graphs, so that it translates without PyTorch."""

from __future__ import annotations

import json
from dataclasses import asdict

from dragoman.cli.arguments import AsJson, ModelPath
from dragoman.cli.flags import flags_of_models
from dragoman.cli.output import show_messages
from dragoman.config import ThreadOptions


@flags_of_models
def export(model: ModelPath, /, *, as_json: AsJson = False, machine: ThreadOptions) -> None:
    """Write a model's ONNX graphs into its directory, so that it translates without PyTorch.

    Training ends with this. Do it again if the weights were changed since, or for a model of an earlier version. The graphs
    are kept only if they give what PyTorch gives, which is checked on sentences of the development data.
    """
    show_messages()
    from dragoman.storage import locate
    from dragoman.translator import export as export_model

    path = locate(model)
    parity = export_model(path, threads=machine.threads)
    if as_json:
        print(json.dumps({"model": str(path), **asdict(parity)}))
    else:
        print(f"{path / 'onnx'}: {parity}")
