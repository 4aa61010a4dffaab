"""Learns tokenizers from text; does not know how a method is chosen (`tokenizer_choice`) or where the text comes from.

Each method is a chain of the `tokenizers` library: normaliser, splitter, model, decoder. The same texts give the same
JSON byte for byte, in any process.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from dragoman.config import Case, TokenizerMethod
from dragoman.corpus.casing import in_case
from dragoman.corpus.tokenization import (
    BYTE_TOKENS,
    SPACE_MARK,
    SPECIAL_TOKENS,
    UNK,
    Tokenizer,
    TokenizerColumn,
    library_json,
)
from dragoman.corpus.tokenizer_choice import TokenizationChoice
from dragoman.corpus.unigram_learning import learn_pieces
from dragoman.errors import DataError, OptionError

DEFAULT_LIMITS: dict[TokenizerMethod, int] = {
    "word": 30_000,
    "char": 10_000,
    "bpe": 8_000,
    "unigram": 8_000,
    "symbols": 30_000,
    "features": 30_000,
}
"""Largest vocabulary where none is asked for."""

MANY_TOKENS: dict[TokenizerMethod, int] = {"word": 10_000, "char": 1_000, "symbols": 2_000, "features": 2_000}
"""With more different tokens than this, those seen once are left out: they teach the model what `<unk>` is."""

_MOST_PIECES = 500_000

# A space, or the unbreakable one of French typography, belongs to the token after it: " ?" is one token. The lengths
# are bounded so that a megabyte without spaces is many pieces, not one (symbols are looked up whole, at any length).
_SPACE = f"[{SPACE_MARK}\u00a0\u202f]?"
_OTHER = rf"{_SPACE}[^\w{SPACE_MARK}]|{SPACE_MARK}"
# A piece that neither a space nor a separator begins must not be the name of a special token.
_NO_SPECIAL = f"(?!{'|'.join(SPECIAL_TOKENS)})"
_PATTERNS: dict[TokenizerMethod, str] = {
    "word": rf"{_SPACE}\w{{1,64}}|{_OTHER}",
    "char": r"[\s\S]",
    # Apostrophes and hyphens inside words may be merged: "don't", "est-ce" are frequent enough to be one token.
    "bpe": rf"{_SPACE}\w{{1,64}}(?:['’\-]\w{{1,64}}){{0,8}}|{_OTHER}",
    "unigram": rf"{_SPACE}\w{{1,64}}(?:['’\-]\w{{1,64}}){{0,8}}|{_OTHER}",
    "symbols": rf"{SPACE_MARK}[^{SPACE_MARK}]*",
    # A separator belongs to the feature after it: V ;PST ;NOM (3 ,PL ).
    "features": rf"[{SPACE_MARK};,|(][^{SPACE_MARK};,|()]+|{_NO_SPECIAL}[^{SPACE_MARK};,|()]+|[\s\S]",
}


def learn(
    texts: Iterable[str],
    *,
    method: TokenizerMethod,
    vocab_size: int | None = None,
    byte_fallback: bool = False,
    jamo: bool = False,
    extra_words: Iterable[str] = (),
) -> TokenizerColumn:
    """Learn how to split texts like `texts` (sampled already: at most a million).

    `vocab_size` counts the special tokens (default: `DEFAULT_LIMITS`). `byte_fallback` is for bpe and unigram.
    `extra_words`, for the method `word`, are taken into the vocabulary after those of `texts`, while there is room.
    Raises `DataError` without any text and `OptionError` for a vocabulary with no room for its fixed part.
    """
    if byte_fallback and method not in ("bpe", "unigram"):
        raise OptionError(f"`byte_fallback` needs the tokenizer bpe or unigram, but is given with {method}")
    limit = vocab_size or DEFAULT_LIMITS[method]
    fixed = [*SPECIAL_TOKENS, *(BYTE_TOKENS if byte_fallback else ())]
    if limit < len(fixed) + 4:
        raise OptionError(f"`vocab_size` must be at least {len(fixed) + 4} with these options, but is {limit}")
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise DataError("there is no text to learn a vocabulary from")
    if method == "bpe":
        library = _learn_bpe(texts, limit=limit, fixed=fixed, byte_fallback=byte_fallback, jamo=jamo)
    elif method == "unigram":
        library = _learn_unigram(texts, limit=limit, fixed=fixed, byte_fallback=byte_fallback, jamo=jamo)
    else:
        library = _learn_whole(texts, method=method, limit=limit, jamo=jamo, extra_words=extra_words)
    return TokenizerColumn(method=method, jamo=jamo, library=library)


def learn_tokenizers(
    pairs: Sequence[tuple[str, str]],
    choice: TokenizationChoice,
    *,
    source_words: Iterable[str] = (),
    target_words: Iterable[str] = (),
) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers of both sides as `choice` asks, of the same columns with a shared vocabulary.

    `source_words` and `target_words` are the words of vectors files, for sides that are split into words.
    """
    if choice.shared:
        column = learn(
            (text for source, target in pairs for text in (in_case(source, choice.source_case[0]), target)),
            method=choice.target_method,
            vocab_size=choice.target_vocab_size,
            byte_fallback=choice.byte_fallback and choice.target_method in ("bpe", "unigram"),
            jamo=choice.target_jamo,
            extra_words=chain(_read_so(source_words, choice.source_case[0]), target_words),
        )
        shared = Tokenizer([column])
        return shared.reading(choice.source_case), shared
    columns = []
    several = len(choice.source_methods) > 1
    for c, (method, size, jamo, case) in enumerate(
        zip(choice.source_methods, choice.source_vocab_sizes, choice.source_jamo, choice.source_case, strict=True)
    ):
        columns.append(
            learn(
                (in_case(source.split("\t")[c] if several else source, case) for source, _ in pairs),
                method=method,
                vocab_size=size,
                byte_fallback=choice.byte_fallback and method in ("bpe", "unigram"),
                jamo=jamo,
                extra_words=_read_so(source_words, case),
            )
        )
    target = learn(
        [target for _, target in pairs],
        method=choice.target_method,
        vocab_size=choice.target_vocab_size,
        byte_fallback=choice.byte_fallback and choice.target_method in ("bpe", "unigram"),
        jamo=choice.target_jamo,
        extra_words=target_words,
    )
    source = Tokenizer(columns, name="tokenizer.source").reading(choice.source_case)
    return source, Tokenizer([target], name="tokenizer.target")


def _read_so(words: Iterable[str], case: Case) -> Iterable[str]:
    """Words as they are read inside texts; only whole texts are shouted."""
    return words if case == "sentence" else (in_case(word, case) for word in words)


def _chain(model: models.Model, *, method: TokenizerMethod, byte_fallback: bool, jamo: bool) -> tokenizers.Tokenizer:
    """A library tokenizer that splits as `method` does; the model may still be empty."""
    library = tokenizers.Tokenizer(model)
    steps: list[normalizers.Normalizer] = [normalizers.NFD()] if jamo else []
    steps.append(normalizers.Strip())
    if method == "symbols":
        steps.append(normalizers.Replace(Regex(r"\s+"), SPACE_MARK))
    elif method != "char":
        steps.append(normalizers.Replace(" ", SPACE_MARK))
    if method != "char":  # the mark also keeps a symbol "</s>" apart from the special token
        steps.append(normalizers.Prepend(SPACE_MARK))
    library.normalizer = normalizers.Sequence(steps)
    library.pre_tokenizer = pre_tokenizers.Split(Regex(_PATTERNS[method]), "isolated")
    joining: list[decoders.Decoder] = [decoders.Fuse()]
    if method != "char":
        joining = [decoders.Replace(SPACE_MARK, " "), *joining, decoders.Strip(" ", 1, 0)]
    if byte_fallback:
        joining.insert(1, decoders.ByteFallback())
    library.decoder = decoders.Sequence(joining)
    return library


def _learn_whole(
    texts: list[str], *, method: TokenizerMethod, limit: int, jamo: bool, extra_words: Iterable[str]
) -> tokenizers.Tokenizer:
    """Whole pieces (words, characters, symbols, features), the most frequent first."""
    special = SPECIAL_TOKENS
    for min_frequency in (1, 2):
        model = models.WordLevel({token: i for i, token in enumerate(special)}, unk_token=special[UNK])
        library = _chain(model, method=method, byte_fallback=False, jamo=jamo)
        trainer = trainers.WordLevelTrainer(
            vocab_size=limit, min_frequency=min_frequency, special_tokens=list(special), show_progress=False
        )
        library.train_from_iterator(texts, trainer)
        if library.get_vocab_size() <= MANY_TOKENS[method]:
            break
    if method == "word":
        library = _with_words(library, extra_words, limit=limit)
    return library


def _with_words(library: tokenizers.Tokenizer, words: Iterable[str], *, limit: int) -> tokenizers.Tokenizer:
    """Add the words that the splitter leaves whole: a word at the start of a text, punctuation after one."""
    description = library_json(library)
    vocab = description["model"]["vocab"]
    for word in words:
        if SPACE_MARK in word or len(word) > 64:
            continue
        pieces = library.pre_tokenizer.pre_tokenize_str(library.normalizer.normalize_str(word))
        if len(pieces) != 1:
            continue
        piece = pieces[0][0]
        forms = [piece] if word[0].isalnum() else [piece, piece.removeprefix(SPACE_MARK)]
        for form in forms:
            if len(vocab) < limit:
                vocab.setdefault(form, len(vocab))
    return tokenizers.Tokenizer.from_str(_dump(description))


def _learn_bpe(
    texts: list[str], *, limit: int, fixed: list[str], byte_fallback: bool, jamo: bool
) -> tokenizers.Tokenizer:
    model = models.BPE(unk_token=SPECIAL_TOKENS[UNK], fuse_unk=True, byte_fallback=byte_fallback)
    library = _chain(model, method="bpe", byte_fallback=byte_fallback, jamo=jamo)
    alphabet = _alphabet(texts, limit=max(1, (limit - len(fixed)) // 2), jamo=jamo)
    trainer = trainers.BpeTrainer(
        vocab_size=limit,
        min_frequency=2,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        special_tokens=fixed,
        show_progress=False,
    )
    library.train_from_iterator(texts, trainer)
    return _only_special_added(library)


def _alphabet(texts: list[str], *, limit: int, jamo: bool) -> list[str]:
    """The characters to keep: at most `limit`, and where there are many (Han, Hangul) none that is seen only once."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(unicodedata.normalize("NFD", text) if jamo else text)
    counts[SPACE_MARK] = counts.pop(" ", 0) + len(texts)
    least = 2 if len(counts) > MANY_TOKENS["char"] else 1
    ranked = sorted((token for token, n in counts.items() if n >= least), key=lambda token: (-counts[token], token))
    return ranked[:limit]


def _learn_unigram(
    texts: list[str], *, limit: int, fixed: list[str], byte_fallback: bool, jamo: bool
) -> tokenizers.Tokenizer:
    words, counts = _count_pieces(texts, jamo=jamo)
    alphabet = _alphabet(texts, limit=max(1, (limit - len(fixed)) // 2), jamo=jamo)
    pieces = learn_pieces(words, counts, alphabet, size=limit - len(fixed))
    vocab = [*((token, 0.0) for token in fixed), *pieces]
    model = models.Unigram(vocab, unk_id=UNK, byte_fallback=byte_fallback)
    library = _chain(model, method="unigram", byte_fallback=byte_fallback, jamo=jamo)
    library.add_special_tokens(list(SPECIAL_TOKENS))
    return library


def _count_pieces(texts: list[str], *, jamo: bool) -> tuple[list[str], list[int]]:
    """The pieces that the splitter for unigram makes of `texts`, most frequent first, and how often each occurs."""
    special = SPECIAL_TOKENS
    model = models.WordLevel({token: i for i, token in enumerate(special)}, unk_token=special[UNK])
    library = _chain(model, method="unigram", byte_fallback=False, jamo=jamo)
    trainer = trainers.WordLevelTrainer(vocab_size=_MOST_PIECES, special_tokens=list(special), show_progress=False)
    library.train_from_iterator(texts, trainer)
    counts = np.zeros(library.get_vocab_size(), dtype=np.int64)
    for start in range(0, len(texts), 10_000):
        chunk = library.encode_batch_fast(texts[start : start + 10_000])
        counts += np.bincount([i for encoding in chunk for i in encoding.ids], minlength=len(counts))
    ids = range(len(special), len(counts))
    return [library.id_to_token(i) or "" for i in ids], counts[len(special) :].tolist()


def _only_special_added(library: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Byte tokens are learned as if special, to be in the vocabulary; they must not be so in the file."""
    description = library_json(library)
    description["added_tokens"] = [t for t in description["added_tokens"] if t["content"] in SPECIAL_TOKENS]
    return tokenizers.Tokenizer.from_str(_dump(description))


def _dump(description: object) -> str:
    return json.dumps(description, ensure_ascii=False)
