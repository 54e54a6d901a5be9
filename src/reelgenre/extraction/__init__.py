"""Many videos into a feature store: several at a time, in processes that may die."""

from reelgenre.extraction.extracting import extract_videos
from reelgenre.extraction.identifying import shard
from reelgenre.extraction.loading import ExtractorFactory, Loaded, ProfileExtractors
from reelgenre.extraction.planning import Survey, survey_videos
from reelgenre.extraction.types import (
    ExtractionError,
    ExtractionOptions,
    ExtractionReport,
    ModalityResult,
    VideoResult,
)

__all__ = [
    "ExtractionError",
    "ExtractionOptions",
    "ExtractionReport",
    "ExtractorFactory",
    "Loaded",
    "ModalityResult",
    "ProfileExtractors",
    "Survey",
    "VideoResult",
    "extract_videos",
    "shard",
    "survey_videos",
]
