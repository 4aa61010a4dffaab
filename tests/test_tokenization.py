"""Law 8 (text comes back), the special tokens' safety, and equal files from equal texts."""

from __future__ import annotations

import doctest
import itertools
import json
import os
import subprocess
import sys
import time
import unicodedata
from pathlib import Path
from typing import get_args

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dragoman.config import TokenizerMethod
from dragoman.corpus import tokenization
from dragoman.corpus.tokenization import BOS, EOS, MOST_SPELLINGS, PAD, SEPARATOR, SPECIAL_TOKENS, UNK, Tokenizer
from dragoman.corpus.tokenizer_learning import MANY_TOKENS, learn
from dragoman.errors import DataError, OptionError, StorageError

METHODS: tuple[TokenizerMethod, ...] = get_args(TokenizerMethod)
TEXTS = [
    "Go home. I don't know!",
    "L'eau est-elle froide ? Oui !",
    "« Bonjour », dit-il ; puis il partit…",
    "집에 아무도 없었다.",
    "目をつぶって。ほら。",
    "Who's there (3,PL)?",
    "हिन्दी में लिखो।",
    "a  b   c",
    "1,234.5 % of 2020-01-01",
] * 2


def tokenizer(method: TokenizerMethod, **options: bool) -> Tokenizer:
    return Tokenizer([learn(TEXTS, method=method, **options)])


def normalized(text: str) -> str:
    """The stated normalisation, written independently of the tokenizer."""
    text = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    return text.strip(WHITE_SPACE)


WHITE_SPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
FALLBACK = {method: tokenizer(method, byte_fallback=True) for method in ("bpe", "unigram")}
PLAIN = {method: tokenizer(method) for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_learned_text_comes_back(method: TokenizerMethod) -> None:
    for text in TEXTS:
        ids = PLAIN[method].encode(text)
        assert UNK not in ids
        assert PLAIN[method].decode(ids) == (" ".join(text.split()) if method == "symbols" else text)


@pytest.mark.parametrize("method", METHODS)
def test_spellings_are_all_ways_to_cut_a_text_into_pieces(method: TokenizerMethod) -> None:
    for made, text in itertools.product((PLAIN[method], FALLBACK.get(method, PLAIN[method])), ("home", "don't I", "è")):
        usual = tuple(made.encode(text))
        found = made.spellings(usual)
        assert found[0] == usual
        if method == "word":
            continue
        if method not in FALLBACK or made.tokens(usual)[-1].startswith("<"):
            assert found == [usual]
            continue
        whole = "".join(made.tokens(usual))
        names = dict(zip(made.tokens(range(made.vocab_size)), range(made.vocab_size), strict=True))
        anywhere, first = ([ids for ids in found if (ids[0] == BOS) == at_first] for at_first in (False, True))
        for written, told in ((whole, anywhere), (whole.removeprefix("▁"), [ids[1:] for ids in first])):
            every = set()
            for cut in itertools.product((False, True), repeat=len(written) - 1):
                ends = [0, *(place for place, here in enumerate(cut, start=1) if here), len(written)]
                pieces = [written[a:b] for a, b in itertools.pairwise(ends)]
                if all(piece in names for piece in pieces):
                    every.add(tuple(names[piece] for piece in pieces))
            assert set(told) == every
            assert len(told) == len(every) >= 1
            counts = [len(ids) for ids in told if ids != usual]
            assert counts == sorted(counts)
        assert found == anywhere + first
        assert {made.decode(ids) for ids in found} == {text}


def test_a_word_after_punctuation_has_another_spelling() -> None:
    made = Tokenizer([learn(["home (home)", "sweet home"], method="word")])
    found = made.spellings(made.encode("home"))
    assert [made.tokens(ids) for ids in found] == [["▁home"], ["home"]]
    assert set(made.encode("home (home)")) > {ids for (ids,) in found}
    assert made.spellings(made.encode("sweet")) == [tuple(made.encode("sweet"))]


def test_of_many_spellings_those_of_fewest_pieces_are_told() -> None:
    found = PLAIN["bpe"].spellings(PLAIN["bpe"].encode("Bonjour Bonjour"))
    assert len(found) == len(set(found)) == 2 * MOST_SPELLINGS


@pytest.mark.parametrize("method", ["bpe", "unigram"])
@given(text=st.text(max_size=60))
@example(text="▁a▁")
@settings(max_examples=60, deadline=None)
def test_any_text_comes_back_with_byte_fallback(method: str, text: str) -> None:
    ids = FALLBACK[method].encode(text)
    assert not {PAD, UNK, BOS, EOS} & set(ids)
    assert FALLBACK[method].decode(ids) == normalized(text).replace("\u2581", " ")


@pytest.mark.parametrize("method", METHODS)
@given(text=st.text(st.sampled_from("aL'? !\u00a0\u202fé-.(3,P)\t\nहि집x"), max_size=40))
@settings(max_examples=60, deadline=None)
def test_text_of_known_characters_comes_back(method: TokenizerMethod, text: str) -> None:
    learned = Tokenizer([learn([text, "x"], method=method)])
    expected = normalized(text)
    if method == "symbols":
        expected = " ".join(part for part in expected.replace("\n", " ").replace("\t", " ").split() if part)
    assert learned.decode(learned.encode(text)) == expected


@given(text=st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3) | st.sampled_from("é ?ㅋ"), max_size=30))
@settings(max_examples=60, deadline=None)
def test_hangul_is_composed_back_from_jamo(text: str) -> None:
    for method in ("char", "bpe", "word", "symbols"):
        learned = Tokenizer([learn([text, "가"], method=method, jamo=True)])
        expected = " ".join(text.split()) if method == "symbols" else text.strip()
        assert learned.decode(learned.encode(text)) == expected


def test_jamo_makes_few_symbols_of_many_syllables() -> None:
    syllables = [chr(code) for code in range(0xAC00, 0xD7A4, 5)]
    learned = Tokenizer([learn(syllables, method="char", jamo=True)])
    assert learned.vocab_size <= 4 + 67
    assert learned.decode(learned.encode("값")) == "값"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("literal", ["</s>", "<pad>", "<unk>", "<s>", "a </s> b", "<0x41>", "V;</s>;<s>", "</s></s>"])
def test_a_literal_special_token_is_text(method: TokenizerMethod, literal: str) -> None:
    learned = Tokenizer([learn([*TEXTS, literal, literal], method=method)])
    again = Tokenizer.from_files(learned.config(), learned.files().__getitem__)
    for each in (learned, again):
        ids = each.encode(literal)
        assert not {PAD, UNK, BOS, EOS} & set(ids)
        assert each.decode(ids) == literal


@pytest.mark.parametrize("method", ["features", "symbols"])
@pytest.mark.parametrize("length", [1, 64, 65, 66, 5000])
def test_a_symbol_is_one_token_whatever_its_length(method: TokenizerMethod, length: int) -> None:
    text = f"{'x' * length} {'y' * length}"
    made = Tokenizer([learn([text], method=method)])
    assert [made.decode([i]) for i in made.encode(text)] == text.split()
    assert made.encode(f"{'z' * length} {'y' * length}")[0] == UNK


@pytest.mark.parametrize("method", ["features", "symbols"])
@pytest.mark.parametrize("literal", SPECIAL_TOKENS)
def test_a_piece_is_never_a_special_token(method: TokenizerMethod, literal: str) -> None:
    texts = [f"V;NOM(3){literal}", f"N;ACC(1){literal} {'x' * 64}{literal}", f"{literal}\t{literal}x"]
    tokenizer = Tokenizer([learn(texts, method=method)])
    assert Tokenizer.from_files(tokenizer.config(), tokenizer.files().__getitem__).files() == tokenizer.files()
    for text in texts:
        assert min(tokenizer.encode(text)) > EOS
        assert tokenizer.decode(tokenizer.encode(text)) == normalized(text).replace(
            "\t", " " if method == "symbols" else "\t"
        )


def test_a_literal_byte_token_is_text() -> None:
    for learned in FALLBACK.values():
        assert learned.decode(learned.encode("<0x41> <0xF0>")) == "<0x41> <0xF0>"


def test_special_ids_are_skipped_and_unknown_words_are_shown() -> None:
    word = PLAIN["word"]
    ids = word.encode("Go home. I don't xyzzy!")
    assert word.decode([BOS, *ids, EOS, PAD]) == "Go home. I don't <unk>!"
    assert PLAIN["char"].encode("☃") == [UNK]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("text", ["", " ", "\u3000\n", "\ud800", "a\udfffb", "\x00", "🤦🏽‍♀️", "ﷺ", "\u0301"])
def test_odd_text_gives_a_result(method: TokenizerMethod, text: str) -> None:
    ids = PLAIN[method].encode(text)
    assert all(0 <= i < PLAIN[method].vocab_size for i in ids)
    assert ids or not normalized(text)
    assert isinstance(PLAIN[method].decode(ids), str)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("piece", ["a", "-a", "ab ", "🎈."])
def test_a_megabyte_takes_seconds(method: TokenizerMethod, piece: str) -> None:
    text = (piece * 1_000_000)[: 1_000_000 // len(piece.encode())]
    start = time.monotonic()
    PLAIN[method].encode(text)
    assert time.monotonic() - start < 20  # quadratic time would be minutes


def test_a_megabyte_word_can_be_learned_from() -> None:
    start = time.monotonic()
    for method in METHODS:
        learn([*TEXTS, "ab" * 500_000], method=method)
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("method", METHODS)
def test_the_library_reads_the_files(method: TokenizerMethod, tmp_path: Path) -> None:
    learned = PLAIN[method]
    assert learned.config()["files"] == ["tokenizer.json"]
    path = tmp_path / "tokenizer.json"
    path.write_text(learned.files()["tokenizer.json"], encoding="utf-8")
    library = tokenizers.Tokenizer.from_file(str(path))
    assert library.encode(TEXTS[0]).ids == learned.encode(TEXTS[0])
    assert library.get_vocab_size() == learned.vocab_size


def test_columns_are_split_each_in_its_own_way() -> None:
    lemmas, features = ["abastar", "zutritt"], ["V;IND;PST;NOM(3,PL)", "N;ACC(PL;PSS(1,PL))"]
    source = Tokenizer([learn(lemmas, method="char"), learn(features, method="features")], name="tokenizer.source")
    text = "abastar\tV;IND;PST;NOM(3,PL)"
    ids = source.encode(text)
    assert ids.count(SEPARATOR) == 1
    assert source.tokens(ids) == [*"abastar", "<sep>", "▁V", ";IND", ";PST", ";NOM", "(3", ",PL", ")"]
    assert source.decode(ids) == text
    assert max(ids) < source.vocab_size == len(source.surfaces())
    unknown = source.encode("aXb\tV;FUT;PST")
    assert source.tokens(unknown) == ["a", "<unk>", "b", "<sep>", "▁V", "<unk>", ";PST"]
    assert unknown.count(UNK) == 2  # in whichever column
    assert sorted(source.files()) == ["tokenizer.source.1.json", "tokenizer.source.2.json"]
    again = Tokenizer.from_files(json.loads(json.dumps(source.config())), source.files().__getitem__)
    assert again.encode_batch([text, "\tN"]) == source.encode_batch([text, "\tN"])
    with pytest.raises(DataError, match="a source must have 2 columns joined by TAB, but has 1: 'abastar'"):
        source.encode("abastar")


def test_names_of_tokens_can_be_printed() -> None:
    char = Tokenizer([learn(["a b\n\u0301"], method="char")])
    assert char.tokens(char.encode("a b\nb\u0301")) == ["a", "▁", "b", r"\n", "b", "◌\u0301"]
    phones = Tokenizer([learn(["K AH Z"], method="symbols")])
    assert phones.tokens([*phones.encode("K AH"), EOS]) == ["K", "AH", "</s>"]
    assert phones.surfaces()[4:] == ["AH", "K", "Z"]


def test_frequent_words_are_kept_and_words_of_a_vectors_file_added() -> None:
    texts = ["the cat sat", "the dog sat", "the cow"]
    small = Tokenizer([learn(texts, method="word", vocab_size=8)])
    assert small.surfaces()[4:] == ["the", "sat", "cat", "cow"]
    extended = Tokenizer([learn(texts, method="word", vocab_size=12, extra_words=["cat", "ox", ",", "n't", "hen"])])
    assert extended.surfaces()[4:] == ["the", "sat", "cat", "cow", "dog", "ox", ",", ","]
    assert UNK not in extended.encode("the ox, the cat")
    full = Tokenizer([learn(texts, method="word", vocab_size=11, extra_words=["ox", ",", ";"])])  # room for one comma
    assert full.surfaces()[4:] == ["the", "sat", "cat", "cow", "dog", "ox", ","]


@pytest.mark.parametrize("method", ["word", "symbols", "features", "char", "bpe", "unigram"])
def test_of_many_tokens_those_seen_once_are_left_out_so_that_unknown_is_learned(method: TokenizerMethod) -> None:
    characters = method in ("char", "bpe", "unigram")
    most = MANY_TOKENS["char" if characters else method]
    for count, known in ((most // 2, True), (most + 10, False)):
        names = [chr(0x4E00 + i) if characters else f"{i}w" for i in range(count)]
        between = ";" if method == "features" else " "
        texts = [*(between.join(names[start : start + 50]) for start in range(0, count, 50)), between.join(names[:50])]
        learned = Tokenizer([learn(texts, method=method, vocab_size=4 * most)])
        once, twice = (UNK in learned.encode(names[0] + between + name) for name in (names[-1], names[20]))
        assert not twice
        assert once is not known


@pytest.mark.parametrize("method", ["bpe", "unigram"])
def test_characters_leave_half_of_the_vocabulary_to_what_they_make_up(method: TokenizerMethod) -> None:
    texts = ["the there other " * 20, "".join(chr(0x4E00 + i) * 3 for i in range(80))]
    names = Tokenizer([learn(texts, method=method, vocab_size=64)]).surfaces()[4:]
    assert sum(len(name) > 1 for name in names) >= 8
    assert sum(len(name) == 1 for name in names) == 30


def test_damaged_files_are_named() -> None:
    config = PLAIN["bpe"].config()
    with pytest.raises(StorageError, match=r"tokenizer\.json cannot be read by the tokenizers library"):
        Tokenizer.from_files(config, lambda _: '{"version": "1.0"')
    with pytest.raises(StorageError, match=r"tokenizer\.json is not a tokenizer of dragoman"):
        Tokenizer.from_files(config, lambda _: tokenizers.Tokenizer(tokenizers.models.BPE()).to_str())
    with pytest.raises(StorageError, match="configuration is damaged"):
        Tokenizer.from_files({}, PLAIN["bpe"].files().__getitem__)
    text = PLAIN["word"].files()["tokenizer.json"]
    silent = json.dumps(json.loads(text) | {"decoder": None})
    for other in (silent, text.replace("<s>", "<begin>")):
        with pytest.raises(
            StorageError, match=r"is not a tokenizer of dragoman: ids 0 to 3 must be <pad> <unk> <s> </s>"
        ):
            Tokenizer.from_files(PLAIN["word"].config(), lambda _, other=other: other)
    description = json.loads(text)
    description["model"]["vocab"].pop("▁Go")
    with pytest.raises(StorageError, match=r"tokenizer\.json is damaged: of its ids 0 to \d+ some stand for no token"):
        Tokenizer.from_files(PLAIN["word"].config(), lambda _: json.dumps(description))


@pytest.mark.parametrize("name", ["../tokenizer", "/tmp/tokenizer", "a\\b", "..", "", "a\0", None])
def test_a_configuration_never_leads_out_of_its_folder(name: str | None) -> None:
    config, files = PLAIN["bpe"].config(), PLAIN["bpe"].files()
    for other in ({"name": name}, {"files": [name]}):
        with pytest.raises(StorageError, match="is no name of a file"):
            Tokenizer.from_files({**config, **other}, lambda _: next(iter(files.values())))


def test_impossible_requests_are_named() -> None:
    with pytest.raises(OptionError, match="`vocab_size` must be at least 264 with these options, but is 100"):
        learn(TEXTS, method="bpe", vocab_size=100, byte_fallback=True)
    with pytest.raises(OptionError, match="`byte_fallback` needs the tokenizer bpe or unigram, but is given with char"):
        learn(TEXTS, method="char", byte_fallback=True)
    with pytest.raises(DataError, match="no text to learn"):
        learn(["", " "], method="char")


LEARN_ALL = """
import sys, hashlib
from dragoman.corpus.tokenizer_learning import MANY_TOKENS, learn
from dragoman.corpus.tokenization import Tokenizer
texts = [f"{a} {b}{c} 집{chr(0xAC00 + 28 * ((i * 37) % 300))}" for i, (a, b, c) in enumerate(
    (x, y, z) for x in "abcdefg" for y in ("go", "went", "gone", "est-ce") for z in ("!", "ing", "'s", "。目"))]
for method in ("word", "char", "bpe", "unigram", "symbols", "features"):
    for text in Tokenizer([learn(texts, method=method, vocab_size=90)]).files().values():
        print(method, hashlib.sha256(text.encode()).hexdigest())
"""


def test_the_same_texts_give_the_same_files_in_another_process() -> None:
    outputs = set()
    for setting in ("false", "false", "true"):
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": setting, "PYTHONHASHSEED": "random"}
        done = subprocess.run(
            [sys.executable, "-c", LEARN_ALL], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        outputs.add(done.stdout)
    assert len(outputs) == 1


def test_a_fork_after_encoding_warns_of_nothing() -> None:
    code = (
        "import os; from dragoman.corpus.tokenizer_learning import learn\n"
        "from dragoman.corpus import tokenization\n"
        "tokenization.processors = lambda: 2\n"
        "t = tokenization.Tokenizer([learn(['a b'] * 9000, method='bpe')]); t.encode_batch(['a b'] * 9000)\n"
        "pid = os.fork()\n"
        "if pid == 0: t.encode_batch(['a b'] * 10); os._exit(0)\n"
        "os.waitpid(pid, 0)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "TOKENIZERS_PARALLELISM"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_threads_do_not_change_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"Go home {i}" for i in range(7001)]
    learned = PLAIN["bpe"]
    encoded = []
    for threads in (1, 3):
        monkeypatch.setattr(tokenization, "processors", lambda threads=threads: threads)
        encoded.append(learned.encode_batch(texts))
    assert encoded[0] == encoded[1]
    assert unicodedata.is_normalized("NFC", learned.decode(learned.encode(texts[0])))


def test_the_same_token_is_found_in_another_vocabulary_whatever_the_method() -> None:
    char = Tokenizer([learn(["abc d", "éa"], method="char")])
    symbols = Tokenizer([learn(["b a x", "é <sep>"], method="symbols")])
    columns = Tokenizer([learn(["abc"], method="char"), learn(["V;b"], method="features")], name="tokenizer.source")
    for one, other in ((char, symbols), (symbols, char), (columns, symbols)):
        found = one.ids_in(other)
        assert len(found) == one.vocab_size
        names, others = one.tokens(range(one.vocab_size)), other.tokens(range(other.vocab_size))
        for i, target in enumerate(found):
            if target:
                assert names[i] == others[target]
            else:
                assert names[i] not in others or names[i] == "<sep>" or i < 4
        assert found[:4] == [PAD] * 4
    assert sum(map(bool, char.ids_in(symbols))) == 3  # a, b and é
    assert columns.ids_in(symbols)[SEPARATOR] == PAD
    assert char.ids_in(char) == [PAD] * 4 + list(range(4, char.vocab_size))


def test_the_page_on_tokenisation_shows_real_output() -> None:
    page = Path(__file__).parent.parent / "docs" / "tokenization.md"
    failed, tried = doctest.testfile(str(page), module_relative=False, encoding="utf-8", verbose=False)
    assert (failed, tried > 20) == (0, True)
