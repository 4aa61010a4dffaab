"""Text to ids and back; knows the files of the `tokenizers` library, not how vocabularies are learned or chosen.

A `Tokenizer` serves one side. It wraps one `tokenizers.Tokenizer` per source column (nearly always one), so that a lemma
is split into characters while its features are split at their separators. `tokenizer_learning` makes tokenizers.

Stated normalisation, which is all that `decode(encode(text))` may change in a text whose characters are known:
white space at both ends is dropped; U+2581, the mark of a space inside tokens, is a space (not with `char`); a lone
surrogate, which is no character, is U+FFFD; with jamo the text is NFC; `symbols` has one space for any run of white
space; a source column may have its letters in one case (`casing`).
"""

from __future__ import annotations

import heapq
import json
import math
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args

# The library's own threads warn on a later fork and make learning depend on the number of cores; `encode_batch` has
# its own. A value that the user has set stays.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import tokenizers
from numpy.typing import NDArray

from dragoman.config import Case, TokenizerMethod, processors
from dragoman.corpus.casing import in_case
from dragoman.errors import DataError, StorageError
from dragoman.files import is_plain_name

PAD, UNK, BOS, EOS = range(4)
"""Ids of `<pad>`, `<unk>`, `<s>` and `</s>` in every vocabulary."""

SPECIAL_TOKENS = ("<pad>", "<unk>", "<s>", "</s>")
"""Their names, in the order of their ids."""

SEPARATOR = 4
"""Id of the token between source columns; only tokenizers of several columns have it."""

SPACE_MARK = "▁"
"""Stands for a space inside tokens (U+2581), as in SentencePiece."""

BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""Names of the byte tokens, as SentencePiece writes them."""

MOST_SPELLINGS = 256
"""Ways to spell a text with subwords that are told; a word has fewer, as a rule."""

_SURROGATES = re.compile("[\ud800-\udfff]")
_CHUNK = 2000


@dataclass(frozen=True)
class TokenizerColumn:
    """How one column is split."""

    method: TokenizerMethod
    """word, char, bpe, unigram, symbols or features."""
    jamo: bool
    """Whether Hangul is decomposed (by the library's NFD) and has to be composed again."""
    library: tokenizers.Tokenizer
    """The library's tokenizer; its ids 0-3 are the special tokens."""
    case: Case = "keep"
    """In which case texts are read."""

    def __post_init__(self) -> None:
        # Not saved by the library: without it a user's literal "</s>" would end the sentence.
        self.library.encode_special_tokens = True

    @property
    def size(self) -> int:
        """Number of ids, the four special ones included."""
        return int(self.library.get_vocab_size())


class Tokenizer:
    """Turns the texts of one side into ids and back; never changes after it is made.

    `encode` adds neither `<s>` nor `</s>`. Several source columns arrive joined by TAB; each has its own range of ids,
    and id 4 stands between them.
    """

    def __init__(self, columns: Sequence[TokenizerColumn], *, name: str = "tokenizer") -> None:
        """`columns` in the order of the text; `name` is the stem of the file names (`tokenizer.source`)."""
        assert columns
        self._columns = tuple(columns)
        self._name = name
        self._names: list[str] = list(SPECIAL_TOKENS) if len(columns) == 1 else [*SPECIAL_TOKENS, "<sep>"]
        self._shifts: list[int] = []  # added to a column's own id to give the tokenizer's id
        for column in self._columns:
            self._shifts.append(len(self._names) - len(SPECIAL_TOKENS))
            self._names += [column.library.id_to_token(i) or "" for i in range(len(SPECIAL_TOKENS), column.size)]

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return len(self._names)

    @property
    def methods(self) -> tuple[TokenizerMethod, ...]:
        """How each column is split."""
        return tuple(column.method for column in self._columns)

    def shares_vocabulary(self, other: Tokenizer) -> bool:
        """Whether both have the same tokens under the same ids, from the same files."""
        return len(self._columns) == len(other._columns) and all(
            mine.library is theirs.library for mine, theirs in zip(self._columns, other._columns, strict=True)
        )

    def reading(self, cases: Sequence[Case]) -> Tokenizer:
        """The same tokenizer, with texts read in these cases, one per column; itself if they are read so anyway."""
        columns = [replace(column, case=case) for column, case in zip(self._columns, cases, strict=True)]
        return self if columns == list(self._columns) else Tokenizer(columns, name=self._name)

    def columns(self) -> list[tuple[TokenizerColumn, int]]:
        """Each column, and what is added to its own ids above the special ones to give this tokenizer's."""
        return list(zip(self._columns, self._shifts, strict=True))

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without `<s>` and `</s>`; raises `DataError` if it has not one text per column."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text; long lists are shared out to all processors."""
        if len(self._columns) == 1:
            return self._encode_column(0, texts)
        columns = [self._split_columns(text) for text in texts]
        encoded = [self._encode_column(c, [row[c] for row in columns]) for c in range(len(self._columns))]
        rows: list[list[int]] = []
        for parts in zip(*encoded, strict=True):
            row = list(parts[0])
            for part in parts[1:]:
                row.append(SEPARATOR)
                row.extend(part)
            rows.append(row)
        return rows

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in `text` each token of `encode(text)` comes from: first character, and the one after the last."""
        spans: list[tuple[int, int]] = []
        start = 0
        for column, part in zip(
            self._columns, self._split_columns(text) if len(self._columns) > 1 else [text], strict=True
        ):
            if start:
                spans.append((start - 1, start))
            read = in_case(_SURROGATES.sub("\ufffd", part), column.case)  # no longer and no shorter
            encoding = column.library.encode(read, add_special_tokens=False)
            spans += [(start + begin, start + end) for begin, end in encoding.offsets]
            start += len(part) + 1
        return spans

    def decode(self, ids: Iterable[int], *, unknown: Sequence[str] = ()) -> str:
        """The text of `ids`; `<pad>`, `<s>` and `</s>` are skipped, an unknown token reads `<unk>`.

        `unknown` has a text for every unknown token instead.
        """
        words = iter(unknown)
        parts: list[list[str]] = [[]]
        for i in ids:
            if i == SEPARATOR and len(self._columns) > 1:
                parts.append([])
            elif i == UNK:
                # A whole word or symbol is unknown: set it apart.
                column = self._columns[min(len(parts), len(self._columns)) - 1]
                mark = SPACE_MARK if column.method in ("word", "symbols", "features") else ""
                parts[-1].append(mark + next(words, SPECIAL_TOKENS[UNK]))
            elif i not in (PAD, BOS, EOS):
                parts[-1].append(self._names[i])
        last = len(self._columns) - 1
        return "\t".join(_join(self._columns[min(c, last)], tokens) for c, tokens in enumerate(parts))

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """A name for each id that can be printed: `▁` is a space, control characters are escaped."""
        symbols = all(column.method == "symbols" for column in self._columns)
        return [_printable(self._names[i].removeprefix(SPACE_MARK) if symbols else self._names[i]) for i in ids]

    def spellings(self, ids: Sequence[int]) -> list[tuple[int, ...]]:
        """`ids`, and all other ids whose pieces make up the same text: up to `MOST_SPELLINGS`, those of fewest pieces first.

        Only subwords can be cut in several ways. At the beginning of a text no space is written, so that pieces without the mark
        of one spell it there, too: as many more spellings, which begin with `<s>`. A whole word has no mark after punctuation
        either. Tokens of bytes are left out.
        """
        usual = tuple(ids)
        names, method = [self._names[i] for i in usual], self._columns[-1].method
        if any(name not in self._id_of for name in names):
            return [usual]
        text = "".join(names)
        bare = text.removeprefix(SPACE_MARK)
        if method == "word":
            word = self._id_of.get(names[0].removeprefix(SPACE_MARK)) if bare != text else None
            return [usual] if word is None else [usual, (word, *usual[1:])]
        if method not in ("bpe", "unigram"):
            return [usual]
        found = [usual, *(cut for cut in self._cuts(text) if cut != usual)][:MOST_SPELLINGS]
        return found + ([(BOS, *cut) for cut in self._cuts(bare)] if "" != bare != text else [])

    def begins_with_space(self) -> NDArray[np.bool_]:
        """(vocab_size,): the tokens that begin with a space, as each word of a spaced text does."""
        space = " " if self._columns[0].method == "char" else SPACE_MARK  # a character "▁" is itself
        return np.array([name.startswith(space) for name in self._names])

    def after_another(self, token: int, *, spaced: bool) -> tuple[int, ...]:
        """The ids in place of the first token of a text, where the text follows another one, after a space or without.

        It stays where there is no other way to write it. Symbols are always spaced.
        """
        method, name = self._columns[0].method, self._names[token]
        if method == "char":
            return (self._id_of[" "], token) if spaced else (token,)
        if spaced or method in ("symbols", "features") or not name.startswith(SPACE_MARK):
            return (token,)
        ids = tuple(part.id for part in self._columns[0].library.model.tokenize(name.removeprefix(SPACE_MARK)))
        return (token,) if UNK in ids else ids

    def _cuts(self, text: str) -> list[tuple[int, ...]]:
        """The ids of all pieces that make up a text, spaces marked: up to `MOST_SPELLINGS`, those of fewest pieces first."""
        longest = max(map(len, self._id_of))
        following = [
            [(end, i) for end in range(at + 1, last + 1) if (i := self._id_of.get(text[at:end])) is not None]
            for at in range(len(text))
            for last in [min(at + longest, len(text))]
        ]
        fewest = [0.0] * (len(text) + 1)  # pieces that the rest of the text takes at least
        for at in reversed(range(len(text))):
            fewest[at] = min((1 + fewest[end] for end, _ in following[at]), default=math.inf)
        found: list[tuple[int, ...]] = []
        waiting: list[tuple[float, tuple[int, ...], int]] = [(fewest[0], (), 0)] if fewest[0] < math.inf else []
        while waiting and len(found) < MOST_SPELLINGS:
            _, spelled, at = heapq.heappop(waiting)
            if at == len(text):
                found.append(spelled)
            for end, i in following[at] if at < len(text) else ():
                if fewest[end] < math.inf:
                    heapq.heappush(waiting, (len(spelled) + 1 + fewest[end], (*spelled, i), end))
        return found

    @cached_property
    def _id_of(self) -> dict[str, int]:
        """The id of each token that is no special one and no byte."""
        left_out = {*BYTE_TOKENS}
        return {name: i for i, name in enumerate(self._names) if i >= len(SPECIAL_TOKENS) and name not in left_out}

    def surfaces(self) -> list[str]:
        """For each id the bare word or symbol, without the mark of a space: what a vectors file calls it."""
        return [name.removeprefix(SPACE_MARK) or name for name in self._names]

    def ids_in(self, other: Tokenizer) -> list[int]:
        """For each id the id of the same token in `other`, 0 where it has none or the token is special.

        Tokens are the same if they print the same: `tokens` gives a bare symbol and a single character one name.
        """
        mine, others = (range(len(SPECIAL_TOKENS) + (len(one._columns) > 1), one.vocab_size) for one in (self, other))
        if other.shares_vocabulary(self):
            return [PAD] * mine.start + list(mine)
        known = dict(zip(reversed(other.tokens(others)), reversed(others), strict=True))
        return [PAD] * mine.start + [known.get(name, PAD) for name in self.tokens(mine)]

    def files(self) -> dict[str, str]:
        """File name to JSON text; each file can be read by `tokenizers.Tokenizer.from_file`."""
        return {
            name: column.library.to_str(pretty=True) + "\n"
            for name, column in zip(self._file_names(), self._columns, strict=True)
        }

    def config(self) -> dict[str, Any]:
        """What `from_files` needs besides the files."""
        return {
            "name": self._name,
            "files": self._file_names(),
            "methods": [column.method for column in self._columns],
            "jamo": [column.jamo for column in self._columns],
            "case": [column.case for column in self._columns],
        }

    @classmethod
    def from_files(cls, config: dict[str, Any], read: Callable[[str], str]) -> Tokenizer:
        """Rebuild a tokenizer from its `config()`; `read` gives the text of a file by its name.

        Raises `StorageError` if the configuration or a file is damaged.
        """
        try:
            name, files, methods, jamo = (config[key] for key in ("name", "files", "methods", "jamo"))
            cases = config.get("case", ["keep"] * len(files))  # older models keep what is typed
            fields = list(zip(files, methods, jamo, cases, strict=True))
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(f"the tokenizer's configuration is damaged: {type(error).__name__} at {error}") from None
        for method in methods:
            if method not in get_args(TokenizerMethod):
                raise StorageError(f"the tokenizer's method {method!r} is not known to this version")
        for case in cases:
            if case not in get_args(Case):
                raise StorageError(f"the tokenizer's case {case!r} is not known to this version")
        if not fields:
            raise StorageError("the tokenizer's configuration names no file")
        for each in (name, *files):  # a new model's files are called by the name
            if not is_plain_name(each):
                raise StorageError(f"the tokenizer's configuration is damaged: {each!r} is no name of a file")
        return cls([TokenizerColumn(m, bool(j), _load(f, read(f)), case) for f, m, j, case in fields], name=str(name))

    @classmethod
    def of_model(cls, config: dict[str, Any], read: Callable[[str], str]) -> tuple[Tokenizer, Tokenizer]:
        """The tokenisers of a model's source and target, of the same columns with a shared vocabulary; `config` is the model's.

        Raises `StorageError` as `from_files` does, and if they are not those that the model was trained with.
        """
        of, sizes = config["tokenizer"], config["architecture"]
        source = cls._of_side("source", config, read)
        same = {**of["source"], "case": None} == {**of["target"], "case": None}
        if same and sizes.get("source_vocab_size") == sizes.get("target_vocab_size"):
            return source, source.reading(["keep"] * len(source.methods))
        return source, cls._of_side("target", config, read)

    @classmethod
    def _of_side(cls, side: str, config: dict[str, Any], read: Callable[[str], str]) -> Tokenizer:
        tokenizer = cls.from_files(config["tokenizer"][side], read)
        words = config["architecture"].get(f"{side}_vocab_size")
        if tokenizer.vocab_size != words:
            raise StorageError(
                f"the {side} tokenizer has {tokenizer.vocab_size} tokens, but the model has {words}: they are not of one training"
            )
        return tokenizer

    def _file_names(self) -> list[str]:
        if len(self._columns) == 1:
            return [f"{self._name}.json"]
        return [f"{self._name}.{c}.json" for c in range(1, len(self._columns) + 1)]

    def _split_columns(self, text: str) -> list[str]:
        parts = text.split("\t")
        if len(parts) != len(self._columns):
            shown = text if len(text) <= 40 else text[:40] + "..."
            raise DataError(
                f"a source must have {len(self._columns)} columns joined by TAB, but has {len(parts)}: {shown!r}"
            )
        return parts

    def _encode_column(self, c: int, texts: Sequence[str]) -> list[list[int]]:
        library, case, shift = self._columns[c].library, self._columns[c].case, self._shifts[c]

        def encode(chunk: list[str]) -> list[list[int]]:
            if case != "keep":
                chunk = [in_case(text, case) for text in chunk]
            ids = [encoding.ids for encoding in _encode(library, chunk)]
            if shift:
                ids = [[i + shift if i >= len(SPECIAL_TOKENS) else i for i in row] for row in ids]
            return ids

        chunks = [list(texts[start : start + _CHUNK]) for start in range(0, len(texts), _CHUNK)]
        workers = min(processors(), len(chunks))
        if workers <= 1:
            return [row for chunk in chunks for row in encode(chunk)]
        with ThreadPoolExecutor(workers) as pool:  # the library releases the interpreter's lock
            return [row for rows in pool.map(encode, chunks) for row in rows]


def _encode(library: tokenizers.Tokenizer, texts: list[str]) -> list[tokenizers.Encoding]:
    try:
        return list(library.encode_batch_fast(texts, add_special_tokens=False))
    except (TypeError, UnicodeEncodeError):  # lone surrogates have no UTF-8 form
        cleaned = [_SURROGATES.sub("\ufffd", text) for text in texts]
        return list(library.encode_batch_fast(cleaned, add_special_tokens=False))


def _join(column: TokenizerColumn, tokens: list[str]) -> str:
    text = str(column.library.decoder.decode(tokens))
    return unicodedata.normalize("NFC", text) if column.jamo else text


def _printable(token: str) -> str:
    if token == " ":
        return SPACE_MARK
    token = unicodedata.normalize("NFC", token)  # jamo that make up syllables
    if token and unicodedata.combining(token[0]):
        token = "◌" + token
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Cf" else ascii(c)[1:-1] for c in token)


def _load(name: str, text: str) -> tokenizers.Tokenizer:
    try:
        library = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StorageError(f"{name} cannot be read by the tokenizers library: {reason}") from None
    names = tuple(library.id_to_token(i) for i in range(len(SPECIAL_TOKENS)))
    if names != SPECIAL_TOKENS or library.decoder is None:
        special = " ".join(SPECIAL_TOKENS)
        raise StorageError(
            f"{name} is not a tokenizer of dragoman: ids 0 to 3 must be {special}, and it must have a decoder"
        )
    ids = sorted(library.get_vocab().values())
    if ids != list(range(len(ids))):
        raise StorageError(f"{name} is damaged: of its ids 0 to {ids[-1]} some stand for no token, or for several")
    return library


def library_json(library: tokenizers.Tokenizer) -> dict[str, Any]:
    """The library's own description of a tokenizer, to be edited and loaded again."""
    description: dict[str, Any] = json.loads(library.to_str())
    return description
