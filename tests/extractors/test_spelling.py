from __future__ import annotations

import pytest

from reelgenre.extractors.spelling import EnglishSpelling


@pytest.mark.parametrize(
    ("read", "meant"),
    [
        ("THISSUMMER", "THIS SUMMER"),
        ("FROMTHEDIRECTOROF", "FROM THE DIRECTOR OF"),
        ("FROMTHE DIRECTOROF JAWS", "FROM THE DIRECTOR OF JAWS"),
        ("ComingSoon", "Coming Soon"),
        ("inaworld...", "in a world..."),
        ("C0MING S00N", "COMING SOON"),
        ("K1LLER", "KILLER"),
        ("THRlLLER", "THRILLER"),
        ("IN THE SURNMER", "IN THE SUMMER"),
        ('"ST0RY"', '"STORY"'),
    ],
)
def test_lost_blanks_and_look_alikes_are_repaired(
    spelling: EnglishSpelling, read: str, meant: str
) -> None:
    assert spelling.repair(read) == meant


@pytest.mark.parametrize(
    "text",
    [
        "SINTEL",
        "CHRISTOPHER NOLAN",
        "Matthew McConaughey",
        "HALINA REIJN - THOM HOFFMAN",
        "THE PUNISHER",
        "SCHWARZENEGGER",
        "Gallipoli",
        "Silverado",
        "When Gandalf met Katniss",
        "Un prophète du silence",
        "Ein Teil von mir",
        "Sommernachtstraum",
        "2012",
        "R2-D2",
        "http://durian.blender.org",
        "DON'T LOOK NOW",
        "Talkin' About Girls",
        "七人の侍",
        "",
    ],
)
def test_names_numbers_and_other_languages_are_left_alone(
    spelling: EnglishSpelling, text: str
) -> None:
    assert spelling.repair(text) == text


def test_a_word_that_could_be_two_is_left_alone(spelling: EnglishSpelling) -> None:
    # It could be fail, fall, or a name.
    assert spelling.repair("FA1L") == "FA1L"


def test_knows_words_in_any_case_and_dress(spelling: EnglishSpelling) -> None:
    assert spelling.knows("(Summer!)")
    assert spelling.knows("DON’T")  # noqa: RUF001
    assert not spelling.knows("Sintel")
