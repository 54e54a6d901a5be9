"""`reelgenre models`: the weights that the registry knows, as they stand on this machine."""

from __future__ import annotations

import sys

from reelgenre.cli.exits import FAILED, OK
from reelgenre.cli.progress import Progress
from reelgenre.errors import WeightsError
from reelgenre.weights import ARTEFACTS, ArtefactReport, list_artefacts, pull, verify, where


def needed(profile: str = "embedded") -> list[str]:
    """Names of the artefacts that a profile cannot do without."""
    return [artefact.name for artefact in ARTEFACTS if artefact.needed_for == profile]


def list_all() -> int:
    """Print one line per artefact."""
    reports = list_artefacts()
    width = max(len(report.artefact.name) for report in reports)
    for report in reports:
        artefact = report.artefact
        sys.stdout.write(
            f"{artefact.name:<{width}}  {report.status:<8}  {artefact.size / 1e6:7.1f} MB  "
            f"{artefact.licence:<11}  for {artefact.needed_for}: {artefact.description}\n"
        )
    return OK


def pull_all(names: list[str], offline: bool | None) -> int:
    """Bring weights into place; by default those of the embedded profile."""
    with Progress(1) as progress:
        reports = pull(names or needed(), offline=offline, hook=progress.hook)
    return _tell(reports)


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


def _tell(reports: tuple[ArtefactReport, ...], required: list[str] | None = None) -> int:
    code = OK
    for report in reports:
        name = report.artefact.name
        sys.stdout.write(f"{name}: {report.status}\n")
        if report.status == "present" or (
            report.status == "missing" and required is not None and name not in required
        ):
            continue
        sys.stderr.write(f"reelgenre: {report.problem}\n")
        code = FAILED
    return code
