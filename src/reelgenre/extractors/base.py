"""What every extractor is: a specification and one method from media to a feature sequence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from reelgenre.media import Frames, MediaView, Sound
from reelgenre.sequences import FeatureSequence

EvidenceKind = Literal["frame", "speech", "title", "tag", "word", "face", "sentiment"]


@dataclass(frozen=True)
class Evidence:
    """Something a person can check.

    A line spoken, a title read, a frame, a tag heard, a word, the expression of a face, the
    sentiment of a text.

    Attributes:
        kind: which of these.
        start, end: seconds of presentation time.
        text: what was said, read or heard; None for a frame.
        score: the recogniser's own confidence from 0 to 1; None where it has none.
        step: the row of the feature sequence this went into; None if it went into none.
        language: ISO 639-1 code of what was said; None where that means nothing.
    """

    kind: EvidenceKind
    start: float
    end: float
    text: str | None = None
    score: float | None = None
    step: int | None = None
    language: str | None = None


@dataclass(frozen=True)
class Extraction:
    """A feature sequence and what it was made from, for people."""

    sequence: FeatureSequence
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class Text:
    """A need for the text that other extractors found, in place of the media itself.

    Attributes:
        of: their names; those that found nothing are passed over.
    """

    of: tuple[str, ...]


@dataclass(frozen=True)
class ExtractorSpec:
    """What an extractor makes and what it needs.

    Attributes:
        name: the modality's name, as classifiers and stores key it.
        dim: width D of its sequences.
        needs: mid-shot frames, sound at a rate, or other extractors' text.
        fingerprint: ``name:`` and 16 hexadecimal digits over everything that changes the numbers.
        window_s, hop_s: length and distance of its windows in seconds; None where steps follow
            the content (shots, sentences).
    """

    name: str
    dim: int
    needs: Frames | Sound | Text
    fingerprint: str
    window_s: float | None = None
    hop_s: float | None = None


class Extractor(Protocol):
    """Turns one kind of media stream into a feature sequence.

    Weights are loaded when it is made, once; ``extract`` may be called for any number of videos,
    from several threads at once, a view in each. No video's features depend on which others are
    in flight, beyond the rounding of floating-point sums.
    """

    @property
    def spec(self) -> ExtractorSpec: ...

    def extract(self, media: MediaView) -> Extraction | None:
        """Features of one video; None where the modality is not there.

        Consumes the view to its end, so that the decoding never waits for it in vain.
        """
        ...


class TextExtractor(Protocol):
    """Turns the text that others found into a feature sequence of its own.

    ``derive``, too, may be called from several threads at once.
    """

    @property
    def spec(self) -> ExtractorSpec:
        """Its ``needs`` is a :class:`Text`."""
        ...

    def derive(self, extractions: Mapping[str, Extraction]) -> Extraction | None:
        """Features of one video; None where there is no text.

        Args:
            extractions: what the other extractors found in the video, by name.
        """
        ...


def fingerprint(name: str, parts: Mapping[str, str | int | float | bool | None]) -> str:
    """``name:`` and 16 hexadecimal digits of the sha256 over the sorted parts.

    Put in every weight's sha256 or revision, every preprocessing constant and the version of the
    extractor's own code; leave out what cannot change the numbers (threads, batch size).
    """
    text = json.dumps(dict(sorted(parts.items())), separators=(",", ":"), ensure_ascii=True)
    return f"{name}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
