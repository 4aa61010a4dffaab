"""How far the int8 engine is from what the processor allows, and what fills the rest.

    python benchmarks/translate_limit.py [--seconds 2]

It measures the model of `translate_speed.py` with one thread and greedy search. A step for one sentence reads every weight of the
decoder once, so it takes at least the time to read that many bytes. A step for 64 sentences multiplies every weight 64 times, so it
takes at least the time of that many 8-bit multiply-accumulates. Both limits are measured beside the steps. Reading is measured with
NumPy's dot product, over as many bytes again and again (which are in the cache, if they fit) and over 512 MB (which are not).
Multiplying is measured with a large integer product in ONNX Runtime.

The rest of a step is broken down by the operators of the decoder's graph, with ONNX Runtime's profiler. Profiling itself costs time and
cache, so only shares of the graph's time are printed.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from translate_speed import LENGTH, VOCAB, build_model

from dragoman.config import SearchOptions
from dragoman.generation.search import search
from dragoman.runtime.decoder_graph import decoder_graph
from dragoman.runtime.encoder_graph import encoder_graph
from dragoman.runtime.engine import OnnxState, OnnxStepper, session_options
from dragoman.runtime.graph import FLOAT, GraphBuilder

BATCHES = (1, 64)
PRODUCT = 1024
"""Rows and columns of the product that says what the processor can multiply."""
KINDS = {
    "products of 8-bit numbers": ("MatMulIntegerToFloat",),
    "quantising": ("QuantizeLinear", "Abs", "ReduceMax", "Max", "Div"),
    "softmax and the best words": ("LogSoftmax", "TopK", "GatherElements", "Min"),
    "attention": ("MatMul", "FusedMatMul", "Softmax"),
}
"""Operators by what they are there for; all others (gates, sums, joining) go together."""


class TimedStepper(OnnxStepper):
    """The same engine, which keeps the seconds of every encoding and of every run of the decoder's graph."""

    def __init__(self, encoder: bytes, decoder: bytes) -> None:
        super().__init__(encoder, decoder, threads=1)
        self.encoding: list[float] = []
        self.seconds: list[float] = []

    def start(self, source_ids: list[list[int]]) -> OnnxState:
        """Encode."""
        began = time.perf_counter()
        state = super().start(source_ids)
        self.encoding.append(time.perf_counter() - began)
        return state

    def _run(self, *arguments: Any) -> Any:
        began = time.perf_counter()
        given = super()._run(*arguments)
        self.seconds.append(time.perf_counter() - began)
        return given


class ProfiledStepper(OnnxStepper):
    """The same engine, whose decoder writes down what its operators take."""

    def __init__(self, encoder: bytes, decoder: bytes, prefix: str) -> None:
        super().__init__(encoder, decoder, threads=1)
        options = session_options(1)
        options.enable_profiling, options.profile_file_prefix = True, prefix
        self._decoder = onnxruntime.InferenceSession(decoder, options, providers=["CPUExecutionProvider"])

    def profile(self) -> list[dict[str, Any]]:
        """The events so far; profiling ends."""
        events: list[dict[str, Any]] = json.loads(Path(self._decoder.end_profiling()).read_text(encoding="utf-8"))
        return events


def weight_bytes(graph: bytes) -> int:
    """Bytes of 8-bit weights, each of which a step reads once and multiplies once for every row."""
    tensors = (numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(graph).graph.initializer)
    return sum(tensor.nbytes for tensor in tensors if tensor.dtype == np.int8)


def median_seconds(work: Callable[[], object], seconds: float) -> float:
    """The median time of `work`, repeated for so long after a first time."""
    work()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 5:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def reading_speed(size: int, seconds: float) -> float:
    """Bytes a second, read from a buffer of `size` bytes over and over."""
    buffer = np.ones(size // 8 * 2, np.float32)
    first, second = buffer[: len(buffer) // 2], buffer[len(buffer) // 2 :]
    return buffer.nbytes / median_seconds(lambda: np.dot(first, second), seconds)


def multiplying_speed(seconds: float) -> float:
    """8-bit multiply-accumulates a second in ONNX Runtime's product of two large matrices."""
    graph = GraphBuilder("product", precision="int8")
    inputs = graph.input("inputs", FLOAT, ["rows", PRODUCT])
    weight = np.random.default_rng(1).standard_normal((PRODUCT, PRODUCT)).astype(np.float32)
    graph.output(graph.linear(inputs, "product", weight, None, bounded=True), "outputs", FLOAT, ["rows", PRODUCT])
    session = onnxruntime.InferenceSession(graph.build(), session_options(1), providers=["CPUExecutionProvider"])
    given = {"inputs": np.random.default_rng(2).uniform(-1, 1, (PRODUCT, PRODUCT)).astype(np.float32)}
    return float(PRODUCT**3 / median_seconds(lambda: session.run(None, given), seconds))


def operator_seconds(encoder: bytes, decoder: bytes, sources: list[list[int]], seconds: float) -> dict[str, float]:
    """Seconds of one step in the operators of the decoder, by kind, most first."""
    with tempfile.TemporaryDirectory() as folder:
        stepper = ProfiledStepper(encoder, decoder, f"{folder}/profile")
        median_seconds(lambda: translate(stepper, sources), seconds)
        events = stepper.profile()
    known = {operator: kind for kind, operators in KINDS.items() for operator in operators}
    durations: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            kind = known.get(event["args"]["op_name"], "gates, sums, joining")
            durations[kind, event["name"]].append(event["dur"])
    parts: defaultdict[str, float] = defaultdict(float)
    for (kind, _), times in durations.items():  # in whole microseconds, so that a median would be coarse
        times.sort()
        middle = times[len(times) // 4 : -len(times) // 4]
        parts[kind] += sum(middle) / len(middle) / 1e6
    return dict(sorted(parts.items(), key=lambda part: -part[1]))


def translate(stepper: OnnxStepper, sources: list[list[int]]) -> None:
    """Greedy search to the full length."""
    search(stepper, sources, options=SearchOptions(beam_size=1, max_length=LENGTH))


def main() -> None:
    """Print the limits, and what a step takes beside them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each figure is measured")
    seconds = parser.parse_args().seconds
    model = build_model()
    encoder, decoder = (make(model, precision="int8") for make in (encoder_graph, decoder_graph))
    size = weight_bytes(decoder)
    for batch in BATCHES:
        draw = random.Random(1)
        sources = [[draw.randrange(4, VOCAB) for _ in range(LENGTH)] for _ in range(batch)]
        stepper = TimedStepper(encoder, decoder)
        whole = median_seconds(partial(translate, stepper, sources), seconds)
        begun, inside = statistics.median(stepper.encoding), statistics.median(stepper.seconds)
        step = (whole - begun) / LENGTH
        if batch == 1:
            near, far = reading_speed(size, seconds / 4), reading_speed(2**29, seconds / 4)
            limit = size / near
            print(f"The decoder has {size / 1e6:.2f} MB of 8-bit weights. So many bytes are read, again and again, at")
            print(
                f"{near / 1e9:.0f} GB/s: {1e6 * limit:.0f} us; from memory at {far / 1e9:.0f} GB/s: {1e6 * size / far:.0f} us."
            )
        else:
            speed = multiplying_speed(seconds / 4)
            limit = size * batch / speed
            print(f"A large product does {speed / 1e9:.0f} G multiply-accumulates a second: {1e6 * limit:.0f} us.")
        print(
            f"batch {batch}: a sentence takes {1e3 * whole / batch:.2f} ms, {begun / whole:.0%} of it in the encoder; "
            f"a step takes {1e6 * step:.0f} us, {step / limit:.1f} times the limit:"
        )
        print(f"  {1 - inside / step:6.1%}  search, outside of the graph")
        parts = operator_seconds(encoder, decoder, sources, seconds)
        for kind, duration in parts.items():
            print(f"  {inside / step * duration / sum(parts.values()):6.1%}  {kind}")


if __name__ == "__main__":
    main()
