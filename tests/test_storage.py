"""A model directory is whole or refused: every damage has a line that names it."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of the HTTP library that it uses
from safetensors.torch import save_file

from dragoman.errors import StorageError
from dragoman.files import atomic, clear_leftovers, lock, write_text
from dragoman.places import claim, copy_model, locate, placed
from dragoman.storage import FORMAT_VERSION, ModelDirectory, check_safetensors

SIDE = {"files": ["tokenizer.json"], "methods": ["bpe"], "jamo": [False]}
CONFIG: dict[str, Any] = {
    "format_version": FORMAT_VERSION,
    "tokenizer": {"files": ["tokenizer.json"], "source": SIDE, "target": SIDE},
    "parameters": 7,
    **dict.fromkeys(("name", "dragoman_version", "writing"), "text"),
    "normalization": "nfc",
    "recipe": {"metric": "loss"},
    "data": {"read": {"name": "pairs.tsv"}},
    **{name: {} for name in ("architecture", "options", "scores", "run")},
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
    elif kind == "no version":
        config.write_text(json.dumps({**CONFIG, "format_version": None}))


DAMAGES = {
    "cut weights": r"model\.safetensors is damaged: it has [\d,]+ bytes of [\d,]+",
    "cut header": r"model\.safetensors is damaged: it ends within its header",
    "no weights": r"has no model\.safetensors yet: .* dragoman train --resume",
    "no config": r"is no model: it has no config\.json",
    "cut config": r"config\.json is damaged",
    "no tokenizer": r"is incomplete: tokenizer\.json is missing",
    "too new": r"was written by a newer dragoman .* pip install --upgrade dragoman",
    "other json": r"is no model configuration",
    "no version": r"is no model configuration: it has no format_version",
}


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_values_nested_too_deeply_are_damage(model: Path, name: str) -> None:
    (model / name).write_text("[" * 100_000)
    with pytest.raises(StorageError, match=rf"{name} is damaged: its values are nested too deeply"):
        ModelDirectory.open(model)


@pytest.mark.parametrize("name", [name for name in CONFIG if name != "format_version"])
def test_a_part_of_the_configuration_that_is_missing_is_named(model: Path, name: str) -> None:
    for config in ({key: CONFIG[key] for key in CONFIG if key != name}, {**CONFIG, name: None}):
        (model / "config.json").write_text(json.dumps(config))
        with pytest.raises(StorageError, match=rf"config\.json is damaged: {name} is missing$"):
            ModelDirectory.open(model)


@pytest.mark.parametrize(
    "files",
    [
        ["../tokenizer.json"],
        ["tokenizer.json", "../tokenizer.json"],
        ["/tokenizer.json"],
        ["a/b.json"],
        [".."],
        [7],
        "text",
        None,
    ],
)
def test_tokenizers_stand_in_the_model_directory(model: Path, files: object) -> None:
    (model.parent / "tokenizer.json").write_text("{}")
    (model / "config.json").write_text(json.dumps({**CONFIG, "tokenizer": {**CONFIG["tokenizer"], "files": files}}))
    with pytest.raises(StorageError, match=r"config\.json is damaged: tokenizer\.files must be names of files"):
        ModelDirectory.open(model)


@pytest.mark.parametrize(
    "side",
    [
        7,
        {},
        {"files": [], "methods": []},
        {"files": [], "methods": "bpe", "jamo": []},
        {"files": [], "methods": [], "jamo": [], "case": None},
    ],
)
def test_a_side_says_how_it_is_split(model: Path, side: object) -> None:
    (model / "config.json").write_text(json.dumps({**CONFIG, "tokenizer": {**CONFIG["tokenizer"], "source": side}}))
    with pytest.raises(StorageError, match=r"tokenizer\.source must have lists of files, methods, jamo and case$"):
        ModelDirectory.open(model)


def test_a_tokenizer_needs_both_sides(model: Path) -> None:
    (model / "config.json").write_text(json.dumps({**CONFIG, "tokenizer": {"files": [], "source": {}}}))
    with pytest.raises(StorageError, match=r"config\.json is damaged: tokenizer\.target is missing$"):
        ModelDirectory.open(model)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("recipe", {}, r"recipe\.metric is missing$"),
        ("data", {}, r"data\.read is missing$"),
        ("data", {"read": None}, r"data\.read must name the file"),
        ("data", {"read": {"name": None}}, r"data\.read must name the file"),
        ("normalization", "NFC", "normalization must be one of nfc, nfkc, none, but is 'NFC'$"),
    ],
)
def test_what_cannot_stand_in_a_configuration_is_named(model: Path, part: str, value: object, message: str) -> None:
    (model / "config.json").write_text(json.dumps({**CONFIG, part: value}))
    with pytest.raises(StorageError, match=rf"config\.json is damaged: {message}"):
        ModelDirectory.open(model)


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_damage_is_named_in_one_line(model: Path, kind: str) -> None:
    damage(model, kind)
    with pytest.raises(StorageError, match=DAMAGES[kind]) as caught:
        ModelDirectory.open(model)
    assert "\n" not in str(caught.value)


def test_an_advised_command_can_be_pasted(model: Path) -> None:
    place = model.rename(model.with_name("my model"))
    with pytest.raises(StorageError) as caught:
        ModelDirectory.open(place).read_graphs()
    assert shlex.split(str(caught.value).partition("with: ")[2]) == ["dragoman", "export", str(place)]
    damage(place, "no weights")
    with pytest.raises(StorageError) as caught:
        ModelDirectory.open(place)
    assert shlex.split(str(caught.value).partition("with: ")[2]) == ["dragoman", "train", "--resume", str(place)]


def test_a_mistyped_path_gets_the_nearest_name(model: Path) -> None:
    with pytest.raises(StorageError, match=r'there is no model at .*modle; did you mean "model"\?'):
        ModelDirectory.open(model.parent / "modle")


def test_an_empty_name_is_not_the_folder_that_one_is_in(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model)
    with pytest.raises(StorageError, match="a model's name must not be empty"):
        locate("")


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
    "header",
    [
        b"[]",
        b'{"a": []}',
        b'{"a": {"data_offsets": []}}',
        b'{"a": {"data_offsets": [0]}}',
        b'{"a": {"data_offsets": [0, "x"]}}',
        b'{"a": {"data_offsets": [0, null]}}',
        b"[" * 100_000,
    ],
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
    path, other = tmp_path / "file[1]", tmp_path / ".file1.9.tmp"
    write_text(path, "old")
    write_text(other, "of another file")
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False)
    assert killed.returncode < 0
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 3
    clear_leftovers(path.parent, path.name)
    assert set(tmp_path.iterdir()) == {path, other}


def test_what_another_process_is_writing_is_not_taken_for_left_over(tmp_path: Path) -> None:
    half = tmp_path / ".decoder.int8.onnx.9.tmp"
    half.write_text("half")
    folder = os.open(tmp_path, os.O_RDONLY)  # as an export has it while it writes
    assert lock(folder)
    clear_leftovers(tmp_path)
    assert half.exists()
    os.close(folder)
    clear_leftovers(tmp_path)
    assert not half.exists()


def test_a_pipe_is_written_on_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        with atomic(pipe) as path, path.open("w") as stream:
            stream.write("text")
        assert reader.communicate(timeout=60)[0] == b"text"
    assert pipe.is_fifo()


def test_claiming_needs_room_or_leave(model: Path) -> None:
    with pytest.raises(StorageError, match="exists; choose another `out`, or give `overwrite`"):
        claim(model, overwrite=False)
    claim(model, overwrite=True)
    assert ModelDirectory.open(model.with_name("model.old"))
    assert os.listdir(model) == []  # noqa: PTH208
    claim(model, overwrite=False)  # an empty directory is free


def test_a_model_that_cannot_be_moved_keeps_the_one_before_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim(model, overwrite=True)
    (model / "config.json").write_text("{}")
    rename = Path.rename

    def busy(path: Path, target: Path) -> Path:
        if path == model:  # as where a disk is mounted
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", busy)
    with pytest.raises(StorageError, match="model cannot be made: Device or resource busy"):
        claim(model, overwrite=True)
    assert ModelDirectory.open(model.with_name("model.old"))
    assert len(list(model.parent.iterdir())) == 2


def test_where_a_disk_is_mounted_no_model_is_made_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == disk)
    found = "disk is where a disk is mounted, which cannot be replaced; choose a folder in it, as .*disk/model"
    with pytest.raises(StorageError, match=found), placed(disk, overwrite=False):
        pytest.fail("it can take hours until its folder gets the name")
    with placed(disk / "model", overwrite=False):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["disk", "model"]


def test_a_kill_while_a_model_was_moved_is_not_in_the_way_of_the_next(model: Path) -> None:
    shutil.copytree(model, model.with_name("model.old"))
    shutil.copytree(model, model.with_name(".model.old.tmp"))  # `placed` removes it only where folders can be locked
    claim(model, overwrite=True)
    assert sorted(path.name for path in model.parent.iterdir()) == ["model", "model.old"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("out", [".", "onnx/.."])
def test_a_claim_needs_a_name(model: Path, monkeypatch: pytest.MonkeyPatch, out: str, overwrite: bool) -> None:
    (model / "onnx").mkdir()
    monkeypatch.chdir(model)
    with pytest.raises(StorageError, match=re.escape(f"{out} is not empty; give `out` by its name")):
        claim(Path(out), overwrite=overwrite)


_KILLED_IN_A_FOLDER = """
import os, pathlib, signal, sys
from dragoman.places import placed
with placed(pathlib.Path(sys.argv[1]), overwrite=False) as folder:
    (folder / "data").write_text("much")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_of_a_model_goes_with_the_next_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "model"
    killed = subprocess.run([sys.executable, "-c", _KILLED_IN_A_FOLDER, str(out)], check=False)
    assert killed.returncode < 0
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / ".model.notes").mkdir()
    with placed(out, overwrite=True) as folder, placed(out, overwrite=False) as other:  # at the same time
        assert {path.name for path in tmp_path.iterdir()} == {folder.name, other.name, ".model.notes"}
        (other / "config.json").write_text("{}")
    assert {path.name for path in tmp_path.iterdir()} == {"model", "model.old", ".model.notes"}


def test_a_new_model_is_open_to_those_that_the_user_lets_in(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with placed(tmp_path / "model", overwrite=False):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o750


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As if the disk were full after so many bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_copy_for_which_the_disk_has_no_room_leaves_what_was_there(model: Path, tmp_path: Path) -> None:
    (model / "README.md").write_text("a model")
    shutil.copytree(model, tmp_path / "kept")
    (tmp_path / "empty").mkdir()
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    for name in ("kept", "empty", "new"):
        with files_of_at_most(300), pytest.raises(StorageError, match=f"{name} cannot be made: there is no space left"):
            copy_model(ModelDirectory.open(model), tmp_path / name, overwrite=True)
        assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before
    for name in ("kept", "empty", "new"):
        copy_model(ModelDirectory.open(model), tmp_path / name, overwrite=True)
        assert ModelDirectory.open(tmp_path / name)
    assert ModelDirectory.open(tmp_path / "kept.old")


def test_an_old_model_is_copied_into_an_empty_folder_of_its_name(model: Path) -> None:
    old = model.rename(model.with_name("model.old"))
    model.mkdir()
    copy_model(ModelDirectory.open(old), model, overwrite=False)
    assert ModelDirectory.open(model).config == ModelDirectory.open(old).config


def test_an_error_is_said_of_the_file_and_not_of_its_temporary_name(tmp_path: Path) -> None:
    with files_of_at_most(10), pytest.raises(OSError, match=r"too large: '.*/notes\.txt'$"):
        write_text(tmp_path / "notes.txt", "longer than that")
    with pytest.raises(OSError, match=r"No such file or directory: '.*/notes\.txt'$"), atomic(tmp_path / "notes.txt"):
        pass  # nothing was written


def test_a_read_only_disk_is_said_of_the_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There even the removal of a file that does not exist fails."""

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match="Read-only") as caught:
        write_text(tmp_path / "out.txt", "new")
    assert caught.value.filename == str(tmp_path / "out.txt")


def test_graphs_for_which_the_disk_has_no_room_leave_those_that_were_there(model: Path) -> None:
    directory = ModelDirectory.open(model)

    def write(content: bytes) -> None:
        graphs = dict.fromkeys(("float32", "int8"), (b"encoder", content))
        facts: dict[str, Any] = {name: {} for name in graphs}
        directory.write_graphs(graphs, weights=directory.weights_sum, default=lambda _: "int8", facts=facts)

    write(b"decoder")
    with files_of_at_most(1_000), pytest.raises(OSError, match="too large"):
        write(bytes(2_000))
    assert directory.read_graphs("int8") == (b"encoder", b"decoder")
    assert not list((model / "onnx").glob(".*"))


def test_a_folder_beside_the_graphs_stays_and_is_not_in_their_way(model: Path) -> None:
    """Some systems and editors put folders of their own everywhere: the graphs were removed before that was found."""
    (model / "onnx" / ".ipynb_checkpoints").mkdir(parents=True)
    (model / "onnx" / "old.onnx").touch()
    directory = ModelDirectory.open(model)
    graphs, facts = {"int8": (b"encoder", b"decoder")}, {"int8": dict[str, Any]()}
    directory.write_graphs(graphs, weights=directory.weights_sum, default=lambda _: "int8", facts=facts)
    assert directory.read_graphs() == (b"encoder", b"decoder")
    assert (model / "onnx" / ".ipynb_checkpoints").is_dir()
    assert not (model / "onnx" / "old.onnx").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "onnx/graphs.json"])
def test_a_file_of_another_user_is_not_called_damaged(
    name: str, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = io.open

    def refuse(path: Any, *given: Any, **options: Any) -> Any:
        if path == trained / name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *given, **options)

    monkeypatch.setattr(io, "open", refuse)
    with pytest.raises(StorageError, match=rf"{name} cannot be read: Permission denied$"):
        _ = ModelDirectory.open(trained).precisions


def test_overwrite_is_advised_only_where_it_would_do_something(model: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="choose another `out`, or give `overwrite` to move it to"):
        claim(model, overwrite=False)
    (tmp_path / "pairs.tsv").touch()
    with pytest.raises(StorageError, match=r"pairs\.tsv exists; choose another `out`$"):
        claim(tmp_path / "pairs.tsv", overwrite=False)


def test_graphs_are_written_by_one_process_at_a_time(model: Path) -> None:
    directory = ModelDirectory.open(model)
    graphs, facts = {"int8": (b"encoder", b"decoder")}, {"int8": dict[str, Any]()}
    (model / "onnx").mkdir()
    other = os.open(model / "onnx", os.O_RDONLY)
    assert lock(other)
    with pytest.raises(StorageError, match="model is being exported by another process; wait for it"):
        directory.write_graphs(graphs, weights=directory.weights_sum, default=lambda _: "int8", facts=facts)
    os.close(other)
    directory.write_graphs(graphs, weights=directory.weights_sum, default=lambda _: "int8", facts=facts)
    other = os.open(model / "onnx", os.O_RDONLY)
    assert lock(other)
    with pytest.raises(StorageError, match="model is being exported by another process; wait for it"):
        directory.add_graphs({"int8": b"for a shortlist"})
    os.close(other)


def test_paths_come_before_hub_names(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent.parent)
    assert locate(f"{model.parent.name}/model") == Path(f"{model.parent.name}/model")
    assert locate("/no/such/place") == Path("/no/such/place")


@pytest.mark.parametrize(
    ("error", "reason"), [(HTTPError("peer closed connection"), "peer closed connection"), (OSError(), "OSError")]
)
def test_a_download_that_breaks_off_is_an_error_of_ours(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", broken)
    with pytest.raises(StorageError, match=f"no model at someone/nothing, and the hub gave none: {reason}$"):
        locate("someone/nothing")
