"""What is chosen for each kind of task, from two hundred rows or fewer; and that options win."""

from __future__ import annotations

import random

import pytest

from dragoman.config import TrainOptions
from dragoman.corpus.column_profile import ColumnProfile
from dragoman.corpus.tokenizer_choice import TokenizationChoice, choose_tokenization
from dragoman.corpus.tokenizer_learning import learn_tokenizers
from dragoman.errors import DataError, OptionError

Pairs = list[tuple[str, str]]
RANDOM = random.Random(5)

SYLLABLES = ["ka", "ro", "mi", "tel", "san", "bu", "pi", "ne", "gor", "la"]
PHONES = {"ka": "K AH", "ro": "R OW", "mi": "M IY", "tel": "T EH L", "san": "S AE N"}
PHONES |= {"bu": "B UW", "pi": "P IY", "ne": "N EH", "gor": "G AO R", "la": "L AH"}
ENGLISH = "I you we they cannot see know want a the old new house dog friend today because never where".split()
FRENCH = "je tu nous ils pouvons voir savoir vouloir une le vieille neuf maison chien ami jamais où".split()
KOREAN = "나는 너를 집에서 학교에 갑니다 좋아해요 왜 그랬어 오늘도 친구가 정말 모르겠어요 하고 싶다".split()
JAPANESE = "私は 彼が 学校に 行きます 昨日 とても 大きい 犬を 見ました 本当 ですか".split()
FEATURES = ["V;IND;PST;NOM(3,PL)", "V;IND;PRS;NOM(1,SG)", "N;ACC(PL;PSS(1,PL))", "N;DAT(SG)", "ADJ;AT+ALL(SG)"]


def word() -> str:
    return "".join(RANDOM.choices(SYLLABLES, k=RANDOM.randint(1, 4)))


def hangul() -> str:
    return "".join(RANDOM.choices("예나리스김박이가바사디터로집학교친구", k=RANDOM.randint(1, 4)))


def rare(words: list[str]) -> str:
    """A word of the same script that hardly occurs twice."""
    if words is JAPANESE:
        return chr(RANDOM.randrange(0x4E00, 0x5200)) + "の"
    return hangul() if words is KOREAN else word()


def sentence(words: list[str], *, joined: str = " ", end: str = ".") -> str:
    return joined.join(RANDOM.choices([*words, *(rare(words) for _ in words)], k=RANDOM.randint(3, 9))) + end


def rows(make: object, count: int = 200) -> Pairs:
    assert callable(make)
    return [make() for _ in range(count)]


def spelled() -> tuple[str, str]:
    parts = RANDOM.choices(SYLLABLES, k=RANDOM.randint(1, 4))
    return "".join(parts), " ".join(PHONES[part] for part in parts)


def commands() -> tuple[str, str]:
    count = RANDOM.randint(1, 4)
    verb = RANDOM.choice(["jump", "walk"])
    return f"{verb} {['once', 'twice', 'thrice', 'four times'][count - 1]}", " ".join([f"I_{verb.upper()}"] * count)


TASKS: dict[str, tuple[Pairs, str, str]] = {
    # name: (pairs, "source methods > target method", "kind shared jamo unspaced", as far as they hold of the target)
    "translation": (rows(lambda: (sentence(ENGLISH), sentence(FRENCH))), "bpe>bpe", "text shared"),
    "to Korean": (rows(lambda: (sentence(ENGLISH), sentence(KOREAN))), "bpe>bpe", "text jamo"),
    "to Japanese": (
        rows(lambda: (sentence(ENGLISH), sentence(JAPANESE, joined="", end="。"))),
        "bpe>bpe",
        "text unspaced",
    ),
    "chat": (rows(lambda: (sentence(KOREAN, end=""), sentence(KOREAN))), "bpe>bpe", "text shared jamo"),
    "phones": (rows(spelled), "char>symbols", "symbols"),
    "letters as phones": (rows(lambda: ((w := word()), " ".join(w))), "char>symbols", "symbols"),
    "Korean phones": (rows(lambda: (hangul(), spelled()[1])), "char>symbols", "symbols"),
    "names": (
        rows(lambda: (word(), " ".join(RANDOM.choices("예나리스김박이가바사디터로", k=3)))),
        "char>symbols",
        "symbols",
    ),
    "to names": (rows(lambda: (word(), "".join(RANDOM.choices("예나리스김박이가", k=3)))), "char>char", "symbols jamo"),
    "spaces": (rows(lambda: ((s := sentence(ENGLISH)).lower().replace(" ", ""), s)), "char>char", "text shared"),
    "no spaces": (rows(lambda: ((s := sentence(ENGLISH)), s.replace(" ", ""))), "char>char", "text shared"),
    "Korean spaces": (rows(lambda: ((s := sentence(KOREAN)).replace(" ", ""), s)), "char>char", "text shared"),
    "Chinese words": (
        rows(lambda: ((s := sentence(JAPANESE, joined=" ", end=" 。")).replace(" ", ""), s)),
        "char>char",
        "text shared",
    ),
    "hashtags": (rows(lambda: (word() + word(), sentence(ENGLISH))), "char>bpe", "text"),
    "spelling": (rows(lambda: (w := word(), w.replace("k", "c"))), "char>char", "symbols shared"),
    "commands": (rows(commands), "symbols>symbols", "symbols"),
    "labels": (rows(lambda: (sentence(ENGLISH), RANDOM.choice(["good", "bad"]))), "bpe>symbols", "symbols"),
    "sequences": (
        rows(lambda: ("".join(RANDOM.choices("ACGT", k=90)), "".join(RANDOM.choices("ARNDCQEGHILKMFPSTWYV", k=40)))),
        "char>char",
        "symbols",
    ),
    "inflection": (
        rows(lambda: (f"{word()}\t{RANDOM.choice(FEATURES)}", word() + "s")),
        "char+features>char",
        "symbols",
    ),
}


def summary(choice: TokenizationChoice) -> tuple[str, str]:
    flags = [choice.kind]
    flags += ["shared"] * choice.shared + ["jamo"] * choice.target_jamo + ["unspaced"] * choice.unspaced_target
    return f"{'+'.join(choice.source_methods)}>{choice.target_method}", " ".join(flags)


def test_few_lemmas_with_many_forms_are_spelled_so_that_others_can_be_read() -> None:
    lemmas = sorted({word() + word() for _ in range(60)})[:40]
    endings = {tag: "".join(RANDOM.choices(SYLLABLES, k=2)) for tag in FEATURES}
    table = [(f"{lemma}\t{tag}", lemma + ending) for lemma in lemmas for tag, ending in endings.items()] * 2
    table += [(f"{lemma}\t{tag}", lemma + word() + word()) for lemma in lemmas for tag in FEATURES] * 2
    choice = choose_tokenization(table, pairs=len(table), options=TrainOptions())
    assert (choice.source_methods, choice.target_method) == (("char", "features"), "char")
    labelled = [(f"{['masc', 'fem', 'neut'][i % 3]}\t{source}", target) for i, (source, target) in enumerate(table)]
    choice = choose_tokenization(labelled, pairs=len(table), options=TrainOptions())
    assert choice.source_methods == ("symbols", "char", "features")


def test_numbers_in_groups_are_spelled_as_their_target_is() -> None:
    """Subwords of a telephone number say nothing of other ones."""
    draw = random.Random(5)
    numbers = [(draw.randint(100, 999), draw.randint(100_000, 9_999_999)) for _ in range(500)]
    choice = choose_tokenization([(f"+49 {a} {b}", f"0{a}/{b}") for a, b in numbers], pairs=500, options=TrainOptions())
    assert (choice.source_methods, choice.target_method) == (("char",), "char")


def test_dates_of_few_different_words_are_spelled_as_their_target_is() -> None:
    """A symbol for each year would leave the years that are not in the data unknown."""
    draw = random.Random(5)
    dates = [(draw.randint(1, 28), draw.randint(1, 2), draw.randint(1950, 2030)) for _ in range(1_000)]
    table = [
        (f"{day} {('May', 'June')[month - 1]} {year}", f"{year}-{month + 4:02}-{day:02}") for day, month, year in dates
    ]
    choice = choose_tokenization(table, pairs=len(table), options=TrainOptions())
    assert (choice.source_methods, choice.target_method) == (("char",), "char")


def test_a_lemma_with_its_features_in_one_column_is_spelled_and_a_question_with_its_label_is_not() -> None:
    def chosen(table: Pairs) -> str:
        return choose_tokenization(table, pairs=len(table), options=TrainOptions()).source_methods[0]

    lemmas = sorted({word() + word() for _ in range(300)})
    tags = {"V PRS 1 SG": "ak", "V PST 3 PL": "anik", "N ACC PL DEF": "it"}
    assert chosen([(f"{lemma} {tag}", lemma[:-1] + end) for lemma in lemmas for tag, end in tags.items()]) == "char"
    few = [(f"{lemma} {tag}", lemma[:-1] + end) for lemma in lemmas[:40] for tag, end in tags.items()] * 4
    assert ColumnProfile.of([source for source, _ in few]).are_closed_symbols()
    assert chosen(few) == "char"
    assert (
        chosen([(" ".join(syllables), "".join(syllables)) for syllables in ("예나", "나리스", "리예", "스나예")])
        == "symbols"
    )
    questions = [(sentence(ENGLISH), word()) for _ in range(400)]
    assert chosen(questions) == "bpe"
    told = [(f"{source} {target}", target) for source, target in questions]
    assert chosen(told) == "char"
    assert chosen([(f"{source} {source} {source}", target) for source, target in told]) == "bpe"  # too long to spell


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("count", [60, 200])
def test_each_task_gets_what_suits_it(task: str, count: int) -> None:
    pairs, methods, flags = TASKS[task]
    choice = choose_tokenization(pairs[:count], pairs=len(pairs), options=TrainOptions())
    assert summary(choice) == (methods, flags)
    assert set(choice.reasons) == {"source", "target", "vocabulary", "shared", "byte_fallback", "jamo", "source_case"}
    assert all(choice.reasons.values())
    assert len(choice.notes()) == 7
    assert choice.notes()[1].startswith(f"target = {choice.target_method}: ")


@pytest.mark.parametrize("task", TASKS)
def test_what_is_chosen_gives_the_text_back(task: str) -> None:
    pairs = TASKS[task][0]
    source, target = learn_tokenizers(pairs, choose_tokenization(pairs, pairs=len(pairs), options=TrainOptions()))
    for left, right in pairs:
        assert (source.decode(source.encode(left)), target.decode(target.encode(right))) == (left, right)


def test_a_shared_vocabulary_is_one() -> None:
    pairs = TASKS["translation"][0]
    choice = choose_tokenization(pairs, pairs=len(pairs), options=TrainOptions())
    source, target = learn_tokenizers(pairs, choice)
    assert source.shares_vocabulary(target)
    assert list(source.files()) == ["tokenizer.json"]
    apart = learn_tokenizers(
        pairs, choose_tokenization(pairs, pairs=200, options=TrainOptions(shared_vocabulary=False))
    )
    assert [list(side.files()) for side in apart] == [["tokenizer.source.json"], ["tokenizer.target.json"]]


def test_vocabularies_grow_with_the_data() -> None:
    pairs = TASKS["translation"][0]
    sizes = [
        choose_tokenization(pairs, pairs=count, options=TrainOptions()).target_vocab_size
        for count in (200, 5_000, 142_787, 300_000, 10**6, 5 * 10**6)
    ]
    assert sizes == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000]


def test_rare_characters_ask_for_bytes() -> None:
    pairs = [
        (sentence(ENGLISH), "".join(chr(0x4E00 + RANDOM.randrange(3_000)) for _ in range(12)) + "。")
        for _ in range(500)
    ]
    large = choose_tokenization(pairs, pairs=60_000, options=TrainOptions())
    assert large.byte_fallback
    assert large.target_vocab_size == 8_000  # 4,000 would be filled by the characters
    small = choose_tokenization(pairs, pairs=60_000, options=TrainOptions(vocab_size=200))
    assert not small.byte_fallback
    learn_tokenizers(pairs, small)


def test_syllables_that_are_split_count_as_their_letters() -> None:
    pairs = [("go", text) for text in ("가나.", "간다!", "각나?")] * 30
    for jamo, count in ((False, 8), (True, 9)):  # five syllables and three marks, or six letters and three marks
        options = TrainOptions(tokenizer="bpe", jamo=jamo, shared_vocabulary=False)
        reason = choose_tokenization(pairs, pairs=90, options=options).reasons["byte_fallback"]
        assert reason.startswith(f"only {count} different characters")


def test_words_beside_a_column_of_subwords_keep_their_own_limit() -> None:
    """They were cut to the few tokens that so few pairs want of subwords."""
    pairs = [(f"head{i} tail{i}\tthe small cat sat on the mat", "le petit chat") for i in range(900)]
    options = TrainOptions(source_tokenizer=("word", "bpe"), target_tokenizer="bpe")
    choice = choose_tokenization(pairs, pairs=900, options=options)
    assert (choice.source_vocab_sizes, choice.target_vocab_size) == ((None, 1_000), 1_000)
    words = learn_tokenizers(pairs, choice)[0]
    assert all(1 not in row for row in words.encode_batch([source for source, _ in pairs]))
    asked = choose_tokenization(pairs, pairs=900, options=options.model_copy(update={"vocab_size": 500}))
    assert asked.source_vocab_sizes == (500, 500)


def test_options_win() -> None:
    pairs = TASKS["to Korean"][0]
    options = TrainOptions(
        source_tokenizer=("word",), target_tokenizer="unigram", vocab_size=700, byte_fallback=True, jamo=False
    )
    choice = choose_tokenization(pairs, pairs=200, options=options)
    assert summary(choice) == ("word>unigram", "text")
    assert (choice.source_vocab_sizes, choice.target_vocab_size, choice.byte_fallback) == ((700,), 700, True)
    assert {choice.reasons[name] for name in ("source", "target", "vocabulary", "byte_fallback", "jamo")} == {
        "as asked"
    }
    both = choose_tokenization(pairs, pairs=200, options=TrainOptions(tokenizer="char"))
    assert summary(both) == ("char>char", "text jamo")
    vectors = choose_tokenization(pairs, pairs=200, options=TrainOptions(source_vectors="glove.txt"))
    assert vectors.source_methods == ("word",)
    assert vectors.target_method == "bpe"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TrainOptions(tokenizer="char", byte_fallback=True), "`byte_fallback` needs a side with the tokenizer bpe or"),
        (
            TrainOptions(source_tokenizer=("char", "char", "char")),
            "once or for each of 2 source columns, but is given 3",
        ),
        (TrainOptions(shared_vocabulary=True), "`shared_vocabulary` needs one source column and one tokenizer"),
        (TrainOptions(jamo=True), "`jamo` needs Hangul on a side at least"),
    ],
)
def test_contradictions_are_named(options: TrainOptions, message: str) -> None:
    pairs = TASKS["inflection"][0]
    with pytest.raises(OptionError, match=message):
        choose_tokenization(pairs, pairs=200, options=options)


def test_one_method_may_serve_all_source_columns() -> None:
    choice = choose_tokenization(TASKS["inflection"][0], pairs=200, options=TrainOptions(source_tokenizer=("char",)))
    assert choice.source_methods == ("char", "char")


def test_no_pairs_are_named() -> None:
    with pytest.raises(DataError, match="no pairs"):
        choose_tokenization([], pairs=0, options=TrainOptions())
    choose_tokenization([("\t", "")], pairs=1, options=TrainOptions())


def test_short_sentences_are_not_spellings() -> None:
    sentences = ColumnProfile.of(["Go.", "Run!", "Hi.", "Who?", "Stop!", "I see."] * 3)
    assert not sentences.are_spellings()
    assert ColumnProfile.of(["hàng xóm", "nướu", "tỏi tây", "an toàn"]).are_spellings()
    assert ColumnProfile.of(["あいぞうばん", "せんとう"]).are_spellings()
    assert not ColumnProfile.of(["目をつぶって。", "私は昨日とても大きい犬を見ました。"]).are_spellings()


def test_words_of_scripts_without_spaces_are_spelled_whatever_marks_they_bear() -> None:
    for words in ("กรุงเทพ มหาวิทยาลัย สวัสดี คอมพิวเตอร์ ประเทศไทย", "မြန်မာနိုင်ငံ ကျောင်းသား တက္ကသိုလ် ကျေးဇူးတင်ပါတယ်"):
        profile = ColumnProfile.of(words.split())
        assert profile.characters > 8 * profile.rows
        assert profile.method()[0] == "char"
    assert ColumnProfile.of(["ฉันไม่รู้ว่าเขากำลังพูดเรื่องอะไรกับเพื่อน"] * 3).is_text()


@pytest.mark.parametrize(
    ("unspaced", "cut"),
    [
        ("我不知道他在说什么。", "我 不 知道 他 在 说 什么 。"),
        ("私は昨日とても大きい犬を見ました。", "私 は 昨日 とても 大きい 犬 を 見 まし た 。"),
        ("ฉันไม่รู้ว่าเขาพูดเรื่องอะไร เมื่อวานนี้", "ฉัน ไม่ รู้ ว่า เขา พูด เรื่อง อะไร เมื่อวาน นี้"),
        ("ང་ཚོས་བོད་སྐད་སློབ་སྦྱོང་བྱེད་ཀྱི་ཡོད།", "ང་ཚོས་ བོད་ སྐད་ སློབ་ སྦྱོང་ བྱེད་ ཀྱི་ ཡོད །"),
        ("我在 2010 年买了第一部手机，后来弄丢了。", "我 在 2010 年 买 了 第一 部 手机 ， 后来 弄丢 了 。"),
    ],
)
def test_text_that_a_tool_has_cut_into_words_has_spaces(unspaced: str, cut: str) -> None:
    for text, expected in ((unspaced, True), (cut, False)):
        profile = ColumnProfile.of([text] * 3)
        assert profile.is_mostly_unspaced() == expected
        assert profile.method()[1] == ("sentences without spaces between words" if expected else "sentences")


def test_formulas_with_many_different_pieces_are_no_features() -> None:
    def formula() -> str:
        rings = ("".join(RANDOM.choices("cnos", k=5)) for _ in range(2))
        return "CC(=O)N({}1)C(=O)O({}1)C".format(*rings)

    molecules = ColumnProfile.of([formula() for _ in range(3_000)])
    assert molecules.features >= 4 * molecules.distinct_features
    assert molecules.method()[0] == "char"
    assert ColumnProfile.of([f"answer(A,(river(A),loc(A,{RANDOM.choice(ENGLISH)})))" for _ in range(60)]).are_features()


def rows_of(words: list[str], *, rows: int, length: int, end: str = "") -> list[str]:
    """Rows of words in turn."""
    return [" ".join(words[(row * 7 + i) % len(words)] for i in range(length)) + end for row in range(rows)]


@pytest.mark.parametrize(
    ("texts", "method"),
    [
        ([f"V;{case};{number}" for case in ("NOM", "ACC", "GEN") for number in ("SG", "PL")] * 20, "features"),
        ([f"{i % 149},{i % 100:02}" for i in range(1_500)], "char"),  # numbers, of which there are others
        (["-.. .-. .- --.", "--- -- .- -.", ". .- ... -"] * 20, "symbols"),  # Morse code, which has no full stop
        ([f"left{i};right{i}" for i in range(100)], "char"),  # pieces that come once each
        ([*(f"wort{i}" for i in range(60)), "usw."], "char"),  # hardly a sentence
        (rows_of([f"S{i}" for i in range(300)], rows=500, length=8), "symbols"),
        (rows_of([f"w{i}" for i in range(400)], rows=500, length=8), "bpe"),  # too many words for symbols
        (rows_of([f"w{i}" for i in range(100)], rows=500, length=8, end=" stop."), "bpe"),  # sentences
        (["你好", "谢谢", "再见吧"], "char"),
        (["你 好 吗 我 很 好", "谢 谢 你 再 见 吧"], "symbols"),
        (["今天天气很好我们去公园吧", "昨天下雨所以我没有去学校"], "bpe"),
    ],
)
def test_a_column_is_what_its_counts_say(texts: list[str], method: str) -> None:
    assert ColumnProfile.of(texts).method()[0] == method


def test_words_that_are_repeated_are_whole_words_one_in_a_row_and_no_handful_of_labels() -> None:
    def repeated(texts: list[str]) -> bool:
        return ColumnProfile.of(texts * 10).are_repeated_words()

    lemmas = [f"lemma{i}" for i in range(40)]
    assert repeated(lemmas)
    assert not repeated(lemmas[:30])
    assert not repeated([f"{lemma} {lemma}" for lemma in lemmas])
    assert not repeated([chr(ord("一") + i) for i in range(40)])


def test_scripts_are_told_by_their_share_of_the_characters() -> None:
    assert [ColumnProfile.of([text]).is_hangul() for text in ("나ab", "나abc", "")] == [True, False, False]
    unspaced = ["你好", "你好 吗", "你 好 吗 我", "ab好", ""]
    assert [ColumnProfile.of([text]).is_mostly_unspaced() for text in unspaced] == [True, False, False, False, False]
