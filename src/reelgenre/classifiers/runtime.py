"""Classifying with ``model.onnx`` on onnxruntime: no torch, any architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from reelgenre.classifiers.config import ClassifierConfig
from reelgenre.classifiers.folder import ONNX_NAME, locate, read_manifest, read_verified
from reelgenre.classifiers.onnx_check import has_external_data
from reelgenre.errors import FeatureMismatchError, ModelError
from reelgenre.onnx_sessions import cpu_session
from reelgenre.sequences import FeatureSequence


@dataclass(frozen=True, eq=False)
class ExpertOutput:
    """What one modality's expert of a ``late_fusion`` classifier said.

    Attributes:
        logits: float32 [C], the expert alone.
        gate: float32 [C], how much of (logits - prior) enters the fused logits.
        step_scores: float32 [T, C], what each step contributed: ``logits`` is their sum over T
            plus a constant of the expert.
    """

    logits: NDArray[np.float32]
    gate: NDArray[np.float32]
    step_scores: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Prediction:
    """A classifier's answer for one video.

    Attributes:
        labels: C names.
        logits: float32 [C], before calibration.
        probabilities: float32 [C], calibrated, each label on its own (they do not sum to 1).
        thresholds: float32 [C], from which a label counts as predicted.
        experts: per present modality for ``late_fusion``, else empty.
    """

    labels: tuple[str, ...]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    experts: Mapping[str, ExpertOutput]

    @property
    def predicted(self) -> tuple[str, ...]:
        """Labels whose probability reaches their threshold, the most probable first."""
        chosen = np.flatnonzero(self.probabilities >= self.thresholds)
        order = chosen[np.argsort(-self.probabilities[chosen], kind="stable")]
        return tuple(self.labels[i] for i in order)


class GenreClassifier:
    """A saved classifier, ready to predict. Safe to share between threads.

    Use :meth:`from_pretrained`.

    Attributes:
        config: what it is.
        name: the hub id it was loaded by, or the name of its folder.
    """

    def __init__(self, config: ClassifierConfig, session: ort.InferenceSession, name: str) -> None:
        self.config = config
        self.name = name
        self._session = session
        self._outputs = tuple(output.name for output in session.get_outputs())

    @classmethod
    def from_pretrained(
        cls, address: str | PathLike[str], revision: str | None = None, *, threads: int = 0
    ) -> Self:
        """Load a classifier folder, or a model of the Hugging Face hub by its ``owner/name``.

        Args:
            address: folder or hub id.
            revision: branch, tag or commit on the hub.
            threads: of onnxruntime; 0 means one per core.

        Raises:
            ModelError: the folder is missing, incomplete, damaged or unsafe.
            WeightsError: the hub could not give it.
        """
        folder = locate(address, revision)
        manifest = read_manifest(folder)
        model = read_verified(folder, ONNX_NAME, manifest)
        session = open_session(model, folder / ONNX_NAME, threads)
        _check_session(session, manifest.config, folder / ONNX_NAME)
        local = Path(address).is_dir()
        return cls(manifest.config, session, folder.resolve().name if local else fspath(address))

    def predict(self, features: Mapping[str, FeatureSequence | None]) -> Prediction:
        """Probabilities for one video, at full length, without padding.

        Args:
            features: by name; a modality that is not there has no key, or None. The mapping is
                not changed.

        Raises:
            FeatureMismatchError: a feature is not an input of this classifier, was made by
                another extractor or has another width, or there is no feature at all.
        """
        present = {name: f for name, f in features.items() if f is not None}
        self._check(present)
        logits, details = self._run(present)
        thresholds = self.config.thresholds or (0.5,) * len(self.config.labels)
        return Prediction(
            labels=self.config.labels,
            logits=logits,
            probabilities=self.config.probabilities(logits),
            thresholds=np.asarray(thresholds, dtype=np.float32),
            experts={
                name: ExpertOutput(
                    logits=details[f"{name}_logits"],
                    gate=details[f"{name}_gate"],
                    step_scores=details[f"{name}_step_scores"],
                )
                for name in self.config.features
                if name in present and f"{name}_logits" in details
            },
        )

    def accept(self, name: str, made_by: str, dim: int) -> None:
        """Refuse a feature that is not what this classifier was trained on.

        Args:
            name: of the feature.
            made_by: fingerprint of its extractor.
            dim: its width.

        Raises:
            FeatureMismatchError: it is no input, made by another extractor, or of another width.
        """
        inputs = self.config.features
        if name not in inputs:
            raise FeatureMismatchError(
                f"This classifier has no input {name!r}; it reads {', '.join(inputs)}",
                "Pass only those features",
            )
        expected = inputs[name]
        if expected.fingerprint not in (None, made_by):
            raise FeatureMismatchError(
                f"Feature {name!r} was made by {made_by}, but the classifier was "
                f"trained on {expected.fingerprint}",
                "Extract it again with that extractor, or train a classifier on these features",
            )
        if dim != expected.dim:
            raise FeatureMismatchError(
                f"Feature {name!r} is {dim} wide, but the classifier was trained on {expected.dim}",
                "Extract it again with the extractor that the classifier was trained on",
            )

    def _check(self, features: Mapping[str, FeatureSequence]) -> None:
        if not features:
            raise FeatureMismatchError(
                "There is no feature to classify; this classifier reads "
                f"{', '.join(self.config.features)}",
                "Extract at least one of them; a video that has none cannot be classified",
            )
        for name, feature in features.items():
            self.accept(name, feature.made_by, feature.dim)

    def _run(
        self, features: Mapping[str, FeatureSequence]
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        feeds: dict[str, NDArray[np.float32] | NDArray[np.bool_]] = {}
        for name, expected in self.config.features.items():
            feature = features.get(name)
            if feature is None:
                feeds[name] = np.zeros((1, 1, expected.dim), dtype=np.float32)
                feeds[f"{name}_mask"] = np.zeros((1, 1), dtype=np.bool_)
            else:
                feeds[name] = feature.values[None]
                feeds[f"{name}_mask"] = np.ones((1, feature.steps), dtype=np.bool_)
        results = self._session.run(None, feeds)
        named = {name: np.asarray(r)[0] for name, r in zip(self._outputs, results, strict=True)}
        return named.pop("logits"), named


def open_session(model: bytes, source: Path, threads: int = 0) -> ort.InferenceSession:
    """An onnxruntime session on the CPU for a self-contained model.

    Raises:
        ModelError: the model refers to other files or is not one that onnxruntime can run.
    """
    try:
        external = has_external_data(model)
    except ValueError as error:
        raise _unusable(source, str(error)) from error
    if external:
        raise ModelError(
            f"{source} keeps data in other files, which is never read",
            "Get a model.onnx with its weights inside",
        )
    try:
        return cpu_session(model, threads)
    except ValueError as error:
        raise _unusable(source, str(error)) from error


def _unusable(source: Path, why: str) -> ModelError:
    return ModelError(
        f"{source} is not a model that this classifier can run ({why})",
        "Save or download the classifier again",
    )


def _check_session(session: ort.InferenceSession, config: ClassifierConfig, source: Path) -> None:
    """Inputs and outputs are those of the config."""
    inputs = {i.name: i.shape[-1] for i in session.get_inputs()}
    outputs = {o.name: o.shape[-1] for o in session.get_outputs()}
    masks = {f"{name}_mask" for name in config.features}
    if (
        inputs.keys() != config.features.keys() | masks
        or any(inputs[name] != feature.dim for name, feature in config.features.items())
        or outputs.get("logits") != len(config.labels)
    ):
        raise _unusable(source, "its inputs and outputs are not those of the config")
