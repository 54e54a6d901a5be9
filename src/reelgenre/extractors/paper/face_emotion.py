"""The published release's `face_emotion`: what the faces in mid-shot frames express.

The release's own code was followed for what its numbers are: faces are cut out without a margin,
the two largest of a frame count, the feature of each is the first token of the ViT's last layer
before the final normalisation, and a frame's step is their mean. Its face detector was a YOLOv5
under the GPL; YuNet takes its place, so boxes differ a little from the release's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import ViTForImageClassification

from reelgenre.errors import WeightsError
from reelgenre.extractors.base import Evidence, Extraction, Extractor, ExtractorSpec, fingerprint
from reelgenre.extractors.frame_steps import batches
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.paper.checkpoints import load_pretrained
from reelgenre.extractors.paper.device import choose_dtype, share, torch_device
from reelgenre.extractors.paper.face_detection import FaceDetector, YuNet
from reelgenre.extractors.paper.image_encoder import require_finite
from reelgenre.extractors.paper.image_preprocess import model_folder, read_preprocessing
from reelgenre.extractors.paper.state_dicts import one_file
from reelgenre.extractors.settings import FaceEmotionSettings
from reelgenre.extractors.shared_batches import Outputs
from reelgenre.media import Frames, MediaView
from reelgenre.sequences import FeatureSequence

_VERSION = 1
_BATCH = 16
_FACES = 2


@dataclass(frozen=True)
class Expressions:
    """Of N faces.

    Attributes:
        features: float32 [N, D].
        labels: the most probable expression of each.
        probabilities: its probability.
    """

    features: NDArray[np.float32]
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


class ExpressionModel:
    """A ViT that was fine-tuned to classify facial expressions.

    Args:
        folder: a checkpoint of transformers' ``ViTForImageClassification``.
        identity: digest of the weights.
        device, dtype: where and in which number format it runs.

    Raises:
        WeightsError: the folder is not a whole checkpoint of that kind.
    """

    def __init__(
        self, folder: Path, identity: str, device: torch.device, dtype: torch.dtype
    ) -> None:
        model: Any = load_pretrained(ViTForImageClassification, folder, device=device, dtype=dtype)
        # What is wanted stands before the last normalisation. Asking for hidden states instead
        # would have transformers 5.0 patch the model at every call, which threads must not.
        self._norm, model.vit.layernorm = model.vit.layernorm, nn.Identity()
        self._encoder, self._classifier = model.vit, model.classifier
        self._prepare = read_preprocessing(folder)
        self._device, self._dtype = device, dtype
        config: Any = model.config
        self._labels: dict[int, str] = config.id2label
        self.dim = int(config.hidden_size)
        self.identity = f"{identity} {self._prepare.identity}"
        self._batches = share(self._compute, device, _BATCH)
        if (self._prepare.height, self._prepare.width) != (config.image_size, config.image_size):
            raise WeightsError(
                f"{folder} prepares pictures of another size than its model takes",
                "Use the files that were published together",
            )

    def read(self, faces: list[NDArray[np.uint8]]) -> Expressions:
        """Expressions of faces, each RGB uint8 [H, W, 3] of any size; at least one.

        Raises:
            WeightsError: the model gives numbers that are not finite.
        """
        prepared = np.stack([self._prepare(face) for face in faces])
        features, probabilities = self._batches(prepared)
        require_finite(features, "the face expression model")
        return Expressions(
            features,
            tuple(self._labels[i] for i in probabilities.argmax(axis=1).tolist()),
            tuple(probabilities.max(axis=1).tolist()),
        )

    @torch.inference_mode()
    def _compute(self, prepared: NDArray[np.float32]) -> Outputs:
        """Features [N, D] and probabilities [N, C] of prepared faces [N, 3, H, W]."""
        pixels = torch.from_numpy(prepared).to(self._device, self._dtype)
        features = self._encoder(pixel_values=pixels).last_hidden_state[:, 0]
        probabilities = self._classifier(self._norm(features)).float().softmax(dim=-1)
        return features.float().cpu().numpy(), probabilities.cpu().numpy()


class FaceEmotion:
    """Mid-shot frames to the expression of their faces, one step per shot that shows a face.

    Args:
        modality: name of the sequence.
        detector: finds the faces.
        model: reads them.
    """

    def __init__(self, modality: str, detector: FaceDetector, model: ExpressionModel) -> None:
        self._detector = detector
        self._model = model
        self.spec = ExtractorSpec(
            name=modality,
            dim=model.dim,
            needs=Frames(),
            fingerprint=fingerprint(
                modality,
                {
                    "detector": detector.identity,
                    "model": model.identity,
                    "faces": _FACES,
                    "version": _VERSION,
                },
            ),
        )

    def extract(self, media: MediaView) -> Extraction | None:
        """One step per shot with a face; None where there is none. Evidence is the expressions."""
        steps: list[NDArray[np.float32]] = []
        shots: list[tuple[float, float]] = []
        evidence: list[Evidence] = []
        for batch in batches(media.frames(), _BATCH):
            found = [
                [face.cut(frame.image) for face in self._detector.find(frame.image)[:_FACES]]
                for frame in batch
            ]
            faces = [face for of_frame in found for face in of_frame]
            if not faces:
                continue
            read = self._model.read(faces)
            first = 0
            for frame, of_frame in zip(batch, found, strict=True):
                if not of_frame:
                    continue
                rows = range(first, first + len(of_frame))
                first = rows.stop
                for row in rows:
                    label, probability = read.labels[row], read.probabilities[row]
                    evidence.append(
                        Evidence("face", frame.time, frame.time, label, probability, len(shots))
                    )
                steps.append(read.features[rows.start : rows.stop].mean(axis=0))
                shots.append(frame.shot)
        if not shots:
            return None
        times = np.array(shots, dtype=np.float32)
        return Extraction(
            FeatureSequence(np.stack(steps), times, self.spec.fingerprint), tuple(evidence)
        )


def face_emotion(settings: FaceEmotionSettings, loading: Loading) -> Extractor:
    """Builds the extractor.

    Raises:
        WeightsError: weights are missing, damaged or of another kind.
        RecipeError: the device or precision is not to be had.
    """
    detector, expression = loading.weights(settings.detector), loading.weights(settings.weights)
    device = torch_device(loading)
    return FaceEmotion(
        settings.modality,
        YuNet(one_file(detector, ".onnx"), detector.artefact.digest),
        ExpressionModel(
            model_folder(expression),
            expression.artefact.digest,
            device,
            choose_dtype(settings.precision, device),
        ),
    )
