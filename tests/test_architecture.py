"""The shape of the code: rooms import only rooms before them, torch stays out of where it does not belong."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "dragoman"
ROOMS = [
    "errors",
    "files",
    "config",
    "presets",
    "corpus",
    "bundle",
    "storage",
    "places",
    "generation",
    "model",
    "evaluation",
    "training",
    "runtime",
    "translation",
    "translator",
    "making",
    "synthesis",
    "cli",
]
WITHOUT_TORCH = {
    "errors",
    "files",
    "config",
    "presets",
    "corpus",
    "bundle",
    "storage",
    "places",
    "generation",
    "translation",
    "cli",
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(file: Path) -> str:
    """The room a file stands in; the two files at the door, `__init__` and `__main__`, stand in none."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every imported module with its line, also those imported inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            assert node.module is not None
            yield node.lineno, node.module
            if node.module == "dragoman":
                yield from ((node.lineno, f"dragoman.{alias.name}") for alias in node.names)


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def test_every_file_stands_in_a_known_room() -> None:
    assert {room(file) for file in FILES} <= {*ROOMS, "__init__", "__main__"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_before_it(file: Path) -> None:
    if room(file) in ("__init__", "__main__"):
        return
    here = ROOMS.index(room(file))
    for line, module in imports(parsed(file)):
        other = module.split(".")[1] if module.startswith("dragoman.") else ""
        if other in ROOMS:
            assert ROOMS.index(other) <= here, f"{file}:{line}: {room(file)} imports {module}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_torch_is_imported_only_where_tensors_are(file: Path) -> None:
    if room(file) in WITHOUT_TORCH:
        assert not [line for line, module in imports(parsed(file)) if module.split(".")[0] == "torch"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_the_front_ends_print_or_exit(file: Path) -> None:
    if room(file) in ("cli", "__main__"):
        return
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "input", "exit", "quit", "sys.exit", "os._exit"), f"{file}:{node.lineno}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_every_file_says_what_it_is_for(file: Path) -> None:
    tree = parsed(file)
    assert not tree.body or ast.get_docstring(tree), f"{file} has no header"


@pytest.mark.parametrize("file", sorted((PACKAGE.parent / "benchmarks").glob("*.py")), ids=lambda file: file.name)
def test_every_benchmark_says_with_help_what_it_measures(file: Path) -> None:
    calls = [ast.unparse(node) for node in ast.walk(parsed(file)) if isinstance(node, ast.Call)]
    assert any(call.startswith("argparse.ArgumentParser(description=__doc__,") for call in calls)
