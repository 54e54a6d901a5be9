"""Tiny extractors whose behaviour a file's name decides, and sound files to run them on.

They stand in a module of their own, because worker processes import it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reelgenre.errors import StoreError, WeightsError
from reelgenre.extraction import Loaded
from reelgenre.extractors import Evidence, Extraction, Extractor, ExtractorSpec, Text, TextExtractor
from reelgenre.hooks import Hook, no_hook
from reelgenre.media import MediaOptions, MediaView, Sound
from reelgenre.sequences import FeatureSequence

RATE = 8000


def write_sound(folder: Path, name: str, seconds: float = 0.3) -> Path:
    """A sound file of its own content, whatever its name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.wav"
    seed = int.from_bytes(name.encode(), "big") % 2**32
    samples = np.random.default_rng(seed).integers(-9000, 9000, round(RATE * seconds), np.int16)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.tobytes())
    # As if written long ago: a store remembers only files that have come to rest.
    os.utime(path, (1e9, 1e9))
    return path


def misbehave(name: str) -> None:
    """What the parts of a file's name say."""
    match name.partition("-")[0]:
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(600)
        case "seize":  # Holds Python's lock for good.
            ctypes.PyDLL(None).sleep(600)
        case "slow":
            time.sleep(0.6)
        case "wrong":
            raise ValueError("this is no tune")
        case "memory":
            raise MemoryError("no room")
        case "device":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        case "disk":
            raise StoreError("the disk is full", "Free space")


@dataclass(frozen=True)
class Listener:
    """Mean and loudness of every video's sound; absent from files called ``mute``."""

    name: str
    log: Path | None
    careful: bool

    @property
    def spec(self) -> ExtractorSpec:
        return ExtractorSpec(self.name, 2, Sound(RATE), f"{self.name}:0123456789abcdef")

    def extract(self, media: MediaView) -> Extraction | None:
        samples = np.concatenate([block.samples for block in media.sound()])
        name = Path(media.info.path).stem
        note(self.log, self.name, name)
        if not self.careful:
            misbehave(name)
        while name.startswith("meet") and self.log and len(devices(self.log)) < 2:
            time.sleep(0.05)  # For another process.
        if name.startswith("vanish"):
            Path(media.info.path).unlink(missing_ok=True)
        if name.startswith("mute"):
            return None
        values = np.array([[samples.mean(), np.abs(samples).max()]], np.float32)
        if name.startswith("huge") and not self.careful:
            values *= 1e8
        sequence = FeatureSequence(
            values, np.array([[0, len(samples) / RATE]], np.float32), self.spec.fingerprint
        )
        return Extraction(sequence, (Evidence("speech", 0.0, 1.0, name),))


@dataclass(frozen=True)
class Reader:
    """How many letters the first listener understood."""

    of: str
    log: Path | None

    @property
    def spec(self) -> ExtractorSpec:
        return ExtractorSpec("letters", 1, Text((self.of,)), "letters:0123456789abcdef")

    def derive(self, extractions: Mapping[str, Extraction]) -> Extraction | None:
        if self.of not in extractions:
            return None
        text = extractions[self.of].evidence[0].text or ""
        note(self.log, "letters", text)
        return Extraction(
            FeatureSequence(
                np.array([[len(text)]], np.float32),
                np.zeros((1, 2), np.float32),
                self.spec.fingerprint,
            )
        )


@dataclass(frozen=True)
class Fakes:
    """A factory of them.

    Attributes:
        names: ``loud`` (which misbehaves), ``calm`` (which does not), ``letters`` of what ``loud``
            understood.
        log: file that says which extractor ran on which file in which process.
        loading: what goes wrong when they are made: ``weights``, ``crash``, ``bug``,
            ``small disk`` or ``deadly disk``.
        devices: CUDA devices that the models would run on.
    """

    names: tuple[str, ...] = ("loud", "calm")
    log: Path | None = None
    loading: str = ""
    devices: int = 0

    def __call__(self, device: int | None = None, hook: Hook = no_hook) -> Loaded:
        if self.loading == "weights":
            raise WeightsError("the weights are missing", "Pull them")
        if self.loading == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.loading == "bug":
            raise KeyError("layer.0")
        if self.loading.endswith("disk"):  # Nothing longer than this can be written.
            deadly = self.loading.startswith("deadly")
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL if deadly else signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (256, 256))
        hook("weights:fake", 1, 1)
        note(self.log, "loading", str(device))
        make: dict[str, Any] = {
            "loud": lambda: Listener("loud", self.log, careful=False),
            "calm": lambda: Listener("calm", self.log, careful=True),
            "letters": lambda: Reader("loud", self.log),
        }
        extractors: list[Extractor | TextExtractor] = [make[name]() for name in self.names]
        return Loaded(extractors, MediaOptions(threads=1), self.devices)


def note(log: Path | None, *words: str) -> None:
    """Add a line to a log that many processes write."""
    if log is not None:
        line = " ".join((*words, str(os.getpid()))) + "\n"
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line.encode())
        os.close(descriptor)


def ran(log: Path) -> list[tuple[str, str]]:
    """Which extractor ran on which file."""
    if not log.exists():
        return []
    lines = [line.split() for line in log.read_text().splitlines()]
    return [(line[0], line[1]) for line in lines if line[0] != "loading"]


def devices(log: Path) -> list[str]:
    """What each process was told to run on, in the order in which they were ready."""
    return [line.split()[1] for line in log.read_text().splitlines() if line.startswith("loading")]


def pids(log: Path) -> set[int]:
    """Processes that extracted."""
    return {int(line.split()[2]) for line in log.read_text().splitlines()}


def alive(pid: int) -> bool:
    """Whether a process runs (a dead one that nobody has buried does not)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
