"""Extracting many videos: several at once against one after the other, and doing nothing again.

    python -m benchmarks extraction_speed

The same trailers, each of a content of its own, go through ``extract_videos`` with its defaults and
through a plain loop, one video at a time with all cores for each model; both store what they find.
The two take turns, each in a fresh process; its loading is not counted, since a long run pays it
once. A second run over entries that are all in the store shows what looking costs per video.

Memory is the largest sum over all processes of a run, shared pages counted in parts (PSS).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.pipeline_speed import looped

VIDEOS = 12
SECONDS = 60
RUNS = 3
TINY = 5000

PLAIN = """
import json, sys, time
from pathlib import Path
from reelgenre.extractors.profiles import build_extractors, load_profile
from reelgenre.extractors.running import read_video
from reelgenre.store import FeatureStore

profile = load_profile("embedded")
extractors = build_extractors(profile, offline=True)
store = FeatureStore.create(sys.argv[1])
started = time.perf_counter()
for path in map(str, sorted(Path(sys.argv[2]).iterdir())):
    read = read_video(path, extractors, profile.media)
    features = {
        extractor.spec.fingerprint: found and found.sequence
        for extractor in extractors
        for found in (read.found[extractor.spec.name],)
    }
    store.add(store.identify(path), features)
print(json.dumps({"seconds": time.perf_counter() - started}))
"""
OURS = """
import json, sys, time
from pathlib import Path
from reelgenre.extraction import ProfileExtractors, extract_videos
from reelgenre.store import FeatureStore

ready = []

def hook(step, completed, total, artifact=None):
    if step in ("ready", "extract"):
        ready.append(time.perf_counter())

class Loading(ProfileExtractors):
    def __call__(self, device=None, hook=None):
        loaded = super().__call__(device, hook)
        hook("ready", 1, 1)
        return loaded

if __name__ == "__main__":
    store = FeatureStore.create(sys.argv[1])
    paths = sorted(Path(sys.argv[2]).iterdir())
    report = extract_videos(paths, store, Loading(offline=True), hook=hook)
    assert report.extracted == len(paths), report
    print(json.dumps({"seconds": ready[-1] - ready[0]}))
"""
AGAIN = """
import json, sys, time
from pathlib import Path
from reelgenre.extraction import ExtractionReport, Loaded, extract_videos
from reelgenre.extractors import ExtractorSpec
from reelgenre.hooks import no_hook
from reelgenre.media import MediaOptions, Sound
from reelgenre.store import FeatureStore

class Nothing:
    spec = ExtractorSpec("nothing", 1, Sound(8000), "nothing:1")

    def extract(self, media):
        for _ in media.sound():
            pass
        return None

def factory(device, hook):
    return Loaded([Nothing()], MediaOptions(threads=1))

if __name__ == "__main__":
    store = FeatureStore.create(sys.argv[1], exist_ok=True)
    times = []
    report = extract_videos(
        sorted(Path(sys.argv[2]).iterdir()), store, factory,
        hook=lambda *_: times.append(time.perf_counter()),
    )
    print(json.dumps({"seconds": times[-1] - times[0], "complete": report.complete}))
"""


def run(
    cache: Path, *, videos: int = VIDEOS, seconds: int = SECONDS, tiny: int = TINY
) -> dict[str, Any]:
    """Videos per hour of both, their ratio, memory, and seconds per video with nothing to do.

    Args:
        cache: folder for the trailers; stores are removed afterwards.
        videos: number of trailers.
        seconds: length of each.
        tiny: number of entries of the run that has nothing to do.
    """
    trailer = looped(seconds, cache)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        place = Path(folder)
        (place / "videos").mkdir()
        for number in range(videos):
            copy = Path(shutil.copy(trailer, place / "videos" / f"{number:03d}.mp4"))
            with copy.open("ab") as file:  # An unknown box at the end, which decoders pass over.
                file.write((16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big"))
        measured: dict[str, list[dict[str, float]]] = {"plain": [], "ours": []}
        for _ in range(RUNS):
            for name, code in (("plain", PLAIN), ("ours", OURS)):
                measured[name].append(_alone(code, place, "videos"))
        (place / "tiny").mkdir()
        _write_tiny(place / "tiny", tiny)
        first = _alone(AGAIN, place, "tiny", keep=True)
        again = [_alone(AGAIN, place, "tiny", keep=True) for _ in range(RUNS)]
    assert all(one["complete"] == tiny for one in again)
    pairs = zip(measured["plain"], measured["ours"], strict=True)
    return {
        "videos": videos,
        "seconds_each": seconds,
        "videos_per_hour": {
            name: round(videos * 3600 / statistics.median(one["seconds"] for one in runs), 1)
            for name, runs in measured.items()
        },
        "ratio": round(statistics.median(p["seconds"] / o["seconds"] for p, o in pairs), 2),
        "peak_mb": {
            name: round(max(one["peak_mb"] for one in runs)) for name, runs in measured.items()
        },
        "tiny": tiny,
        "first_ms_per_video": round(1000 * first["seconds"] / tiny, 3),
        "again_ms_per_video": round(
            1000 * statistics.median(one["seconds"] for one in again) / tiny, 3
        ),
        "runs": RUNS,
    }


def _write_tiny(folder: Path, count: int) -> None:
    for number in range(count):
        path = folder / f"{number:05d}.wav"
        with wave.open(str(path), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(8000)
            out.writeframes(number.to_bytes(2, "little") * 400)
        os.utime(path, (1e9, 1e9))  # Come to rest long ago.


def _alone(code: str, place: Path, videos: str, *, keep: bool = False) -> dict[str, float]:
    """Run a script in a process of its own; what it prints, and the memory of it and its own."""
    script, store = place / "script.py", place / f"{videos}-store"
    script.write_text(code)
    process = subprocess.Popen(
        [sys.executable, str(script), str(store), str(place / videos)],
        stdout=subprocess.PIPE,
        text=True,
    )
    peak = 0.0
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.5):
            peak = max(peak, sum(map(_pss_mb, _family(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, _ = process.communicate()
    over.set()
    watcher.join()
    if process.returncode != 0:
        raise RuntimeError(f"the script ended with {process.returncode}")
    if not keep:
        shutil.rmtree(store)
    result: dict[str, float] = json.loads(out.splitlines()[-1])
    return {**result, "peak_mb": peak}


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids = children.read_text().split()
        except OSError:
            continue
        for child in pids:
            yield from _family(int(child))


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) / 1024 for x in lines if x.startswith("Pss:")), 0.0)


def main() -> None:
    """A tiny form of it."""
    cache = Path(tempfile.gettempdir())
    started = time.perf_counter()
    print(json.dumps(run(cache, videos=2, seconds=5, tiny=200), indent=2))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
