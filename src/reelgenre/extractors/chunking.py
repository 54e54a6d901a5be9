"""Spoken or subtitled lines to pieces of about a sentence: one rule, used in training too.

A sentence embedding says most about 8 to 20 words: two words are ambiguous, and fifty blur. Lines
of dialogue are shorter or longer than that and break anywhere, so they are joined and cut again,
at ends of sentences and pauses where there are any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Words in a chunk: none has more than LONGEST; with SHORTEST it ends where a sentence ends, and
# with ENOUGH wherever a line ends.
SHORTEST = 8
ENOUGH = 12
LONGEST = 20

# A pause (s) that ends a chunk like a full stop does, and one that ends it however short it is:
# narrators leave seconds between the halves of a sentence.
PAUSE = 0.8
LONG_PAUSE = 6.0

CHUNKING_VERSION = 1

_SENTENCE_END = re.compile(r"[.!?…]+[\"'”)\]]*$")
_CLAUSE_END = re.compile(r"[,;:—-]$")
_TITLES = frozenset({"mr.", "mrs.", "ms.", "dr.", "st.", "lt.", "sgt.", "col.", "gen.", "prof."})


@dataclass(frozen=True)
class Chunk:
    """A piece of dialogue.

    Attributes:
        text: its words with single blanks between them.
        start, end: seconds; None where the lines came without times.
        lines: indices of the lines it was made from, in order.
    """

    text: str
    start: float | None
    end: float | None
    lines: tuple[int, ...]


@dataclass(frozen=True)
class _Sentence:
    """A sentence, or what one line holds of it, of at most LONGEST words."""

    words: tuple[str, ...]
    start: float | None
    end: float | None
    line: int


def chunk_lines(
    lines: Sequence[str], times: Sequence[tuple[float, float]] | None = None
) -> list[Chunk]:
    """Join and cut lines to chunks of about a sentence; no word is lost, added or moved.

    Args:
        lines: consecutive lines of dialogue; blank ones are passed over.
        times: start and end of each line in seconds, in order; None where they are not known.
            Inside a line, time is taken to pass evenly over its characters.

    Returns:
        Chunks of 1 to ``LONGEST`` words. Fewer than ``SHORTEST`` only where silence, the end of
        the dialogue or a long sentence leaves no choice.

    Raises:
        ValueError: ``times`` has another length than ``lines``.
    """
    if times is not None and len(times) != len(lines):
        raise ValueError(f"{len(lines)} lines have {len(times)} times")
    groups: list[list[_Sentence]] = []
    for index, line in enumerate(lines):
        for sentence in _sentences(line, index, None if times is None else times[index]):
            if groups and _belongs(groups[-1], sentence):
                groups[-1].append(sentence)
            else:
                groups.append([sentence])
    # What is left over at the end goes to the chunk before it if that has room.
    if len(groups) > 1 and _size(groups[-1]) < SHORTEST:
        before, last = groups[-2:]
        if _size(before) + _size(last) <= LONGEST and _pause(before[-1], last[0]) < LONG_PAUSE:
            groups[-2:] = [before + last]
    return [_chunk(group) for group in groups]


def _belongs(group: list[_Sentence], sentence: _Sentence) -> bool:
    """Whether the chunk so far goes on with this sentence."""
    size, pause = _size(group), _pause(group[-1], sentence)
    if size + len(sentence.words) > LONGEST or pause >= LONG_PAUSE or size >= ENOUGH:
        return False
    return size < SHORTEST or (pause < PAUSE and not _ends_sentence(group[-1].words[-1]))


def _size(group: list[_Sentence]) -> int:
    return sum(len(sentence.words) for sentence in group)


def _pause(before: _Sentence, after: _Sentence) -> float:
    return 0.0 if before.end is None or after.start is None else after.start - before.end


def _chunk(group: list[_Sentence]) -> Chunk:
    return Chunk(
        text=" ".join(word for sentence in group for word in sentence.words),
        start=group[0].start,
        end=group[-1].end,
        lines=tuple(dict.fromkeys(sentence.line for sentence in group)),
    )


def _sentences(line: str, index: int, time: tuple[float, float] | None) -> Iterator[_Sentence]:
    """Cut one line into its sentences, and those into parts of at most LONGEST words."""
    words = line.split()
    total = sum(map(len, words))
    spoken = first = 0
    for last, word in enumerate(words, start=1):
        if last < len(words) and not _ends_sentence(word):
            continue
        for part in _short_parts(words[first:last]):
            before, spoken = spoken, spoken + sum(map(len, part))
            start = end = None
            if time is not None:
                start = time[0] + (time[1] - time[0]) * before / total
                end = time[0] + (time[1] - time[0]) * spoken / total
            yield _Sentence(tuple(part), start, end, index)
        first = last


def _short_parts(words: list[str]) -> Iterator[list[str]]:
    """Halve what is too long, at the clause end next to its middle where one is near."""
    if len(words) <= LONGEST:
        yield words
        return
    middle = len(words) // 2
    reach = len(words) // 6
    cuts = [
        cut
        for cut in range(middle - reach, middle + reach + 1)
        if _CLAUSE_END.search(words[cut - 1])
    ]
    cut = min(cuts, key=lambda cut: abs(cut - middle), default=middle)
    yield from _short_parts(words[:cut])
    yield from _short_parts(words[cut:])


def _ends_sentence(word: str) -> bool:
    return bool(_SENTENCE_END.search(word)) and word.lower() not in _TITLES
