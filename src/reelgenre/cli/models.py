"""`reelgenre models`: the weights that the registry knows, as they stand on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

from reelgenre.cli.exits import FAILED, OK
from reelgenre.cli.progress import Progress
from reelgenre.errors import RecipeError, WeightsError
from reelgenre.extractors.profiles import Profile, load_profile, shipped_profiles
from reelgenre.weights import (
    ArtefactReport,
    is_offline,
    list_artefacts,
    pull,
    size_in_words,
    sources,
    verify,
    where,
)

_DEFAULT = "embedded"


def needed(profile: str = _DEFAULT) -> tuple[str, ...]:
    """Names of the weights that a profile cannot do without."""
    return load_profile(profile).artefacts


def list_all() -> int:
    """Print one line per artefact."""
    reports = list_artefacts()
    users: dict[str, list[str]] = {}
    for profile in shipped_profiles():
        for name in needed(profile):
            users.setdefault(name, []).append(profile)
    width = max(len(report.artefact.name) for report in reports)
    for report in reports:
        artefact = report.artefact
        wanted = ", ".join(users.get(artefact.name, ["no shipped profile"]))
        sys.stdout.write(
            f"{artefact.name:<{width}}  {report.status:<8}  {size_in_words(artefact)}, "
            f"{artefact.licence}, for {wanted}: {artefact.description}\n"
        )
    return OK


def pull_all(names: list[str], profile: str | None, offline: bool | None, yes: bool) -> int:
    """Bring weights into place; by default those of the embedded profile.

    What will be fetched is printed first. At a terminal it is then asked for, unless ``yes``.
    ONNX files that a profile needs are made, not fetched: where they are missing, it is told how.

    Raises:
        RecipeError: names and a profile at once.
    """
    if names and profile is not None:
        raise RecipeError("names and --profile cannot go together", "Give one of them")
    chosen = None if names else load_profile(profile or _DEFAULT)
    base = None if chosen is None else chosen.folder
    wanted = names if chosen is None else chosen.artefacts
    if not is_offline(offline):
        reports = [where(name, base=base) for name in wanted]
        fetched = [report for report in reports if report.status != "present"]
        if fetched:
            sys.stdout.write(_plan(fetched, chosen))
            sys.stdout.flush()
            if not yes and sys.stdin.isatty() and not _agreed():
                sys.stderr.write("reelgenre: nothing was fetched.\n")
                return FAILED
    with Progress(1) as progress:
        done = pull(wanted, base=base, offline=offline, hook=progress.hook)
    code = _tell(done)
    return code if chosen is None else max(code, _tell_optimised(chosen))


def verify_all(names: list[str]) -> int:
    """Hash what is here; absent weights count only when they were named or are needed."""
    reports = verify(names or None)
    return _tell(reports, required=names or needed())


def print_where(name: str) -> int:
    """Print one path per line: the folder where the artefact is kept as one, else its files.

    Raises:
        WeightsError: the artefact is unknown or not whole.
    """
    report = where(name)
    if report.status != "present":
        raise WeightsError(f"{name} is {report.status}", f"Run `reelgenre models pull {name}`")
    for path in report.paths.values():
        sys.stdout.write(f"{path}\n")
    return OK


def _plan(reports: list[ArtefactReport], profile: Profile | None) -> str:
    """What will be fetched, from where, how large, under which licence."""
    lines = [f"To be fetched{'' if profile is None else f' for {profile.name}'}:"]
    for report in reports:
        artefact = report.artefact
        lines.append(f"  {artefact.name}: {artefact.description}")
        lines.append(f"    {size_in_words(artefact)}, {artefact.licence}, from {sources(artefact)}")
    total = sum(report.artefact.size for report in reports) / 1e6
    stated = any(file.size is None for report in reports for file in report.artefact.files)
    least = "at least " if stated else ""
    return "\n".join([*lines, f"Together {least}{total:.1f} MB.", ""])


def _agreed() -> bool:
    sys.stdout.write("Fetch them? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _tell(reports: tuple[ArtefactReport, ...], required: list[str] | tuple[str, ...] = ()) -> int:
    code = OK
    for report in reports:
        name = report.artefact.name
        sys.stdout.write(f"{name}: {report.status}\n")
        if report.status == "present" or (report.status == "missing" and name not in required):
            continue
        sys.stderr.write(f"reelgenre: {report.problem}\n")
        code = FAILED
    return code


def missing_optimised(name: str, base: Path) -> WeightsError | None:
    """Why the ONNX files that were made of some weights cannot be used; None where they are there.

    Args:
        name: of the weights, or their folder.
        base: where a relative folder starts from.
    """
    from reelgenre.extractors.paper.image_onnx import find_optimised

    try:
        find_optimised(name, base)
    except WeightsError as error:
        return error
    return None


def _tell_optimised(profile: Profile) -> int:
    code = OK
    for name in profile.optimised:
        problem = missing_optimised(name, profile.folder)
        sys.stdout.write(f"{name}, optimised: {'missing' if problem else 'present'}\n")
        if problem:
            sys.stderr.write(f"reelgenre: {problem}\n")
            code = FAILED
    return code
