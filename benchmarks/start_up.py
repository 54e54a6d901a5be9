"""How long the command line and the library take to start.

python benchmarks/start_up.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RUNS = 7
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import reelgenre": ["-c", "import reelgenre"],
    "reelgenre --help": ["-m", "reelgenre", "--help"],
    "reelgenre models list": ["-m", "reelgenre", "models", "list"],
    "GenrePipeline.from_pretrained": [
        "-c",
        "from reelgenre import GenrePipeline as P; P.from_pretrained('embedded', offline=True)",
    ],
}


def run(cache: Path) -> dict[str, Any]:
    """Median seconds of each command in a fresh process, after one warm-up; in turn, not in blocks.

    Args:
        cache: unused; every benchmark takes one.
    """
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(RUNS + 1):
        for name, arguments in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {
        name: {
            "median_s": round(statistics.median(runs), 3),
            "min_s": round(min(runs), 3),
            "max_s": round(max(runs), 3),
        }
        for name, runs in seconds.items()
    }


def main() -> None:
    print(json.dumps(run(Path()), indent=2))


if __name__ == "__main__":
    main()
