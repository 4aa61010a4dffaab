"""What is done to every cell of text before anything else sees it; knows nothing of files.

White space of every kind (TAB, line breaks, NBSP, U+202F, U+3000 ...) becomes single plain spaces, byte-order marks go,
and Unicode is normalised. Text that no sentence holds (undecodable bytes, control characters) makes a row unusable.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

Normalization = Literal["nfc", "nfkc", "none"]

UNDECODABLE = "bytes that the encoding does not have"
CONTROL = "control characters"
SURROGATE = "half of a surrogate pair"
MARKS = "a pile of combining marks"

MAX_MARKS = 100
"""Longest run of combining marks in a long text (normalising takes quadratic time in the length of such a run)."""

_SUSPECT = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\r\ud800-\udfff]")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_BECOME_MARKS = "\u0f73\u0f75\u0f81\uff9e\uff9f"
"""Characters that are no combining ones, until they are normalised."""
_LONG = 1000


def fault_in(text: str) -> str | None:
    """Why `text` cannot stand in a pair, or `None`."""
    if text.isprintable():
        return _piled_marks(text) if len(text) > _LONG and not text.isascii() else None
    if _SUSPECT.search(text):
        if _ESCAPED_BYTE.search(text):
            return UNDECODABLE
        return SURROGATE if re.search("[\ud800-\udfff]", text) else CONTROL
    return _piled_marks(text) if len(text) > _LONG else None


def _piled_marks(text: str) -> str | None:
    run = 0
    for character in text.replace("\ufeff", ""):  # as `clean` does before it normalises
        run = run + 1 if unicodedata.combining(character) or character in _BECOME_MARKS else 0
        if run > MAX_MARKS:
            return MARKS
    return None


def clean(text: str, normalization: Normalization = "nfc") -> str:
    """`text` in one Unicode form, stripped, with every run of white space made one plain space."""
    if not text.isascii():
        text = text.replace("\ufeff", "")  # first, as what it stands between may be one character
        if normalization != "none":
            text = unicodedata.normalize("NFC" if normalization == "nfc" else "NFKC", text)
    return " ".join(text.split())


def fold(text: str) -> str:
    """What counts as the same source when data is split: the same after NFC, white space and case folding."""
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(folded.split())


def hash64(text: str) -> int:
    """A 64-bit hash of `text`, the same on every machine and in every run."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def join_columns(cells: Sequence[str]) -> str:
    """Several source columns as one text: joined by TAB, which no cleaned cell holds."""
    return "\t".join(cells)
