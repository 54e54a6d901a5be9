"""A name → verified files, fetched where they are missing.

Where a file is looked for, in this order:

1. ``$REELGENRE_WEIGHTS/<artefact>/``, a folder of the user's own, if it exists;
2. where its origin keeps it (an installed package, the hub's cache);
3. our cache, ``weights/files/<artefact>/<digest>/``, which is filled whole or not at all.

The hash decides in every place: the registry's, or the one that the first fetch recorded.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reelgenre.errors import WeightsError
from reelgenre.hooks import Hook
from reelgenre.weights.artefacts import (
    Artefact,
    ArtefactFile,
    ArtefactReport,
    HubFile,
    JoinedFile,
    OwnFile,
    PackageFile,
    ResolvedWeights,
    Status,
)
from reelgenre.weights.cache import Stamps, explained, locked, sha256_of, weights_root
from reelgenre.weights.describing import how_to_bring, size_in_words, sources
from reelgenre.weights.fetching import Steps, fill
from reelgenre.weights.hub import hub_file
from reelgenre.weights.learning import learn
from reelgenre.weights.own import folder_artefact, in_own_folder
from reelgenre.weights.packages import installed_file, wrong_package_file
from reelgenre.weights.pins import pins_path, read_pins, with_pins
from reelgenre.weights.registry import ARTEFACTS, find

Names = Iterable[str | Artefact]

logger = logging.getLogger("reelgenre.weights")


def resolve(
    name: str | Artefact,
    *,
    base: Path | None = None,
    offline: bool | None = None,
    cache: Path | None = None,
    hook: Hook | None = None,
) -> ResolvedWeights:
    """Verified files of an artefact, fetched first where they are missing or damaged.

    Args:
        name: a registered name; a folder of the user's own, written with a slash (``./my-clip``);
            or an artefact of the caller's own.
        base: where a relative folder starts from; None is the working directory.
        offline: ask nobody on the network; None reads ``REELGENRE_OFFLINE`` and
            ``HF_HUB_OFFLINE`` (1, true, yes, on).
        cache: our cache folder; None reads ``REELGENRE_CACHE``, else the user's cache folder.
        hook: told of the bytes fetched.

    Returns:
        The files, and the artefact with all its hashes: its ``digest`` is the identity of what
        was found.

    Raises:
        WeightsError: unknown, not installed, damaged, cannot be fetched or kept.
    """
    root = weights_root(cache)
    state = _inspect(_artefact(name, base, root), root)
    if state.status != "present":
        state = _fetch(state, root, offline=is_offline(offline), hook=hook)
    return ResolvedWeights(state.artefact, state.found())


def pull(
    names: Names,
    *,
    base: Path | None = None,
    offline: bool | None = None,
    cache: Path | None = None,
    hook: Hook | None = None,
) -> tuple[ArtefactReport, ...]:
    """Fetch what is missing or damaged, so that later runs need no network.

    Args:
        names: what to fetch.
        base, offline, cache, hook: as in :func:`resolve`.

    Raises:
        WeightsError: as in :func:`resolve`, for the first that fails; offline, one for all that is
            missing.
    """
    names = tuple(names)
    if is_offline(offline):
        require_local(names, base=base, cache=cache)
    resolved = (resolve(name, base=base, offline=offline, cache=cache, hook=hook) for name in names)
    return tuple(ArtefactReport(each.artefact, "present", each.files) for each in resolved)


def require_local(names: Names, *, base: Path | None = None, cache: Path | None = None) -> None:
    """Refuse before the work what cannot be had without a network.

    Raises:
        WeightsError: one that names each missing file of all these weights and how to bring it.
    """
    root = weights_root(cache)
    _refuse([_inspect(_artefact(name, base, root), root) for name in names])


def list_artefacts(*, cache: Path | None = None) -> tuple[ArtefactReport, ...]:
    """How every registered artefact stands on this machine; files verified before are trusted."""
    return tuple(where(artefact, cache=cache) for artefact in ARTEFACTS)


def verify(
    names: Names | None = None,
    *,
    base: Path | None = None,
    cache: Path | None = None,
    hook: Hook | None = None,
) -> tuple[ArtefactReport, ...]:
    """Hash every byte again, whatever was verified before.

    Args:
        names: what to verify; None for everything registered.
        base, cache: as in :func:`resolve`.
        hook: told of the bytes read.

    Raises:
        WeightsError: a name is unknown; damage is reported, not raised.
    """
    root = weights_root(cache)
    artefacts = [_artefact(name, base, root) for name in (ARTEFACTS if names is None else names)]
    return tuple(
        _inspect(
            artefact, root, again=Steps(hook, f"verify {artefact.name}", artefact.size)
        ).report()
        for artefact in artefacts
    )


def where(
    name: str | Artefact, *, base: Path | None = None, cache: Path | None = None
) -> ArtefactReport:
    """Where an artefact's files are or would be, and how they stand.

    Raises:
        WeightsError: the name is unknown.
    """
    root = weights_root(cache)
    return _inspect(_artefact(name, base, root), root).report()


def names_folder(name: str) -> bool:
    """Whether a name of weights is a folder of the user's own: those have a slash."""
    return "/" in name or os.sep in name


def is_offline(offline: bool | None) -> bool:
    """The caller's word or, where it is None, that of the environment."""
    if offline is not None:
        return offline
    switches = (os.environ.get(key, "") for key in ("REELGENRE_OFFLINE", "HF_HUB_OFFLINE"))
    return any(switch.strip().lower() in {"1", "true", "yes", "on"} for switch in switches)


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

    @property
    def bad(self) -> list[ArtefactFile]:
        return [file for file in self.artefact.files if file.name in self.problems]

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


def _artefact(name: str | Artefact, base: Path | None, root: Path) -> Artefact:
    """What is wanted, with all that this machine knows of it: own folders, recorded hashes."""
    if isinstance(name, str) and names_folder(name):
        return folder_artefact(((base or Path()) / Path(name).expanduser()).resolve(), root)
    artefact = name if isinstance(name, Artefact) else find(name)
    own = in_own_folder(artefact, root)
    return with_pins(artefact, root) if own is artefact else own


def _kept_folder(artefact: Artefact, root: Path) -> Path:
    """Where our cache keeps an artefact; new hashes are a new folder."""
    return root / "files" / artefact.name / artefact.digest[:16]


def _inspect(artefact: Artefact, root: Path, again: Steps | None = None) -> _State:
    """Find and verify every file; with ``again``, hash those that were verified before, too."""
    stamps = Stamps(root, artefact.name)
    in_hub = _in_hub_cache(artefact, stamps, again)
    if in_hub:
        return _State(artefact, in_hub, {})
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
                problems[file.name] = ("damaged", _damaged(artefact, file, path, root))
        except OSError as error:
            unreadable = WeightsError(
                f"{path} cannot be read ({error.strerror or error})", "Check its permissions"
            )
            problems[file.name] = ("damaged", unreadable)
    return _State(artefact, paths, problems)


def _in_hub_cache(artefact: Artefact, stamps: Stamps, again: Steps | None) -> dict[str, Path]:
    """All files where the hub's own cache has all of them as they should be, else none."""
    if not artefact.snapshot or not artefact.pinned:
        return {}
    paths: dict[str, Path] = {}
    for file in artefact.files:
        path = hub_file(file.origin) if isinstance(file.origin, HubFile) else None
        try:
            if path is None or not _has_hash(path, file, stamps, again):
                return {}
        except OSError:
            return {}
        paths[file.name] = path
    return paths


def _locate(artefact: Artefact, file: ArtefactFile, root: Path) -> Path | None:
    origin = file.origin
    if isinstance(origin, OwnFile):
        return origin.path
    if artefact.kept_in_place(file) and isinstance(origin, PackageFile):
        return installed_file(origin)
    return _kept_folder(artefact, root) / file.name if artefact.pinned else None


def _has_hash(path: Path, file: ArtefactFile, stamps: Stamps, again: Steps | None) -> bool:
    assert file.sha256 is not None, "only pinned files are located"
    if path.stat().st_size != (file.size or path.stat().st_size):
        return False
    if again is None and stamps.knows(path, file.sha256):
        return True
    if sha256_of(path, None if again is None else again.add) != file.sha256:
        return False
    stamps.learn(path, file.sha256)
    return True


def _missing(artefact: Artefact, file: ArtefactFile) -> WeightsError:
    if isinstance(file.origin, OwnFile):
        return WeightsError(
            f"{file.origin.path.parent} has no {file.name}, which {artefact.name} needs",
            "Put the file there, or unset REELGENRE_WEIGHTS",
        )
    return WeightsError(
        f"{file.name} of {artefact.name} is not on this machine",
        f"Fetch it while there is a network: reelgenre models pull {artefact.name}",
    )


def _damaged(artefact: Artefact, file: ArtefactFile, path: Path, root: Path) -> WeightsError:
    if isinstance(file.origin, OwnFile):
        return WeightsError(
            f"{path} is not the {file.name} of {artefact.name}: its sha256 must be {file.sha256}",
            "Put the right file there, list your own in a SHA256SUMS beside it, or unset "
            "REELGENRE_WEIGHTS",
        )
    if artefact.kept_in_place(file) and isinstance(file.origin, PackageFile):
        return wrong_package_file(file.origin)
    recorded = ""
    if file.name in read_pins(root, artefact):
        recorded = f", which {pins_path(root, artefact)} has from the first fetch"
    return WeightsError(
        f"{path} is damaged: its sha256 is not {file.sha256}{recorded}",
        f"Fetch it again: reelgenre models pull {artefact.name}",
    )


def _fetch(state: _State, root: Path, *, offline: bool, hook: Hook | None) -> _State:
    """Fetch what is missing or damaged, one process at a time; what it is afterwards."""
    if any(isinstance(file.origin, OwnFile) for file in state.artefact.files):
        return state
    name = state.artefact.name
    with locked(root, state.artefact), explained(root, f"fetching {name}"):
        # Another process may have fetched it while we waited for the lock.
        artefact = with_pins(state.artefact, root)
        steps = Steps(hook, f"pull {name}", 0)
        if not offline:
            logger.info("%s: %s from %s", name, size_in_words(artefact), sources(artefact))
        if not artefact.pinned:
            if offline:
                _refuse([state])
            artefact = learn(artefact, root, steps)
            steps = Steps(None, f"pull {name}", 0)  # all is here; placing it is no news
        state = _inspect(artefact, root)
        if offline:
            _refuse([state])
        in_place = [file for file in state.bad if artefact.kept_in_place(file)]
        if in_place:
            # A package is the user's to install.
            raise state.problems[in_place[0].name][1]
        if state.bad:
            wanted = [file for file in artefact.files if not artefact.kept_in_place(file)]
            fill(_kept_folder(artefact, root), wanted, root, steps=steps)
        return _inspect(artefact, root)


def _refuse(states: Sequence[_State]) -> None:
    """Without a network: raise one error for every file that only a network or a person brings."""
    unobtainable = [(state, file) for state in states for file in _unobtainable(state)]
    lacking = [
        (state.artefact, file)
        for state, file in unobtainable
        if state.problems[file.name][0] == "missing"
    ]
    if not lacking:
        for state, file in unobtainable:
            raise state.problems[file.name][1]
        return
    if len(lacking) == 1:
        subject = f"{lacking[0][1].name} of {lacking[0][0].name} is"
    else:
        subject = f"{len(lacking)} files are"
    by_hand = "\n".join(
        f"  {artefact.name}/{file.name}: {how_to_bring(file)}" for artefact, file in lacking
    )
    names = " ".join(dict.fromkeys(artefact.name for artefact, _ in lacking))
    raise WeightsError(
        f"{subject} not on this machine and the offline switch is on",
        f"Bring each below $REELGENRE_WEIGHTS, all files of a folder together:\n{by_hand}\n"
        "or fetch with a network, without --offline, REELGENRE_OFFLINE and HF_HUB_OFFLINE: "
        f"reelgenre models pull {names}",
    )


def _unobtainable(state: _State) -> list[ArtefactFile]:
    """The files of an artefact that this machine neither has nor can put together."""
    lacking = []
    for file in state.bad:
        origin = file.origin
        if isinstance(origin, OwnFile):
            continue
        if isinstance(origin, PackageFile | JoinedFile):
            try:
                for part in origin.parts if isinstance(origin, JoinedFile) else (origin,):
                    installed_file(part)
            except WeightsError:
                lacking.append(file)
        elif isinstance(origin, HubFile):
            cached = hub_file(origin)
            if cached is None or sha256_of(cached) != file.sha256:
                lacking.append(file)
        else:
            lacking.append(file)
    return lacking
