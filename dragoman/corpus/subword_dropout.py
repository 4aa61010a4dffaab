"""BPE dropout: training texts are split anew in every epoch (Provilkov et al. 2020); knows tokenizers, no files or models.

The library's own BPE dropout draws from a stream that nothing seeds, so the procedure is written here, over the merges of
the library's file: at every step each possible merge is left out with probability `share`, the best of the others is
made, and a word is done when none is left. Thousands of words are merged side by side, as rows of one matrix.

A whole epoch is split at once, so that its batches can be cut by the lengths that texts now have: split when a batch is
made, pairs of one stored length have many, and half of the batch is padding.

No text is kept for it. The tokens of a row spell its text, the library splits that into words, and characters are where
merging starts. Rows whose words do not give back the tokens they came from (a run of unknown characters may hide where a
word ended) stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dragoman.corpus.dataset import EncodedPairs, Ids
from dragoman.corpus.tokenization import (
    BYTE_TOKENS,
    SEPARATOR,
    SPECIAL_TOKENS,
    UNK,
    Tokenizer,
    TokenizerColumn,
    library_json,
)
from dragoman.errors import OptionError

Ints = NDArray[np.int64]

_UNKNOWN = "\ufffd"
_NEVER = np.iinfo(np.int32).max
_MOST_WORDS = 2**18
_CHUNK = 4096
_BLOCK = 4096
"""Words that are merged side by side."""


class Word(NamedTuple):
    """What is known of one word, a piece that merges never leave."""

    characters: tuple[int, ...]
    """Ids of its characters (of their bytes, if they are spelled so)."""
    tokens: tuple[int, ...]
    """Ids of its tokens when every merge is made."""


class _Block(NamedTuple):
    """Words in the middle of merging, one a row."""

    rows: Ints
    """(rows,): which words they are."""
    symbols: Ints
    """(rows, width + 1): their ids, padding behind each."""
    ranks: NDArray[np.int32]
    """(rows, width): of merging each symbol with the next."""


class SplitAnew:
    """Encoded pairs whose texts are split anew in every epoch; a function of seed and epoch alone."""

    def __init__(self, pairs: EncodedPairs, source: Tokenizer, target: Tokenizer, *, share: float, seed: int) -> None:
        """`pairs` as the tokenizers of both sides encode them; `share` of the merges is left out."""
        self._pairs, self._seed = pairs, seed
        one = SubwordDropout(source, share)
        self._sides = (one, one if source.shares_vocabulary(target) else SubwordDropout(target, share))

    def __call__(self, epoch: int) -> EncodedPairs:
        """The pairs of an epoch, in the same order, in memory."""
        ids: list[list[Ids]] = [[], []]
        lengths: list[list[Ints]] = [[], []]
        for start in range(0, len(self._pairs), _CHUNK):
            # Not 0 for the first chunk: a seed that ends in 0 is the seed without it, which orders the batches.
            seed = np.random.SeedSequence((self._seed, epoch, start // _CHUNK + 1))
            random = np.random.Generator(np.random.Philox(seed))
            indices = np.arange(start, min(start + _CHUNK, len(self._pairs)))
            rows = self._pairs.sources(indices), self._pairs.targets(indices)
            for side, split in enumerate(self._sides):
                new_ids, new_lengths = split(*rows[side], random)
                ids[side].append(new_ids)
                lengths[side].append(new_lengths)
        flat = [np.concatenate(parts) for parts in ids]
        offsets = [np.concatenate([[0], np.cumsum(np.concatenate(parts))]) for parts in lengths]
        return EncodedPairs((flat[0], flat[1]), (offsets[0], offsets[1]))


def check_subword_dropout(methods: Iterable[str], share: float) -> None:
    """Raise `OptionError` if merges are to be left out, but BPE is not among the `methods` that split the columns of both sides."""
    methods = dict.fromkeys(methods)
    if share and "bpe" not in methods:
        kinds = " and ".join(methods)
        raise OptionError(f"`subword_dropout` needs the tokenizer bpe on a side at least, but the sides are {kinds}")


class SubwordDropout:
    """Splits the rows of one side anew; which way is a function of the random stream alone."""

    def __init__(self, tokenizer: Tokenizer, share: float) -> None:
        """`share` of the merges, from 0 to below 1, is left out; columns that are not BPE stay as they are."""
        self.share = share
        self._columns = [
            _Column(column, shift) if column.method == "bpe" else None for column, shift in tokenizer.columns()
        ]

    def __call__(self, ids: Ids, lengths: Ints, random: np.random.Generator) -> tuple[Ids, Ints]:
        """Rows of ids one after the other, (tokens,), and their lengths, (rows,), to others of the same texts."""
        flat, ends = ids.tolist(), np.cumsum(lengths).tolist()
        rows = [flat[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]
        parts: list[tuple[int, Sequence[int]]] = []  # (row, tokens)
        open_parts: dict[int, list[int]] = {}  # column -> parts whose tokens are still characters
        for number, row in enumerate(rows):
            for c, column_ids in enumerate(self._split(row)):
                if c:
                    parts.append((number, (SEPARATOR,)))
                column = self._columns[c]
                words = None if column is None else column.words(column_ids)
                if words is None:
                    parts.append((number, column_ids))
                    continue
                for word in words:
                    if len(word.characters) > len(word.tokens):
                        open_parts.setdefault(c, []).append(len(parts))
                        parts.append((number, word.characters))
                    else:
                        parts.append((number, word.tokens))
        for c, where in open_parts.items():
            column = self._columns[c]
            assert column is not None
            merged = column.merge([parts[i][1] for i in where], self.share, random)
            for i, tokens in zip(where, merged, strict=True):
                parts[i] = (parts[i][0], tokens)
        numbers, sizes = [number for number, _ in parts], [len(tokens) for _, tokens in parts]
        counts = np.bincount(numbers, sizes, minlength=len(rows)).astype(np.int64)
        return np.array([i for _, tokens in parts for i in tokens], dtype=ids.dtype), counts

    def _split(self, row: list[int]) -> list[list[int]]:
        """A row's columns."""
        if len(self._columns) == 1:
            return [row]
        columns: list[list[int]] = [[]]
        for i in row:
            if i == SEPARATOR:
                columns.append([])
            else:
                columns[-1].append(i)
        return columns


class _Column:
    """The merges of one BPE column, in the ids of its tokenizer."""

    def __init__(self, column: TokenizerColumn, shift: int) -> None:
        """`shift` is added to the library's ids above the special ones."""
        self._library, self._shift = column.library, shift
        model = library_json(column.library)["model"]
        vocab: dict[str, int] = {name: self._own(i) for name, i in model["vocab"].items()}
        self._names = {i: name for name, i in vocab.items()} | {UNK: _UNKNOWN}
        self._characters = {name: i for name, i in vocab.items() if len(name) == 1}
        self._bytes = [vocab[name] for name in BYTE_TOKENS] if model["byte_fallback"] else []
        self._byte_of = {i: bytes([byte]) for byte, i in enumerate(self._bytes)}
        self._words: dict[str, Word] = {}
        self._pad = max(vocab.values()) + 1  # part of no merge
        pairs = np.array([[vocab[one], vocab[other]] for one, other in model["merges"]], np.int64).reshape(-1, 2)
        keys = self._key(pairs[:, 0], pairs[:, 1])
        order = np.argsort(keys)
        self._keys, self._ranks = keys[order], order.astype(np.int32)
        self._results = np.array([vocab[one + other] for one, other in model["merges"]], np.int64)

    def words(self, ids: list[int]) -> list[Word] | None:
        """The words that `ids` spell, or None if they are not what the library makes of these words."""
        words = [self._word(piece) for piece, _ in self._library.pre_tokenizer.pre_tokenize_str(self._text(ids))]
        return words if [i for word in words for i in word.tokens] == ids else None

    def merge(self, words: Sequence[Sequence[int]], share: float, random: np.random.Generator) -> list[Sequence[int]]:
        """The tokens of `words`, given as ids of characters, when each merge is left out with probability `share`."""
        done: list[Sequence[int]] = [()] * len(words)
        blocks = [self._block(words, start) for start in range(0, len(words), _BLOCK)]
        width = max(map(len, words))  # of what is drawn: it is the same for all, whatever they stand beside
        while blocks:
            blocks = [self._merged_once(block, width, share, random, done) for block in blocks]
            blocks, width = [block for block in blocks if len(block.rows)], width - 1
        return done

    def _block(self, words: Sequence[Sequence[int]], start: int) -> _Block:
        """The words from `start` on, as many as are merged side by side: of all the longest one would take gigabytes."""
        some = words[start : start + _BLOCK]
        lengths = np.array([len(word) for word in some])
        symbols = np.full((len(some), int(lengths.max()) + 1), self._pad)
        symbols[np.arange(symbols.shape[1]) < lengths[:, None]] = [i for word in some for i in word]
        return _Block(start + np.arange(len(some)), symbols, self._rank(symbols[:, :-1], symbols[:, 1:]))

    def _merged_once(
        self, block: _Block, most: int, share: float, random: np.random.Generator, done: list[Sequence[int]]
    ) -> _Block:
        """The words of a block after one merge in each; those that have none left are `done`."""
        rows, symbols, ranks = block
        # 1. The best of the merges that are not left out.
        kept = ranks
        if share:
            left_out = random.random((len(rows), most), np.float32)[:, : ranks.shape[1]] < share
            kept = np.where(left_out, _NEVER, ranks)
        at = kept.argmin(axis=1)
        best = kept[np.arange(len(rows)), at]
        # 2. Words without any are done.
        going = best < _NEVER
        for row, tokens in zip(rows[~going].tolist(), symbols[~going].tolist(), strict=True):
            done[row] = tokens[: tokens.index(self._pad)]
        rows, symbols, ranks, at, best = rows[going], symbols[going], ranks[going], at[going], best[going]
        # 3. One symbol takes the place of two: every row gets shorter by one, and so do its ranks.
        every, width = np.arange(len(rows)), ranks.shape[1]
        symbols[every, at] = self._results[best]
        symbols = symbols[np.arange(width + 1) != at[:, None] + 1].reshape(len(rows), width)
        ranks = ranks[np.arange(width) != at[:, None]].reshape(len(rows), width - 1)
        # 4. Only the pairs with the new symbol have other ranks.
        for left in (np.maximum(at - 1, 0), at):
            ranks[every, left] = self._rank(symbols[every, left], symbols[every, left + 1])
        return _Block(rows, symbols, ranks)

    def _own(self, library_id: int) -> int:
        return library_id + self._shift if library_id >= len(SPECIAL_TOKENS) else library_id

    def _text(self, ids: list[int]) -> str:
        """The text as the library splits it: normalised, unknown characters as U+FFFD."""
        if self._byte_of.keys().isdisjoint(ids):
            return "".join([self._names[i] for i in ids])
        spelled = b"".join([self._byte_of.get(i) or self._names[i].encode() for i in ids])
        return spelled.decode("utf-8", errors="replace")

    def _word(self, piece: str) -> Word:
        if (word := self._words.get(piece)) is None:
            characters: list[int] = []
            for character in piece:
                if (i := self._characters.get(character)) is not None:
                    characters.append(i)
                else:
                    characters += [self._bytes[byte] for byte in character.encode()] if self._bytes else [UNK]
            word = Word(tuple(characters), tuple(self._own(t.id) for t in self._library.model.tokenize(piece)))
            if len(self._words) >= _MOST_WORDS:
                self._words.clear()  # a memory, no result depends on it
            self._words[piece] = word
        return word

    def _key(self, left: Ints, right: Ints) -> Ints:
        return left * (self._pad + 1) + right

    def _rank(self, left: Ints, right: Ints) -> NDArray[np.int32]:
        """The place of each pair in the list of merges; `_NEVER` where it is in none."""
        if not len(self._keys):
            return np.full(left.shape, _NEVER, np.int32)
        keys = self._key(left, right)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[places] == keys, self._ranks[places], np.int32(_NEVER))
