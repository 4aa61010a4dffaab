"""What the processor that the tests run on can do."""

import pytest
import torch

from dragoman.training.machine import computes_bfloat16

needs_bfloat16 = pytest.mark.skipif(
    not computes_bfloat16(torch.device("cpu")), reason="this processor cannot compute in bfloat16"
)
