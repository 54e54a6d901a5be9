"""What shots, mid-shot frames and sound cost on top of bare decoding, and how much memory.

    python benchmarks/media_speed.py --cache DIR

The film is made here: moving photographs with noise and a cut every 1 to 5 seconds, in H.264 with
B-frames. Bare decoding is PyAV's own loop over the same file with the same threads, timed in turns
with ours in the same process; peak memory is that of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import skimage.data

from reelgenre.media import Frames, MediaOptions, Sound, open_media

RUNS = 5
MOST_RATIO, MOST_MEGABYTES = 1.3, 400
# Name, width, height, seconds.
FILMS = (("1080p", 1920, 1080, 20), ("360p", 640, 360, 60))
_FPS = 24


def run(cache_folder: Path) -> dict[str, object]:
    """Measure every film with both detectors.

    Args:
        cache_folder: where films are kept between runs.

    Returns:
        Per film and detector: median seconds of bare decoding and of shots and mid-frames, their
        ratio, that with sound at 16 kHz as well, both also in processor time, and peak memory.
    """
    files: dict[str, dict[str, float]] = {}
    for name, width, height, seconds in FILMS:
        path = film(cache_folder, width, height, seconds)
        for detector in ("adaptive", "threshold"):
            options = MediaOptions(detector=detector)
            jobs: dict[str, Callable[[], None]] = {
                "bare": partial(_bare, path, sound=False),
                "ours": partial(_ours, path, options, sound=False),
                "bare with sound": partial(_bare, path, sound=True),
                "ours with sound": partial(_ours, path, options, sound=True),
            }
            wall, cpu = _medians(jobs)
            files[f"{name}, {seconds} s, {detector}"] = {
                "decode_s": round(wall["bare"], 3),
                "shots_and_mid_frames_s": round(wall["ours"], 3),
                "ratio": _ratio(wall, ""),
                "with_sound_ratio": _ratio(wall, " with sound"),
                "cpu_ratio": _ratio(cpu, ""),
                "with_sound_cpu_ratio": _ratio(cpu, " with sound"),
                "peak_mb": _peak(path, detector),
            }
    return {
        "files": files,
        "runs": RUNS,
        "limit_ratio": MOST_RATIO,
        "limit_mb": MOST_MEGABYTES,
    }


def _ratio(times: dict[str, float], what: str) -> float:
    return round(times[f"ours{what}"] / times[f"bare{what}"], 3)


def _medians(jobs: dict[str, Callable[[], None]]) -> tuple[dict[str, float], dict[str, float]]:
    """Median wall and processor seconds; jobs take turns, so that noise hits all alike."""
    wall: dict[str, list[float]] = {job: [] for job in jobs}
    cpu: dict[str, list[float]] = {job: [] for job in jobs}
    for _ in range(RUNS):
        for job, work in jobs.items():
            started, used = time.perf_counter(), time.process_time()
            work()
            wall[job].append(time.perf_counter() - started)
            cpu[job].append(time.process_time() - used)
    return (
        {job: statistics.median(times) for job, times in wall.items()},
        {job: statistics.median(times) for job, times in cpu.items()},
    )


def _bare(path: Path, *, sound: bool) -> None:
    with av.open(str(path)) as container:
        streams = [s for s in container.streams if s.type == "video" or sound]
        for stream in streams:
            stream.codec_context.thread_type = "AUTO"
        for packet in container.demux(streams):
            packet.decode()


def _ours(path: Path, options: MediaOptions, *, sound: bool) -> None:
    with open_media(path, options) as media:
        frames = media.view(Frames())
        threads = [threading.Thread(target=lambda: sum(1 for _ in frames.frames()))]
        if sound:
            heard = media.view(Sound(16_000))
            threads.append(threading.Thread(target=lambda: sum(1 for _ in heard.sound())))
        for thread in threads:
            thread.start()
        media.run()
        for thread in threads:
            thread.join()


def _peak(path: Path, detector: str) -> int:
    """Most resident memory of a process that decodes the film once, in megabytes."""
    command = [sys.executable, __file__, "--peak", str(path), "--detector", detector]
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    return round(float(output.stdout))


def film(cache_folder: Path, width: int, height: int, seconds: int) -> Path:
    """The film of this size, from the cache or made now."""
    path = cache_folder / f"film-{width}x{height}-{seconds}s.mp4"
    if path.exists():
        return path
    cache_folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.mp4")
    rng = np.random.default_rng(0)
    scenes = [
        cv2.resize(scene, (width * 5 // 4, height * 5 // 4), interpolation=cv2.INTER_CUBIC)
        for scene in (getattr(skimage.data, name)() for name in ("astronaut", "coffee", "rocket"))
    ]
    grain = rng.normal(0, 3, (height + 64, width + 64, 1)).astype(np.int16)
    with av.open(str(part), "w") as out:
        picture = out.add_stream("libx264", rate=_FPS, options={"preset": "veryfast", "crf": "21"})
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        sound = out.add_stream("aac", rate=48_000, layout="stereo")
        packets = []
        left, at, step, gain, scene = 0, np.zeros(2), np.zeros(2), 1.0, scenes[0]
        for _ in range(seconds * _FPS):
            if not left:
                left = int(rng.uniform(1, 5) * _FPS)
                at, step = rng.uniform(0, 0.2, 2) * (width, height), rng.uniform(-2, 2, 2)
                gain, scene = rng.uniform(0.5, 1.1), scenes[rng.integers(len(scenes))]
            left -= 1
            at = np.clip(at + step, 0, (width / 4 - 1, height / 4 - 1))
            x, y = at.astype(int)
            dx, dy = rng.integers(0, 64, 2)
            image = scene[y : y + height, x : x + width] * gain
            image = np.clip(image + grain[dy : dy + height, dx : dx + width], 0, 255)
            packets += picture.encode(
                av.VideoFrame.from_ndarray(image.astype(np.uint8), format="rgb24")
            )
        wave = rng.normal(0, 0.05, (2, seconds * 48_000)).astype(np.float32)
        wave += 0.3 * np.sin(2 * np.pi * 440 * np.arange(seconds * 48_000) / 48_000)
        for start in range(0, wave.shape[1], 1024):
            block = np.ascontiguousarray(wave[:, start : start + 1024], np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
            packets += sound.encode(frame)
        packets += picture.encode(None)
        packets += sound.encode(None)
        for packet in sorted(packets, key=lambda p: float((p.dts or 0) * p.time_base)):
            out.mux(packet)
    return part.rename(path)


def main() -> None:
    """Print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path(), help="folder for the films")
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--detector", default="adaptive", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak is not None:
        _ours(arguments.peak, MediaOptions(detector=arguments.detector), sound=True)
        # Not getrusage: its peak is inherited from the process that started this one.
        status = Path("/proc/self/status").read_text()
        print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
    else:
        print(json.dumps(run(arguments.cache), indent=2))


if __name__ == "__main__":
    main()
