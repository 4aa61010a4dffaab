"""Where and by what is computed: processors, devices, engines."""

from __future__ import annotations

from typing import Annotated, Literal

from dragoman.config.base import Options, option


class ThreadOptions(Options):
    """How many processors are used."""

    threads: Annotated[int | None, option("Machine", description="Processor threads. Default: all.", ge=1, le=1024)] = (
        None
    )


class MachineOptions(ThreadOptions):
    """Where the computing is done."""

    device: Annotated[
        str,
        option("Machine", description="Where to compute: cpu, cuda, cuda:1, mps; auto takes a GPU if there is one."),
    ] = "auto"


class EngineOptions(MachineOptions):
    """Where and by what a trained model is run."""

    device: Annotated[
        str,
        option(
            "Machine",
            description="Where to compute: cpu, cuda, cuda:1, mps; auto is the CPU for onnx, and for torch a GPU if there is one.",
        ),
    ] = "auto"
    engine: Annotated[
        Literal["auto", "onnx", "torch"],
        option(
            "Machine",
            description="What runs the model: onnx (ONNX Runtime, on the CPU, without PyTorch) or torch; auto takes onnx "
            "if the model has graphs for it.",
        ),
    ] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "int8", "float16"],
        option(
            "Machine",
            description="Which of the model's graphs onnx runs; auto takes int8, which is several times as fast, where the "
            "export found that it loses little.",
        ),
    ] = "auto"
