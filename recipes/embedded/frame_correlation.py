"""How much the frames of one film have in common: what many frames are worth against one.

Evidence of one frame holds for its film only in part. If frames of a film correlate by r beyond
what their genres explain, the mean over n of them deserves a weight that grows as n / (n + k),
k = (1 - r) / r, which is the form of the fusion's gates. Crops of posters cannot tell k (they are
one picture); films with several stills can.

Scores of the stills come from a network that has seen none of their films: frozen ImageNet
features, one hidden layer, trained on the posters of other films. The weight's height and k are
fitted to the stills' labels by maximum likelihood, with intervals by resampling films.

    python recipes/embedded/frame_correlation.py --images build/images
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from floor import fitted, run
from frozen_features import FrozenFeatures
from images import log_odds
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float32]
DRAWS = 24
RESAMPLINGS = 100
FILE = "frame_correlation.json"


@dataclass(frozen=True)
class DrawnFilm:
    """Frames drawn out of one film, several times.

    Attributes:
        counts: [D], how many frames each time.
        evidence: [D, 21], their mean score less the average of all films.
        labels: [21].
    """

    counts: Floats
    evidence: Floats
    labels: Floats


def drawn_films(posters: FrozenFeatures, stills: FrozenFeatures) -> list[DrawnFilm]:
    """Frames of each film that has stills, scored by a network that has seen none of them."""
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    train = (posters.splits == "trn") & ~np.isin(posters.films, stills.films)
    scores = run(fitted(512, posters.means[train], posters.labels[train]), stills.means)
    evidence = scores - scores.mean(axis=0)
    films = []
    for film in np.unique(stills.films):
        own = np.flatnonzero(stills.films == film)
        counts = random.integers(1, len(own) + 1, DRAWS)
        means = [evidence[random.permutation(own)[:count]].mean(axis=0) for count in counts]
        films.append(DrawnFilm(counts.astype(np.float32), np.stack(means), stills.labels[own[0]]))
    return films


def fit(films: Sequence[DrawnFilm]) -> tuple[float, float]:
    """The height and k of the weight ``height * n / (n + k)`` under which labels are likeliest."""
    counts = np.concatenate([film.counts for film in films])
    evidence = np.concatenate([film.evidence for film in films])
    labels = np.repeat(np.stack([film.labels for film in films]), DRAWS, axis=0)
    prior = log_odds(labels.mean(axis=0))

    def loss(logarithms: NDArray[np.float64]) -> float:
        height, k = np.exp(logarithms)
        logits = prior + (height * counts / (counts + k))[:, None] * evidence
        return float(np.mean(np.logaddexp(0, logits) - labels * logits))

    height, k = np.exp(minimize(loss, [0.0, 0.5], method="Nelder-Mead").x)
    return float(height), float(k)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    folder: Path = parser.parse_args().images
    films = drawn_films(
        FrozenFeatures.load(folder / "posters_imagenet.npz"),
        FrozenFeatures.load(folder / "stills_imagenet.npz"),
    )
    height, k = fit(films)
    random = np.random.default_rng(2)
    resampled = [
        fit([films[i] for i in random.integers(0, len(films), len(films))])[1]
        for _ in range(RESAMPLINGS)
    ]
    low, high = np.quantile(resampled, [0.05, 0.95])
    several = sum(bool(film.counts.max() > 1) for film in films)
    found = {"k": k, "low": float(low), "high": float(high), "height": height, "films": len(films)}
    text = json.dumps(found | {"films_with_several_stills": several}, indent=2)
    (folder / FILE).write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
