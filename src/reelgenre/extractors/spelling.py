"""Repairs what text recognition does to English titles: lost blanks and look-alike characters.

Titles are full of names and foreign words, which a general spelling corrector turns into common
English. So a word is touched only where it is not English, and only where splitting it gives
words that often follow one another, or where exchanging characters that look alike gives exactly
one English word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path

SPELLING_VERSION = 1

_CORE = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)
_ENGLISH_LETTERS = re.compile(r"[a-z]+")
# Two-letter words and less are common in any dictionary that was counted on the web; these are
# the ones that titles are really made of.
_SHORT_WORDS = frozenset(
    re.findall(
        r"\w+", "a i am an as at be by do go he if in is it me my no of on or so to up us we"
    )
)
# A run of letters shorter than this is a name sooner than two words.
_SHORTEST_SPLIT = 7
# Decimal logarithm of probability: of each word of a split.
_COMMON_EACH = -6.0
_LONGEST_WORD = 20
# A correction must be of a word long enough to be recognised, and that common.
_SHORTEST_FIX = 4
_COMMON_FIX = -6.5
# What recognition reads for what is there. A small l among capitals and a capital I among small
# letters are told from the letters that they look like by their case.
_LOOK_ALIKES = (
    *(("0", "o"), ("0", "d"), ("1", "i"), ("1", "l"), ("2", "z"), ("3", "e"), ("4", "a")),
    *(("5", "s"), ("6", "g"), ("8", "b"), ("$", "s"), ("rn", "m"), ("vv", "w")),
    *(("l", "I"), ("I", "l")),
)


class EnglishSpelling:
    """Splits and corrects words by an English word list.

    Args:
        dictionary: lines of a word, a blank and how often it was counted.
        pairs: lines of two words that follow one another and their count, likewise.
    """

    def __init__(self, dictionary: Path, pairs: Path) -> None:
        self._pairs_path = pairs
        counts: dict[str, int] = {}
        with dictionary.open(encoding="utf-8-sig") as file:
            for line in file:
                word, _, count = line.rpartition(" ")
                if len(word) > 2 or word in _SHORT_WORDS:
                    counts[word] = int(count)
        total = math.log10(sum(counts.values()))
        self._logprob = {word: math.log10(count) - total for word, count in counts.items()}

    @cached_property
    def _pairs(self) -> frozenset[str]:
        # A quarter of a million lines, which most videos never need.
        with self._pairs_path.open(encoding="utf-8-sig") as file:
            return frozenset(line.rpartition(" ")[0] for line in file)

    def knows(self, word: str) -> bool:
        """Whether a word is English; its case and the marks around it do not matter."""
        return _core(word).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'") in self._logprob

    def repair(self, text: str) -> str:
        """The text with its words split and corrected where that is safe.

        A text of several words of which fewer than half are English is left as it is: it is in
        another language, or made of names.
        """
        words = text.split()
        judged = [word for word in words if len(_core(word)) > 3]
        if len(judged) > 2:
            doubtful = sum(not self.knows(word) and not self._split(word) for word in judged)
            if 2 * doubtful > len(judged):
                return text
        return " ".join(self._repair_word(word) for word in words)

    def _repair_word(self, word: str) -> str:
        if self.knows(word):
            return word
        if parts := self._split(word):
            match = _CORE.match(word)
            assert match is not None
            before, core, after = match.groups()
            ends = [sum(map(len, parts[: i + 1])) for i in range(len(parts))]
            pieces = [core[end - len(part) : end] for part, end in zip(parts, ends, strict=True)]
            return before + " ".join(pieces) + after
        return self._correct(word)

    def _split(self, word: str) -> tuple[str, ...]:
        """The English words that a run of letters is made of; none where that is doubtful."""
        core = _core(word)
        letters = core.lower()
        if word.endswith("'"):  # "Talkin'" is not "talk in"
            return ()
        mixed = not (core.isupper() or core[1:].islower())
        if (len(letters) < _SHORTEST_SPLIT and not mixed) or not _ENGLISH_LETTERS.fullmatch(
            letters
        ):
            return ()
        # best[i]: the most probable words for the first i letters, by their summed logarithms.
        best: list[tuple[float, tuple[str, ...]]] = [(0.0, ())]
        for end in range(1, len(letters) + 1):
            found: tuple[float, tuple[str, ...]] = (-math.inf, ())
            for start in range(max(0, end - _LONGEST_WORD), end):
                logprob = self._logprob.get(letters[start:end], -math.inf)
                if logprob >= _COMMON_EACH and best[start][0] + logprob > found[0]:
                    found = (best[start][0] + logprob, (*best[start][1], letters[start:end]))
            best.append(found)
        parts = best[-1][1]
        follow = len(parts) > 1 and all(" ".join(pair) in self._pairs for pair in pairwise(parts))
        return parts if follow else ()

    def _correct(self, word: str) -> str:
        # Look-alikes may be marks, so the word keeps them here.
        text = word.strip("\"'.,;:?()[]").rstrip("!")
        if len(text) < _SHORTEST_FIX or not any(map(str.isalpha, text)):
            return word
        fixes = {
            fix
            for fix in map(str.lower, _look_alikes(text))
            if self._logprob.get(fix, -math.inf) >= _COMMON_FIX
        }
        if len(fixes) != 1:
            return word
        fix = fixes.pop()
        return word.replace(text, _in_case_of(text, fix))


def _look_alikes(word: str) -> Iterator[str]:
    """The word with one kind of character, at one place or everywhere, read as its look-alike."""
    capitals = _is_capital(word)
    for seen, meant in _LOOK_ALIKES:
        if seen.isalpha() and seen.isupper() == capitals and meant.isupper() != capitals:
            continue
        for case in {seen, seen.upper()} if len(seen) > 1 else {seen}:
            yield word.replace(case, meant)
            for match in re.finditer(re.escape(case), word):
                yield word[: match.start()] + meant + word[match.end() :]


def _is_capital(word: str) -> bool:
    letters = [character for character in word if character.isalpha()]
    return sum(map(str.isupper, letters)) > len(letters) / 2


def _in_case_of(word: str, fix: str) -> str:
    if _is_capital(word):
        return fix.upper()
    return fix.capitalize() if word[0].isupper() else fix


def _core(word: str) -> str:
    match = _CORE.match(word)
    return match[2] if match else word
