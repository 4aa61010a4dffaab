"""Laws of other names and numbers: the same ones on both sides, words stay words."""

from __future__ import annotations

import re
from random import Random

import pytest

from dragoman.corpus.names import OtherNames

ENGLISH = "I like the small house near our river, and they often bring apples under that tree. Oh no, on we go."
FRENCH = "J'aime la petite maison près de notre rivière, et on apporte souvent des pommes sous cet arbre."
RUSSIAN = "Мне нравится маленький дом около нашей реки, они часто приносят яблоки."
NAMES = OtherNames([ENGLISH, FRENCH, RUSSIAN])


def changed(source: str, target: str, seed: int = 1) -> tuple[str, str]:
    return NAMES(source, target, Random(seed))


def test_a_name_and_a_number_become_others_which_are_the_same_on_both_sides() -> None:
    seen = set()
    for seed in range(50):
        source, target = changed("Tom's dog saw Tom at 3:45.", "Le chien de Tom a vu Tom à 3 h 45.", seed)
        found = re.fullmatch(r"(\w+)'s dog saw (\w+) at (\d):(\d\d)\.", source)
        assert found
        name, again, hour, minute = found.groups()
        assert name == again == name.capitalize() != "Tom"
        assert target == f"Le chien de {name} a vu {name} à {hour} h {minute}."
        assert hour not in "01"
        seen.add((name, minute))
    assert len(seen) > 40


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("He saw Tom.", "Il a vu Thomas."),  # no name in common
        ("On we go.", "On y va."),  # a word of either language
        ("I am here.", "I est ici."),  # one letter
        ("I have 1 dog and 0 cats.", "J'ai 1 chien et 0 chat."),  # singular and plural hang on these
        ("１個", "１つ"),
        ("the 3rd of May", "le 3e jour, 3rd"),  # part of a word
        ("tom", "tom"),
        ("", ""),
    ],
)
def test_what_is_no_name_stays(source: str, target: str) -> None:
    assert changed(source, target) == (source, target)


def test_half_of_the_names_are_halves_of_words_that_begin_as_the_old_ones_did() -> None:
    words = re.findall(r"\w{4,12}", ENGLISH.lower() + FRENCH)
    heads, tails = ({word[: len(word) // 2] for word in words}, {word[len(word) // 2 :] for word in words})
    for old, begins in (("Alice", True), ("Zoé", False)):
        found = [changed(old, f"de {old}", seed)[0].lower() for seed in range(200)]
        halves = [name for name in found if any(name.startswith(h) and name.removeprefix(h) in tails for h in heads)]
        assert 80 < len(halves) < 130
        assert all((name[0] in "aeiouyh") == begins for name in halves)
        assert len({name[0] for name in found if name not in halves}) > 10


def test_names_and_numbers_are_in_the_script_and_the_case_of_the_old_ones() -> None:
    for seed in range(20):
        assert re.fullmatch(r"[А-Я][а-я]+", changed("Ольга", "Ольга", seed)[0])
        assert re.fullmatch(r"[^\W\d]{2,4}", word := changed("NASA", "NASA", seed)[0])
        assert word.isupper()
        assert re.fullmatch(r"[٠-٩]{2}", changed("٢٥", "٢٥", seed)[0])
        assert re.fullmatch(r"\d\d", changed("05", "05", seed)[0])
    assert changed("Αθήνα", "Αθήνα") == ("Αθήνα", "Αθήνα")  # of no Greek word the halves are known


def test_a_number_stands_next_to_letters_that_are_no_latin_ones() -> None:
    source, target = changed("at 25 years", "25歳で")
    assert source != "at 25 years"
    assert target == source.split()[1] + "歳で"


def test_the_same_random_numbers_give_the_same_names() -> None:
    pair = ("Tom met Mary.", "Tom a rencontré Mary.")
    assert changed(*pair, seed=7) == changed(*pair, seed=7) != changed(*pair, seed=8)
