"""From a model directory to something that runs: which engine, and the engine itself; knows no text."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from dragoman.config import on_processor
from dragoman.errors import OptionError, needs_extra
from dragoman.storage import CONFIG, PRECISIONS, WEIGHTS, ModelDirectory

if TYPE_CHECKING:
    from dragoman.model.seq2seq import Seq2Seq

_log = logging.getLogger("dragoman")


def choose_engine(directory: ModelDirectory, engine: str, *, device: str, precision: str) -> str:
    """Onnx or torch; `auto` is onnx if the model has graphs of these weights and ONNX Runtime can compute on `device`."""
    if engine not in ("auto", "onnx", "torch"):
        raise OptionError(f'`engine` must be auto, onnx or torch, but is "{engine}"')
    check_precision(precision)
    if precision != "auto":
        if engine == "torch":
            raise OptionError("`precision` needs `engine` onnx, but torch is given")
        if precision == "int8" and not on_processor(device):
            raise OptionError(f'`precision` int8 computes on the cpu, but `device` is "{device}"')
        return "onnx"
    if engine != "auto":
        return engine
    if directory.is_bundle:
        if not _onnx_computes_on(device):
            directory.require_folder("another device")
        return "onnx"
    if not directory.has_graphs or not _onnx_computes_on(device):
        return "torch"
    if directory.graphs_are_stale:
        _log.warning(
            "the ONNX graphs are of other weights or an older dragoman, so PyTorch runs the model; %s",
            directory.renewal,
        )
        return "torch"
    return "onnx"


def _onnx_computes_on(device: str) -> bool:
    """Whether ONNX Runtime can compute on a device."""
    if on_processor(device):
        return True
    from dragoman.runtime.engine import gpu_number

    try:
        return gpu_number(device) is not None
    except OptionError:
        return False


def check_precision(precision: str) -> None:
    """Raise `OptionError` unless it is one that graphs may have."""
    if precision not in ("auto", *PRECISIONS):
        raise OptionError(f'`precision` must be auto, {", ".join(PRECISIONS)}, but is "{precision}"')


def load_model(directory: ModelDirectory, *, device: str, threads: int | None) -> Seq2Seq:
    """The model in PyTorch, ready to run; a `StorageError` says if its configuration or weights cannot be used."""
    directory.require_folder("PyTorch")
    with needs_extra("running a model in PyTorch"):
        from dragoman.model.seq2seq import Seq2Seq
        from dragoman.training.checkpoint import check_weights, described, load_tensors, load_weights
        from dragoman.training.machine import apart, choose_device, use_threads
    architecture = directory.config["architecture"]
    weights, _ = load_tensors(directory.path / WEIGHTS)
    check_weights(described(architecture, directory.path / CONFIG), weights, directory.path / WEIGHTS)
    with apart():
        model = Seq2Seq(**architecture)
        load_weights(model, weights, directory.path / WEIGHTS)
    use_threads(threads)
    return model.to(choose_device(device)).eval()


def training_session() -> Any:
    """The module that trains, if its libraries are installed."""
    with needs_extra("training"):
        from dragoman.training import session
    return session
