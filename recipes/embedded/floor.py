"""The plainest classifier on the same films: the floor that the shipped one is measured against.

Frozen ImageNet features of five crops of a poster, averaged, under one hidden layer of 512;
sentence embeddings of a window of dialogue, averaged, under one of 256; both fused as the sum of
their log-odds minus the prior's. Several windows of a film are averaged as log-odds; everything is
recalibrated on validation. No fine-tuning, no attention, no words. ``evaluate.py`` measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from bags import by_film
from corpus import film_index
from frozen_features import FrozenFeatures
from images import log_odds
from numpy.typing import NDArray
from texts import Passages
from torch import Tensor, nn

from reelgenre.evaluation import fit_platt, sigmoid

Floats = NDArray[np.float32]
# Four epochs were best of 4, 8, 12 and 20 on validation.
EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 4, 64, 1e-3, 0.1, 0.5


@dataclass(frozen=True)
class Floor:
    """Two small networks on averaged features, and the log-odds [21] that both start from."""

    pictures: nn.Module
    speech: nn.Module
    prior: Floats

    @classmethod
    def trained(cls, posters: FrozenFeatures, dialogues: Passages) -> Floor:
        """Fitted on the training films."""
        torch.manual_seed(1)
        shown, said = posters.splits == "trn", dialogues.splits == "trn"
        labels = np.concatenate([posters.labels[shown], dialogues.labels[said]])
        return cls(
            fitted(512, posters.means[shown], posters.labels[shown]),
            fitted(256, _window_means(dialogues, np.flatnonzero(said)), dialogues.labels[said]),
            log_odds(labels.mean(axis=0)),
        )

    def logits(
        self, posters: FrozenFeatures, dialogues: Passages, split: str
    ) -> dict[str, tuple[Floats, Floats]]:
        """Labels and logits [N, 21] of the films of a split, seen in several ways."""
        rows = film_index(posters, split)
        pictures = run(self.pictures, posters.means[[row for row, *_ in rows.values()]])
        groups = by_film(dialogues, split, set())
        every = [run(self.speech, _window_means(dialogues, group)) for group in groups]
        found = {
            "poster": (posters.labels[[row for row, *_ in rows.values()]], pictures),
        }
        labels = np.stack([dialogues.labels[group[0]] for group in groups])
        place = {film: i for i, film in enumerate(rows)}
        films = [str(dialogues.films[group[0]]) for group in groups]
        paired = [i for i, film in enumerate(films) if film in place]
        beside = pictures[[place[films[i]] for i in paired]]
        for name, windows in {
            "one window": [logits[len(logits) // 2] for logits in every],
            "all windows": [logits.mean(axis=0) for logits in every],
        }.items():
            speech = np.stack(windows)
            found[f"dialogue, {name}"] = (labels, speech)
            found[f"both sets: poster and dialogue, {name}"] = (
                labels[paired],
                beside + speech[paired] - self.prior,
            )
        return found


def floor_probabilities(
    posters: FrozenFeatures, dialogues: Passages, split: str
) -> dict[str, tuple[Floats, Floats]]:
    """Labels and probabilities [N, 21] of the floor on a split, recalibrated on validation."""
    floor = Floor.trained(posters, dialogues)
    calibrated = {}
    validation = floor.logits(posters, dialogues, "val")
    for name, (labels, logits) in floor.logits(posters, dialogues, split).items():
        calibration = fit_platt(*validation[name], prior_strength=20.0)
        calibrated[name] = (labels, sigmoid(calibration.logits(logits)).astype(np.float32))
    return calibrated


def _window_means(dialogues: Passages, windows: Sequence[int] | NDArray[np.intp]) -> Floats:
    return np.stack([dialogues.steps(int(window)).mean(axis=0) for window in windows])


def run(network: nn.Module, inputs: Floats) -> Floats:
    """Logits [N, 21] of inputs [N, D]."""
    with torch.inference_mode():
        logits: Floats = network(torch.from_numpy(inputs)).numpy()
    return logits


def fitted(hidden: int, inputs: Floats, labels: Floats) -> nn.Module:
    """A network with one hidden layer, trained on inputs [N, D] and labels [N, 21]."""
    mean, deviation = inputs.mean(axis=0), inputs.std(axis=0).clip(1e-3)
    network = nn.Sequential(
        _Standardise(mean, deviation),
        nn.Linear(inputs.shape[1], hidden),
        nn.GELU(),
        nn.Dropout(DROPOUT),
        nn.Linear(hidden, labels.shape[1]),
    )
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))
        for start in range(0, len(x), BATCH):
            batch = order[start : start + BATCH]
            loss = nn.functional.binary_cross_entropy_with_logits(network(x[batch]), y[batch])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return network.eval()


class _Standardise(nn.Module):
    def __init__(self, mean: Floats, deviation: Floats) -> None:
        super().__init__()
        self.mean, self.deviation = torch.from_numpy(mean), torch.from_numpy(deviation)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.deviation
