"""In which script a text is written, for many texts at once; a table of Unicode blocks, not of languages.

Han and Kana count as one script, since Japanese mixes them in every sentence. Digits, punctuation and combining marks
belong to none, apart from the vowel signs of India and its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_BLOCKS = {
    "Latin": "0041-005A 0061-007A 00AA 00BA 00C0-00D6 00D8-00F6 00F8-02AF 1E00-1EFF 2C60-2C7F A722-A7FF FF21-FF3A "
    "FF41-FF5A",
    "Cyrillic": "0400-0481 048A-052F 1C80-1C8F 2DE0-2DFF A640-A69F",
    "Greek": "0370-0373 0376-037D 0386-03FF 1F00-1FFF",
    "Armenian": "0531-0556 0561-0587",
    "Hebrew": "05D0-05EA FB1D-FB4F",
    "Arabic": "0620-064A 066E-06D3 06FA-06FF 0750-077F 08A0-08C9 FB50-FDFF FE70-FEFC",
    "Syriac": "0710 0712-072F 074D-074F",
    "Thaana": "0780-07B1",
    "N'Ko": "07CA-07EA",
    "Devanagari": "0900-0963 0970-097F",
    "Bengali": "0980-09E3",
    "Gurmukhi": "0A00-0A5F",
    "Gujarati": "0A80-0AE3",
    "Oriya": "0B00-0B63 0B71",
    "Tamil": "0B80-0BD7",
    "Telugu": "0C00-0C63",
    "Kannada": "0C80-0CE3",
    "Malayalam": "0D00-0D63",
    "Sinhala": "0D80-0DDF",
    "Thai": "0E01-0E4E",
    "Lao": "0E81-0ECD",
    "Tibetan": "0F40-0FBC",
    "Myanmar": "1000-103F 1050-108F",
    "Georgian": "10A0-10FF 1C90-1CBF 2D00-2D2F",
    "Hangul": "1100-11FF 3131-318E A960-A97F AC00-D7FF FFA1-FFDC",
    "Ethiopic": "1200-135A 1380-138F",
    "Cherokee": "13A0-13FD AB70-ABBF",
    "Khmer": "1780-17D3",
    "Mongolian": "1820-18AA",
    "Ol Chiki": "1C5A-1C7D",
    "Tifinagh": "2D30-2D67",
    "Han or Kana": "2E80-2FDF 3005-3007 3041-3096 309D-309F 30A1-30FA 30FC-30FF 31F0-31FF 3400-4DBF 4E00-9FFF F900-FAFF "
    "FF66-FF9D 20000-323AF",
}
SCRIPTS = ("none", *_BLOCKS)
"""Names of the scripts; a script is its place here."""


def _table() -> npt.NDArray[np.uint8]:
    """The script of every code point that has one, and a zero at the end for all later ones."""
    table = np.zeros(0x323B1, np.uint8)
    for script, blocks in enumerate(_BLOCKS.values(), start=1):
        for block in blocks.split():
            first, _, last = block.partition("-")
            table[int(first, 16) : int(last or first, 16) + 1] = script
    return table


_SCRIPT_OF = _table()
_LATIN, _CYRILLIC = SCRIPTS.index("Latin"), SCRIPTS.index("Cyrillic")


def scripts_of(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """For each text the script of most of its letters (0 if it has fewer than two letters), and whether a word mixes
    Latin and Cyrillic letters; both of shape (texts,).
    """
    points = np.frombuffer("\n".join([*texts, ""]).encode("utf-32-le", "surrogatepass"), "<u4")
    scripts = _SCRIPT_OF[np.minimum(points, len(_SCRIPT_OF) - 1)]
    rows = np.repeat(np.arange(len(texts)), [len(text) + 1 for text in texts])
    counts = np.bincount(rows * len(SCRIPTS) + scripts, minlength=len(texts) * len(SCRIPTS))
    counts = counts.reshape(len(texts), len(SCRIPTS))
    counts[:, 0] = 0
    most = counts.argmax(axis=1).astype(np.uint8)
    most[counts.sum(axis=1) < 2] = 0
    before, after = scripts[:-1], scripts[1:]
    seam = ((before == _LATIN) & (after == _CYRILLIC)) | ((before == _CYRILLIC) & (after == _LATIN))
    mixed = np.zeros(len(texts), bool)
    mixed[rows[:-1][seam]] = True
    return most, mixed
