"""A name → verified files: what every weight is, where it comes from, and that it is the one."""

from reelgenre.weights.artefacts import (
    Artefact,
    ArtefactFile,
    ArtefactReport,
    GitHubFile,
    HubFile,
    JoinedFile,
    OwnFile,
    PackageFile,
    ResolvedWeights,
    UrlFile,
    Wheel,
    WheelFile,
    ZenodoFile,
)
from reelgenre.weights.describing import size_in_words, sources
from reelgenre.weights.once import once
from reelgenre.weights.registry import ARTEFACTS
from reelgenre.weights.resolver import (
    is_offline,
    list_artefacts,
    names_folder,
    pull,
    require_local,
    resolve,
    verify,
    where,
)

__all__ = [
    "ARTEFACTS",
    "Artefact",
    "ArtefactFile",
    "ArtefactReport",
    "GitHubFile",
    "HubFile",
    "JoinedFile",
    "OwnFile",
    "PackageFile",
    "ResolvedWeights",
    "UrlFile",
    "Wheel",
    "WheelFile",
    "ZenodoFile",
    "is_offline",
    "list_artefacts",
    "names_folder",
    "once",
    "pull",
    "require_local",
    "resolve",
    "size_in_words",
    "sources",
    "verify",
    "where",
]
