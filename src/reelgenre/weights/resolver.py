"""A name → verified files, fetched where they are missing.

Where a file is looked for, in this order:

1. ``$REELGENRE_WEIGHTS/<artefact>/``, a folder of the user's own, if it exists;
2. where its origin keeps it (an installed package, the hub's cache);
3. our cache, ``weights/files/<artefact>/<digest>/``, which is filled whole or not at all.

The hash decides in every place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reelgenre.errors import WeightsError
from reelgenre.hooks import Hook
from reelgenre.weights.artefacts import (
    Artefact,
    ArtefactFile,
    ArtefactReport,
    HubFile,
    PackageFile,
    ResolvedWeights,
    Status,
)
from reelgenre.weights.cache import Stamps, explained, locked, sha256_of, weights_root
from reelgenre.weights.fetching import Steps, fill
from reelgenre.weights.hub import fetch_hub_file, hub_file
from reelgenre.weights.packages import installed_file, wrong_package_file
from reelgenre.weights.registry import ARTEFACTS, find


def resolve(
    name: str | Artefact,
    *,
    offline: bool | None = None,
    cache: Path | None = None,
    hook: Hook | None = None,
) -> ResolvedWeights:
    """Verified files of an artefact, fetched first where they are missing or damaged.

    Args:
        name: a registered name, or an artefact of the caller's own.
        offline: ask nobody on the network; None reads ``REELGENRE_OFFLINE`` and
            ``HF_HUB_OFFLINE`` (1, true, yes, on).
        cache: our cache folder; None reads ``REELGENRE_CACHE``, else the user's cache folder.
        hook: told of the bytes fetched.

    Raises:
        WeightsError: unknown, not installed, damaged, cannot be fetched or kept.
    """
    artefact = _artefact(name)
    root = weights_root(cache)
    state = _inspect(artefact, root)
    if state.status != "present":
        state = _fetch(artefact, root, offline=_is_offline(offline), hook=hook)
    return ResolvedWeights(artefact, state.found())


def pull(
    names: Iterable[str | Artefact] | None = None,
    *,
    offline: bool | None = None,
    cache: Path | None = None,
    hook: Hook | None = None,
) -> tuple[ArtefactReport, ...]:
    """Fetch what is missing or damaged, so that later runs need no network.

    Args:
        names: what to fetch; None for all that the embedded profile needs.
        offline, cache, hook: as in :func:`resolve`.

    Raises:
        WeightsError: as in :func:`resolve`, for the first that fails.
    """
    if names is None:
        names = [artefact for artefact in ARTEFACTS if artefact.needed_for == "embedded"]
    artefacts = [_artefact(name) for name in names]
    return tuple(
        ArtefactReport(
            artefact,
            "present",
            resolve(artefact, offline=offline, cache=cache, hook=hook).files,
        )
        for artefact in artefacts
    )


def list_artefacts(*, cache: Path | None = None) -> tuple[ArtefactReport, ...]:
    """How every registered artefact stands on this machine; files verified before are trusted."""
    root = weights_root(cache)
    return tuple(_inspect(artefact, root).report() for artefact in ARTEFACTS)


def verify(
    names: Iterable[str | Artefact] | None = None,
    *,
    cache: Path | None = None,
    hook: Hook | None = None,
) -> tuple[ArtefactReport, ...]:
    """Hash every byte again, whatever was verified before.

    Args:
        names: what to verify; None for everything registered.
        cache: as in :func:`resolve`.
        hook: told of the bytes read.

    Raises:
        WeightsError: a name is unknown; damage is reported, not raised.
    """
    root = weights_root(cache)
    artefacts = [_artefact(name) for name in (ARTEFACTS if names is None else names)]
    return tuple(
        _inspect(
            artefact, root, again=Steps(hook, f"verify {artefact.name}", artefact.size)
        ).report()
        for artefact in artefacts
    )


def where(name: str | Artefact, *, cache: Path | None = None) -> ArtefactReport:
    """Where an artefact's files are or would be, and how they stand.

    Raises:
        WeightsError: the name is unknown.
    """
    return _inspect(_artefact(name), weights_root(cache)).report()


@dataclass(frozen=True)
class _State:
    """What an inspection found: a path and a problem per file."""

    artefact: Artefact
    paths: Mapping[str, Path | None]
    problems: Mapping[str, tuple[Status, WeightsError]]

    @property
    def status(self) -> Status:
        if not self.problems:
            return "present"
        return "damaged" if any(s == "damaged" for s, _ in self.problems.values()) else "missing"

    def found(self) -> dict[str, Path]:
        if self.problems:
            raise next(iter(self.problems.values()))[1]
        return {name: path for name, path in self.paths.items() if path is not None}

    def report(self) -> ArtefactReport:
        problem = None
        if self.problems:
            chosen = [e for s, e in self.problems.values() if s == self.status]
            problem = str(chosen[0])
        return ArtefactReport(self.artefact, self.status, self.paths, problem)


def _artefact(name: str | Artefact) -> Artefact:
    return name if isinstance(name, Artefact) else find(name)


def _is_offline(offline: bool | None) -> bool:
    if offline is not None:
        return offline
    switches = (os.environ.get(key, "") for key in ("REELGENRE_OFFLINE", "HF_HUB_OFFLINE"))
    return any(switch.strip().lower() in {"1", "true", "yes", "on"} for switch in switches)


def _own_folder(artefact: Artefact) -> Path | None:
    chosen = os.environ.get("REELGENRE_WEIGHTS")
    folder = Path(chosen).expanduser().absolute() / artefact.name if chosen else None
    return folder if folder is not None and folder.is_dir() else None


def _kept_folder(artefact: Artefact, root: Path) -> Path:
    """Where our cache keeps an artefact; new hashes are a new folder."""
    return root / "files" / artefact.name / artefact.digest[:16]


def _inspect(artefact: Artefact, root: Path, again: Steps | None = None) -> _State:
    """Find and verify every file; with ``again``, hash those that were verified before, too."""
    stamps = Stamps(root, artefact)
    paths: dict[str, Path | None] = {}
    problems: dict[str, tuple[Status, WeightsError]] = {}
    for file in artefact.files:
        try:
            path = _locate(artefact, file, root)
        except WeightsError as error:
            paths[file.name] = None
            problems[file.name] = ("missing", error)
            continue
        paths[file.name] = path
        try:
            if path is None or not path.is_file():
                problems[file.name] = ("missing", _missing(artefact, file))
            elif not _has_hash(path, file, stamps, again):
                problems[file.name] = ("damaged", _damaged(artefact, file, path))
        except OSError as error:
            unreadable = WeightsError(
                f"{path} cannot be read ({error.strerror or error})", "Check its permissions"
            )
            problems[file.name] = ("damaged", unreadable)
    return _State(artefact, paths, problems)


def _locate(artefact: Artefact, file: ArtefactFile, root: Path) -> Path | None:
    own = _own_folder(artefact)
    if own is not None:
        return own / file.name
    if artefact.kept_in_place(file):
        if isinstance(file.origin, PackageFile):
            return installed_file(file.origin)
        if isinstance(file.origin, HubFile):
            return hub_file(file.origin)
    return _kept_folder(artefact, root) / file.name


def _has_hash(path: Path, file: ArtefactFile, stamps: Stamps, again: Steps | None) -> bool:
    if path.stat().st_size != file.size:
        return False
    if again is None and stamps.knows(path, file.sha256):
        return True
    if sha256_of(path, None if again is None else again.add) != file.sha256:
        return False
    stamps.learn(path, file.sha256)
    return True


def _missing(artefact: Artefact, file: ArtefactFile) -> WeightsError:
    own = _own_folder(artefact)
    if own is not None:
        return WeightsError(
            f"{own} has no {file.name}, which {artefact.name} needs",
            "Put the file there, or unset REELGENRE_WEIGHTS",
        )
    return WeightsError(
        f"{file.name} of {artefact.name} is not on this machine",
        f"Fetch it while there is a network: reelgenre models pull {artefact.name}",
    )


def _damaged(artefact: Artefact, file: ArtefactFile, path: Path) -> WeightsError:
    if _own_folder(artefact) is not None:
        return WeightsError(
            f"{path} is not the {file.name} of {artefact.name}: its sha256 must be {file.sha256}",
            "Put the right file there, or unset REELGENRE_WEIGHTS",
        )
    if artefact.kept_in_place(file) and isinstance(file.origin, PackageFile):
        return wrong_package_file(file.origin)
    return WeightsError(
        f"{path} is damaged: its sha256 is not {file.sha256}",
        f"Fetch it again: reelgenre models pull {artefact.name}",
    )


def _fetch(artefact: Artefact, root: Path, *, offline: bool, hook: Hook | None) -> _State:
    """Fetch what is missing or damaged, one process at a time; what it is afterwards."""
    if _own_folder(artefact) is not None:
        return _inspect(artefact, root)
    with locked(root, artefact), explained(root, f"fetching {artefact.name}"):
        # Another process may have fetched it while we waited for the lock.
        state = _inspect(artefact, root)
        bad = [file for file in artefact.files if file.name in state.problems]
        in_place = [file for file in bad if artefact.kept_in_place(file)]
        for file in in_place:
            # A package is the user's to install, and without a network so is the rest.
            if isinstance(file.origin, PackageFile) or offline:
                raise state.problems[file.name][1]
        for file in in_place:
            if isinstance(file.origin, HubFile):
                fetch_hub_file(file.origin, again=state.paths[file.name] is not None)
        if len(bad) > len(in_place):
            wanted = [file for file in artefact.files if not artefact.kept_in_place(file)]
            steps = Steps(hook, f"pull {artefact.name}", 0)
            fill(_kept_folder(artefact, root), artefact, wanted, root, offline=offline, steps=steps)
        return _inspect(artefact, root)
