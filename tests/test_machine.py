"""What is asked of the machine: freed memory goes back to it, and what it says of itself is plausible."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch

from dragoman.training.machine import free_memory, give_back_memory, multiplies_bfloat16, peak_memory

CPU = torch.device("cpu")
BLOCK = 60_000
"""Bytes: small enough that the C library keeps them in its heap."""
NEW_SHAPES = """
import psutil, torch
from dragoman.training.machine import bound_caches, give_back_memory

def multiply(lengths):
    for rows in lengths:
        torch.mm(torch.ones(rows, 256, dtype=torch.bfloat16), torch.ones(256, 512, dtype=torch.bfloat16))
    give_back_memory()
    return psutil.Process().memory_info().rss

torch.set_num_threads(1)
bound_caches()
before = multiply(range(1, 300))
print(multiply(range(300, 600)) - before)
"""
"""How many bytes 300 products hold, each of a shape that never was, once caches are full."""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' C libraries decide for themselves")
def test_what_was_freed_in_pieces_goes_back_to_the_system() -> None:
    process = psutil.Process()
    blocks = [np.ones(BLOCK, np.uint8) for _ in range(4_000)]
    held = blocks[-1]  # lies at the top of the heap, which cannot shrink below it
    del blocks
    before = process.memory_info().rss
    give_back_memory()
    assert before - process.memory_info().rss > 100e6
    assert held.all()


def test_memory_is_counted_in_bytes() -> None:
    now = psutil.Process().memory_info().rss
    peak, free = peak_memory(CPU), free_memory(CPU)
    assert peak is None or 0.9 * now < peak < 1e12
    assert free is None or 1e6 < free <= psutil.virtual_memory().total


@pytest.mark.skipif(not multiplies_bfloat16(CPU), reason="other processors hold nothing, with bounds or without")
def test_products_of_ever_new_shapes_hold_no_memory() -> None:
    # a process of its own, as the size of caches is asked for once; without bounds it is 150 MB where there is AVX-512 BF16
    run = subprocess.run([sys.executable, "-c", NEW_SHAPES], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 30e6
