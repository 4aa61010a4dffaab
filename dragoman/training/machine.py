"""Threads, devices and memory."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch

from dragoman.errors import OptionError
from dragoman.training.launch import launched

_CGROUP = Path("/sys/fs/cgroup")


@contextmanager
def apart() -> Iterator[None]:
    """Compute in float32, with gradients, whatever the program around us has set; after it its type, its threads and the random numbers of
    the processor are as before. (Those of a GPU are not, nor what `choose_device` sets.)
    """
    kept = torch.get_default_dtype(), torch.get_num_threads()
    with torch.random.fork_rng(devices=()), torch.inference_mode(False), torch.enable_grad(), ExitStack() as settings:
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):  # which would also keep our first weights in its cache
                settings.enter_context(torch.autocast(kind, enabled=False, cache_enabled=False))
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(kept[0])
            torch.set_num_threads(kept[1])


def use_threads(threads: int | None) -> None:
    """Compute with so many processor threads from now on (None: as torch has it)."""
    if threads is not None:
        torch.set_num_threads(threads)


def processor_threads() -> int:
    """How many threads compute, those of all processes that train together counted."""
    return torch.get_num_threads() * launched().world


def bound_caches() -> None:
    """Keep oneDNN from holding memory for every shape of a batch that ever was; call it before the first computation.

    It would hold 1,024 prepared operations, up to some megabytes each: 2 GB after a few minutes. Preparing anew costs time: with
    room for 64 a step took 15 % longer than with everything at hand, for 256 it is 9 %, for 1,024 it is 7 % (measured when
    products had more shapes than `dragoman.model.products` leaves them). PyTorch's layer
    above it holds as many products in bfloat16 again, with their working memory: 3 MB for every shape, however small the
    model (242 MB were 405 after 55 shapes). The next batch has another shape, so that they are of no use: with room for 16
    nothing grows, and no step takes longer.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
    os.environ.setdefault("LRU_CACHE_CAPACITY", "16")


def give_back_memory() -> None:
    """Hand memory that was freed back to the system, where the C library can (glibc).

    Batches of many shapes leave it in pieces that are not used again: without this, a process that needs 1 GB came to 5 in half an hour.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` is a CUDA GPU if there is one, else the CPU.

    Of several processes on one machine each has a GPU of its own, unless `name` says which.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or sums on a GPU would differ from run to run
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and launched().world > 1:
        name = f"cuda:{launched().local_rank}"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # one without numbers, as meta, fails here
    except (RuntimeError, AssertionError, ImportError):  # the last of a kind whose module is not installed, as hpu
        known = [
            "cpu",
            *(["cuda"] if torch.cuda.is_available() else []),
            *(["mps"] if torch.mps.is_available() else []),
        ]
        raise OptionError(f'`device` "{name}" is not on this machine; it has {" and ".join(known)}') from None
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # else layers in "float32" would be ten bits exact
    return device


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device can compute in bfloat16 at all; on a processor that takes oneDNN's LSTM, which on x86 needs AVX-512."""
    if device.type == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return True


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device is known to have instructions for products in bfloat16; others convert, and lose time by it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    if platform.machine().lower() in ("aarch64", "arm64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def peak_memory(device: torch.device) -> int | None:
    """Bytes at the peak so far: on a CUDA device those of tensors, else those of the whole process; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be had, within the limit of a container if there is one; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = _available()
    limit, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if limit is not None and used is not None:
        left = limit - used + _cached()
        free = left if free is None else min(free, left)
    return free


def _available() -> int | None:
    """What the kernel would give without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(found[0][1]) * 1024 if found else None


def _cached() -> int:
    """What counts as used in a container, but only keeps files at hand."""
    try:
        lines = (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such file; or "max", which is no limit
        return None
