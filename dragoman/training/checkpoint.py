"""Training stopped between two steps, in one file; knows nothing of models' meaning.

One safetensors file holds the weights, the optimiser's tensors and the average, and as JSON in its metadata everything
else. One file is renamed at once, so weights and position can never disagree; and it loads without unpickling.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from dragoman.errors import StorageError
from dragoman.files import atomic
from dragoman.model.seq2seq import Seq2Seq, outline


@dataclass(frozen=True)
class Checkpoint:
    """Everything that decides the rest of a training run."""

    weights: dict[str, Tensor]
    """The model's parameters and buffers."""
    optimizer: dict[str, Tensor]
    """The optimiser's tensors, named `PARAMETER/NAME`."""
    average: dict[str, Tensor]
    """The running average of the parameters, or their copies at the last evaluations; empty if none is kept."""
    progress: dict[str, Any] = field(default_factory=dict)
    """Step, epoch, position, best score and history, as JSON values."""


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically; tensors that share memory are copied apart."""
    whole: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in tensors.items():
        own = value.detach().cpu().contiguous()
        place = own.untyped_storage().data_ptr()
        whole[name] = own.clone() if place in seen else own
        seen.add(place)
    with atomic(path) as temporary:
        temporary.write_bytes(save(whole, metadata))  # save_file hides a full disk, and the file from other users


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: its tensors and its metadata."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise StorageError(f"{path} is damaged: {error}") from None


def described(architecture: dict[str, Any], path: Path) -> Seq2Seq:
    """An outline of the model that a configuration describes; a `StorageError` names its file if it describes none."""
    try:
        return outline(architecture)
    except OSError:  # PyTorch looks for a folder for temporary files
        raise
    except Exception as error:  # what values of any kind raise has no base of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StorageError(f"{path} describes no model of this version: {reason}") from None


def model_weights(model: nn.Module) -> dict[str, Tensor]:
    """A model's parameters and buffers by name; those that are shared stand there once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def check_weights(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Raise a `StorageError` that names `path` unless `weights` are what `model_weights` gives of such a model."""
    own = model_weights(model)
    unlike = [name for name, value in own.items() if name not in weights or weights[name].shape != value.shape]
    unlike += [name for name in weights if name not in own]
    if unlike:
        raise StorageError(f"{path} does not fit the configuration beside it (first at {unlike[0]})")


def load_weights(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Put back what `model_weights` gave; `path` is named if it does not fit the model, or if it holds what is no finite number."""
    check_weights(model, weights, path)
    wild = next((name for name, value in weights.items() if not value.isfinite().all()), None)
    if wild is not None:
        raise StorageError(f"{path} is damaged: not all of {wild} are finite numbers")
    with torch.no_grad():
        for name, value in model_weights(model).items():
            value.copy_(weights[name])


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically."""
    parts = {"weights": checkpoint.weights, "optimizer": checkpoint.optimizer, "average": checkpoint.average}
    tensors = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
    save_tensors(path, tensors, {"progress": json.dumps(checkpoint.progress)})


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint back."""
    tensors, metadata = load_tensors(path)
    progress = _progress_in(metadata, path)
    parts: dict[str, dict[str, Tensor]] = {"weights": {}, "optimizer": {}, "average": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition("/")
        if part not in parts:
            raise StorageError(f"{path} is no checkpoint of dragoman")
        parts[part][rest] = value
    return Checkpoint(**parts, progress=progress)


def read_progress(path: Path) -> dict[str, Any]:
    """The progress of a checkpoint, without its tensors."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise StorageError(f"{path} is damaged: {error}") from None
    return _progress_in(metadata, path)


def _progress_in(metadata: dict[str, str], path: Path) -> dict[str, Any]:
    try:
        progress = json.loads(metadata["progress"])
    except (KeyError, ValueError):
        progress = None
    if not isinstance(progress, dict) or not isinstance(progress.get("step"), int):
        raise StorageError(f"{path} is no checkpoint of dragoman")
    return progress


def check_state(
    checkpoint: Checkpoint, parameters: dict[str, Tensor], path: Path, *, optimized: bool, averages: list[str]
) -> None:
    """Raise a `StorageError` that names `path` unless the optimiser's tensors and the average are of these parameters.

    If `optimized`, the optimiser has tensors of every one. `averages` are the names that the average must have.
    """
    kept: dict[str, set[str]] = {}
    for name, value in (checkpoint.optimizer | checkpoint.average).items():
        own = next((part for part in name.split("/") if part in parameters), None)
        if own is None or (value.dim() and value.shape != parameters[own].shape):
            raise StorageError(f"{path} does not fit the configuration beside it (first at {name})")
    for name in checkpoint.optimizer:
        own, _, key = name.rpartition("/")
        kept.setdefault(own, set()).add(key)
    for own, keys in kept.items():
        if keys != set().union(*kept.values()):
            raise StorageError(f"{path} lacks a part of the optimiser's state of {own}")
    if lacking := [name for name in parameters if optimized and name not in kept]:
        raise StorageError(f"{path} lacks the optimiser's state of {lacking[0]}")
    if lacking := [name for name in averages if name not in checkpoint.average]:
        raise StorageError(f"{path} lacks the average of {lacking[0]}")


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """The optimiser's state, by parameter name; `names` are in the order of its parameters."""
    states = optimizer.state_dict()["state"]
    return {
        f"{names[index]}/{key}": value if isinstance(value, Tensor) else torch.tensor(value)
        for index, state in states.items()
        for key, value in state.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    index = {name: number for number, name in enumerate(names)}
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        parameter, _, key = name.rpartition("/")
        states.setdefault(index[parameter], {})[key] = value
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
