"""A model directory is whole or refused: every damage has a line that names it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from dragoman.errors import StorageError
from dragoman.files import atomic, write_text
from dragoman.places import claim, locate
from dragoman.storage import FORMAT_VERSION, ModelDirectory, check_safetensors

CONFIG: dict[str, Any] = {
    "format_version": FORMAT_VERSION,
    "tokenizer": {"files": ["tokenizer.json"], "source": {}, "target": {}},
    "writing": "spaced",
    "normalization": "nfc",
    **{name: {} for name in ("architecture", "options", "recipe", "data")},
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    save_file({"a": torch.ones(100), "b": torch.zeros(3, 4)}, path / "model.safetensors")
    (path / "tokenizer.json").write_text("{}")
    (path / "config.json").write_text(json.dumps(CONFIG))
    return path


def test_a_whole_directory_opens(model: Path) -> None:
    assert ModelDirectory.open(model).weights == model / "model.safetensors"


def damage(model: Path, kind: str) -> None:
    config, weights = model / "config.json", model / "model.safetensors"
    if kind == "cut weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif kind == "cut header":
        weights.write_bytes(weights.read_bytes()[:20])
    elif kind == "no weights":
        weights.unlink()
    elif kind == "no config":
        config.unlink()
    elif kind == "cut config":
        config.write_text(config.read_text()[:10])
    elif kind == "no tokenizer":
        (model / "tokenizer.json").unlink()
    elif kind == "too new":
        config.write_text(json.dumps({"format_version": FORMAT_VERSION + 1}))
    elif kind == "other json":
        config.write_text("[1, 2]")


DAMAGES = {
    "cut weights": r"model\.safetensors is damaged: it has [\d,]+ bytes of [\d,]+",
    "cut header": r"model\.safetensors is damaged: it ends within its header",
    "no weights": r"has no model\.safetensors yet: .* dragoman train --resume",
    "no config": r"is no model: it has no config\.json",
    "cut config": r"config\.json is damaged",
    "no tokenizer": r"is incomplete: tokenizer\.json is missing",
    "too new": r"was written by a newer dragoman .* pip install --upgrade dragoman",
    "other json": r"is no model configuration",
}


@pytest.mark.parametrize("name", [name for name in CONFIG if name != "format_version"])
def test_a_part_of_the_configuration_that_is_missing_is_named(model: Path, name: str) -> None:
    for config in ({key: CONFIG[key] for key in CONFIG if key != name}, {**CONFIG, name: None}):
        (model / "config.json").write_text(json.dumps(config))
        with pytest.raises(StorageError, match=rf"config\.json is damaged: {name} is missing$"):
            ModelDirectory.open(model)


def test_a_tokenizer_needs_both_sides(model: Path) -> None:
    (model / "config.json").write_text(json.dumps({**CONFIG, "tokenizer": {"files": [], "source": {}}}))
    with pytest.raises(StorageError, match=r"config\.json is damaged: tokenizer\.target is missing$"):
        ModelDirectory.open(model)


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_damage_is_named_in_one_line(model: Path, kind: str) -> None:
    damage(model, kind)
    with pytest.raises(StorageError, match=DAMAGES[kind]) as caught:
        ModelDirectory.open(model)
    assert "\n" not in str(caught.value)


def test_a_mistyped_path_gets_the_nearest_name(model: Path) -> None:
    with pytest.raises(StorageError, match=r'there is no model at .*modle; did you mean "model"\?'):
        ModelDirectory.open(model.parent / "modle")


def test_a_file_is_no_model(model: Path) -> None:
    with pytest.raises(StorageError, match="is a file; a model is a directory"):
        ModelDirectory.open(model / "config.json")


def test_weights_of_any_cut_length_are_refused(model: Path) -> None:
    whole = (model / "model.safetensors").read_bytes()
    for length in range(0, len(whole), 37):
        (model / "model.safetensors").write_bytes(whole[:length])
        with pytest.raises(StorageError, match="is damaged"):
            check_safetensors(model / "model.safetensors")


@pytest.mark.parametrize(
    "header", [b"[]", b'{"a": []}', b'{"a": {"data_offsets": []}}', b'{"a": {"data_offsets": [0]}}']
)
def test_weights_with_a_header_of_another_kind_are_damaged(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(StorageError, match="is damaged"):
        check_safetensors(path)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def write_half() -> None:
        with atomic(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


_KILLED = """
import os, pathlib, signal, sys
from dragoman.files import atomic
with atomic(pathlib.Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False)
    assert killed.returncode < 0
    assert path.read_text() == "old"


def test_a_pipe_is_written_on_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        with atomic(pipe) as path, path.open("w") as stream:
            stream.write("text")
        assert reader.communicate(timeout=60)[0] == b"text"
    assert pipe.is_fifo()


def test_claiming_needs_room_or_leave(model: Path) -> None:
    with pytest.raises(StorageError, match="exists; choose another --out, or give --overwrite"):
        claim(model, overwrite=False)
    claim(model, overwrite=True)
    assert ModelDirectory.open(model.with_name("model.old"))
    assert os.listdir(model) == []  # noqa: PTH208
    claim(model, overwrite=False)  # an empty directory is free


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("out", [".", "onnx/.."])
def test_a_claim_needs_a_name(model: Path, monkeypatch: pytest.MonkeyPatch, out: str, overwrite: bool) -> None:
    (model / "onnx").mkdir()
    monkeypatch.chdir(model)
    with pytest.raises(StorageError, match=re.escape(f"{out} is not empty; give --out by its name")):
        claim(Path(out), overwrite=overwrite)


def test_paths_come_before_hub_names(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent.parent)
    assert locate(f"{model.parent.name}/model") == Path(f"{model.parent.name}/model")
    assert locate("/no/such/place") == Path("/no/such/place")
