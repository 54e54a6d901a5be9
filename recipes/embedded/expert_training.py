"""One expert per modality, trained alone on what there is for it, by the project's own trainer.

Trailers are drawn out of the training films once, several of each; that is the data set. What is
trained is a late-fusion classifier with one modality, by the recipes in ``experts/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from bags import Bag, BagSource, View, by_film, padded
from image_features import ImageFeatures
from numpy.typing import NDArray
from texts import Passages

from reelgenre.classifiers.late_fusion import Expert, LateFusionClassifier, LinearExpert
from reelgenre.classifiers.saving import load_module
from reelgenre.evaluation import Scorer
from reelgenre.genres import GENRES
from reelgenre.training import FeatureInfo, load_recipe, train
from reelgenre.training.memory import MemorySource, MemorySplit

Floats = NDArray[np.float32]
AnyExpert = Expert | LinearExpert
Labelled = tuple[list[Bag], Floats]
"""Bags and their labels [N, 21]."""
RECIPES = Path(__file__).parent / "experts"
DRAWS = {"frames": 3, "speech": 6, "words": 6, "screen_text": 6}
"""Trailers drawn of each item; an image has few crops, so more draws would repeat them."""


def trained_expert(
    name: str,
    sources: list[BagSource],
    validation: dict[str, Labelled],
    made_by: str,
    folder: Path,
) -> tuple[LateFusionClassifier, dict[str, float]]:
    """A classifier of one modality: its expert, with the gate that was trained along with it.

    With its mAP on each validation set. What an earlier run finished is kept.

    Args:
        name: of the modality and of its recipe.
        sources: what it learns from.
        validation: bags by set; all together decide when to stop.
        made_by: the extractor's fingerprint.
        folder: of the runs.
    """
    splits = {"trn": memory_split(name, drawn(sources, DRAWS[name]))}
    bags = [bag for set_bags, _ in validation.values() for bag in set_bags]
    labels = np.concatenate([set_labels for _, set_labels in validation.values()])
    splits["val"] = memory_split(name, (bags, labels))
    info = FeatureInfo(bags[0].shape[1], made_by)
    data = MemorySource(GENRES, {name: info}, splits)
    (run,) = train(load_recipe(RECIPES / f"{name}.yaml"), data, folder)
    module = load_module(run.model)
    assert isinstance(module, LateFusionClassifier)
    expert = expert_of(module, name)
    scores = {
        key: mean_ap(labels, expert_logits(expert, bags))
        for key, (bags, labels) in validation.items()
    }
    return module, scores


def expert_of(module: LateFusionClassifier, name: str) -> AnyExpert:
    """The expert of one modality."""
    expert = module.experts[name]
    assert isinstance(expert, AnyExpert)
    return expert


def drawn(sources: list[BagSource], draws: int, seed: int = 0) -> Labelled:
    """Trailers drawn out of everything, each item as often as its source's weight asks."""
    random = np.random.default_rng(seed)
    bags: list[Bag] = []
    labels: list[Floats] = []
    for source in sources:
        for item, row in enumerate(source.labels):
            for _ in range(draws * source.weight):
                # Half precision is what a feature store keeps, and what memory has room for.
                bags.append(source.draw(item, random).astype(np.float16))
                labels.append(row)
    return bags, np.stack(labels)


def memory_split(name: str, labelled: Labelled) -> MemorySplit:
    """Bags as a split of a data set; a bag without steps is a video without the modality."""
    bags, labels = labelled
    return MemorySplit(
        ids=[f"{i:06d}" for i in range(len(bags))],
        truth=labels.astype(bool),
        values={name: [bag if len(bag) else None for bag in bags]},
    )


def width_of(expert: AnyExpert) -> int:
    """Width of the steps that an expert takes."""
    return len(expert.standardise.mean) if isinstance(expert, Expert) else expert.head.in_features


def with_scores(trained: Expert, scored: Expert) -> None:
    """Give what an expert learnt from features alone to one that also takes scores.

    The scores enter as they are, with no trust at first.
    """
    state = trained.state_dict()
    for name, filler in (("standardise.mean", 0.0), ("standardise.std", 1.0)):
        own = scored.state_dict()[name].fill_(filler)
        own[: len(state[name])] = state[name]
        state[name] = own
    state["trust"] = torch.zeros(len(trained.bias))
    scored.load_state_dict(state)


def pooled_scores(expert: AnyExpert, bags: Sequence[Bag]) -> Floats | None:
    """float32 [N, 21]: what a trust of 1 would add to the logits; None without scores."""
    if not isinstance(expert, Expert) or expert.trust is None:
        return None
    found = []
    for trust in (0.0, 1.0):
        with torch.no_grad():
            expert.trust.fill_(trust)
        found.append(expert_logits(expert, bags))
    with torch.no_grad():
        expert.trust.zero_()
    return found[1] - found[0]


def expert_logits(expert: AnyExpert, bags: Sequence[Bag]) -> Floats:
    """Logits float32 [N, 21] of bags, in evaluation mode."""
    expert.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(bags), 256):
            values, mask = padded(list(bags[start : start + 256]))
            parts.append(expert(torch.from_numpy(values), torch.from_numpy(mask)).logits.numpy())
    return np.concatenate(parts)


def mean_ap(labels: Floats, logits: Floats) -> float:
    """Mean average precision over the genres that occur, in percent."""
    plain = np.ones((len(labels), 1))
    return 100 * float(Scorer(labels, logits, 0.0).summary(plain)["mean_average_precision"][0])


def prevalence(sources: list[BagSource]) -> Floats:
    """Share of each genre among the bags of an epoch."""
    counts = np.array([source.weight * len(source.labels) for source in sources], np.float32)
    shares = np.stack([source.labels.mean(axis=0) for source in sources])
    weighted: Floats = (counts[:, None] * shares).sum(axis=0) / counts.sum()
    return weighted


def image_validation(features: ImageFeatures, split: str) -> tuple[list[Bag], Floats]:
    """The fixed crops of each image of a split."""
    keep = np.flatnonzero(features.splits == split)
    return [features.fixed[i].astype(np.float32) for i in keep], features.labels[keep]


def window_validation(
    passages: Passages, split: str, without: set[str], windows: int | None, view: View
) -> tuple[list[Bag], Floats]:
    """The middle window of each film of a split, or (None) all of its windows in one bag."""
    bags, labels = [], []
    for group in by_film(passages, split, without):
        chosen = group if windows is None else group[len(group) // 2 :][:windows]
        rows = np.concatenate([passages.rows(int(p)) for p in chosen])
        bags.append(view(passages, int(group[0]), rows))
        labels.append(passages.labels[int(group[0])])
    return bags, np.stack(labels)


def single_validation(passages: Passages, split: str, view: View) -> tuple[list[Bag], Floats]:
    """Each passage of a split as one bag."""
    keep = np.flatnonzero(passages.splits == split)
    return [view(passages, int(p), passages.rows(int(p))) for p in keep], passages.labels[keep]
