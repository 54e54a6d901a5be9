"""The results page: made of ``benchmarks/results/*.json`` and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Result = dict[str, Any]

_HEAD = """# Benchmarks

Every figure here was written by a command in this repository; `make bench` runs them all and makes
this page again from `benchmarks/results/*.json`. Times are medians of several runs. Ratios compare
two things in the same run on the same machine, so they hold where absolute times do not.
"""


def table(head: list[str], rows: list[list[object]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *[[str(cell) for cell in r] for r in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _start_up(result: Result) -> str:
    rows: list[list[object]] = [
        [f"`{name}`", f"{times['median_s']:.2f}", f"{times['min_s']:.2f}", f"{times['max_s']:.2f}"]
        for name, times in result.items()
    ]
    return "## Start-up\n\nSeconds, fresh processes.\n\n" + table(
        ["", "median", "least", "most"], rows
    )


def _media_speed(result: Result) -> str:
    rows: list[list[object]] = [
        [
            name,
            f"{entry['decode_s']:.2f}",
            f"{entry['shots_and_mid_frames_s']:.2f}",
            f"{entry['ratio']:.2f}",
            f"{entry['cpu_ratio']:.2f}",
            f"{entry['with_sound_ratio']:.2f}",
            entry["peak_mb"],
        ]
        for name, entry in result["files"].items()
    ]
    return (
        "## Shots, mid-shot frames and sound against bare decoding\n\n"
        "The same file, library and threads in the same run. The target is at most 1.3 times, and "
        "under 400 MB at 1080p.\n\n"
        + table(
            [
                "file",
                "bare decode, s",
                "shots + frames, s",
                "ratio",
                "processor time",
                "with 16 kHz sound",
                "peak MB",
            ],
            rows,
        )
    )


def _shot_detection(result: Result) -> str:
    kinds = list(result["adaptive"])
    rows: list[list[object]] = []
    for kind in kinds:
        row: list[object] = [kind]
        for detector in ("threshold", "adaptive"):
            scores = result[detector][kind]
            row += [f"{100 * scores[name]:.0f}" for name in ("precision", "recall", "f1")]
        rows.append(row)
    head = ["clips", *[f"{d} {m}" for d in ("threshold", "adaptive") for m in ("P", "R", "F1")]]
    return (
        "## Shot detection\n\nPercent, on generated clips with known joins "
        f"({result['clips_per_kind']} clips of {result['seconds_per_clip']:.0f} s of each kind), "
        "other photographs and seeds than the detector was tuned on. `threshold` is FFmpeg's "
        "scene score at 0.27, as in the paper.\n\n" + table(head, rows)
    )


def _pipeline_speed(result: Result) -> str:
    trailer = result["trailer_120s_360p"]
    rows: list[list[object]] = [
        [
            f"{int(length) / 60:g} min",
            f"{entry['seconds']:.1f}",
            f"{entry['seconds'] / int(length):.3f}",
            entry["peak_mb"],
            entry["shots"],
            entry["pieces_of_speech"],
            entry["titles"],
        ]
        for length, entry in result["against_length"].items()
    ]
    seconds = trailer["seconds"]
    return (
        "## The whole embedded pipeline\n\n"
        "A 120 s trailer at 360p (the sample trailer, repeated): "
        f"**{seconds['pipeline']:.1f} s**, median of {trailer['runs']}. Bare decoding of the file "
        f"takes {seconds['decode']:.2f} s: **{trailer['pipeline_over_decode']:.1f} times** "
        f"(target: at most 9). Its {trailer['model_calls']} model calls alone, replayed on "
        f"recorded inputs, take {seconds['models']:.1f} s: "
        f"**{trailer['pipeline_over_models']:.2f} times** (target: "
        "at most 1.15).\n\nTime and memory against length, each in a process of its own:\n\n"
        + table(["length", "s", "s per s", "peak MB", "shots", "pieces of speech", "titles"], rows)
    )


def _install_size(result: Result) -> str:
    rows: list[list[object]] = [[name, size] for name, size in result["largest_mb"].items()]
    return (
        f"## Install\n\nThe default install: {result['total_mb']:.0f} MB in {result['packages']} "
        f"packages, {result['seconds']:.0f} s with pip's cache as it was. What takes the space, "
        "MB:\n\n" + table(["package", "MB"], rows)
    )


SECTIONS: dict[str, Callable[[Result], str]] = {
    "pipeline_speed": _pipeline_speed,
    "media_speed": _media_speed,
    "shot_detection": _shot_detection,
    "start_up": _start_up,
    "install_size": _install_size,
}


def _provenance(entry: dict[str, Any]) -> str:
    machine = entry["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"*`{entry['command']}`, {entry['date']}: {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_gb']} GB, "
        f"Python {machine['python']}, {versions}.*"
        + (f"\n\n{entry['note']}" if "note" in entry else "")
    )


def write_page(results: Path, page: Path) -> None:
    """Write the page of what results there are."""
    parts = [_HEAD]
    for name, section in SECTIONS.items():
        path = results / f"{name}.json"
        if path.exists():
            entry = json.loads(path.read_text())
            parts.append(section(entry["result"]) + "\n\n" + _provenance(entry) + "\n")
    page.parent.mkdir(exist_ok=True)
    page.write_text("\n".join(parts))
