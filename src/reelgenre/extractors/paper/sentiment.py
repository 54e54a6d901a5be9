"""The published release's `asr_sentiment` and `ocr_sentiment`: a whole text as one vector.

The release (Sulun et al., 2024, Zenodo 13909366) takes the last hidden state of RoBERTa's opening
mark, which its sentiment classifier reads, from a text cut off at 512 tokens. Here a longer text
is not cut off (see :class:`~reelgenre.extractors.paper.text_classifier.TextClassifier`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from reelgenre.extractors.base import Evidence, Extraction, Extractor, ExtractorSpec, fingerprint
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.paper.device import torch_device
from reelgenre.extractors.paper.screen_reading import ScreenReading, load_screen_reading
from reelgenre.extractors.paper.speech_reading import SpeechReading, load_speech_reading
from reelgenre.extractors.paper.text_classifier import TEXT_CLASSIFIER_VERSION, TextClassifier
from reelgenre.extractors.settings import ScreenSentimentSettings, SpeechSentimentSettings
from reelgenre.extractors.whisper import RATE
from reelgenre.media import Frames, MediaView, Sound
from reelgenre.sequences import FeatureSequence
from reelgenre.weights import once

_VERSION = 1


class Sentiment:
    """A sentiment model that makes the one step of a modality.

    Args:
        classifier: the model.
        sha256: identifies its files, for fingerprints.
    """

    def __init__(self, classifier: TextClassifier, sha256: str) -> None:
        self._classifier = classifier
        self._sha256 = sha256

    def spec(
        self, name: str, needs: Frames | Sound, parts: Mapping[str, str | int | float | bool]
    ) -> ExtractorSpec:
        """The specification of a modality whose text depends on ``parts``."""
        whole = {
            **parts,
            "sentiment": self._sha256,
            "sentiment_version": TEXT_CLASSIFIER_VERSION,
            "v": _VERSION,
        }
        return ExtractorSpec(name, self._classifier.dim, needs, fingerprint(name, whole))

    def extract(self, text: str, evidence: Sequence[Evidence], made_by: str) -> Extraction:
        """One step over all of the evidence, which gets the sentiment as one more entry."""
        found = self._classifier.classify(text)
        label, probability = found.best
        start, end = min(item.start for item in evidence), max(item.end for item in evidence)
        whole = Evidence("sentiment", start, end, label, probability, 0)
        times = np.array([(start, end)], np.float32)
        sequence = FeatureSequence(found.vector[np.newaxis], times, made_by)
        return Extraction(sequence, (*evidence, whole))


class ScreenSentimentExtractor:
    """Mid-shot frames to the sentiment vector of all text in them.

    The texts of the frames are joined by full stops, as in the release.

    Args:
        name: of the modality.
        reading: reads the frames and corrects the spelling.
        sentiment: turns the text into a vector.
    """

    def __init__(self, name: str, reading: ScreenReading, sentiment: Sentiment) -> None:
        self._reading = reading
        self._sentiment = sentiment
        self.spec = sentiment.spec(name, Frames(), {**reading.identity, "kind": "screen_sentiment"})

    def extract(self, media: MediaView) -> Extraction | None:
        """One step; None where nothing is written."""
        written = self._reading.read(media.frames())
        if not written:
            return None
        # In small letters, as the release has it; titles in capitals would be so many shouts.
        text = ". ".join(dict.fromkeys(item.text.lower() for item in written))
        evidence = [item.evidence(0) for item in written]
        return self._sentiment.extract(text, evidence, self.spec.fingerprint)


class SpeechSentimentExtractor:
    """Sound to the sentiment vector of all that is said in it.

    Args:
        name: of the modality.
        reading: writes down what is said.
        sentiment: turns the text into a vector.
    """

    def __init__(self, name: str, reading: SpeechReading, sentiment: Sentiment) -> None:
        self._reading = reading
        self._sentiment = sentiment
        self.spec = sentiment.spec(
            name, Sound(RATE), {**reading.identity, "kind": "speech_sentiment"}
        )

    def extract(self, media: MediaView) -> Extraction | None:
        """One step; None where nobody says anything intelligible."""
        spoken = self._reading.read(media.sound())
        if spoken is None:
            return None
        text = " ".join(line.text for line in spoken.texts)
        evidence = [spoken.evidence(line, 0) for line in range(len(spoken.said))]
        return self._sentiment.extract(text, evidence, self.spec.fingerprint)


def screen_sentiment(settings: ScreenSentimentSettings, loading: Loading) -> Extractor:
    """The `ocr_sentiment` modality, as a profile sets it up."""
    return ScreenSentimentExtractor(
        settings.modality,
        load_screen_reading(settings, loading),
        _load_sentiment(settings.weights, loading),
    )


def speech_sentiment(settings: SpeechSentimentSettings, loading: Loading) -> Extractor:
    """The `asr_sentiment` modality, as a profile sets it up."""
    return SpeechSentimentExtractor(
        settings.modality,
        load_speech_reading(settings, loading),
        _load_sentiment(settings.weights, loading),
    )


def _load_sentiment(name: str, loading: Loading) -> Sentiment:
    weights = loading.weights(name)
    device, digest = torch_device(loading), weights.artefact.digest
    return once(
        ("sentiment", digest, str(device)),
        lambda: Sentiment(TextClassifier(weights.folder, device), digest),
    )
