"""The fusion of the experts, fitted on trailers drawn out of validation films."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from bags import Bag, Rows
from corpus import Corpus, film_index
from expert_training import AnyExpert, expert_logits, pooled_scores, width_of
from numpy.typing import NDArray
from texts import Passages
from torch import Tensor, nn
from words import WordTables

from reelgenre.classifiers.late_fusion import GatedFusion

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FusionSet:
    """Films as the fusion sees them: experts' logits and how many steps they came from.

    Attributes:
        logits: by modality, float32 [N, 21]; anything where the modality is absent.
        scores: likewise, what their encoder's own scores add to them at a trust of 1; only of
            modalities that have such scores.
        steps: by modality, float32 [N]; 0 where absent.
        labels: float32 [N, 21].
    """

    logits: dict[str, Floats]
    scores: dict[str, Floats]
    steps: dict[str, Floats]
    labels: Floats


def fusion_set(
    corpus: Corpus,
    experts: dict[str, AnyExpert],
    tables: WordTables,
    cards: Bag,
    split: str,
    draws: int,
    seed: int,
) -> FusionSet:
    """Draw trailers out of films: some crops or stills, some of the dialogue, a few cards.

    Each film of the split comes ``draws`` times, each time with other parts of it and now and
    then without a modality, as trailers lack speech or text.
    """
    random = np.random.default_rng(seed)
    stills = film_index(corpus.stills, split)
    posters = film_index(corpus.posters, split)
    dialogues = film_index(corpus.dialogues, split)
    titles = film_index(corpus.titles, split)
    readings = film_index(corpus.readings, split)
    label_of: dict[str, Floats] = {}
    for source in (corpus.posters, corpus.stills, corpus.dialogues):
        for film, row in zip(source.films, source.labels, strict=True):
            label_of.setdefault(str(film), row)
    dims = {name: width_of(expert) for name, expert in experts.items()}
    bags: dict[str, list[Bag]] = {name: [] for name in experts}
    present: dict[str, list[bool]] = {name: [] for name in experts}
    labels = []
    for film in sorted(posters.keys() | stills.keys()):
        # Films with dialogue tell how modalities go together; the others would drown them.
        for _ in range(draws if film in dialogues or film in stills else 1):
            drawn: dict[str, Bag] = {}
            text: list[str] = []
            if random.random() >= 0.05:
                picture = frame_draw(corpus, posters.get(film, []), stills.get(film, []), random)
                if picture is not None:
                    drawn["frames"] = picture
            if film in dialogues and random.random() >= 0.2:
                said = speech_draw(corpus.dialogues, dialogues[film], random)
                drawn["speech"] = corpus.dialogues.values[said].astype(np.float32)
                text += [corpus.dialogues.pieces[row] for row in said]
            if random.random() >= 0.2 and (film in readings or film in titles):
                common = cards[random.permutation(len(cards))[: int(random.integers(0, 8))]]
                # A trailer shows as much as a poster does, or its title alone.
                poster = film in readings and (film not in titles or random.random() < 0.6)
                source = corpus.readings if poster else corpus.titles
                rows = readings[film] if poster else titles[film]
                drawn["screen_text"] = np.concatenate([source.steps(rows[0]), common])
                text += source.document(rows[0])
            words = tables.of(film, split).steps(text)
            if len(words):
                drawn["words"] = words
            for name in experts:
                present[name].append(name in drawn)
                bags[name].append(drawn.get(name, np.zeros((1, dims[name]), np.float32)))
            labels.append(label_of[film])
    there = {name: np.array(flags) for name, flags in present.items()}
    scores = {name: pooled_scores(expert, bags[name]) for name, expert in experts.items()}
    return FusionSet(
        {name: expert_logits(expert, bags[name]) for name, expert in experts.items()},
        {name: added for name, added in scores.items() if added is not None},
        {
            name: (there[name] * np.array([len(bag) for bag in bags[name]])).astype(np.float32)
            for name in experts
        },
        np.stack(labels),
    )


def frame_draw(
    corpus: Corpus, posters: list[int], stills: list[int], random: np.random.Generator
) -> Bag | None:
    """One crop of each of some stills of the film where there are any, else one of its poster.

    Never two crops of one picture: the gates are to learn what several frames are worth.
    """
    if stills:
        source = corpus.stills
        rows = random.permutation(stills)[: int(random.integers(1, len(stills) + 1))]
    elif posters:
        source, rows = corpus.posters, np.array(posters[:1])
    else:
        return None
    crops = np.concatenate([source.fixed[rows], source.varied[rows]], axis=1)
    chosen: Bag = crops[np.arange(len(rows)), random.integers(0, crops.shape[1], len(rows))].astype(
        np.float32
    )
    return chosen


def speech_draw(passages: Passages, windows: list[int], random: np.random.Generator) -> Rows:
    """One piece up to three windows of a film's dialogue."""
    count = min(len(windows), int(random.choice([1, 1, 2, 3])))
    chosen = random.permutation(windows)[:count]
    rows = np.concatenate([passages.rows(int(p)) for p in chosen])
    return rows[: int(random.integers(1, len(rows) + 1))]


def train_fusion(
    fusion: GatedFusion,
    trusts: Mapping[str, nn.Parameter],
    data: FusionSet,
    offset: Floats,
    frames_kappa: float,
    pull: float = 0.02,
) -> float:
    """Fit gates and trusts; genres differ from their mean only as far as the data insist.

    Args:
        fusion: with its prior set.
        trusts: [21] of the experts that have scores.
        data: validation films.
        offset: [21], log-odds of these films' prevalences over the prior.
        frames_kappa: frames at which half of the trust in them is reached. Given, as few
            validation films have several frames (see ``frame_correlation.py``).
        pull: weight of the differences between genres.
    """
    shift = torch.from_numpy(offset)
    steps = _tensors(data.steps)
    labels = torch.from_numpy(data.labels)
    frames = fusion.names.index("frames")
    with torch.no_grad():
        fusion.kappa[frames] = math.log(math.expm1(frames_kappa))
        # As much trust in one frame as in one step of another modality to begin with.
        fusion.alpha[frames] += frames_kappa
    parameters = [*fusion.parameters(), *trusts.values()]
    optimiser = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")
    loss_function = nn.BCEWithLogitsLoss()

    def closure() -> Tensor:
        optimiser.zero_grad()
        fused = fusion(_with_scores(data, trusts), steps)
        per_genre = torch.cat([fusion.alpha, *(trust[None] for trust in trusts.values())])
        spread = (per_genre - per_genre.mean(dim=1, keepdim=True)).square().mean()
        loss: Tensor = loss_function(fused + shift, labels) + pull * spread
        loss.backward()  # type: ignore[no-untyped-call]
        assert fusion.kappa.grad is not None
        fusion.kappa.grad[frames] = 0
        return loss

    return float(optimiser.step(closure))  # type: ignore[no-untyped-call]


def fused_logits(
    fusion: GatedFusion, trusts: Mapping[str, nn.Parameter], data: FusionSet
) -> Floats:
    """Fused logits float32 [N, 21]."""
    with torch.inference_mode():
        fused: Floats = fusion(_with_scores(data, trusts), _tensors(data.steps)).numpy()
    return fused


def _with_scores(data: FusionSet, trusts: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    scores = _tensors(data.scores)
    return {
        name: rows + trusts[name] * scores[name] if name in trusts else rows
        for name, rows in _tensors(data.logits).items()
    }


def _tensors(arrays: Mapping[str, Floats]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(rows) for name, rows in arrays.items()}
