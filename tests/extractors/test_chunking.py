from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgenre.extractors.chunking import (
    ENOUGH,
    LONG_PAUSE,
    LONGEST,
    SHORTEST,
    chunk_lines,
)

_WORDS = st.sampled_from(["we", "go", "home,", "now.", "Mr.", "why?", "never", "tomorrow!", "…"])
_LINES = st.lists(st.lists(_WORDS, max_size=60).map(" ".join), max_size=12)


def _words(texts: list[str]) -> list[str]:
    return " ".join(texts).split()


@given(_LINES)
def test_no_word_is_lost_added_or_moved(lines: list[str]) -> None:
    chunks = chunk_lines(lines)
    assert _words([chunk.text for chunk in chunks]) == _words(lines)
    for chunk in chunks:
        assert 1 <= len(chunk.text.split()) <= LONGEST
        assert chunk.start is None
        assert chunk.end is None
        for word in set(chunk.text.split()):
            assert any(word in lines[i].split() for i in chunk.lines)


@given(_LINES, st.lists(st.floats(0, 20), min_size=24, max_size=24))
def test_times_stay_within_their_lines_and_in_order(lines: list[str], steps: list[float]) -> None:
    edges = [sum(steps[: i + 1]) for i in range(2 * len(lines))]
    times = list(zip(edges[::2], edges[1::2], strict=True))
    chunks = chunk_lines(lines, times)
    assert _words([chunk.text for chunk in chunks]) == _words(lines)
    for chunk in chunks:
        assert chunk.start is not None
        assert chunk.end is not None
        assert times[chunk.lines[0]][0] - 1e-6 <= chunk.start <= chunk.end
        assert chunk.end <= times[chunk.lines[-1]][1] + 1e-6
    starts = [chunk.start for chunk in chunks if chunk.start is not None]
    assert starts == sorted(starts)


def test_short_lines_are_joined_up_to_the_end_of_a_sentence() -> None:
    lines = [
        "It says a couple that kisses on graduation day...",
        "will stay together forever!",
        "Wait! Look at that!",
        "A kiss?",
        "My first kiss?",
        "I enjoyed this year the most out of the past three years.",
    ]
    assert [chunk.text for chunk in chunk_lines(lines)] == [
        "It says a couple that kisses on graduation day...",
        "will stay together forever! Wait! Look at that!",
        "A kiss? My first kiss? I enjoyed this year the most out of the past three years.",
    ]


def test_captions_without_punctuation_end_at_line_ends() -> None:
    lines = ["hello hello who is this", "don't be your name I'll tell you mine I", "don't think so"]
    lines += ["what's that noise what porn you're", "making popcorn I'm getting ready to"]
    chunks = chunk_lines(lines)
    assert [chunk.lines for chunk in chunks] == [(0, 1), (2, 3, 4)]
    assert all(SHORTEST <= len(chunk.text.split()) <= LONGEST for chunk in chunks)


def test_a_long_sentence_is_cut_at_a_clause() -> None:
    left = " ".join(["left"] * 12) + ","
    right = " ".join(["right"] * 14)
    assert [chunk.text for chunk in chunk_lines([f"{left} {right}"])] == [left, right]
    assert [chunk.text for chunk in chunk_lines(["w " * 30])] == [" ".join("w" * 15)] * 2


def test_pauses_separate_but_a_narrators_breath_does_not() -> None:
    line = "In a world without hope"  # five words: too short to stand alone
    far = (10.0 + LONG_PAUSE, 12.0 + LONG_PAUSE)
    assert len(chunk_lines([line, line], [(8.0, 10.0), (13.0, 15.0)])) == 1
    assert len(chunk_lines([line, line], [(8.0, 10.0), far])) == 2
    nine = "one two three four five six seven eight nine"
    assert len(chunk_lines([nine, line], [(0.0, 2.0), (2.1, 4.0)])) == 1
    assert len(chunk_lines([nine, line, nine], [(0.0, 2.0), (3.0, 4.0), (4.1, 5.0)])) == 2


def test_time_passes_evenly_over_a_cut_line() -> None:
    chunks = chunk_lines(["abcd " * 24], [(10.0, 34.0)])
    assert [(chunk.start, chunk.end) for chunk in chunks] == [(10.0, 22.0), (22.0, 34.0)]


def test_titles_do_not_end_sentences() -> None:
    eight = "one two three four five six seven Mr."
    assert len(chunk_lines([f"{eight} Smith has come home"])) == 1
    assert ENOUGH >= SHORTEST


def test_nothing_gives_nothing() -> None:
    assert chunk_lines([]) == []
    assert chunk_lines(["", "  \n"], [(0.0, 1.0), (1.0, 2.0)]) == []


def test_times_must_match_lines() -> None:
    with pytest.raises(ValueError, match="2 lines have 1 times"):
        chunk_lines(["a", "b"], [(0.0, 1.0)])
