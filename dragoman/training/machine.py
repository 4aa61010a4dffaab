"""Threads and devices."""

from __future__ import annotations

import platform

import torch

from dragoman.errors import OptionError
from dragoman.training.launch import launched


def use_threads(threads: int | None) -> None:
    """Compute with so many processor threads from now on (None: as torch has it)."""
    if threads is not None:
        torch.set_num_threads(threads)


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` is a CUDA GPU if there is one, else the CPU.

    Of several processes on one machine each has a GPU of its own, unless `name` says which.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and launched().world > 1:
        name = f"cuda:{launched().local_rank}"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        known = [
            "cpu",
            *(["cuda"] if torch.cuda.is_available() else []),
            *(["mps"] if torch.mps.is_available() else []),
        ]
        raise OptionError(f'`device` "{name}" is not on this machine; it has {" and ".join(known)}') from None
    return device


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device is known to have instructions for products in bfloat16; others convert, and lose time by it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    if platform.machine().lower() in ("aarch64", "arm64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
