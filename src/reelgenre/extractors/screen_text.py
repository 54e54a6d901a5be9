"""The `screen_text` modality of the embedded profile: what is written, one title per step."""

from __future__ import annotations

import numpy as np

from reelgenre.extractors.base import Evidence, Extraction, ExtractorSpec, fingerprint
from reelgenre.extractors.ocr import DETECTION_SIDE, OCR_VERSION, TextReader
from reelgenre.extractors.sentences import SENTENCE_DIM, SentenceEncoder
from reelgenre.extractors.spelling import SPELLING_VERSION, EnglishSpelling
from reelgenre.extractors.titles import TITLES_VERSION, ReadFrame, titles
from reelgenre.media import Frames, MediaView
from reelgenre.sequences import FeatureSequence

_VERSION = 1


class ScreenTextExtractor:
    """Mid-shot frames to embeddings of the titles in them, one step per title.

    Each frame is read; watermarks and guesses are dropped, a title that stands over several
    shots becomes one, and its words are split and corrected for the embedding only: the evidence
    shows what was read.

    Args:
        reader: reads a picture.
        spelling: repairs its text.
        sentences: embeds it.
        sha256: identifies the weights of the reader and the spelling, for the fingerprint.
    """

    def __init__(
        self,
        reader: TextReader,
        spelling: EnglishSpelling,
        sentences: SentenceEncoder,
        sha256: str,
    ) -> None:
        self._reader = reader
        self._spelling = spelling
        self._sentences = sentences
        self.spec = ExtractorSpec(
            name="screen_text",
            dim=SENTENCE_DIM,
            needs=Frames(),
            fingerprint=fingerprint(
                "screen_text",
                {
                    **sentences.identity,
                    "weights": sha256,
                    "detection_side": DETECTION_SIDE,
                    "ocr": OCR_VERSION,
                    "titles": TITLES_VERSION,
                    "spelling": SPELLING_VERSION,
                    "version": _VERSION,
                },
            ),
        )

    def extract(self, media: MediaView) -> Extraction | None:
        """One step per title; None where nothing is written."""
        frames = [
            ReadFrame(*frame.shot, tuple(self._reader.read(frame.image)))
            for frame in media.frames()
        ]
        found = titles(frames)
        if not found:
            return None
        texts = [self._spelling.repair(title.text) for title in found]
        times = np.array([(title.start, title.end) for title in found], dtype=np.float32)
        sequence = FeatureSequence(self._sentences.encode(texts), times, self.spec.fingerprint)
        evidence = tuple(
            Evidence("title", title.start, title.end, title.text, title.score, step)
            for step, title in enumerate(found)
        )
        return Extraction(sequence, evidence)
