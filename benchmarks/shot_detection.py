"""How well the shot detectors find known cuts, dissolves and fades, and what they make up.

    python benchmarks/shot_detection.py --cache DIR

Clips are made of scikit-image's photographs and of procedural textures, with a moving camera and
moving things in front; where shots meet is known because the clip was made that way. The detector
was tuned on other photographs, other textures and other random seeds than it is reported on here
(``--tuning`` shows those).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from reelgenre.media import MediaOptions, open_media

Image = NDArray[np.float32]
Span = tuple[float, float]

WIDTH, HEIGHT = 320, 180
SECONDS = 16.0
# A cut counts as found within this of where it is; a dissolve or fade anywhere in its course.
TOLERANCE_S = 0.1

_PHOTOGRAPHS = {
    "tuning": ("chelsea", "rocket", "brick", "coins", "camera", "hubble_deep_field"),
    "report": ("astronaut", "coffee", "grass", "moon", "motorcycle", "retina", "gravel"),
}
_SEEDS = {"tuning": range(1000, 1002), "report": range(2)}


@dataclass(frozen=True)
class Kind:
    """What a clip is made of.

    Attributes:
        joins: how shots may meet: cut, dissolve, fade (through black), white (through white).
        shot_s: shortest and longest shot.
        flashes: white flashes per shot.
        speed: camera speed in widths per second, at most.
        objects: things that cross the picture.
        letterbox: share of the height that is black bars.
        noise: standard deviation of the noise, of 255.
        dark: brightness of everything.
        flicker: size of random changes of brightness.
    """

    joins: tuple[str, ...] = ("cut",)
    shot_s: Span = (1.0, 4.0)
    flashes: float = 0.0
    speed: float = 0.08
    objects: int = 0
    letterbox: float = 0.0
    noise: float = 2.0
    dark: float = 1.0
    flicker: float = 0.0


KINDS = {
    "cuts": Kind(objects=1),
    "quick cuts": Kind(shot_s=(0.25, 0.9), speed=0.2),
    "dark cuts": Kind(dark=0.25, noise=4.0),
    "dissolves": Kind(joins=("dissolve",), shot_s=(2.0, 4.5)),
    "fades": Kind(joins=("fade", "white"), shot_s=(2.0, 4.0)),
    "flashes": Kind(flashes=1.5, shot_s=(1.5, 4.0)),
    "fast motion": Kind(speed=1.5, objects=2, shot_s=(1.5, 5.0)),
    "letterbox, noise": Kind(letterbox=0.24, noise=9.0, speed=0.2),
    "flicker": Kind(flicker=0.12, shot_s=(1.5, 4.0)),
    "mixed": Kind(
        joins=("cut", "cut", "cut", "dissolve", "fade"),
        shot_s=(1.0, 4.0), flashes=0.3, speed=0.5, objects=1, letterbox=0.12, noise=4.0,
    ),
}  # fmt: skip


def run(cache_folder: Path, split: str = "report") -> dict[str, object]:
    """Measure both detectors on every kind of clip.

    Args:
        cache_folder: where clips are kept between runs.
        split: ``report`` or ``tuning``.

    Returns:
        Per detector and kind of clip, and over all: precision, recall, F1 and counts.
    """
    detectors = {
        "threshold": MediaOptions(detector="threshold"),
        "adaptive": MediaOptions(detector="adaptive"),
    }
    results: dict[str, object] = {"clips_per_kind": len(_SEEDS[split]), "seconds_per_clip": SECONDS}
    for name, options in detectors.items():
        totals = np.zeros(3, int)
        table: dict[str, dict[str, float]] = {}
        for kind in KINDS:
            counts = np.zeros(3, int)
            for seed in _SEEDS[split]:
                path, truth = clip(cache_folder, split, kind, seed)
                with open_media(path, options) as media:
                    shots = media.run().shots
                counts += matches(truth, [start for start, _ in shots[1:]])
            table[kind] = scores(counts)
            totals += counts
        table["all"] = scores(totals)
        results[name] = table
    return results


def matches(truth: list[Span], found: list[float]) -> NDArray[np.int64]:
    """True positives, false positives and false negatives; each join counts once."""
    open_joins = list(truth)
    hits = 0
    for time in found:
        near = [j for j in open_joins if j[0] - TOLERANCE_S <= time <= j[1] + TOLERANCE_S]
        if near:
            open_joins.remove(near[0])
            hits += 1
    return np.array([hits, len(found) - hits, len(open_joins)])


def scores(counts: NDArray[np.int64]) -> dict[str, float]:
    """Precision, recall and F1 of counts from :func:`matches`."""
    hits, wrong, missed = (int(c) for c in counts)
    return {
        "precision": round(hits / max(1, hits + wrong), 4),
        "recall": round(hits / max(1, hits + missed), 4),
        "f1": round(2 * hits / max(1, 2 * hits + wrong + missed), 4),
        "joins": hits + missed,
        "wrong": wrong,
    }


def clip(cache_folder: Path, split: str, kind: str, seed: int) -> tuple[Path, list[Span]]:
    """A clip of this kind and where its shots meet, from the cache or made now."""
    stem = cache_folder / f"shots-{split}-{kind.replace(', ', '-').replace(' ', '-')}-{seed}"
    path, labels = stem.with_suffix(".mp4"), stem.with_suffix(".json")
    if not labels.exists():
        cache_folder.mkdir(parents=True, exist_ok=True)
        labels.write_text(json.dumps(_make(path, split, KINDS[kind], seed)))
    return path, [(start, end) for start, end in json.loads(labels.read_text())]


def _make(path: Path, split: str, kind: Kind, seed: int) -> list[Span]:
    rng = np.random.default_rng([seed, len(split), *kind.__repr__().encode()])
    fps = int(rng.choice((24, 25, 30)))
    truth: list[Span] = []
    count = 0
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image, join in _frames(split, kind, fps, rng):
            if join is not None:
                truth.append((count / fps, (count + join) / fps))
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            out.mux(stream.encode(frame))
            count += 1
        out.mux(stream.encode(None))
    return truth


def _frames(
    split: str, kind: Kind, fps: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.uint8], int | None]]:
    """Pictures, and on those where a join begins the number of further frames it takes."""
    total = int(SECONDS * fps)
    made = 0
    shot = _shot(split, kind, fps, rng)
    level = 1.0
    bars = int(HEIGHT * kind.letterbox / 2)

    def finished(image: Image) -> NDArray[np.uint8]:
        nonlocal level
        level += 0.5 * (1.0 - level) + rng.normal(0, kind.flicker)
        image = image * (kind.dark * level)
        if bars:
            image[:bars] = image[-bars:] = 0
        return np.clip(image + rng.normal(0, kind.noise, (HEIGHT, WIDTH, 1)), 0, 255).astype(
            np.uint8
        )

    join: int | None = None
    while made < total:
        length = int(rng.uniform(*kind.shot_s) * fps)
        flashes = {
            int(at): int(rng.integers(1, 4))
            for at in rng.uniform(0.25, 0.75, rng.poisson(kind.flashes)) * length
        }
        left, strength = 0, 0.0
        for i in range(length):
            image = shot()
            if i in flashes:
                left, strength = flashes[i], rng.uniform(0.6, 1.0)
            if left:
                image, left = image + strength * (255 - image), left - 1
            yield finished(image), join
            join = None
            made += 1
        following = _shot(split, kind, fps, rng)
        how = str(rng.choice(kind.joins))
        if how == "cut":
            join = 0
        else:
            steps = int(rng.uniform(0.35, 1.4) * fps)
            via = {"fade": 0.0, "white": 255.0}.get(how)
            hold = int(rng.uniform(0, 0.4) * fps) if via is not None else 0
            for i in range(steps + hold):
                share = (i + 1) / (steps + hold + 1)
                if via is None:
                    image = (1 - share) * shot() + share * following()
                else:
                    half = steps / 2
                    away = min(1.0, (i + 1) / half, (steps + hold - i) / half)
                    image = shot() if i < (steps + hold) / 2 else following()
                    image = image + away * (via - image)
                yield finished(image), (steps + hold if i == 0 else None)
            made += steps + hold
        shot = following


def _shot(split: str, kind: Kind, fps: int, rng: np.random.Generator) -> Callable[[], Image]:
    """A camera that moves over a picture, with things that cross it; gives frame after frame."""
    names = _PHOTOGRAPHS[split]
    # Any part of any size, as long as there is something to see on it, as there is on film.
    while True:
        index = int(rng.integers(2 * len(names)))
        scene = _photograph(names[index]) if index < len(names) else _texture(rng)
        most = min(scene.shape[0], scene.shape[1] * HEIGHT // WIDTH)
        height = int(rng.uniform(0.35, 0.75) * most)
        width = height * WIDTH // HEIGHT
        top = int(rng.integers(scene.shape[0] - height + 1))
        left = int(rng.integers(scene.shape[1] - width + 1))
        part = scene[top : top + height, left : left + width]
        if cv2.resize(part, (32, 18), interpolation=cv2.INTER_AREA).mean(axis=2).std() > 15:
            break
    center = np.array((left + width / 2, top + height / 2))
    gain, flip = rng.uniform(0.5, 1.15), -1 if rng.random() < 0.5 else 1
    heading = rng.uniform(0, 2 * np.pi)
    velocity = np.array((np.cos(heading), 0.4 * np.sin(heading)))
    velocity *= rng.uniform(0.2, 1.0) * kind.speed * width / fps
    zoom = rng.uniform(-0.05, 0.05) / fps
    things = [
        (rng.uniform(0, (WIDTH, HEIGHT)), rng.normal(0, WIDTH / 2 / fps, 2),
         int(rng.uniform(10, 40)), rng.uniform(0, 255, 3))
        for _ in range(int(rng.integers(kind.objects + 1)))
    ]  # fmt: skip
    shake = rng.normal(0, 0.002 * width)
    time = 0

    def frame() -> Image:
        nonlocal time
        time += 1
        scale = height / HEIGHT * (1 + zoom * time)
        middle = center + velocity * time + rng.normal(0, abs(shake), 2)
        matrix = np.array(
            [[flip * scale, 0, middle[0] - flip * scale * WIDTH / 2],
             [0, scale, middle[1] - scale * HEIGHT / 2]]
        )  # fmt: skip
        image = cv2.warpAffine(
            scene, matrix, (WIDTH, HEIGHT),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101,
        ).astype(np.float32)  # fmt: skip
        for start, step, size, colour in things:
            x, y = (start + step * time) % (WIDTH, HEIGHT)
            cv2.circle(image, (int(x), int(y)), size, colour.tolist(), -1, cv2.LINE_AA)
        return image * gain

    return frame


@cache
def _photograph(name: str) -> NDArray[np.uint8]:
    if name == "motorcycle":
        image = getattr(skimage.data, "stereo_motorcycle")()[0]  # noqa: B009 - not typed
    else:
        image = getattr(skimage.data, name)()
    if image.ndim == 2:
        image = np.stack([image] * 3, axis=2)
    return np.ascontiguousarray(image[..., :3])


def _texture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Clouds of noise over all scales, in two colours."""
    size = 640
    field = np.zeros((size, size), np.float32)
    for octave in range(1, 8):
        coarse = rng.normal(0, 1, (2**octave, 2**octave)).astype(np.float32)
        field += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) * 0.6**octave
    field = (field - field.min()) / np.ptp(field)
    low, high = rng.uniform(0, 255, (2, 3))
    coloured: NDArray[np.uint8] = (low + field[..., None] * (high - low)).astype(np.uint8)
    return coloured


def main() -> None:
    """Print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the clips")
    parser.add_argument("--tuning", action="store_true", help="the clips it was tuned on")
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.cache, "tuning" if arguments.tuning else "report"), indent=2))


if __name__ == "__main__":
    main()
