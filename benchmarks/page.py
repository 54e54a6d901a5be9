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
    seconds, processor = trailer["seconds"], trailer["processor_seconds"]
    return (
        "## The whole embedded pipeline\n\n"
        "A 120 s trailer at 360p (the sample trailer, repeated): "
        f"**{seconds['pipeline']:.1f} s**, median of {trailer['runs']}. Bare decoding of the file "
        f"takes {seconds['decode']:.2f} s: **{trailer['pipeline_over_decode']:.1f} times** "
        f"(target: at most 9). Its {trailer['model_calls']} model calls alone, replayed on "
        f"recorded inputs, take {seconds['models']:.1f} s: "
        f"**{trailer['pipeline_over_models']:.2f} times** (target: "
        "at most 1.15). Of all cores together, the model calls take "
        f"{processor['models']:.1f} s of processor time, the decode pass with shots, frames and "
        f"sound {processor['media']:.1f} s (bare decoding {processor['decode']:.1f} s), the whole "
        f"{processor['pipeline']:.1f} s. The models keep two cores busy by themselves, so decoding "
        "has nothing to hide behind there: by processor time the second ratio is at least "
        f"{(processor['models'] + processor['media']) / processor['models']:.2f}."
        "\n\nTime and memory against length, each in a process of its own:\n\n"
        + table(["length", "s", "s per s", "peak MB", "shots", "pieces of speech", "titles"], rows)
    )


def _table3_speed(result: Result) -> str:
    rows: list[list[object]] = [
        [
            row["title"],
            f"{row['seconds']:.2f}",
            f"{row['paper_s']:.2f}",
            row["peak_mb"],
            row["gpu_peak_mb"] or "none",
            ", ".join(f"{name} {steps}" for name, steps in row["steps"].items()),
        ]
        for row in result["rows"]
    ]
    cpu = result["device"] == "cpu"
    device = (
        "No GPU: torch runs on the processor" if cpu else f"Torch runs on one {result['device']}"
    )
    random = ", ".join(f"`{name}`" for name in result["random"])
    weights = (
        f"Full-size models with random weights stand for {random}, which are not on this machine; "
        "the arithmetic is that of the real ones. "
        if random
        else "All weights are the published ones. "
    )
    if "spelling-corrector" in result["random"]:
        weights += (
            "But a random spelling corrector does not know when to stop: it writes twice as much "
            "as it reads, the most it may. "
        )
    return (
        "## Table 3 of the paper: seconds per video\n\n"
        f"A trailer of {result['video_s']} s at 360p (the sample trailer, repeated), decoded once, "
        "through the row's extractors and its multi-transformer, untrained; an asterisk marks a "
        f"feature that is averaged over time. {device}. Median of {result['runs']} runs with the "
        "models loaded; each row in a process of its own. Speech is written down by Whisper base "
        "and screen text read by RapidOCR, both real, so the numbers of tokens are real. The "
        f"paper does not name the size of its Whisper. {weights}The paper's seconds are those that "
        "it reports for a Quadro RTX 6000 and its own trailers.\n\n"
        + table(["", "s", "paper, s", "peak MB", "peak GPU MB", "steps"], rows)
    )


def _image_encoder_speed(result: Result) -> str:
    rows: list[list[object]] = [
        [
            name,
            f"{found['best']:.1f}",
            f"{found['median']:.1f}",
            f"{found['best'] / result['models']['torch fp32']['best']:.1f}",
        ]
        for name, found in result["models"].items()
    ]
    return (
        "## Image encoder by runtime and precision\n\n"
        f"CLIP ViT-B/32 of full size with random weights, pictures per second on "
        f"{result['threads']} thread, without the preprocessing "
        f"({result['preprocessing_ms']:.1f} ms a picture).\n\n"
        + table(["", "best", "median", "best to torch fp32"], rows)
    )


def _training_speed(result: Result) -> str:
    rows: list[list[object]] = [
        [
            name,
            f"{found['ours_videos_per_s']:.1f}",
            f"{found['fixed_videos_per_s']:.1f}",
            f"{found['ratio']:.1f}",
            f"{found['epoch_of_movienet_s']:.0f}",
        ]
        for name, found in result["speed"].items()
    ]
    memory: list[list[object]] = [[name, size] for name, size in result["memory_mb"].items()]
    padding = result["padding"]
    return (
        "## Training\n\nVideos per second of ours (packed store, batches of like lengths, masks, "
        "of the last layer only what the classifier reads) against a loop that pads every video to "
        "the paper's fixed lengths and computes every step in every layer, in turns on the same "
        f"{result['videos']} videos of random features with MovieNet's lengths "
        f"({result['device']}, {result['torch_threads']} threads). For each step of a video ours "
        f"computes {padding['ours']:.2f} steps, the other {padding['fixed']:.2f}.\n\n"
        + table(["", "ours", "fixed lengths", "ratio", "epoch of MovieNet, s"], rows)
        + "\n\nMost memory allocated at once to read an epoch:\n\n"
        + table(["", "MB"], memory)
    )


def _extraction_speed(result: Result) -> str:
    names = {"ours": "`extract`", "plain": "one video at a time, all cores for each model"}
    rows: list[list[object]] = [
        [title, f"{result['videos_per_hour'][name]:.0f}", result["peak_mb"][name]]
        for name, title in names.items()
    ]
    return (
        f"## Extracting many videos\n\n{result['videos']} trailers of {result['seconds_each']} s "
        "through the embedded profile into a store, the models loaded. "
        f"Ratio: {result['ratio']:.2f}.\n\n"
        + table(["", "videos/h", "peak memory, MB"], rows)
        + f"\n\nWith {result['tiny']:,} tiny files, what surrounds the models costs "
        f"{result['first_ms_per_video']:.1f} ms per video, and "
        f"{result['again_ms_per_video']:.2f} ms in a second run that has nothing to do."
    )


def _store_speed(result: Result) -> str:
    opening, reading = result["open"], result["read"]
    opened: list[list[object]] = [
        [key.removesuffix("_s").replace("_", " "), f"{value:.2f}", f"{opening[cpu]:.2f}"]
        for key, value in opening.items()
        if (cpu := f"{key.removesuffix('_s')}_cpu_s") in opening
    ]
    read: list[list[object]] = [
        ["added, videos/s", reading["adding_videos_per_s"]],
        ["packed, MB/s", reading["packing_MB_per_s"]],
        ["read from files of their own, MB/s", reading["files_MB_per_s"]],
        ["read from shards, MB/s", reading["shards_MB_per_s"]],
        ["own memory to read all shards, MB", reading["shards_own_memory_MB"]],
    ]
    return (
        f"## Feature store\n\nOpening {opening['videos']:,} videos of {opening['extractors']} "
        "extractors, in a fresh process, seconds:\n\n"
        + table(["manifest", "s", "processor s"], opened)
        + f"\n\nFeatures of {reading['videos']} videos, {reading['values_MB']:.0f} MB:\n\n"
        + table(["", ""], read)
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
    "table3_speed": _table3_speed,
    "image_encoder_speed": _image_encoder_speed,
    "media_speed": _media_speed,
    "shot_detection": _shot_detection,
    "training_speed": _training_speed,
    "extraction_speed": _extraction_speed,
    "store_speed": _store_speed,
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
