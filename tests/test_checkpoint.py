"""Laws of one checkpoint file: what is written comes back, and what is damaged or of another model is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dragoman.errors import StorageError
from dragoman.training.checkpoint import (
    Checkpoint,
    check_state,
    check_weights,
    described,
    load_checkpoint,
    load_tensors,
    load_weights,
    model_weights,
    optimizer_tensors,
    read_progress,
    restore_optimizer,
    save_checkpoint,
)


def normed(seed: int) -> nn.BatchNorm1d:
    """A module with two parameters and three buffers."""
    torch.manual_seed(seed)
    module = nn.BatchNorm1d(3)
    module(torch.randn(4, 3))
    nn.init.normal_(module.weight)
    return module


def stepped(module: nn.Module) -> torch.optim.Optimizer:
    """An optimiser that has taken a step."""
    optimizer = torch.optim.Adam(module.parameters())
    for value in module.parameters():
        value.grad = torch.randn_like(value)
    optimizer.step()
    return optimizer


def test_a_checkpoint_comes_back_as_it_was_written(tmp_path: Path) -> None:
    one, path = normed(1), tmp_path / "last.safetensors"
    average = {"0/weight": torch.randn(3), "1/weight": torch.randn(2, 3).T}
    written = Checkpoint(model_weights(one), optimizer_tensors(stepped(one), ["weight", "bias"]), average, {"step": 7})
    save_checkpoint(path, written)
    assert read_progress(path) == {"step": 7}
    found, other = load_checkpoint(path), normed(2)
    load_weights(other, found.weights, path)
    again = torch.optim.Adam(other.parameters())
    restore_optimizer(again, ["weight", "bias"], found.optimizer)
    back = Checkpoint(model_weights(other), optimizer_tensors(again, ["weight", "bias"]), found.average, found.progress)
    for part in ("weights", "optimizer", "average"):
        before, after = getattr(written, part), getattr(back, part)
        assert before.keys() == after.keys()
        assert all(torch.equal(value, after[name]) for name, value in before.items()), part
    assert len(written.weights) == 5
    assert back.progress == {"step": 7}


def test_plain_gradient_descent_has_no_state() -> None:
    module = nn.Linear(2, 3)
    optimizer = torch.optim.SGD(module.parameters())
    module(torch.ones(2)).sum().backward()
    optimizer.step()
    assert optimizer_tensors(optimizer, ["weight", "bias"]) == {}


def test_weights_of_another_model_are_refused_before_any_is_copied(tmp_path: Path) -> None:
    module, own = normed(1), model_weights(normed(2))
    before = {name: value.clone() for name, value in model_weights(module).items()}
    wrong = (
        ("more", {**own, "more": torch.zeros(1)}),
        ("bias", {**own, "bias": torch.zeros(4)}),
        ("bias", {"weight": own["weight"]}),
        ("bias", {name if name != "bias" else "other": value for name, value in own.items()}),
    )
    for name, weights in wrong:
        with pytest.raises(StorageError, match=rf"w\.safetensors does not fit the .* \(first at {name}\)"):
            load_weights(module, weights, tmp_path / "w.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in model_weights(module).items())
    check_weights(module, own, tmp_path)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    path.write_bytes(b"half")
    for read in (load_tensors, load_checkpoint, read_progress):
        with pytest.raises(StorageError, match=r"last\.safetensors is damaged: "):
            read(path)
    for metadata in (None, {"progress": "{"}, {"progress": '{"step": "7"}'}):
        save_file({"weights/a": torch.zeros(1)}, path, metadata)
        for read in (load_checkpoint, read_progress):
            with pytest.raises(StorageError, match=r"last\.safetensors is no checkpoint of dragoman"):
                read(path)


def test_the_state_is_of_all_the_parameters_or_of_none_that_has_made_a_step(tmp_path: Path) -> None:
    module = nn.Linear(2, 3)
    parameters = dict(module.named_parameters())
    state = optimizer_tensors(stepped(module), list(parameters))
    average = {name: value.detach() for name, value in parameters.items()}
    whole, none = Checkpoint({}, state, average, {}), Checkpoint({}, {}, {}, {})
    check_state(whole, parameters, tmp_path, optimized=True, averages=list(parameters))
    check_state(none, parameters, tmp_path, optimized=False, averages=[])
    cases = (
        (none, "lacks the optimiser's state of weight"),
        (Checkpoint({}, state, {}, {}), "lacks the average of weight"),
        (Checkpoint({}, {n: v for n, v in state.items() if "bias" not in n}, average, {}), "optimiser's state of bias"),
        (Checkpoint({}, {n: v for n, v in state.items() if n != "bias/step"}, average, {}), "lacks a part of .* bias"),
        (Checkpoint({}, state, average | {"bias": torch.zeros(1)}, {}), r"does not fit .*\(first at bias\)"),
        (Checkpoint({}, state | {"bias/exp_avg": torch.zeros(1)}, average, {}), r"\(first at bias/exp_avg\)"),
    )
    for wrong, message in cases:
        with pytest.raises(StorageError, match=message):
            check_state(wrong, parameters, tmp_path, optimized=True, averages=list(parameters))


def test_a_system_without_room_for_temporary_files_is_no_fault_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outline(_: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("dragoman.training.checkpoint.outline", outline)
    with pytest.raises(FileNotFoundError, match="temporary"):
        described({}, tmp_path / "config.json")
