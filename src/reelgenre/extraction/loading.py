"""How a worker process comes by its extractors."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reelgenre.extractors import Extractor, TextExtractor
from reelgenre.extractors.profiles import build_extractors, load_profile
from reelgenre.hooks import Hook, no_hook
from reelgenre.media import MediaOptions


@dataclass(frozen=True)
class Loaded:
    """Extractors that are ready to run.

    Attributes:
        extractors: with everything in them that the text of others is taken from.
        media: how files are decoded.
        devices: CUDA devices over which processes like this one may be spread; 0 where the models
            run on the processor.
        threads: processor threads that each video in flight may take.
    """

    extractors: Sequence[Extractor | TextExtractor]
    media: MediaOptions
    devices: int = 0
    threads: int = 1


class ExtractorFactory(Protocol):
    """Makes a process's extractors; must be picklable, because every worker is a fresh process."""

    def __call__(self, device: int | None, hook: Hook) -> Loaded:
        """Load the models.

        Args:
            device: number of the CUDA device to use; None leaves it to the factory.
            hook: hears of weights being fetched.

        Raises:
            ReelgenreError: what ends the run, such as missing weights.
        """
        ...


@dataclass(frozen=True)
class ProfileExtractors:
    """The extractors of a profile; see :func:`reelgenre.extractors.profiles.build_extractors`.

    Attributes:
        profile: a shipped profile's name, or a profile file of your own.
        modalities: only these, and those whose text they read; None means all.
        threads: of each model and of each video's decoder.
        device: of torch models: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        offline: never fetch weights; None follows the environment.
    """

    profile: str = "embedded"
    modalities: tuple[str, ...] | None = None
    threads: int = 1
    device: str = "auto"
    offline: bool | None = None

    def __call__(self, device: int | None = None, hook: Hook = no_hook) -> Loaded:
        """Load the models.

        Raises:
            RecipeError: no such profile, modality or device, or a library is missing.
            WeightsError: weights are missing or damaged.
        """
        profile = load_profile(self.profile)
        wanted = self.modalities
        if wanted is not None:
            # Without them a video that speaks would go into the store as one without words.
            wanted = (*wanted, *profile.needed_for(wanted))
        extractors = build_extractors(
            profile,
            modalities=wanted,
            threads=self.threads,
            device=self.device if device is None else f"cuda:{device}",
            offline=self.offline,
            hook=hook,
        )
        media = dataclasses.replace(profile.media, threads=self.threads)
        return Loaded(extractors, media, _cuda_devices(self.device), self.threads)


def _cuda_devices(device: str) -> int:
    """How many CUDA devices there are; 0 unless loading has put a model on one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return 1 if ":" in device else int(torch.cuda.device_count())
