"""What training reads: labelled videos of one split, and padded batches of them."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reelgenre.classifiers.config import ClassifierConfig
from reelgenre.classifiers.module import ClassifierModule
from reelgenre.errors import FeatureMismatchError
from reelgenre.training.batching import Costs, Rows, length_batches
from reelgenre.training.recipe import FeatureRecipe, Recipe

_AHEAD = 4
"""Batches prepared ahead of the network."""
_EVALUATION_BATCH = 64
_EVALUATION_BUDGET = 16_000_000
"""Padded numbers per batch of evaluation: 64 MB of float32."""


@dataclass(frozen=True)
class FeatureInfo:
    """A feature as a data set has it."""

    dim: int
    fingerprint: str


class Split(Protocol):
    """Labelled videos of one split; features stay on the disk until they are read."""

    @property
    def ids(self) -> Sequence[str]:
        """N names, the same in every run on the same data."""
        ...

    @property
    def truth(self) -> NDArray[np.bool_]:
        """[N, C]."""
        ...

    @property
    def lengths(self) -> Mapping[str, NDArray[np.int64]]:
        """Steps [N] of every feature; 0 where the video does not have it."""
        ...

    def read(self, row: int, feature: str) -> NDArray[Any]:
        """float16 or float32 [T, D], T as in ``lengths`` and not 0; safe from many threads."""
        ...


class Source(Protocol):
    """A data set: a feature store, or one in memory."""

    @property
    def labels(self) -> tuple[str, ...]:
        """C names, the order of ``truth``."""
        ...

    @property
    def features(self) -> Mapping[str, FeatureInfo]:
        """What it has, by name."""
        ...

    def split(self, name: str) -> Split:
        """The videos of ``trn``, ``val``, ``tst`` or another split.

        Raises:
            ReelgenreError: it has no such split.
        """
        ...


@dataclass(frozen=True, eq=False)
class Batch:
    """A padded batch, as :class:`~reelgenre.classifiers.module.ClassifierModule` takes it.

    Attributes:
        features: float32 [B, T, D] by name, without the features that no video here has.
        masks: bool [B, T] by name, True at real steps.
        truth: float32 [B, C].
        rows: [B], positions in the split.
    """

    features: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    truth: Tensor
    rows: Rows

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        if device.type == "cpu":
            return self
        features = {
            n: v.pin_memory().to(device, non_blocking=True) for n, v in self.features.items()
        }
        masks = {n: m.pin_memory().to(device, non_blocking=True) for n, m in self.masks.items()}
        truth = self.truth.pin_memory().to(device, non_blocking=True)
        return Batch(features, masks, truth, self.rows)


@dataclass(frozen=True)
class Sampling:
    """Which steps of one feature a batch holds.

    Attributes:
        mean: one step, the average of those kept.
        most: shortened to this many; None keeps all.
        random: at random places in order, instead of the first ones.
    """

    mean: bool
    most: int | None
    random: bool

    @classmethod
    def training(cls, recipe: FeatureRecipe, mean: bool) -> Sampling:
        """As a recipe says for training."""
        limits = [limit for limit in (recipe.steps, recipe.frames) if limit is not None]
        random = recipe.shorten == "random" or recipe.frames is not None
        return cls(mean, min(limits, default=None), random)

    @classmethod
    def evaluation(cls, recipe: FeatureRecipe, mean: bool) -> Sampling:
        """As a recipe says for validation and test."""
        return cls(mean, recipe.frames, random=True)

    @classmethod
    def whole(cls) -> Sampling:
        """Every step; the network pools where its config says so."""
        return cls(mean=False, most=None, random=False)

    def steps(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Length in the batch, for lengths as stored."""
        kept = lengths if self.most is None else np.minimum(lengths, self.most)
        return np.minimum(kept, 1) if self.mean else kept

    def take(self, values: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """The steps of one video [T, D] that enter the batch."""
        if self.most is not None and len(values) > self.most:
            if self.random:
                places = generator.choice(len(values), self.most, replace=False)
                values = values[np.sort(places)]
            else:
                values = values[: self.most]
        return values.mean(axis=0, dtype=np.float32, keepdims=True) if self.mean else values


def evaluation_sampling(recipe: Recipe) -> dict[str, Sampling]:
    """Which steps of each feature validation and test see."""
    return {
        name: Sampling.evaluation(feature, recipe.averages_ahead(name))
        for name, feature in recipe.features.items()
    }


def costs_of(split: Split, sampling: Mapping[str, Sampling], dims: Mapping[str, int]) -> Costs:
    """Numbers [N, F] that each video puts into a batch, per feature."""
    return np.stack([s.steps(split.lengths[n]) * dims[n] for n, s in sampling.items()], axis=1)


def collate(
    split: Split,
    rows: Rows,
    sampling: Mapping[str, Sampling],
    dims: Mapping[str, int],
    seed: tuple[int, ...] | None,
) -> Batch:
    """Read and pad the videos of one batch.

    Args:
        split: where from.
        rows: which.
        sampling: which steps, per feature.
        dims: width D per feature.
        seed: of random places, together with the row; None draws them from the video's name, so
            that every evaluation sees the same.
    """
    generators = [
        np.random.default_rng(
            (zlib.crc32(split.ids[row].encode()),) if seed is None else (*seed, row)
        )
        for row in rows
    ]
    features, masks = {}, {}
    for name, rule in sampling.items():
        lengths = rule.steps(split.lengths[name][rows])
        longest = int(lengths.max())
        if not longest:
            continue
        values = np.zeros((len(rows), longest, dims[name]), dtype=np.float32)
        for i, row in enumerate(rows):
            if lengths[i]:
                values[i, : lengths[i]] = rule.take(split.read(int(row), name), generators[i])
        features[name] = torch.from_numpy(values)
        masks[name] = torch.from_numpy(np.arange(longest) < lengths[:, None])
    if not features:  # none of these videos has any feature
        name, dim = next(iter(dims.items()))
        features[name] = torch.zeros(len(rows), 1, dim)
        masks[name] = torch.zeros(len(rows), 1, dtype=torch.bool)
    truth = torch.from_numpy(split.truth[rows].astype(np.float32))
    return Batch(features, masks, truth, rows)


def prefetch(
    split: Split,
    batches: Sequence[Rows],
    sampling: Mapping[str, Sampling],
    dims: Mapping[str, int],
    seed: tuple[int, ...] | None,
    threads: int,
) -> Iterator[Batch]:
    """The batches in order, some prepared ahead by ``threads``."""
    with ThreadPoolExecutor(threads, thread_name_prefix="batches") as pool:
        waiting: deque[Future[Batch]] = deque()
        try:
            for rows in batches:
                waiting.append(pool.submit(collate, split, rows, sampling, dims, seed))
                if len(waiting) > max(_AHEAD, threads):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def predict(
    module: ClassifierModule,
    split: Split,
    sampling: Mapping[str, Sampling] | None = None,
    *,
    device: torch.device | None = None,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Logits [N, C] of a split, uncalibrated; padding is masked, so batches change nothing.

    Args:
        module: the network, already on ``device``; its mode is restored.
        split: the videos.
        sampling: which steps of each feature; full length by default.
        device: where to compute; the CPU by default.
        threads: that prepare batches.
    """
    inputs = module.config.features
    sampling = sampling or dict.fromkeys(inputs, Sampling.whole())
    dims = {name: f.dim for name, f in inputs.items()}
    device = device or torch.device("cpu")
    batches = length_batches(costs_of(split, sampling, dims), _EVALUATION_BATCH, _EVALUATION_BUDGET)
    logits = np.empty(split.truth.shape, dtype=np.float32)
    training = module.training
    module.eval()
    try:
        with torch.inference_mode():
            for batch in prefetch(split, batches, sampling, dims, None, threads):
                moved = batch.to(device)
                logits[batch.rows] = module(moved.features, moved.masks).float().cpu().numpy()
    finally:
        module.train(training)
    return logits


def check_features(config: ClassifierConfig, source: Source) -> None:
    """Make sure that a data set has the features a classifier was trained on.

    Raises:
        FeatureMismatchError: one is missing, has another width or was made by another extractor,
            or the labels differ.
    """
    if config.labels != source.labels:
        raise FeatureMismatchError(
            f"The classifier has {len(config.labels)} labels ({', '.join(config.labels[:3])}...), "
            f"the data {len(source.labels)} ({', '.join(source.labels[:3])}...)",
            "Evaluate on data with the labels that it was trained on",
        )
    for name, feature in config.features.items():
        info = source.features.get(name)
        if info is None:
            raise FeatureMismatchError(
                f"The data have no feature {name!r}; they have {', '.join(source.features)}",
                "Extract it, or use a classifier without it",
            )
        if info.dim != feature.dim or feature.fingerprint not in (None, info.fingerprint):
            raise FeatureMismatchError(
                f"Feature {name!r} of the data is {info.dim} wide and made by {info.fingerprint}; "
                f"the classifier was trained on {feature.dim} made by {feature.fingerprint}",
                "Extract it again with that extractor, or train a classifier on these features",
            )
