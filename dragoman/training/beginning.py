"""What a run began with: a configuration that is edited later makes it no other run; knows files, and trains nothing.

The checkpoint holds numbers only, so that whatever leaves their shapes alone could be edited unnoticed, and the model card would tell of
one run what was true of two.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from dragoman.errors import StorageError
from dragoman.files import parse_json, write_json
from dragoman.storage import CONFIG, ModelDirectory
from dragoman.training.limits import LIMITS
from dragoman.training.recipe import Recipe

_FILE = "began.json"
_FIXED = {field.name for field in fields(Recipe)} - LIMITS - {"planned_steps", "precision"}
"""Values of a recipe that stay; `precision` depends on what the device computes."""


def keep_beginning(directory: ModelDirectory) -> None:
    """Write down what the configuration says now."""
    write_json(directory.training / _FILE, _facts(directory))


def check_beginning(directory: ModelDirectory) -> None:
    """Raise a `StorageError` that names what is other than when the run began. What an older version began is not known."""
    file = directory.training / _FILE
    if not file.exists():
        return
    try:
        began = {part: dict(facts) for part, facts in parse_json(file.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StorageError(f"{file} is damaged: {error}") from None
    for part, facts in _facts(directory).items():
        for name, was in began.get(part, {}).items():
            if facts.get(name) != was and (part != "recipe" or name in _FIXED):  # a later version may lack a name
                raise StorageError(
                    f"{directory.path / CONFIG} was changed since the run began: in {part}, {name} is {facts.get(name)}, but was "
                    f"{was}: put it back (a new run goes on from these weights with: dragoman train --from {directory.path})"
                )


def _facts(directory: ModelDirectory) -> dict[str, dict[str, Any]]:
    config = directory.config
    recipe = {name: value for name, value in config["recipe"].items() if name in _FIXED}
    return dict(json.loads(json.dumps({"recipe": recipe, "architecture": config["architecture"]})))
