"""The sound of the sample trailer: a synthesised score, effects, and espeak-ng's voices.

All sounds are float32 mono at :data:`RATE`; the mix is what everything is added into.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import wave

import numpy as np
from numpy.typing import NDArray

RATE = 44_100  # Hz

Sound = NDArray[np.float32]


class SpeakerMissingError(Exception):
    """espeak-ng is not installed."""


def _time(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * RATE)) / RATE


def _noise(seconds: float, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def _lowpass(sound: NDArray[np.float64], cutoff: float) -> NDArray[np.float64]:
    """Everything above ``cutoff`` Hz fades away with its square."""
    spectrum = np.fft.rfft(sound)
    frequency = np.fft.rfftfreq(len(sound), 1 / RATE)
    filtered: NDArray[np.float64] = np.fft.irfft(
        spectrum / (1 + (frequency / cutoff) ** 2), len(sound)
    )
    return filtered


def _level(sound: NDArray[np.float64], peak: float) -> Sound:
    return np.asarray(sound * peak / np.abs(sound).max(), np.float32)


def pad(notes: tuple[float, ...], seconds: float) -> Sound:
    """A slow chord of detuned saws; ``notes`` in Hz."""
    t = _time(seconds)
    chord = np.zeros_like(t)
    for note in notes:
        for detune in (0.996, 1.0, 1.005):
            for harmonic in range(1, 9):
                chord += np.sin(2 * np.pi * note * detune * harmonic * t + harmonic) / harmonic**1.6
    swell = np.clip(t / 0.9, 0, 1) * np.clip((seconds - t) / 0.9, 0, 1)
    return _level(chord * swell * (1 + 0.15 * np.sin(2 * np.pi * 0.31 * t)), 0.5)


def drum(peak: float = 0.8) -> Sound:
    """A big skin drum."""
    t = _time(0.7)
    skin = np.sin(2 * np.pi * (46 * t + 5.0 * (1 - np.exp(-18 * t)))) * np.exp(-6.5 * t)
    stick = _lowpass(_noise(0.7, 2), 1500) * np.exp(-70 * t)
    return _level(skin + 0.5 * stick, peak)


def brass_hit(seconds: float = 2.2) -> Sound:
    """The low brass that trailers hit with."""
    t = _time(seconds)
    tone = sum(np.sin(2 * np.pi * 55 * h * t * (1 + 0.001 * h)) / h**0.9 for h in range(1, 22))
    hit = np.tanh(2.2 * np.asarray(tone)) * np.exp(-1.5 * t) * np.clip(t / 0.02, 0, 1)
    return _level(_lowpass(hit, 1300), 0.8)


def riser(seconds: float) -> Sound:
    """Noise and a tone that climb."""
    t = _time(seconds)
    u = t / seconds
    tone = np.sin(2 * np.pi * np.cumsum(90 + 700 * u**2) / RATE)
    return _level((_lowpass(_noise(seconds, 3), 4000) * 0.5 + tone) * u**2.5, 0.6)


def explosion(seconds: float = 3.5) -> Sound:
    """A crack, then a long rumble."""
    t = _time(seconds)
    rumble = _lowpass(_noise(seconds, 4), 130) * np.exp(-1.3 * t)
    crack = _lowpass(_noise(seconds, 5), 5000) * np.exp(-9 * t)
    return _level(np.tanh(3.0 * (6.0 * rumble + crack)), 0.95)


def whoosh(seconds: float = 0.9) -> Sound:
    """Something passes by."""
    t = _time(seconds)
    near = np.exp(-(((t - 0.6 * seconds) / (0.17 * seconds)) ** 2))
    return _level(_lowpass(_noise(seconds, 6), 1800) * near, 0.5)


def siren(seconds: float) -> Sound:
    """An alarm going up and down."""
    t = _time(seconds)
    pitch = 620 + 230 * np.sin(2 * np.pi * 0.9 * t)
    tone = np.sin(2 * np.pi * np.cumsum(pitch) / RATE)
    return _level(
        np.tanh(2 * tone) * np.clip(t / 0.2, 0, 1) * np.clip((seconds - t) / 0.3, 0, 1), 0.25
    )


def beeps(seconds: float) -> Sound:
    """The signal: three short, one long."""
    t = _time(seconds)
    place = t % 1.6
    sounding = (place < 0.96) & ((place % 0.24 < 0.1) | (place > 0.72))
    return _level(np.sin(2 * np.pi * 1180 * t) * _lowpass(sounding.astype(np.float64), 90), 0.22)


def thunder(seconds: float = 2.4) -> Sound:
    """Far away."""
    t = _time(seconds)
    rolls = 1 + np.sin(2 * np.pi * 3.1 * t) * np.sin(2 * np.pi * 1.7 * t)
    return _level(_lowpass(_noise(seconds, 7), 220) * np.exp(-1.6 * t) * rolls, 0.7)


def speak(text: str, voice: str, words_per_minute: int = 130) -> Sound:
    """A line said by espeak-ng.

    Args:
        text: what to say.
        voice: one of espeak-ng's, such as ``en-us+f4``.
        words_per_minute: how fast.

    Raises:
        SpeakerMissingError: espeak-ng is not installed.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        raise SpeakerMissingError(
            "espeak-ng is not installed. Install it: apt-get install espeak-ng"
        )
    command = [program, "-v", voice, "-s", str(words_per_minute), "-p", "35", "-g", "2", "--stdout"]
    said = subprocess.run([*command, text], capture_output=True, check=True).stdout
    # Written to a pipe, its header claims a wrong length; the samples are what follows.
    with wave.open(io.BytesIO(said)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(len(said)), np.int16) / 32768.0
    places = np.arange(round(len(samples) * RATE / rate)) * rate / RATE
    return _level(np.interp(places, np.arange(len(samples)), samples), 0.75)


class Mix:
    """Sound laid on a time line; the score steps back while somebody speaks."""

    def __init__(self, seconds: float) -> None:
        self._score = np.zeros(round(seconds * RATE), np.float32)
        self._voice = np.zeros_like(self._score)

    def score(self, sound: Sound, at: float, gain: float = 1.0) -> None:
        """Add music or an effect at a time in seconds; what is past the end is cut."""
        self._add(self._score, sound, at, gain)

    def voice(self, sound: Sound, at: float) -> float:
        """Add a line at a time in seconds; when it ends."""
        self._add(self._voice, sound, at, 1.0)
        return at + len(sound) / RATE

    @staticmethod
    def _add(track: Sound, sound: Sound, at: float, gain: float) -> None:
        start = round(at * RATE)
        sound = sound[: len(track) - start]
        track[start : start + len(sound)] += gain * sound

    def master(self) -> Sound:
        """The whole, float32 from -0.98 to 0.98, faded out at the end."""
        speaking = np.abs(self._voice) > 0.01
        window = round(0.5 * RATE)
        # A running mean over half a second opens and closes the score softly.
        total = np.cumsum(np.pad(speaking.astype(np.float64), (window, window)))
        presence = np.clip((total[2 * window :] - total[: -2 * window]) / (0.5 * window), 0, 1)
        mixed = 0.7 * self._score * (1 - 0.72 * presence) + self._voice
        fade = np.clip((len(mixed) - np.arange(len(mixed))) / (0.8 * RATE), 0, 1)
        return (np.tanh(mixed * fade) * 0.98).astype(np.float32)
