"""What the whole embedded pipeline costs: against bare decoding, against its bare model calls.

    python benchmarks/pipeline_speed.py --cache DIR

Three figures for a 120 s, 360p trailer (the sample trailer, played until the time is up), all from
one run, each the median of several:

- the pipeline's time over the time of decoding the file's picture and sound and dropping them;
- the pipeline's time over the sum of its model calls alone, replayed on the inputs recorded from a
  run before: what decoding, shot detection, preparation and orchestration cost on top;
- its peak memory.

Beside the wall times stand the processor's, which say how much of the difference is work that has
to be done (decoding, shots, conversion) and how much is waiting. And time and peak memory against
length: 30 s, 2 min, 10 min and, with ``--long``, 2 h.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import ctranslate2
import onnxruntime

from reelgenre import GenrePipeline
from reelgenre.extractors.profiles import load_profile
from reelgenre.extractors.whisper import RATE as WHISPER_RATE
from reelgenre.media import Frames, MediaOptions, Sound, open_media

TRAILER = Path(__file__).parent.parent / "examples" / "sample_trailer.mp4"
RUNS = 5
LENGTHS_S = (30, 120, 600)
LONG_S = 7200


def looped(seconds: int, cache: Path) -> Path:
    """The sample trailer's packets again and again, up to a length: no generation is lost."""
    path = cache / f"trailer_{seconds}s.mp4"
    if path.exists():
        return path
    partial = path.with_suffix(".part.mp4")
    with av.open(str(partial), "w") as out:
        streams: dict[int, Any] = {}
        offset, length = 0.0, 0.0
        while offset < seconds:
            with av.open(str(TRAILER)) as source:
                length = float(source.duration or 0) / av.time_base
                for stream in source.streams:
                    if stream.index not in streams:
                        streams[stream.index] = out.add_stream_from_template(stream)
                for packet in source.demux():
                    if packet.dts is None or packet.pts is None:
                        continue
                    at = offset + float(packet.pts * packet.time_base)
                    if at >= seconds:
                        continue
                    shift = round(offset / packet.time_base)
                    packet.pts += shift
                    packet.dts += shift
                    packet.stream = streams[packet.stream.index]
                    out.mux(packet)
            # A breath between two showings: the first packets of one decode before they show.
            offset += length + 0.25
    partial.rename(path)
    return path


def bare_decode(path: Path) -> None:
    """Decode every frame of the first picture and sound stream and drop it."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for _ in container.decode(container.streams.video[0], container.streams.audio[0]):
            pass


Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


@contextmanager
def recorded(calls: list[Call]) -> Iterator[None]:
    """Record every model call of onnxruntime and CTranslate2, with its inputs."""
    whisper = ctranslate2.models.Whisper
    targets = [
        (onnxruntime.InferenceSession, "run"),
        *((whisper, name) for name in ("encode", "generate", "detect_language")),
    ]
    originals = [getattr(owner, name) for owner, name in targets]

    def recording(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls.append((original, arguments, options))
            return original(*arguments, **options)

        return call

    for (owner, name), original in zip(targets, originals, strict=True):
        setattr(owner, name, recording(original))
    try:
        yield
    finally:
        for (owner, name), original in zip(targets, originals, strict=True):
            setattr(owner, name, original)


def media_pass(path: Path, options: MediaOptions) -> None:
    """The pipeline's decode pass alone: shots, mid-shot frames and sound, taken and dropped."""
    with open_media(path, options) as media, ThreadPoolExecutor(2) as pool:
        frames, sound = media.view(Frames()), media.view(Sound(WHISPER_RATE))
        taken = [pool.submit(deque, taker(), 0) for taker in (frames.frames, sound.sound)]
        media.run()
        for each in taken:
            each.result()


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock on the wall, and of all processor cores together."""

    wall: float
    processor: float


def timed(action: Callable[[], object]) -> Spent:
    """What a call takes."""
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return Spent(time.perf_counter() - wall, time.process_time() - processor)


def replay(calls: list[Call]) -> None:
    """Make the recorded model calls again, one after the other."""
    for call, arguments, options in calls:
        result = call(*arguments, **options)
        # CTranslate2 may answer with a result that is still being computed.
        if hasattr(result, "result"):
            result.result()


def measure(path: Path) -> dict[str, Any]:
    """Medians and ratios on one file."""
    pipeline = GenrePipeline.from_pretrained("embedded", offline=True)
    calls: list[Call] = []
    with recorded(calls):
        pipeline(path)
    options = load_profile("embedded").media
    actions: dict[str, Callable[[], object]] = {
        "decode": lambda: bare_decode(path),
        "media": lambda: media_pass(path, options),
        "pipeline": lambda: pipeline(path),
        "models": lambda: replay(calls),
    }
    spent: dict[str, list[Spent]] = {name: [] for name in actions}
    for _ in range(RUNS):
        for name, action in actions.items():
            spent[name].append(timed(action))
    ratios = {
        other: statistics.median(
            whole.wall / part.wall
            for whole, part in zip(spent["pipeline"], spent[other], strict=True)
        )
        for other in ("decode", "models")
    }
    return {
        "seconds": {
            name: round(statistics.median(s.wall for s in runs), 3) for name, runs in spent.items()
        },
        "processor_seconds": {
            name: round(statistics.median(s.processor for s in runs), 3)
            for name, runs in spent.items()
        },
        "pipeline_over_decode": round(ratios["decode"], 2),
        "pipeline_over_models": round(ratios["models"], 2),
        "model_calls": len(calls),
        "runs": RUNS,
    }


_ALONE = """
import json, re, sys, time
from pathlib import Path
from reelgenre import GenrePipeline

def peak_mb():
    # Not ru_maxrss: a child inherits that of the process it was forked from.
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

pipeline = GenrePipeline.from_pretrained("embedded", offline=True)
loaded = peak_mb()
started = time.perf_counter()
result = pipeline(sys.argv[1])
print(json.dumps({
    "seconds": round(time.perf_counter() - started, 2),
    "peak_mb": round(peak_mb()),
    "loaded_mb": round(loaded),
    "shots": result.modalities["frames"].steps,
    "pieces_of_speech": result.modalities["speech"].steps,
    "titles": result.modalities["screen_text"].steps,
}))
"""


def alone(path: Path) -> dict[str, Any]:
    """One run in a process of its own: seconds and peak resident memory."""
    output = subprocess.run(
        [sys.executable, "-c", _ALONE, str(path)], check=True, capture_output=True, text=True
    ).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def run(cache: Path, *, long: bool = False) -> dict[str, Any]:
    """Everything above as JSON values."""
    lengths = (*LENGTHS_S, LONG_S) if long else LENGTHS_S
    files = {seconds: looped(seconds, cache) for seconds in lengths}
    return {
        "trailer_120s_360p": measure(files[120]),
        "against_length": {str(seconds): alone(path) for seconds, path in files.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--long", action="store_true", help="also the two-hour file")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    print(json.dumps(run(arguments.cache, long=arguments.long), indent=2))


if __name__ == "__main__":
    main()
