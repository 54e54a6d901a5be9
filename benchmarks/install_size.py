"""How long the default install takes, how large it is, and what takes the space.

    python benchmarks/install_size.py --cache DIR

Installs ``requirements/default.lock`` into a fresh environment, as ``make setup`` does. Time
depends on the network and on what pip has cached; the size does not.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LISTED = 16


def size_of(distribution: Distribution) -> int:
    """Bytes of a distribution's files."""
    paths = (Path(str(distribution.locate_file(file))) for file in distribution.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file())


def run(cache: Path) -> dict[str, Any]:
    """Seconds, megabytes, and the largest packages."""
    folder = cache / "install"
    shutil.rmtree(folder, ignore_errors=True)
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "-qq", "install"]
    lock = ROOT / "requirements" / "default.lock"
    subprocess.run([*pip, "-r", str(lock)], check=True)
    subprocess.run([*pip, "--no-deps", str(ROOT)], check=True)
    seconds = time.perf_counter() - started
    (packages,) = (folder / "lib").glob("python*/site-packages")
    sizes = {d.metadata["Name"]: size_of(d) for d in distributions(path=[str(packages)])}
    largest = sorted(sizes.items(), key=lambda item: -item[1])
    total = sum(f.stat().st_size for f in packages.rglob("*") if f.is_file())
    shutil.rmtree(folder)
    return {
        "seconds": round(seconds, 1),
        "total_mb": round(total / 1e6, 1),
        "packages": len(sizes),
        "largest_mb": {name: round(size / 1e6, 1) for name, size in largest[:LISTED]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    print(json.dumps(run(arguments.cache), indent=2))


if __name__ == "__main__":
    main()
