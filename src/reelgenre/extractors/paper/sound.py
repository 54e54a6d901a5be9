"""What the audio models have in common: windows in, vectors and tags out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reelgenre.extractors.base import Evidence, Extraction, ExtractorSpec, fingerprint
from reelgenre.extractors.paper.device import share
from reelgenre.extractors.paper.windows import Window, windows
from reelgenre.extractors.shared_batches import Outputs
from reelgenre.media import MediaView, Sound
from reelgenre.sequences import FeatureSequence

_VERSION = 1
# Tags that are told of a window: so many at most, and none less probable.
_MOST_TAGS = 3
_LEAST_PROBABILITY = 0.1


class SoundNetwork(Protocol):
    """A model of sound, in evaluation mode."""

    def __call__(self, samples: Tensor) -> tuple[Tensor, Tensor | None]:
        """Vectors float32 [B, D] and tag probabilities [B, K], if it tags, of samples [B, N]."""
        ...


@dataclass(frozen=True)
class Cut:
    """How sound is cut for a model, in samples.

    Attributes:
        rate: samples per second.
        length: of a window.
        overlap: part of a window that the next one shares, 0 to below 1.
        least: shorter sound gets silence behind it up to this length.
    """

    rate: int
    length: int
    overlap: float
    least: int

    @property
    def hop(self) -> int:
        """From the start of a window to the start of the next."""
        return max(1, round(self.length * (1.0 - self.overlap)))


class SoundExtractor:
    """One vector per window of sound, and the tags it is most probably about.

    Silence is sound: it gives features like any other. Only where there is no sound track is the
    modality absent.

    Args:
        modality: the name of the features.
        network: on ``device``; takes batches of windows.
        dim: width of its vectors.
        cut: how sound is cut for it.
        tags: names of its tags; empty where it has none.
        identity: all that tells these weights and this preprocessing from others.
        device: of the network.
        batch: windows of one video that go through the network at once.
    """

    def __init__(
        self,
        modality: str,
        network: SoundNetwork,
        *,
        dim: int,
        cut: Cut,
        tags: Sequence[str],
        identity: Mapping[str, str | int | float | bool | None],
        device: torch.device,
        batch: int = 8,
    ) -> None:
        self._network = network
        self._cut = cut
        self._tags = tuple(tags)
        self._device = device
        self._batch = batch
        self._batches = share(self._compute, device, batch)
        self.spec = ExtractorSpec(
            name=modality,
            dim=dim,
            needs=Sound(cut.rate),
            fingerprint=fingerprint(
                modality,
                {
                    **identity,
                    "rate": cut.rate,
                    "length": cut.length,
                    "hop": cut.hop,
                    "least": cut.least,
                    "version": _VERSION,
                },
            ),
            window_s=cut.length / cut.rate,
            hop_s=cut.hop / cut.rate,
        )

    def extract(self, media: MediaView) -> Extraction | None:
        """One step per window; None where there is no sound."""
        features: list[NDArray[np.float32]] = []
        times: list[tuple[float, float]] = []
        evidence: list[Evidence] = []
        stream = windows(media.sound(), self._cut.length, self._cut.hop)
        while batch := list(islice(stream, self._batch)):
            vectors, *tagged = self._batches(self._input(batch))
            features.append(vectors)
            for index, window in enumerate(batch):
                for probabilities in tagged:
                    evidence += self._heard(window, probabilities[index], len(times))
                times.append((window.start, window.end))
        if not times:
            return None
        sequence = FeatureSequence(
            np.concatenate(features), np.array(times, np.float32), self.spec.fingerprint
        )
        return Extraction(sequence, tuple(evidence))

    def _input(self, batch: Sequence[Window]) -> NDArray[np.float32]:
        """Samples float32 [B, N] of windows of one length, with silence behind short ones."""
        samples = np.stack([window.samples for window in batch])
        missing = max(0, self._cut.least - samples.shape[1])
        return np.pad(samples, ((0, 0), (0, missing)))

    @torch.inference_mode()
    def _compute(self, samples: NDArray[np.float32]) -> Outputs:
        """Vectors float32 [B, D] and, if it tags, probabilities [B, K] of samples [B, N]."""
        outputs = self._network(torch.from_numpy(samples).to(self._device))
        return tuple(part.float().cpu().numpy() for part in outputs if part is not None)

    def _heard(
        self, window: Window, probabilities: NDArray[np.float32], step: int
    ) -> list[Evidence]:
        best = np.argsort(-probabilities, kind="stable")[:_MOST_TAGS]
        return [
            Evidence(
                "tag",
                window.start,
                window.end,
                self._tags[index],
                float(probabilities[index]),
                step,
            )
            for index in best
            if probabilities[index] >= _LEAST_PROBABILITY
        ]
