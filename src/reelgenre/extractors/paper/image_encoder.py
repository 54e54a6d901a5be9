"""CLIP's or SigLIP's image tower: one feature per mid-shot frame (Sulun et al., 2024, §3.1.1).

Nothing here imports torch: with ``onnx: true`` none is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reelgenre.errors import WeightsError
from reelgenre.extractors.base import Extraction, Extractor, ExtractorSpec, fingerprint
from reelgenre.extractors.frame_steps import frame_steps
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.paper.image_preprocess import (
    Preprocessing,
    model_folder,
    read_preprocessing,
)
from reelgenre.extractors.settings import ImageEncoderSettings
from reelgenre.media import Frames, MediaView

_VERSION = 1
BATCH = 16


class ImageModel(Protocol):
    """What turns prepared pictures into features, on whatever runtime.

    Attributes:
        dim: D.
        identity: what tells its numbers from another model's, beyond floating-point rounding.
    """

    dim: int
    identity: str

    def encode(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [N, 3, H, W] to float32 [N, D]."""
        ...


class ImageEncoder:
    """Mid-shot frames to image features, one step per shot.

    Every frame counts, black ones too, as in the paper. The features are the model's own,
    neither scaled to length 1 nor standardised: so the published code has them, and a length of
    1 can be made of them but not the other way round.

    Args:
        modality: name of the sequence.
        model: the image tower.
        preprocessing: of its weights.
    """

    def __init__(self, modality: str, model: ImageModel, preprocessing: Preprocessing) -> None:
        self._model = model
        self._prepare = preprocessing
        self.spec = ExtractorSpec(
            name=modality,
            dim=model.dim,
            needs=Frames(),
            fingerprint=fingerprint(
                modality,
                {
                    "model": model.identity,
                    "preprocessing": preprocessing.identity,
                    "version": _VERSION,
                },
            ),
        )

    def encode(self, images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Features float32 [N, D] of RGB pictures uint8 [H, W, 3] of any sizes, as one batch.

        Raises:
            WeightsError: the model gives numbers that are not finite.
        """
        features = self._model.encode(np.stack([self._prepare(image) for image in images]))
        require_finite(features, f"the model of {self.spec.name}")
        return features

    def extract(self, media: MediaView) -> Extraction | None:
        """One step per shot; None where there is no picture."""
        return frame_steps(
            media.frames(),
            lambda batch: self.encode(frame.image for frame in batch),
            BATCH,
            self.spec.fingerprint,
        )


def require_finite(features: NDArray[np.float32], model: str) -> None:
    """Refuse what half precision or damaged weights make of a picture.

    Raises:
        WeightsError: the model gives numbers that are not finite.
    """
    if not np.isfinite(features).all():
        raise WeightsError(
            f"{model} gives numbers that are not finite",
            "Set `precision: fp32` in the profile; if that does not help, pull the weights again",
        )


def image_encoder(settings: ImageEncoderSettings, loading: Loading) -> Extractor:
    """Builds the extractor from weights with a ``config.json`` of transformers, or from ONNX.

    Raises:
        WeightsError: weights are missing, damaged or of another kind, or not optimised yet.
        RecipeError: the precision does not go with the runtime.
    """
    model: ImageModel
    if settings.onnx:
        from reelgenre.extractors.paper.image_onnx import OnnxImageModel, find_optimised

        optimised = OnnxImageModel(
            find_optimised(settings.weights, loading.folder), settings.precision, loading.threads
        )
        return ImageEncoder(settings.modality, optimised, optimised.preprocessing)
    from reelgenre.extractors.paper.device import choose_dtype, torch_device
    from reelgenre.extractors.paper.image_torch import TorchImageModel

    device = torch_device(loading)
    weights = loading.weights(settings.weights)
    folder = model_folder(weights)
    model = TorchImageModel(
        folder,
        weights.artefact.digest,
        device,
        choose_dtype(settings.precision, device),
    )
    return ImageEncoder(settings.modality, model, read_preprocessing(folder))
