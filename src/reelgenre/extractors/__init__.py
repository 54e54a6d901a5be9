"""Timed frames and sound to feature sequences: one extractor per modality, profiles of them."""

from reelgenre.extractors.base import (
    Evidence,
    EvidenceKind,
    Extraction,
    Extractor,
    ExtractorSpec,
    fingerprint,
)

__all__ = [
    "Evidence",
    "EvidenceKind",
    "Extraction",
    "Extractor",
    "ExtractorSpec",
    "fingerprint",
]
