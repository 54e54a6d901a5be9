"""The `frames` modality of the embedded profile: one image feature per shot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reelgenre.extractors.base import Extraction, ExtractorSpec, fingerprint
from reelgenre.extractors.frame_input import INPUT_HEIGHT, INPUT_WIDTH, encoder_input
from reelgenre.extractors.frame_steps import frame_steps
from reelgenre.extractors.sessions import open_session
from reelgenre.media import Frames, MediaView

_VERSION = 1
_BATCH = 8
# Fades and blank cards: brightness that varies less than this (8-bit, standard deviation) shows
# nothing, and an encoder makes something up for it.
_BLANK_DEVIATION = 3.0


class FrameEncoder:
    """Mid-shot frames to image features, one step per shot that shows something.

    The shipped encoder is a pair of EfficientNet-Lites (``recipes/embedded``). A step is the
    globally averaged activations of a Lite2 as ImageNet left it, and behind them one score per
    genre by a Lite0 that was fine-tuned on film-like crops of posters and on film stills: its
    log-odds less the prevalences', so that 0 says nothing.

    Args:
        model: the ONNX file; input uint8 [N, 160, 288, 3], output float32 [N, D].
        identity: hashes of that file and of the checkpoint, for the fingerprint.
        threads: of one inference; None lets onnxruntime take all cores.
        checkpoint: what the file takes weights from that it lacks
            (see :mod:`reelgenre.extractors.stored_weights`); None where it has all of them.

    Raises:
        WeightsError: the file is no such model, or does not go with the checkpoint.
    """

    def __init__(
        self,
        model: Path,
        identity: str,
        threads: int | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        self._session = open_session(model, threads, checkpoint)
        self._input = self._session.get_inputs()[0].name
        self.spec = ExtractorSpec(
            name="frames",
            dim=int(self._session.get_outputs()[0].shape[1]),
            needs=Frames(),
            fingerprint=fingerprint(
                "frames",
                {
                    "model": identity,
                    "height": INPUT_HEIGHT,
                    "width": INPUT_WIDTH,
                    "blank": _BLANK_DEVIATION,
                    "version": _VERSION,
                },
            ),
        )

    def encode(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features float32 [N, D] of prepared images uint8 [N, 160, 288, 3], in small batches.

        Raises:
            ValueError: the images are not of that shape or type.
        """
        if inputs.dtype != np.uint8 or inputs.shape[1:] != (INPUT_HEIGHT, INPUT_WIDTH, 3):
            raise ValueError(f"images must be uint8 [N, {INPUT_HEIGHT}, {INPUT_WIDTH}, 3]")
        parts = [
            self._session.run(None, {self._input: inputs[start : start + _BATCH]})[0]
            for start in range(0, len(inputs), _BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.spec.dim), np.float32)

    def extract(self, media: MediaView) -> Extraction | None:
        """One step per shot; None where there is no picture or it is blank throughout."""
        return frame_steps(
            (frame for frame in media.frames() if _shows_something(frame.image)),
            lambda batch: self.encode(np.stack([encoder_input(frame.image) for frame in batch])),
            _BATCH,
            self.spec.fingerprint,
        )


def _shows_something(image: NDArray[np.uint8]) -> bool:
    # Every fourth pixel settles it.
    return float(image[::4, ::4].std()) >= _BLANK_DEVIATION
