"""A name → verified files: what every weight is, where it comes from, and that it is the one."""

from reelgenre.weights.artefacts import (
    Artefact,
    ArtefactFile,
    ArtefactReport,
    HubFile,
    JoinedFile,
    PackageFile,
    ResolvedWeights,
    UrlFile,
    Wheel,
    WheelFile,
)
from reelgenre.weights.once import once
from reelgenre.weights.registry import ARTEFACTS
from reelgenre.weights.resolver import list_artefacts, pull, resolve, verify, where

__all__ = [
    "ARTEFACTS",
    "Artefact",
    "ArtefactFile",
    "ArtefactReport",
    "HubFile",
    "JoinedFile",
    "PackageFile",
    "ResolvedWeights",
    "UrlFile",
    "Wheel",
    "WheelFile",
    "list_artefacts",
    "once",
    "pull",
    "resolve",
    "verify",
    "where",
]
