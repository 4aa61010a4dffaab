"""The model directory: its layout, its graphs, and the checks on opening; does not know what the weights mean.

    MODEL/
      config.json            everything but the weights: format, architecture, options, data, scores
      model.safetensors      the weights
      tokenizer*.json        one for both sides, or one each (or one per source column)
      README.md              the model card
      training.svg           the curves of training
      test.jsonl             the held-out test part, if one was asked for
      onnx/                  the model as ONNX graphs, two per precision, and graphs.json, which says of which weights
      shortlist.npz          which target ids each source id may become, if `dragoman shortlist` made it
      training/              what exact resume needs: data, the last checkpoint, the log

Every file is written under a temporary name and renamed, so a crash leaves the old one or the new one.

A *bundle* is one file that holds what translating needs: the configuration, the tokenisers and the graphs of one precision.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final, get_args

from dragoman.bundle import NO_ARCHIVE, Bundle, write_bundle
from dragoman.corpus.cleaning import Normalization
from dragoman.errors import StorageError, counted, nearest
from dragoman.files import (
    as_word,
    atomic,
    checksum,
    checksum_of,
    is_plain_name,
    lock,
    parse_json,
    through_link,
    write_json,
)

FORMAT_VERSION = 1
"""Raised when an older dragoman could no longer read what a newer one writes; see CHANGELOG.md."""

CONFIG, WEIGHTS, CARD, CURVES, TEST = "config.json", "model.safetensors", "README.md", "training.svg", "test.jsonl"
TRAINING = "training"
SHORTLIST = "shortlist.npz"
SHORTLIST_VERSION = 1
"""Raised when an older dragoman could no longer read the shortlists of a newer one."""
GRAPHS, GRAPH_LIST = "onnx", "graphs.json"
GRAPHS_VERSION = 3
"""Raised when an older dragoman could no longer run what a newer one exports, or a newer one must not run what an older one did."""
_PARTS: Final[dict[str, type]] = {
    "name": str,
    "dragoman_version": str,
    "parameters": int,
    "architecture": dict,
    "tokenizer": dict,
    "writing": str,
    "normalization": str,
    "options": dict,
    "recipe": dict,
    "data": dict,
    "scores": dict,
    "run": dict,
}
"""What every configuration has."""
_WITHIN: Final[dict[str, tuple[str, ...]]] = {
    "tokenizer": ("files", "source", "target"),
    "recipe": ("metric",),
    "data": ("read",),
}
"""What some of these have in turn."""
PRECISIONS: Final = ("float32", "int8", "float16")
"""What the numbers in graphs may be."""


class ModelDirectory:
    """A model on disk, opened and checked: its configuration and the paths of its parts."""

    def __init__(self, path: Path, config: dict[str, Any], bundle: Bundle | None = None) -> None:
        self.path = path
        self.config = config
        self._bundle = bundle
        self._known_sum: tuple[tuple[int, int], str] | None = None

    @classmethod
    def open(cls, path: str | Path, *, weights: bool = True) -> ModelDirectory:
        """Open a model directory or a bundle; a `StorageError` says what is missing, damaged or too new.

        `weights=False` accepts one whose training has not yet kept any (to resume it).
        """
        path = Path(path)
        bundle = Bundle.open(path) if path.is_file() else None
        config = _read_config(path) if bundle is None else _parse_config(path, f"{path}: {CONFIG}", bundle.read(CONFIG))
        directory = cls(path, config, bundle)
        for name in config["tokenizer"]["files"]:
            directory._check_tokenizer(name)
        if weights and bundle is None:
            if not directory.weights.exists():
                raise StorageError(
                    f"{path} has no {WEIGHTS} yet: its training was stopped early; go on with: "
                    f"dragoman train --resume {as_word(path)}"
                )
            check_safetensors(directory.weights)
        return directory

    @property
    def is_bundle(self) -> bool:
        """Whether it is one file, which has no weights for PyTorch."""
        return self._bundle is not None

    def require_folder(self, purpose: str) -> None:
        """Raise `StorageError` if this is a bundle, because `purpose` ("looking inside") needs all of a model."""
        if self.is_bundle:
            raise StorageError(
                f"{self.path} is a bundle, which only translates: {purpose} needs the model directory that it was made of"
            )

    @property
    def weights(self) -> Path:
        """The weights' file; a bundle has none."""
        self.require_folder("PyTorch")
        return self.path / WEIGHTS

    @property
    def training(self) -> Path:
        """The folder of what exact resume needs."""
        return self.path / TRAINING

    @property
    def graphs(self) -> Path:
        """The folder of the ONNX graphs."""
        return self.path / GRAPHS

    @property
    def renewal(self) -> str:
        """What to do about graphs that cannot be used."""
        return (
            "make it again with: dragoman export"
            if self.is_bundle
            else f"make them again with: dragoman export {as_word(self.path)}"
        )

    @property
    def has_graphs(self) -> bool:
        """Whether the model was exported; `read_graphs` says whether the graphs can be used."""
        return self.is_bundle or (self.graphs / GRAPH_LIST).exists()

    @property
    def graphs_are_stale(self) -> bool:
        """Whether the graphs were made of other weights or another architecture, or by an older dragoman."""
        return not self.is_bundle and self._is_stale(self._graph_list())

    @property
    def precisions(self) -> dict[str, dict[str, Any]]:
        """What there are graphs of, with what is known of each."""
        return dict(self._graph_list()["precisions"])

    def choose_precision(self, precision: str) -> str:
        """The precision asked for, or with "auto" the default of the graphs; a `StorageError` says if there is none such."""
        listed = self._usable_list()
        chosen = listed["default"] if precision == "auto" else precision
        if chosen not in listed["precisions"]:
            made = (
                "" if self.is_bundle else f"; make them with: dragoman export {as_word(self.path)} --precision {chosen}"
            )
            known = ", ".join(listed["precisions"]) or "none"
            raise StorageError(f"{self.path} has no {chosen} graphs, but {known}{made}")
        return str(chosen)

    def write_graphs(
        self,
        graphs: dict[str, tuple[bytes, bytes]],
        *,
        weights: str,
        default: Callable[[dict[str, Any]], str],
        facts: dict[str, dict[str, Any]],
    ) -> None:
        """Write the encoder's and the decoder's graph of each precision, and last the list that vouches for them.

        `weights` is what `weights_sum` was when the graphs were made: a training may have put others there since, which is a
        `StorageError`. `facts` are what is known of each precision. Graphs of other precisions stay if they are of these weights.
        Of all, `default` chooses what runs if nothing else is asked for.
        """
        if self._weights_sum() != weights:
            raise StorageError(
                f"the weights of {self.path} were replaced while they were exported, so no graphs were written; is it being trained? "
                f"Then export it after that: dragoman export {as_word(self.path)}"
            )
        self.graphs.mkdir(exist_ok=True)
        with self._sole_exporter():
            precisions = self._kept_graphs()
            with ExitStack() as whole:  # a disk that is full leaves the old ones
                for precision, contents in graphs.items():
                    files = dict(zip(graph_names(precision), contents, strict=True))
                    for name, content in files.items():
                        whole.enter_context(atomic(self.graphs / name)).write_bytes(content)
                    sums = {name: checksum_of(content) for name, content in files.items()}
                    precisions[precision] = {"files": sums, **facts[precision]}
                (self.graphs / GRAPH_LIST).unlink(missing_ok=True)
            for file in self.graphs.iterdir():
                if file.is_file() and not any(file.name in kept["files"] for kept in precisions.values()):
                    file.unlink()
            write_json(self.graphs / GRAPH_LIST, self._list_of(precisions, default(precisions), weights))

    @contextmanager
    def _sole_exporter(self) -> Iterator[None]:
        """Keep other processes from writing graphs as long as the block runs."""
        with ExitStack() as opened:
            with suppress(OSError):  # not every system opens folders
                folder = os.open(self.graphs, os.O_RDONLY)
                opened.callback(os.close, folder)
                if lock(folder) is False:
                    raise StorageError(f"{self.path} is being exported by another process; wait for it")
            yield

    def _list_of(self, precisions: dict[str, Any], default: str, weights: str) -> dict[str, Any]:
        return {
            "format_version": GRAPHS_VERSION,
            "weights": weights,
            "architecture": self.config["architecture"],
            "default": default,
            "precisions": precisions,
        }

    def _kept_graphs(self) -> dict[str, Any]:
        """The list's entries whose graphs are whole, and of these weights."""
        try:
            listed = self._graph_list()
        except StorageError:
            return {}
        precisions: dict[str, Any] = {} if self._is_stale(listed) else listed["precisions"]
        return {precision: known for precision, known in precisions.items() if self._are_whole(known["files"])}

    def _are_whole(self, sums: dict[str, str]) -> bool:
        files = {self.graphs / name: known for name, known in sums.items()}
        return all(file.is_file() and checksum(file) == known for file, known in files.items())

    def add_graphs(self, graphs: dict[str, bytes]) -> None:
        """Add to graphs that are of these weights, by their precision, the decoder's graph for a shortlist."""
        with self._sole_exporter():
            listed = self._usable_list()
            for precision, content in graphs.items():
                name = shortlist_graph_name(precision)
                with atomic(self.graphs / name) as temporary:
                    temporary.write_bytes(content)
                listed["precisions"][precision]["files"][name] = checksum_of(content)
            write_json(self.graphs / GRAPH_LIST, listed)

    def read_graphs(self, precision: str = "auto", *, shortlist: bool = False) -> tuple[bytes, bytes]:
        """The encoder's and the decoder's graph (the one for a shortlist, if asked for).

        A `StorageError` says if they are missing, damaged, too new or stale.
        """
        listed = self._usable_list()
        precision = self.choose_precision(precision)
        files = listed["precisions"][precision]["files"]
        encoder, decoder = graph_names(precision)
        if shortlist:
            decoder = shortlist_graph_name(precision)
            if decoder not in files:
                raise StorageError(f"{self.path} has no {precision} graph for its shortlist; {self.renewal}")
        return self._graph(encoder, files), self._graph(decoder, files)

    @property
    def has_shortlist(self) -> bool:
        """Whether `dragoman shortlist` made one; `read_shortlist` says whether it can be used."""
        return (self.path / SHORTLIST).exists() if self._bundle is None else SHORTLIST in self._bundle

    def write_shortlist(self, arrays: Mapping[str, Any], facts: dict[str, Any]) -> None:
        """Write a shortlist's arrays, with what is known of it, for the vocabularies of this model."""
        import numpy as np

        known = {"format_version": SHORTLIST_VERSION, "vocabularies": self._vocabularies_sum(), **facts}
        with atomic(self.path / SHORTLIST) as temporary, temporary.open("wb") as file:
            np.savez(file, facts=np.array(json.dumps(known)), **arrays)

    def read_shortlist(self) -> dict[str, Any]:
        """A shortlist's arrays; a `StorageError` says if it is missing, damaged, too new or for other vocabularies."""
        import numpy as np

        file, command = self.path / SHORTLIST, f"dragoman shortlist {as_word(self.path)}"
        if not self.has_shortlist:
            if self.is_bundle:
                command = "dragoman shortlist, for the directory that it was made of, and bundle that again"
            raise StorageError(f"{self.path} has no shortlist; make it with: {command}")
        try:
            with np.load(io.BytesIO(self._read(SHORTLIST)), allow_pickle=False) as archive:
                if any(member.compress_type != zipfile.ZIP_STORED for member in archive.zip.infolist()):
                    raise ValueError("it is compressed")  # and may be a thousand times as large as it looks
                arrays = {name: archive[name] for name in archive.files}
            facts = parse_json(str(arrays.pop("facts")))
            version, vocabularies = int(facts["format_version"]), facts["vocabularies"]
            arrays = {name: arrays[name] for name in ("offsets", "ids", "frequent", "vocab_size")}
        except (KeyError, TypeError, *NO_ARCHIVE) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StorageError(f"{file} is damaged: {reason}; make it again with: {command}") from None
        if version > SHORTLIST_VERSION:
            raise StorageError(
                f"{file} was written by a newer dragoman; make it again with: {command}, or upgrade with: "
                "pip install --upgrade dragoman"
            )
        if vocabularies != self._vocabularies_sum():
            raise StorageError(f"{file} is for other vocabularies; make it again with: {command}")
        return {**arrays, "vocab_size": int(arrays["vocab_size"])}

    def _vocabularies_sum(self) -> str:
        files = self.config["tokenizer"]["files"]
        return checksum_of("\n".join(text_sum(self.read_text(name)) for name in files).encode())

    def _usable_list(self) -> dict[str, Any]:
        """The list of graphs, if it is of these weights."""
        if not self.has_graphs:
            raise StorageError(f"{self.path} has no ONNX graphs; make them with: dragoman export {as_word(self.path)}")
        listed = self._graph_list()
        if self.is_bundle and listed["format_version"] < GRAPHS_VERSION:
            raise StorageError(f"{self.path} was made by an older dragoman; {self.renewal}")
        if not self.is_bundle and self._is_stale(listed):
            raise StorageError(
                f"the ONNX graphs of {self.path} are of other weights or an older dragoman; {self.renewal}"
            )
        return listed

    @cached_property
    def weights_sum(self) -> str:
        """The weights' checksum when it was first asked for; for a bundle that of the weights which its graphs were made of."""
        return str(self._graph_list()["weights"]) if self.is_bundle else self._weights_sum()

    def check_unchanged(self) -> None:
        """Raise `StorageError` if the weights that had the checksum `weights_sum` are no longer there."""
        with suppress(OSError):
            if self.is_bundle or self._weights_sum() == self.weights_sum:
                return
        gone = f"{self.path} was replaced, moved or removed after it was loaded"
        if not self.path.is_absolute():
            gone += ", or the current directory is another now: give its absolute path"
        raise StorageError(f"{gone}; load it again")

    def _weights_sum(self) -> str:
        """The weights' checksum, which takes a while, computed once for each change of the file."""
        status = self.weights.stat()
        now = (status.st_mtime_ns, status.st_size)
        if self._known_sum is None or self._known_sum[0] != now:
            self._known_sum = (now, checksum(self.weights))
        return self._known_sum[1]

    def _graph(self, name: str, sums: dict[str, str]) -> bytes:
        file = self.graphs / name
        if self._bundle is None and not file.exists():
            raise StorageError(f"{file} is missing; {self.renewal}")
        content = self._read(f"{GRAPHS}/{name}")
        if not self.is_bundle and checksum_of(content) != sums.get(name):
            raise StorageError(f"{file} is damaged; {self.renewal}")
        return content

    def _is_stale(self, listed: dict[str, Any]) -> bool:
        return bool(
            listed["format_version"] < GRAPHS_VERSION
            or listed["weights"] != self._weights_sum()
            or listed["architecture"] != self.config["architecture"]
        )

    def _graph_list(self) -> dict[str, Any]:
        file = self.graphs / GRAPH_LIST
        try:
            listed = parse_json(self._read(f"{GRAPHS}/{GRAPH_LIST}"))
            version = int(listed["format_version"])
            missing = {"weights", "architecture", "default", "precisions"} - set(listed)
        except PermissionError as error:
            raise StorageError(f"{file} cannot be read: {error.strerror}") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{file} is damaged: {error!r}; {self.renewal}") from None
        if version > GRAPHS_VERSION:
            raise StorageError(
                f"the ONNX graphs of {self.path} were written by a newer dragoman; {self.renewal}, or upgrade with: "
                "pip install --upgrade dragoman"
            )
        if version == GRAPHS_VERSION and (missing or not _lists_graphs(listed["precisions"], listed["default"])):
            raise StorageError(f"{file} is damaged: it does not say what the graphs are; {self.renewal}")
        return {**listed, "format_version": version}

    def write_bundle(self, path: Path, *, precision: str) -> None:
        """Write one file of what translating needs: configuration, tokenisers, the graphs of one precision, a shortlist."""
        encoder, decoder = self.read_graphs(precision)
        precision = self.choose_precision(precision)
        graphs = dict(zip(graph_names(precision), (encoder, decoder), strict=True))
        listed = self._list_of({precision: self.precisions[precision]}, precision, self._weights_sum())
        names = [*self.config["tokenizer"]["files"], *([CARD] if (self.path / CARD).exists() else [])]
        if self.has_shortlist:
            self.read_shortlist()
            _, graphs[shortlist_graph_name(precision)] = self.read_graphs(precision, shortlist=True)
            names.append(SHORTLIST)
        onnx = {"default": precision, "precisions": {precision: self.precisions[precision]["parity"]}}
        config = self.config | {"onnx": self.config["onnx"] | onnx}  # which says what the bundle has
        members = {
            CONFIG: json.dumps(config, ensure_ascii=False, indent=2).encode(),
            **{name: self._read(name) for name in names},
            f"{GRAPHS}/{GRAPH_LIST}": json.dumps(listed, ensure_ascii=False).encode(),
            **{f"{GRAPHS}/{name}": content for name, content in graphs.items()},
        }
        try:
            with atomic(through_link(path)) as temporary:
                write_bundle(temporary, members)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}") from None

    def _read(self, name: str) -> bytes:
        """One file of the directory, or member of the bundle."""
        return (self.path / name).read_bytes() if self._bundle is None else self._bundle.read(name)

    def read_text(self, name: str) -> str:
        """One text file of the directory."""
        try:
            return self._read(name).decode()
        except FileNotFoundError:
            raise StorageError(f"{self.path} is incomplete: {name} is missing") from None
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError(f"{self.path / name} cannot be read: {error}") from None

    def _check_tokenizer(self, name: str) -> None:
        """Raise `StorageError` unless a file of a tokenizer is whole, and the one that the model was trained with."""
        text = self.read_text(name)
        try:
            parse_json(text)
        except ValueError as error:
            raise StorageError(f"{self.path / name} is damaged: {error}") from None
        own, known = text_sum(text), self.config["tokenizer"].get("checksums", {})  # an older version wrote none
        if isinstance(known, dict) and known.get(name, own) != own:
            raise StorageError(
                f"{self.path / name} is not what the model was trained with (its checksum is another): put that back, or copy the "
                "whole model again"
            )

    def read_test(self) -> list[tuple[str, str]]:
        """The (source, target) pairs of the held-out test part, clean as training had them; none without one."""
        if not (self.path / TEST).exists():
            return []
        try:
            rows = [parse_json(line) for line in self.read_text(TEST).split("\n") if line]
            return [(str(row["source"]), str(row["target"])) for row in rows]
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{self.path / TEST} is damaged: {type(error).__name__}: {error}") from None

    def fingerprint(self) -> str:
        """A checksum of all that outputs come from: configuration, tokenizers, weights, a shortlist."""
        if self.is_bundle:
            return checksum(self.path)
        names = [CONFIG, WEIGHTS, *self.config["tokenizer"]["files"]]
        names += [SHORTLIST] if self.has_shortlist else []
        return checksum_of("\n".join(checksum(self.path / name) for name in names).encode())

    def write_config(self) -> None:
        """Write the configuration as it now is."""
        self.require_folder("a change")
        write_json(self.path / CONFIG, self.config)

    def update_config(self, part: str, facts: dict[str, Any]) -> None:
        """Write one part of the configuration; the others stay as another process may have written them since."""
        self.require_folder("a change")
        self.config = _read_config(self.path) | {part: facts}
        self.write_config()


def _read_config(path: Path) -> dict[str, Any]:
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
        hint = nearest(path.name, siblings)
        raise StorageError(f"there is no model at {path}{f'; {hint}' if 'did you mean' in hint else ''}")
    file = path / CONFIG
    if not file.exists():
        raise StorageError(f"{path} is no model: it has no {CONFIG}")
    try:
        content = file.read_bytes()
    except PermissionError as error:
        raise StorageError(f"{file} cannot be read: {error.strerror}") from None
    except OSError as error:
        raise StorageError(f"{file} is damaged: {error}") from None
    return _parse_config(path, str(file), content)


def _parse_config(path: Path, file: str, content: bytes) -> dict[str, Any]:
    try:
        config = parse_json(content)
    except ValueError as error:
        raise StorageError(f"{file} is damaged: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("format_version"), int):
        raise StorageError(f"{file} is no model configuration: it has no format_version")
    if config["format_version"] > FORMAT_VERSION:
        raise StorageError(
            f"{path} was written by a newer dragoman (format {config['format_version']}, this one reads up to "
            f"{FORMAT_VERSION}): upgrade with: pip install --upgrade dragoman"
        )
    missing = [name for name, kind in _PARTS.items() if not isinstance(config.get(name), kind)]
    if not missing:
        missing = [f"{part}.{name}" for part, names in _WITHIN.items() for name in names if name not in config[part]]
    if missing:
        raise StorageError(f"{file} is damaged: {missing[0]} is missing")
    if config["normalization"] not in get_args(Normalization):
        known = ", ".join(get_args(Normalization))
        raise StorageError(
            f"{file} is damaged: normalization must be one of {known}, but is {config['normalization']!r:.80}"
        )
    if not isinstance(config["data"]["read"], dict) or not isinstance(config["data"]["read"].get("name"), str):
        raise StorageError(f"{file} is damaged: data.read must name the file that was read")
    for side in ("source", "target"):
        of = config["tokenizer"][side]
        given: dict[str, Any] = {"case": []} | of if isinstance(of, dict) else {}  # older models have no case
        if not all(isinstance(given.get(name), list) for name in ("files", "methods", "jamo", "case")):
            raise StorageError(f"{file} is damaged: tokenizer.{side} must have lists of files, methods, jamo and case")
    files = config["tokenizer"]["files"]
    if not isinstance(files, list) or not all(map(is_plain_name, files)):
        raise StorageError(f"{file} is damaged: tokenizer.files must be names of files, but is {files!r:.80}")
    return config


def _lists_graphs(precisions: Any, default: Any) -> bool:
    """Whether `precisions` names files by precision, and `default` may be one of them."""
    return (
        isinstance(precisions, dict)
        and all(map(is_plain_name, [default, *precisions]))
        and all(isinstance(known, dict) and isinstance(known.get("files"), dict) for known in precisions.values())
    )


def sides_of(config: dict[str, Any]) -> list[tuple[str, str]]:
    """How a model's source and target are split, in words: `char in lower case + features in upper case`."""
    sides = []
    for side in ("source", "target"):
        of = config["tokenizer"][side]
        cases = of.get("case", ["keep"] * len(of["methods"]))  # older models keep what is typed
        columns = [
            f"{method}{' of jamo' if jamo else ''}{'' if case == 'keep' else f' in {case} case'}"
            for method, jamo, case in zip(of["methods"], of["jamo"], cases, strict=False)
        ]
        sides.append((side, " + ".join(columns)))
    return sides


def part_size(config: dict[str, Any], part: str) -> str:
    """How large a part of the data is, in words; where rows were kept together by a column, its values are counted."""
    size, kind = config["data"][part], "group" if config["options"].get("group_by") else "source"
    return f"{counted(size['pairs'], 'pair')}, {counted(size['sources'], kind)}"


def graph_names(precision: str) -> tuple[str, str]:
    """The files of the encoder's and the decoder's graph."""
    return f"encoder.{precision}.onnx", f"decoder.{precision}.onnx"


def shortlist_graph_name(precision: str) -> str:
    """The file of the decoder's graph for a shortlist."""
    return f"decoder.{precision}.shortlist.onnx"


def text_sum(text: str) -> str:
    """A checksum of a text file, whatever its lines end in."""
    return checksum_of(text.replace("\r\n", "\n").encode())


def check_safetensors(path: Path) -> None:
    """Check that a safetensors file is whole: its header says how long it must be."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (header_size,) = struct.unpack("<Q", file.read(8))
            if header_size > size:
                raise ValueError("it ends within its header")
            header = parse_json(file.read(header_size))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        expected = 8 + header_size + max(ends, default=0)
    except PermissionError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        raise StorageError(f"{path} is damaged: {error}") from None
    if size != expected:
        raise StorageError(f"{path} is damaged: it has {size:,} bytes of {expected:,}; copy or train it again")
