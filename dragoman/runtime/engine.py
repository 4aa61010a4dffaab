"""The ONNX graphs as a Stepper: translates with NumPy and ONNX Runtime alone; never imports torch or onnx."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from dragoman.errors import StorageError
from dragoman.generation.stepper import Bools, Floats, Ints, Step, ranked
from dragoman.storage import ModelDirectory

Arrays = dict[str, NDArray[Any]]
"""Tensors by the names that the graphs give them."""


@dataclass(frozen=True)
class OnnxState:
    """Rows in the middle of their outputs."""

    sources: Arrays
    """What the encoder gave for attention to read, one row per source."""
    source_rows: Ints
    """(rows,): which source each row belongs to."""
    memory: Arrays
    """`sources` laid out by row."""
    layers: Arrays
    """The decoder's state, by row."""


class OnnxStepper:
    """Runs the two graphs of a model; see `dragoman.generation.stepper.Stepper` for the three operations."""

    def __init__(self, encoder: bytes, decoder: bytes, *, threads: int | None = None) -> None:
        self._encoder, self._decoder = _session(encoder, threads), _session(decoder, threads)
        outputs = {output.name: output for output in self._decoder.get_outputs()}
        self._vocab_size = int(outputs["log_probs"].shape[1])
        self._encoded = [output.name for output in self._encoder.get_outputs()]
        self._following = [name for name in outputs if name.startswith("next_")]
        self._attention = [name for name in outputs if name == "attention"]

    @classmethod
    def open(cls, directory: ModelDirectory, *, precision: str = "auto", threads: int | None = None) -> OnnxStepper:
        """The graphs of a model directory; a `StorageError` says if they are missing, stale or damaged."""
        encoder, decoder = directory.read_graphs(precision)
        try:
            return cls(encoder, decoder, threads=threads)
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StorageError(
                f"onnxruntime {onnxruntime.__version__} cannot run the graphs in {directory.graphs} ({reason}); "
                f"{directory.renewal}"
            ) from None

    @property
    def vocab_size(self) -> int:
        """Size of the target vocabulary."""
        return self._vocab_size

    def start(self, source_ids: list[list[int]]) -> OnnxState:
        """Encode sources, each a non-empty list of ids."""
        lengths = np.array([len(ids) for ids in source_ids], dtype=np.int64)
        padded = np.zeros((len(source_ids), int(lengths.max())), dtype=np.int64)
        for row, ids in enumerate(source_ids):
            padded[row, : len(ids)] = ids
        given = self._encoder.run(self._encoded, {"ids": padded, "lengths": lengths})
        encoded: Arrays = dict(zip(self._encoded, given, strict=True))
        memory = {name: value for name, value in encoded.items() if name.startswith("memory_")}
        layers = {name: value for name, value in encoded.items() if name.startswith("state_")}
        return OnnxState(memory, np.arange(len(source_ids)), memory, layers)

    def step(
        self,
        state: OnnxState,
        last_ids: Ints,
        *,
        top_k: int | None,
        allowed: Bools | None = None,
        bias: Floats | None = None,
    ) -> Step:
        """Feed each row's last id and return its best next ids, ranked as the protocol says."""
        in_graph = top_k is not None and allowed is None and bias is None
        k = min(top_k, self.vocab_size) if in_graph and top_k is not None else 1
        feed = {"last_ids": np.ascontiguousarray(last_ids, dtype=np.int64), "top_k": np.array([k]), **state.memory}
        answers = ["top_ids", "top_log_probs"] if in_graph else ["log_probs"]
        wanted = [*answers, *self._attention, *self._following]
        given = dict(zip(wanted, self._decoder.run(wanted, feed | state.layers), strict=True))
        if in_graph:
            ids, log_probs = given["top_ids"], given["top_log_probs"]
        else:
            ids, log_probs = ranked(given["log_probs"], top_k=top_k, allowed=allowed, bias=bias)
        layers = {name.removeprefix("next_"): given[name] for name in self._following}
        following = OnnxState(state.sources, state.source_rows, state.memory, layers)
        return Step(ids, log_probs, given.get("attention"), following)

    def select(self, state: OnnxState, rows: Ints) -> OnnxState:
        """Reorder, repeat or drop rows; the memory is copied only when rows change their source."""
        source_rows = state.source_rows[rows]
        memory = state.memory
        if not np.array_equal(source_rows, state.source_rows):
            memory = {name: value[source_rows] for name, value in state.sources.items()}
        layers = {name: value[rows] for name, value in state.layers.items()}
        return OnnxState(state.sources, source_rows, memory, layers)


def _session(graph: bytes, threads: int | None) -> Any:
    """A session that shows nothing but errors and keeps no plan per shape, so that memory stays flat."""
    options = onnxruntime.SessionOptions()
    # Given a number, ONNX Runtime pins no threads to processors, which containers forbid.
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not fast_products_are_exact():
        # Others give the same sums, in twice the time.
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def fast_products_are_exact() -> bool:
    """Whether ONNX Runtime's fast products of 8-bit numbers cannot overflow here: on x86 that takes VNNI instructions."""
    if platform.machine().lower() not in ("x86_64", "amd64", "x86", "i386", "i686"):
        return True
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            return "vnni" in file.read(8192)  # the first processor's flags
    except OSError:
        return False
