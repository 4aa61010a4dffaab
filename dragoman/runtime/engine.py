"""The ONNX graphs as a Stepper: translates with NumPy and ONNX Runtime alone; never imports torch or onnx."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dragoman.config import on_processor, processors
from dragoman.errors import OptionError, StorageError
from dragoman.generation.narrowing import Narrowed, best_of, narrow
from dragoman.generation.shortlist import Shortlist
from dragoman.generation.stepper import Bools, Floats, Ints, Step, ranked
from dragoman.storage import ModelDirectory

try:
    import onnxruntime

    onnxruntime.InferenceSession  # noqa: B018  # it is gone if one of two ONNX Runtimes was uninstalled
except (ImportError, AttributeError) as error:
    raise OptionError(
        f"ONNX Runtime cannot be loaded ({error}): pip install --force-reinstall onnxruntime (for a GPU: onnxruntime-gpu)"
    ) from error

Arrays = dict[str, Any]
"""Tensors by the names that the graphs give them: NumPy's; on a GPU the memory is ONNX Runtime's."""

_NONE: Ints = np.zeros((0, 0), np.int64)
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_BEST, _WHOLE = ["top_ids", "top_log_probs"], ["log_probs"]
"""Outputs of the decoder's graph: the best of the distribution, and the distribution."""


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
    union: Ints | None = None
    """With a shortlist, the ids that are a candidate of some source."""


class OnnxStepper:
    """Runs the two graphs of a model; see `dragoman.generation.stepper.Stepper` for the three operations.

    With a `shortlist` (and the decoder's graph for one) an output is made of its source's candidates only: log-probabilities are
    normalised over them, and those of all other ids are -inf.
    """

    def __init__(
        self,
        encoder: bytes,
        decoder: bytes,
        *,
        threads: int | None = None,
        shortlist: Shortlist | None = None,
        device: str = "cpu",
    ) -> None:
        self._gpu = gpu_number(device)
        with ThreadPoolExecutor(2 if self._gpu is None else 1) as pool:  # a GPU is opened once
            self._encoder, self._decoder = pool.map(
                lambda graph: _session(graph, threads, self._gpu), (encoder, decoder)
            )
        outputs = {output.name: output for output in self._decoder.get_outputs()}
        self._shortlist = shortlist
        self._always: Ints = np.zeros(0, np.int64)
        self._vocab_size = int(outputs["log_probs"].shape[1]) if shortlist is None else shortlist.vocab_size
        self._encoded = [output.name for output in self._encoder.get_outputs()]
        following = [name for name in outputs if name.startswith("next_")]
        self._layers = [(name.removeprefix("next_"), name) for name in following]
        self._always_wanted = [*(name for name in outputs if name == "attention"), *following]

    @classmethod
    def open(
        cls,
        directory: ModelDirectory,
        *,
        precision: str = "auto",
        threads: int | None = None,
        shortlist: bool = False,
        device: str = "cpu",
    ) -> OnnxStepper:
        """The graphs of a model directory, on the `device` cpu, cuda or cuda:N.

        A `StorageError` says if they, or the shortlist, are missing, stale or damaged, an `OptionError` if there is no such device.
        """
        chosen = Shortlist(**directory.read_shortlist()) if shortlist else None
        encoder, decoder = directory.read_graphs(precision, shortlist=shortlist)
        try:
            return cls(encoder, decoder, threads=threads, shortlist=chosen, device=device)
        except OptionError:
            raise
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            if "bad_alloc" in str(error):
                raise MemoryError(str(error)) from None
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StorageError(
                f"onnxruntime {onnxruntime.__version__} cannot run the graphs in {directory.graphs} ({reason}); "
                f"{directory.renewal}"
            ) from None

    @property
    def vocab_size(self) -> int:
        """Size of the target vocabulary."""
        return self._vocab_size

    def with_candidates(self, ids: Ints) -> OnnxStepper:
        """The same, with some more ids that are candidates of every source."""
        other = copy.copy(self)
        other._always = np.concatenate([self._always, ids])
        return other

    def start(self, source_ids: list[list[int]]) -> OnnxState:
        """Encode sources, each a non-empty list of ids."""
        lengths = np.array([len(ids) for ids in source_ids], dtype=np.int64)
        padded = np.zeros((len(source_ids), int(lengths.max())), dtype=np.int64)
        for row, ids in enumerate(source_ids):
            padded[row, : len(ids)] = ids
        given = self._compute(self._encoder, self._encoded, {"ids": padded, "lengths": lengths})
        encoded: Arrays = dict(zip(self._encoded, given, strict=True))
        memory = {name: value for name, value in encoded.items() if name.startswith("memory_")}
        layers = {name: value for name, value in encoded.items() if name.startswith("state_")}
        state = OnnxState(memory, np.arange(len(source_ids)), memory, layers)
        state = state if self._shortlist is None else self._shortlisted(self._shortlist, state, source_ids)
        return replace(state, memory=self._placed(state.sources))

    def _shortlisted(self, shortlist: Shortlist, state: OnnxState, source_ids: list[list[int]]) -> OnnxState:
        """Give the rows of a first state their candidates: what can be copied from a source is one of them."""
        copied = state.memory.get("memory_copied", np.zeros((len(source_ids), 0), np.int64))
        candidates = shortlist.candidates(source_ids, also=[np.concatenate([self._always, row]) for row in copied])
        memory = state.memory | {"own": candidates.places}
        if "memory_copied" in memory:
            memory["memory_copied"] = candidates.place_of(copied)
        return replace(state, sources=memory, memory=memory, union=candidates.union)

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
        free = allowed is None and bias is None
        narrowed = None
        if top_k is not None and free:
            narrowed = Narrowed(top_k, _NONE)
        elif top_k is not None and state.union is None:  # with a shortlist the words are few anyhow
            narrowed = narrow(allowed, bias, top_k=top_k)
        given = self._run(state, last_ids, narrowed)
        if top_k is None or narrowed is None:
            whole = given["log_probs"]
            if state.union is not None:
                whole = _spread(whole, state.union, state.memory["own"], self.vocab_size)
            ids, log_probs = ranked(whole, top_k=top_k, allowed=allowed, bias=bias)
        else:
            ids = given.get("top_ids", np.zeros((len(last_ids), 0), np.int64))
            log_probs = given.get("top_log_probs", np.zeros((len(last_ids), 0), np.float32))
            if not free:
                named = given.get("log_probs")
                ids, log_probs = best_of(narrowed, ids, log_probs, named, top_k=top_k, allowed=allowed, bias=bias)
        layers = {name: given[following] for name, following in self._layers}
        after = OnnxState(state.sources, state.source_rows, state.memory, layers, state.union)
        return Step(ids, log_probs, given.get("attention"), after)

    def _run(self, state: OnnxState, last_ids: Ints, narrowed: Narrowed | None) -> Arrays:
        """What the decoder's graph gives: of the distribution no more than what is looked at."""
        most = self.vocab_size if state.union is None else state.memory["own"].shape[1]
        k = min(narrowed.top_k, most) if narrowed is not None else 0
        best = _BEST if k else []
        whole = _WHOLE if narrowed is None or narrowed.named.size else []
        wanted = [*best, *whole, *self._always_wanted]
        ids, count = np.ascontiguousarray(last_ids, dtype=np.int64), np.array([max(1, k)])
        feed = {"last_ids": ids, "top_k": count, **state.memory, **state.layers}
        if state.union is not None:
            feed["union"] = state.union
        return dict(zip(wanted, self._compute(self._decoder, wanted, feed), strict=True))

    def select(self, state: OnnxState, rows: Ints) -> OnnxState:
        """Reorder, repeat or drop rows; the memory is copied only when rows change their source."""
        source_rows = state.source_rows[rows]
        memory = state.memory
        if not np.array_equal(source_rows, state.source_rows):
            memory = self._placed({name: value[source_rows] for name, value in state.sources.items()})
        layers = {name: value[rows] for name, value in state.layers.items()}
        return OnnxState(state.sources, source_rows, memory, layers, state.union)

    def _compute(self, session: Any, wanted: list[str], feed: Arrays) -> list[Any]:
        """What a graph gives; an `OptionError` says if a GPU cannot go on, which may have no memory left."""
        try:
            return list(session.run(wanted, feed))
        except Exception as error:  # ONNX Runtime's errors have no base of their own
            if self._gpu is None:
                raise
            reason = str(error).splitlines()[0]
            raise OptionError(
                f"ONNX Runtime failed on cuda:{self._gpu} ({reason}); fewer sentences at once need less memory, and --device cpu none"
            ) from None

    def _placed(self, memory: Arrays) -> Arrays:
        """A memory where the decoder reads it in every step; what is looked at here too stays where it is."""
        if self._gpu is None:
            return memory
        place = onnxruntime.OrtValue.ortvalue_from_numpy
        return {
            name: place(np.ascontiguousarray(value), "cuda", self._gpu) if name.startswith("memory_") else value
            for name, value in memory.items()
        }


def gpu_number(device: str) -> int | None:
    """Which GPU `device` names, cuda or cuda:N; None for the CPU. An `OptionError` says if ONNX Runtime cannot compute there."""
    if on_processor(device):
        return None
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number or "0").isdecimal():
        raise OptionError(f'`engine` onnx computes on the cpu, cuda or cuda:N, but `device` is "{device}"')
    if _CUDA not in onnxruntime.get_available_providers():
        raise OptionError(
            f'`device` "{device}" needs an ONNX Runtime for CUDA, but this one is for the cpu: '
            "pip uninstall onnxruntime, pip install onnxruntime-gpu; or give --engine torch"
        )
    return int(number or 0)


def _spread(log_probs: Floats, union: Ints, own: Ints, vocab_size: int) -> Floats:
    """Log-probabilities of candidates, (rows, candidates), as those of the whole vocabulary: -inf for all others."""
    rows, columns = np.nonzero(own >= 0)
    whole = np.full((len(own), vocab_size), -np.inf, log_probs.dtype)
    whole[rows, union[own[rows, columns]]] = log_probs[rows, columns]
    return whole


def _session(graph: bytes, threads: int | None, gpu: int | None) -> Any:
    options = session_options(threads)
    if gpu is None:
        return onnxruntime.InferenceSession(graph, options, providers=[_CPU])
    onnxruntime.preload_dlls()  # NVIDIA's libraries may be installed as Python packages
    # It warns that shapes and loops are computed on the processor, which is as meant, and of devices that are not asked for.
    onnxruntime.set_default_logger_severity(3)
    options.log_severity_level = 3
    exact = {"device_id": gpu, "use_tf32": 0}
    session = onnxruntime.InferenceSession(graph, options, providers=[(_CUDA, exact), _CPU])
    if session.get_providers()[0] != _CUDA:
        raise OptionError(
            f'`device` "cuda:{gpu}" cannot be used by ONNX Runtime: there is no such GPU, or CUDA is missing'
        )
    return session


def session_options(threads: int | None) -> Any:
    """Those of a session that keeps no plan per shape, so that memory stays flat; None for all threads."""
    options = onnxruntime.SessionOptions()
    # Given a number, ONNX Runtime pins no threads to processors, which containers forbid.
    options.intra_op_num_threads = threads or processors()
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
