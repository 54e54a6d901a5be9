"""Write the lock files: the exact releases that pip resolves pyproject.toml to, one a line.

Run by ``make lock``. Nothing is installed: pip is asked for its resolution report, and only names
and versions are kept, so the locks name no index. Made on Linux with the Python that runs this.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The editable install of the project is built without a network, so its backend is locked too.
BUILD = ["hatchling>=1.27", "editables>=0.5"]

# What a CUDA build of torch pulls in; pip adds it where the platform's torch asks for it, and a
# machine with the CPU build does without.
COMPANIONS = re.compile(r"(nvidia|cuda)-.+|triton")

LOCKS: dict[str, str | None] = {"default.lock": None, "dev.lock": "dev"}


def declared(extra: str | None) -> list[str]:
    """The requirements in pyproject.toml, with an extra and the project's extras that it names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = list(project["dependencies"])
    extras = [] if extra is None else [extra]
    for name in extras:
        for requirement in project["optional-dependencies"][name]:
            own = re.fullmatch(rf"{project['name']}\[(.+)\]", requirement)
            if own:
                extras.extend(own[1].split(","))
            else:
                requirements.append(requirement)
    return requirements


def resolution(requirements: list[str]) -> dict[str, str]:
    """Release by normalised name, as pip would install them into an empty environment."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "-qq", "--dry-run"),
                *("--ignore-installed", f"--report={report}", *requirements),
            ],
            check=True,
        )
        installs = json.loads(report.read_bytes())["install"]
    releases = {}
    for install in installs:
        name = re.sub(r"[-_.]+", "-", install["metadata"]["name"]).lower()
        # The local part (+cpu) names a build of the same release.
        releases[name] = install["metadata"]["version"].partition("+")[0]
    return releases


def main() -> None:
    """Write every lock beside this file."""
    for lock, extra in LOCKS.items():
        releases = resolution([*declared(extra), *BUILD])
        clash = {"opencv-python", "opencv-python-headless"} & releases.keys()
        if len(clash) == 2:
            raise SystemExit(f"{lock}: {' and '.join(sorted(clash))} overwrite each other's files")
        lines = [
            f"# Made by `make lock` with Python {platform.python_version()}; do not edit.",
            *(
                f"{name}=={release}"
                for name, release in sorted(releases.items())
                if not COMPANIONS.fullmatch(name)
            ),
        ]
        path = Path(__file__).with_name(lock)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {len(lines) - 1} packages")


if __name__ == "__main__":
    main()
