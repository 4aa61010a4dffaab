"""Start-up stays light: help and import load none of the heavy libraries (benchmarks/start_up.py has the times)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "onnxruntime", "pyarrow", "matplotlib", "sacrebleu", "numpy", "tokenizers", "huggingface_hub"}


def loaded(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `code`."""
    script = f"{code}\nimport sys; print('LOADED', *sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("LOADED ")[2].split())


@pytest.mark.parametrize("module", ["dragoman", "dragoman.config", "dragoman.errors", "dragoman.cli"])
def test_import_loads_nothing_heavy(module: str) -> None:
    assert not loaded(f"import {module}") & HEAVY


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["train", "--help"], ["translate", "--help"], ["trian"]]
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert not loaded(f"from dragoman.cli import main; main({arguments!r})") & HEAVY


def test_import_alone_does_not_even_load_pydantic() -> None:
    assert not loaded("import dragoman") & {"pydantic", "cyclopts", "rich"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["trian"]])
def test_what_names_no_command_loads_no_option_models(arguments: list[str]) -> None:
    assert "pydantic" not in loaded(f"from dragoman.cli import main; main({arguments!r})")


def test_a_sentence_is_translated_without_the_rooms_that_it_does_not_need(trained: Path) -> None:
    rooms = loaded(f"from dragoman.cli import main; main(['translate', {str(trained)!r}, 'the cat sees.'])")
    assert {"dragoman.generation.beam", "dragoman.runtime.engine"} <= rooms
    unneeded = {
        "dragoman.config.training",
        "dragoman.evaluation.calibration",
        "dragoman.generation.best_first",
        "dragoman.generation.patterns",
        "dragoman.generation.sampling",
        "dragoman.generation.stochastic",
        "dragoman.generation.tracing",
        "torch",
    }
    assert rooms & unneeded == set()
