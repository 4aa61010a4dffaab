"""Where and by what is computed: processors, devices, engines."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from dragoman.config.base import Options, option


def processors() -> int:
    """How many threads there are by default: as many as processors that this process may run on, which a cluster or `taskset` may bound."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # neither macOS nor Windows says
        return os.cpu_count() or 1


def on_processor(device: str) -> bool:
    """Whether ONNX Runtime computes on the processor: under `auto` too, which looks for a GPU only for PyTorch."""
    return device in ("auto", "cpu")


class ThreadOptions(Options):
    """How many processors are used."""

    threads: Annotated[
        int | None, option("Machine", description="Processor threads to use. Default: all.", ge=1, le=1024)
    ] = None


class MachineOptions(ThreadOptions):
    """Where the computing is done."""

    device: Annotated[
        str,
        option("Machine", description="Where to compute: cpu, cuda, cuda:1 or mps; auto takes a GPU if there is one."),
    ] = "auto"


class EngineOptions(MachineOptions):
    """Where and by what a trained model is run."""

    device: Annotated[
        str,
        option(
            "Machine",
            description="Where to compute: cpu, cuda, cuda:1 or mps. auto is the CPU for onnx; for torch it is a GPU if there is one. For onnx, cuda needs the package onnxruntime-gpu.",
        ),
    ] = "auto"
    engine: Annotated[
        Literal["auto", "onnx", "torch"],
        option(
            "Machine",
            description="What runs the model: onnx (ONNX Runtime, without PyTorch) or torch. auto takes onnx if the model has current graphs.",
        ),
    ] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "int8", "float16"],
        option(
            "Machine",
            description="Number format of the graphs that onnx runs. auto takes int8, which is several times as fast, if the export found the loss small.",
        ),
    ] = "auto"
