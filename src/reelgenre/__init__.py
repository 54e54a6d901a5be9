"""Movie genres of trailers and short videos, from what they show and sound like.

    from reelgenre import GenrePipeline

    pipeline = GenrePipeline.from_pretrained("embedded")
    result = pipeline("trailer.mp4")
    print(result.predicted, result.evidence[0])

The public names load on first use, so that ``import reelgenre`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reelgenre.classifiers import GenreClassifier
    from reelgenre.errors import (
        FeatureMismatchError,
        MediaError,
        ModelError,
        RecipeError,
        ReelgenreError,
        StoreError,
        WeightsError,
    )
    from reelgenre.genres import GENRES
    from reelgenre.pipeline import GenrePipeline
    from reelgenre.results import GenreResult
    from reelgenre.sequences import FeatureSequence
    from reelgenre.store import FeatureStore

_HOMES = {
    "GENRES": "reelgenre.genres",
    "FeatureMismatchError": "reelgenre.errors",
    "FeatureSequence": "reelgenre.sequences",
    "FeatureStore": "reelgenre.store",
    "GenreClassifier": "reelgenre.classifiers",
    "GenrePipeline": "reelgenre.pipeline",
    "GenreResult": "reelgenre.results",
    "MediaError": "reelgenre.errors",
    "ModelError": "reelgenre.errors",
    "RecipeError": "reelgenre.errors",
    "ReelgenreError": "reelgenre.errors",
    "StoreError": "reelgenre.errors",
    "WeightsError": "reelgenre.errors",
}

__all__ = [
    "GENRES",
    "FeatureMismatchError",
    "FeatureSequence",
    "FeatureStore",
    "GenreClassifier",
    "GenrePipeline",
    "GenreResult",
    "MediaError",
    "ModelError",
    "RecipeError",
    "ReelgenreError",
    "StoreError",
    "WeightsError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
