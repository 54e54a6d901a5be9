"""A classifier over the videos of a store, one at a time and at full length."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reelgenre.classifiers import GenreClassifier, Prediction
from reelgenre.errors import FeatureMismatchError, StoreError
from reelgenre.hooks import Hook, no_hook
from reelgenre.store import FeatureStore, Video

_log = logging.getLogger("reelgenre.datasets")


@dataclass(frozen=True, eq=False)
class VideoPrediction:
    """What a classifier says of one video.

    Attributes:
        video: of the store.
        prediction: None where nothing the classifier reads is there.
        missing: inputs that were not extracted or failed; the classifier went without them, as
            it does without those that are absent from the video.
    """

    video: Video
    prediction: Prediction | None
    missing: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``logits`` and ``probabilities`` are in the order of ``classes``."""
        found = self.prediction
        return {
            "video_id": self.video.video_id,
            "content_hash": self.video.content_hash,
            "classes": None if found is None else list(found.labels),
            "logits": None if found is None else found.logits.tolist(),
            "probabilities": None if found is None else found.probabilities.tolist(),
            "predicted": None if found is None else list(found.predicted),
            "missing": list(self.missing),
        }


def predict_store(
    classifier: GenreClassifier,
    store: FeatureStore,
    *,
    split: str | None = None,
    hook: Hook = no_hook,
) -> Iterator[VideoPrediction]:
    """Predictions for the videos of a store, in its order.

    Args:
        classifier: whose inputs the store must have, made by the same extractors.
        store: of the features.
        split: only its videos; all if not given.
        hook: told ``predict`` with the number of videos done and their total.

    Raises:
        FeatureMismatchError: the store has none of the classifier's inputs.
        StoreError: the split has no video, or features are damaged.
    """
    extractors = _extractors(classifier, store)
    videos = [v for v in store.videos.values() if split is None or v.split == split]
    if not videos:
        raise StoreError(
            f"{store.storage.address} has no video to classify",
            "Choose one of the splits that `reelgenre store info` lists",
        )
    for done, video in enumerate(videos, start=1):
        missing = []
        features = {}
        for name, extractor in extractors.items():
            outcome = store.outcomes(extractor).get(video.content_hash) if extractor else None
            if extractor is None or outcome is None or outcome.status == "failed":
                missing.append(name)
            elif outcome.status == "stored":
                features[name] = store.get(video, extractor)
        prediction = classifier.predict(features) if features else None
        if prediction is None:
            _log.warning("%s has no feature that the classifier reads", video.video_id)
        yield VideoPrediction(video, prediction, tuple(missing))
        hook("predict", done, len(videos))


def _extractors(classifier: GenreClassifier, store: FeatureStore) -> dict[str, str | None]:
    """The store's extractor for each input; None where it has none."""
    found: dict[str, str | None] = {}
    for name, feature in classifier.config.features.items():
        if feature.fingerprint is not None:
            known = feature.fingerprint in store.extractors
            found[name] = feature.fingerprint if known else None
        else:
            known = any(e.partition(":")[0] == name for e in store.extractors)
            found[name] = store.extractor(name) if known else None
    if not any(found.values()):
        wanted = [f.fingerprint or name for name, f in classifier.config.features.items()]
        raise FeatureMismatchError(
            f"{store.storage.address} has {', '.join(store.extractors) or 'no features'}; the "
            f"classifier reads {', '.join(wanted)}",
            "Extract those features, or use a classifier trained on these",
        )
    return found
