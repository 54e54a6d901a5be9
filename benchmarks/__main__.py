"""Run benchmarks, keep their results, write the results page.

    python -m benchmarks [NAME]... [--long] [--page-only]

Each writes ``benchmarks/results/NAME.json`` with the machine and the versions it ran on;
``docs/benchmarks.md`` is generated from these files and from nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.page import write_page

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "benchmarks.md"
NAMES = (
    "start_up",
    "media_speed",
    "shot_detection",
    "pipeline_speed",
    "table3_speed",
    "image_encoder_speed",
    "training_speed",
    "extraction_speed",
    "store_speed",
    "install_size",
)
PACKAGES = (
    *("reelgenre", "av", "onnxruntime", "ctranslate2", "rapidocr", "numpy"),
    *("torch", "transformers"),
)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        model = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), "")
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gb": round(pages * page / 1e9),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--cache", type=Path, default=HERE.parent / "build" / "benchmarks")
    parser.add_argument("--long", action="store_true", help="also the two-hour file")
    parser.add_argument(
        "--page-only", action="store_true", help="write the page again, run nothing"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    arguments.cache.mkdir(parents=True, exist_ok=True)
    RESULTS.mkdir(exist_ok=True)
    for name in () if arguments.page_only else arguments.names or NAMES:
        print(f"{name} ...", flush=True)
        module = importlib.import_module(f"benchmarks.{name}")
        options = {"long": True} if arguments.long and name == "pipeline_speed" else {}
        result = {
            "benchmark": name,
            "date": datetime.now(UTC).date().isoformat(),
            "command": f"python -m benchmarks {name}{' --long' if options else ''}",
            "machine": machine(),
            "result": module.run(arguments.cache, **options),
        }
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    write_page(RESULTS, PAGE)
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
