"""Make the sample trailer: THE LAST SIGNAL, a science fiction adventure that does not exist.

    .venv/bin/python examples/make_trailer.py examples/sample_trailer.mp4

It stands in for a real trailer in `make demo` and in tests. Story, lines and music are this
project's own; the photographs are CC0 or public domain and come with scikit-image; the voices are
espeak-ng's (Debian and Ubuntu: apt-get install espeak-ng). With the same releases of all these,
every run makes the same file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

import trailer_sound as sound
from reelgenre.files import atomic_write
from trailer_picture import (
    HEIGHT,
    WIDTH,
    Scene,
    alarm,
    burning_city,
    corridor,
    explosion,
    finish,
    lighthouse,
    nebula_ship,
    night,
    photo,
    red_planet,
    signal_screen,
    storm,
    title,
    warp,
)

RATE = 24  # frames per second

# Length in seconds (whole frames) and scene; the lines below are timed to these cuts.
SHOTS: tuple[tuple[float, Scene], ...] = (
    (2.5, photo("hubble_deep_field", (0.5, 0.5, 0.75), (0.42, 0.46, 0.45), night)),
    (3.0, lighthouse),
    (2.5, title("FOR FORTY YEARS")),
    (2.0, photo("coffee", (0.45, 0.5, 0.8), (0.5, 0.5, 0.55))),
    (2.5, signal_screen),
    (2.0, title("SOMETHING ANSWERED", size=36)),
    (2.0, photo("astronaut", (0.45, 0.3, 0.8), (0.45, 0.22, 0.6))),
    (2.5, storm),
    (1.5, photo("camera", (0.45, 0.4, 0.9), (0.5, 0.35, 0.7), night)),
    (2.0, photo("rocket", (0.5, 0.62, 0.85), (0.5, 0.45, 0.7), night, shake=1.2)),
    (3.0, nebula_ship),
    (2.5, red_planet),
    (1.5, photo("chelsea", (0.5, 0.45, 0.8), (0.48, 0.4, 0.45), alarm)),
    (2.0, title("ELEVEN MINUTES", (1.0, 0.5, 0.35))),
    (1.5, warp),
    (1.5, photo("astronaut", (0.45, 0.2, 0.5), (0.45, 0.2, 0.42), alarm, shake=1.5)),
    (2.5, corridor),
    (1.0, burning_city),
    (1.0, storm),
    (1.0, photo("rocket", (0.48, 0.5, 0.5), (0.5, 0.4, 0.4), shake=2.0)),
    (3.0, explosion),
    (2.0, burning_city),
    (2.0, title("THIS SUMMER")),
    (2.0, lighthouse),
    (4.0, title("THE LAST SIGNAL", (1.0, 0.93, 0.75), size=46)),
    (2.0, title("ONLY IN CINEMAS", size=28)),
)

NARRATOR, PILOT, CAPTAIN = "en-us", "en-us+f4", "en-us+m7"

# Seconds, voice and what is said.
LINES: tuple[tuple[float, str, str], ...] = (
    (1.0, NARRATOR, "For forty years, the lighthouse listened to the stars."),
    (9.0, NARRATOR, "One night, the stars answered."),
    (14.6, PILOT, "Captain, the signal is coming from inside the storm."),
    (20.6, CAPTAIN, "If we turn back now, nobody will ever know the truth."),
    (27.6, NARRATOR, "They have eleven minutes to save the world."),
    (33.2, PILOT, "Run! The engine is going to explode!"),
    (45.0, NARRATOR, "This summer, answer the call."),
    (49.4, NARRATOR, "The Last Signal."),
)


def duration() -> float:
    """Length of the trailer in seconds."""
    return sum(length for length, _ in SHOTS)


def cuts() -> list[float]:
    """When each shot starts, in seconds."""
    lengths = [length for length, _ in SHOTS]
    return [sum(lengths[:index]) for index in range(len(lengths))]


def start_of(scene: Scene) -> float:
    """When a scene is first cut to, in seconds."""
    return cuts()[[shown for _, shown in SHOTS].index(scene)]


def pictures() -> Iterator[NDArray[np.uint8]]:
    """All frames, uint8 RGB [360, 640, 3]."""
    number = 0
    for length, scene in SHOTS:
        for frame in range(round(length * RATE)):
            yield finish(scene(frame / RATE, length), number)
            number += 1


def score(mix: sound.Mix) -> None:
    """The music, from stillness to the explosion and on to the last chord, and the effects."""
    bang = start_of(explosion)
    # A minor: A F C G, one chord each 4 s; higher and denser after the signal.
    chords = (
        (110.0, 164.8, 220.0),
        (87.3, 130.8, 220.0),
        (65.4, 164.8, 196.0),
        (98.0, 146.8, 196.0),
    )
    for index, at in enumerate(np.arange(0.0, bang - 1, 4.0)):
        mix.score(sound.pad(chords[index % 4], 5.0), float(at), 0.45 + 0.25 * float(at) / bang)
    for at in np.arange(start_of(nebula_ship), start_of(corridor), 0.8):
        mix.score(sound.drum(), float(at), 0.5)
    for at in np.arange(start_of(corridor), bang - 0.5, 0.4):
        mix.score(sound.drum(), float(at), 0.7)
    mix.score(sound.riser(7.0), bang - 7.0, 0.7)
    for (_, scene), at in zip(SHOTS, cuts(), strict=True):
        if scene.__qualname__.startswith("title"):
            mix.score(sound.brass_hit(), at, 0.9)
    mix.score(sound.beeps(2.5), start_of(signal_screen))
    mix.score(sound.thunder(), start_of(storm) + 0.3)
    mix.score(sound.whoosh(), start_of(nebula_ship) + 0.6)
    mix.score(sound.whoosh(1.2), start_of(warp), 1.2)
    mix.score(sound.siren(bang - start_of(corridor)), start_of(corridor))
    mix.score(sound.explosion(), bang, 1.1)
    mix.score(sound.pad((55.0, 110.0, 130.8, 164.8), 8.0), 47.0, 0.8)


def soundtrack() -> sound.Sound:
    """The whole mix, float32 [samples] at ``trailer_sound.RATE``."""
    mix = sound.Mix(duration())
    # First, so that a missing speaker is said at once.
    for at, voice, text in LINES:
        mix.voice(sound.speak(text, voice), at)
    score(mix)
    return mix.master()


def write(path: Path) -> None:
    """Render everything into an H.264 and AAC MP4."""
    mixed = soundtrack()
    with atomic_write(path) as file, av.open(file, "w", format="mp4") as container:
        video = container.add_stream("libx264", RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"crf": "25", "preset": "slow"}
        audio = container.add_stream("aac", sound.RATE, layout="mono")
        audio.bit_rate = 80_000
        for number, picture in enumerate(pictures()):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for start in range(0, len(mixed), 1024):
            block = av.AudioFrame.from_ndarray(mixed[None, start : start + 1024], "fltp", "mono")
            block.sample_rate, block.pts = sound.RATE, start
            block.time_base = Fraction(1, sound.RATE)
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))


def main() -> int:
    """Command line; 0 when the file was written."""
    parser = argparse.ArgumentParser(description="Make the sample trailer.")
    parser.add_argument("output", type=Path, help="the MP4 to write")
    output: Path = parser.parse_args().output
    try:
        write(output)
    except sound.SpeakerMissingError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{output}: {duration():.1f} s, {output.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
