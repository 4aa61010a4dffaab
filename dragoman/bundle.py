"""Several files in one, checked whole: a ZIP archive whose members are stored as they are; knows no models.

    members, uncompressed            any ZIP tool can list and unpack them
    the archive's directory
    comment: dragoman-bundle 001 crc32=0123abcd

The checksum is of every byte before the comment, so that a bundle is whole or refused.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from dragoman.errors import StorageError

BUNDLE_VERSION = 1
"""Raised when an older dragoman could no longer read what a newer one bundles."""
_COMMENT = re.compile(rb"dragoman-bundle (\d{3}) crc32=([0-9a-f]{8})")
_COMMENT_SIZE = len(b"dragoman-bundle 001 crc32=00000000")
_WRITTEN = (1980, 1, 1, 0, 0, 0)
"""One date for all, so that the same members give the same bytes."""
NO_ARCHIVE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, struct.error)
"""What the library raises for an archive that is not as we write them, uncompressed."""


class Bundle:
    """An opened bundle, known to be whole."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._archive = archive

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Open and check a bundle; a `StorageError` says if it is none, damaged or too new."""
        try:
            version, expected, found = _checked(path)
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from None
        if version > BUNDLE_VERSION:
            raise StorageError(
                f"{path} was bundled by a newer dragoman (format {version}, this one reads up to {BUNDLE_VERSION}): "
                "upgrade with: pip install --upgrade dragoman"
            )
        if version < 1 or expected != found:
            raise _damaged(path, "its checksum is another")
        try:
            archive = zipfile.ZipFile(path)
        except NO_ARCHIVE as error:
            raise _damaged(path, str(error)) from None
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:  # and may be a thousand times as large as it looks
                raise _damaged(path, f"{member.filename} is compressed")
        return cls(path, archive)

    def __contains__(self, name: str) -> bool:
        return name in self._archive.namelist()

    def read(self, name: str) -> bytes:
        """One member; a `StorageError` says if there is none."""
        try:
            return self._archive.read(name)
        except KeyError:
            raise StorageError(f"{self.path} is incomplete: {name} is missing") from None
        except NO_ARCHIVE as error:
            raise _damaged(self.path, str(error) or type(error).__name__) from None


def is_bundle(path: Path) -> bool:
    """Whether a file ends as bundles do, damaged or not: other ZIP archives are none."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _COMMENT_SIZE))
        return _COMMENT.fullmatch(file.read()) is not None


def write_bundle(path: Path, members: Mapping[str, bytes]) -> None:
    """Write members, by name, as one file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, _WRITTEN), content)
        archive.comment = b"." * _COMMENT_SIZE
    with path.open("r+b") as file:
        content = file.read()[:-_COMMENT_SIZE]
        file.seek(len(content))
        file.write(b"dragoman-bundle %03d crc32=%08x" % (BUNDLE_VERSION, zlib.crc32(content)))


def _checked(path: Path) -> tuple[int, int, int]:
    """A bundle's version, the checksum that it names, and the one that it has."""
    content = path.read_bytes()
    comment = _COMMENT.fullmatch(content[-_COMMENT_SIZE:])
    if comment is None:
        if content.startswith(b"PK\x03\x04"):
            raise _damaged(path, "its end is missing")
        raise StorageError(
            f"{path} is a file; a model is a directory with a config.json, or one file that `dragoman export --bundle` wrote"
        )
    return int(comment[1]), int(comment[2], 16), zlib.crc32(memoryview(content)[:-_COMMENT_SIZE])


def _damaged(path: Path, reason: str) -> StorageError:
    return StorageError(f"{path} is damaged ({reason}); copy it again, or make it again with: dragoman export")
