"""A bundle is the model in one file: it translates as its directory does, and is whole or refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from test_runtime import run_without_extra

import dragoman
from dragoman import storage
from dragoman.bundle import BUNDLE_VERSION, Bundle, write_bundle
from dragoman.cli import main
from dragoman.errors import DragomanError, StorageError
from dragoman.storage import ModelDirectory


@pytest.fixture(scope="session")
def bundle(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the tiny model, in int8, made by the command."""
    folder = tmp_path_factory.mktemp("bundle")
    model = Path(shutil.copytree(trained, folder / "model"))
    words = ["--precision", "int8", "--bundle", str(folder / "model.dragoman"), "--threads", "1"]
    assert main(["export", str(model), *words]) == 0
    shutil.rmtree(model)
    return folder / "model.dragoman"


def test_a_bundle_translates_as_its_directory_does(trained: Path, bundle: Path) -> None:
    sources = ["source 3 of many", "source 9 of many", "many"]
    expected = dragoman.load(trained, precision="int8").translate(sources, num_hypotheses=3)
    translator = dragoman.load(bundle)
    assert (translator.engine, translator.precision) == ("onnx", "int8")
    found = translator.translate(sources, num_hypotheses=3)
    assert [t.candidates[0].score for t in found] == [t.candidates[0].score for t in expected]
    assert [[c.text for c in t.candidates] for t in found] == [[c.text for c in t.candidates] for t in expected]


def test_commands_take_a_bundle_without_the_training_extra(bundle: Path, tmp_path: Path) -> None:
    expected = dragoman.load(bundle).translate("source 3 of many").text
    (tmp_path / "sources.txt").write_text("source 3 of many\n", encoding="utf-8")
    for words in (
        ["translate", str(bundle), "source 3 of many"],
        ["translate", str(bundle), "--input", str(tmp_path / "sources.txt"), "--precision", "int8"],
    ):
        done = run_without_extra(*words)
        assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr
    (tmp_path / "pairs.tsv").write_text("source 3 of many\tcible 3\n", encoding="utf-8")
    done = run_without_extra("score", str(bundle), str(tmp_path / "pairs.tsv"))
    assert done.returncode == 0, done.stderr
    assert "perplexity" in done.stderr
    done = run_without_extra("info", str(bundle))
    assert done.returncode == 0
    assert "int8" in done.stdout
    assert "size of the bundle" in done.stdout


def test_a_bundle_of_an_older_version_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "GRAPHS_VERSION", storage.GRAPHS_VERSION + 1)
    with pytest.raises(StorageError, match="was made by an older dragoman; make it again with: dragoman export"):
        dragoman.load(bundle)


def test_other_commands_take_a_bundle(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pairs.tsv").write_text("source 3 of many\tcible 3 de tant\n", encoding="utf-8")
    assert main(["evaluate", str(bundle), str(tmp_path / "pairs.tsv")]) == 0
    assert main(["score", str(bundle), str(tmp_path / "pairs.tsv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]["pairs"] == 1


def test_info_says_what_graphs_a_bundle_has(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(bundle), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["onnx"]
    assert (list(found["precisions"]), found["default"]) == (["int8"], "int8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["translate", "{}", "a", "--engine", "torch"], "is a bundle, which only translates: PyTorch needs"),
        (["translate", "{}", "a", "--device", "cuda"], "is a bundle, which only translates: another device needs"),
        (["translate", "{}", "a", "--precision", "float32"], "has no float32 graphs, but int8"),
        (
            ["translate", "{}", "a", "--min-confidence", "0.5"],
            "for the directory that it was made of, and bundle that again",
        ),
        (["export", "{}"], "is a bundle, which only translates: exporting needs"),
        (["inspect", "{}", "a"], "is a bundle, which only translates"),
        (["train", "--resume", "{}"], "is a bundle, which only translates: resuming needs"),
        (
            ["train", "unread.tsv", "--from", "{}", "--out", "{}.m", "--device", "cpu"],
            "is a bundle, which only translates: training on needs",
        ),
    ],
)
def test_what_a_bundle_cannot_do_is_said_in_one_line(
    bundle: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.format(bundle) for word in words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert message in lines[-1]
    assert len(lines) == 1


def test_a_bundle_cannot_be_saved_as_a_directory(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="saving a copy needs the model directory"):
        dragoman.load(bundle).save_pretrained(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_place_where_no_bundle_can_be_is_said_before_any_work(trained: Path, tmp_path: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in trained.rglob("*")}
    with pytest.raises(StorageError, match="is a directory; give a file"):
        dragoman.export(trained, bundle=tmp_path)
    with pytest.raises(StorageError, match=r"a\.dragoman cannot be written: there is no directory .*none"):
        dragoman.export(trained, bundle=tmp_path / "none" / "a.dragoman")
    assert {file: file.stat().st_mtime_ns for file in trained.rglob("*")} == before


def refused(path: Path) -> str:
    with pytest.raises(StorageError) as caught:
        Bundle.open(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_bundle_cut_at_any_length_is_refused(bundle: Path, tmp_path: Path) -> None:
    whole, cut = bundle.read_bytes(), tmp_path / "cut.dragoman"
    for length in [*range(0, len(whole), 997), *range(len(whole) - 60, len(whole))]:
        cut.write_bytes(whole[:length])
        assert "is damaged" in refused(cut) or length < 4
    cut.write_bytes(whole + b"\0")
    assert "is damaged" in refused(cut)


def test_a_bundle_with_any_byte_changed_is_refused(bundle: Path, tmp_path: Path) -> None:
    whole, changed = bundle.read_bytes(), tmp_path / "changed.dragoman"
    for place in [*range(0, len(whole), 997), *range(len(whole) - 100, len(whole))]:
        content = bytearray(whole)
        content[place] ^= 1
        changed.write_bytes(content)
        refused(changed)


def test_a_newer_bundle_is_named(bundle: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer.dragoman"
    old, new = b"dragoman-bundle %03d" % BUNDLE_VERSION, b"dragoman-bundle %03d" % (BUNDLE_VERSION + 1)
    newer.write_bytes(bundle.read_bytes().replace(old, new))
    assert "was bundled by a newer dragoman" in refused(newer)


def test_a_damaged_bundle_is_a_clear_error_of_the_command(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.dragoman").write_bytes(bundle.read_bytes()[:-5])
    assert main(["translate", str(tmp_path / "cut.dragoman"), "a"]) == 2
    assert "cut.dragoman is damaged" in capsys.readouterr().err


def test_a_whole_archive_that_is_no_model_is_a_named_error(tmp_path: Path) -> None:
    write_bundle(tmp_path / "other", {"letter.txt": b"Dear"})
    with pytest.raises(StorageError, match=r"is incomplete: config\.json is missing"):
        ModelDirectory.open(tmp_path / "other")
    (tmp_path / "text").write_text("a")
    with pytest.raises(DragomanError, match="is a file; a model is a directory"):
        dragoman.load(tmp_path / "text")


def sealed(path: Path) -> Path:
    """A ZIP archive with a bundle's checksum."""
    size = len(b"dragoman-bundle 001 crc32=00000000")
    content = path.read_bytes()[:-2] + size.to_bytes(2, "little")
    path.write_bytes(content + b"dragoman-bundle %03d crc32=%08x" % (BUNDLE_VERSION, zlib.crc32(content)))
    return path


def test_a_bundle_that_would_grow_when_it_is_read_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * 10_000_000)
    assert (tmp_path / "bomb").stat().st_size < 20_000
    assert "config.json is compressed" in refused(sealed(tmp_path / "bomb"))


@pytest.mark.parametrize(("place", "value"), [(6, 99), (8, 1), (10, 12)])
def test_an_archive_whose_directory_is_not_true_is_a_named_error(tmp_path: Path, place: int, value: int) -> None:
    """The directory's entry of a member says what reading it takes, whether it is encrypted and how it is packed."""
    with zipfile.ZipFile(tmp_path / "other", "w") as archive:
        archive.writestr("config.json", b"{}")
    content = bytearray((tmp_path / "other").read_bytes())
    content[content.index(b"PK\x01\x02") + place] = value
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(StorageError, match="is damaged"):
        ModelDirectory.open(sealed(tmp_path / "other"))


def test_any_zip_tool_can_read_a_bundle_and_the_same_members_give_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        assert archive.testzip() is None
        members = {name: archive.read(name) for name in archive.namelist()}
    files = json.loads(members["config.json"])["tokenizer"]["files"]
    graphs = [f"onnx/{name}" for name in ("graphs.json", "encoder.int8.onnx", "decoder.int8.onnx")]
    assert sorted(members) == sorted(["config.json", "README.md", *files, *graphs])
    write_bundle(tmp_path / "again", members)
    assert zlib.crc32((tmp_path / "again").read_bytes()) == zlib.crc32(bundle.read_bytes())


def test_nothing_is_unpacked_or_left_behind(bundle: Path, tmp_path: Path) -> None:
    code = "import sys, dragoman; print(dragoman.load(sys.argv[1]).translate('source 3 of many').text)"
    environment = {
        "PATH": "",
        "TMPDIR": str(tmp_path),
        "HOME": str(tmp_path),
        "PYTHONPATH": str(Path(dragoman.__file__).parent.parent),
    }
    command = [sys.executable, "-c", code, str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
