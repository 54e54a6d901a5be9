"""Train the embedded profile's late-fusion classifier and save its folder.

1. Each modality's expert alone, on what there is for it: frames on crops of posters and on film
   stills, speech and words on dialogue windows and plots, on-screen text on titles and plot
   sentences among the cards that every trailer shows. Early stopping on validation mAP.
2. Each expert's bias is moved from the prevalences of its own set to MovieNet's: the sets were
   collected where they could be, and dialogue of adventures, say, is rare among them.
3. The fusion on validation films that have posters and dialogue: how far to trust each modality on
   each genre, and how fast trust grows with the number of steps. Few parameters, pulled towards
   one number per modality. These films' own prevalences are an offset that is left out afterwards.
4. Calibration and per-genre thresholds, on validation films as well.

Films of ``val`` and ``tst`` are in no training set; the films whose trailer captions are kept for
measuring are left out of the text sets too.

    python recipes/embedded/train_classifier.py --data ../shared/data --images build/images \
        --texts build/texts --words build/words --experts build/experts \
        --profile src/reelgenre/models/embedded --out build/classifier
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from bags import card_bags, embeddings, film_bags, image_bags, passage_bags, word_view
from corpus import HERE, Corpus, card_embeddings
from expert_training import (
    expert_of,
    image_validation,
    prevalence,
    single_validation,
    trained_expert,
    window_validation,
    with_scores,
)
from frame_correlation import FILE as FRAME_CORRELATION
from fusion import fused_logits, fusion_set, train_fusion
from images import log_odds
from numpy.typing import NDArray
from torch import nn
from words import WordTables

from reelgenre.classifiers import Calibration, ClassifierConfig, FeatureConfig, LateFusion
from reelgenre.classifiers.late_fusion import Expert, LateFusionClassifier
from reelgenre.classifiers.saving import save_pretrained
from reelgenre.evaluation import fit_platt, sigmoid, tune_thresholds
from reelgenre.extractors.profiles import build_extractors, load_profile
from reelgenre.genres import GENRES

Floats = NDArray[np.float32]
ARCHITECTURE = LateFusion(hidden=384, heads=4, dropout=0.5, linear=("words",), scored=("frames",))
"""Of all experts together; each recipe in ``experts/`` has its part of it."""


def movienet_prior(labels: Path, splits: Path) -> Floats:
    """Share of each genre among MovieNet's training trailers, [21]."""
    train = set(json.loads(splits.read_text())["trn"])
    table = pd.read_csv(labels)
    genres = table.genres[table.youtube_id.isin(train)]
    return np.array(
        [genres.str.contains(f"'{genre}'", regex=False).mean() for genre in GENRES], np.float32
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "images", "texts", "words", "experts", "profile", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    corpus = Corpus.load(arguments.images, arguments.texts)
    measured = set(corpus.captions.films.tolist())
    posters, stills = corpus.posters.without_scores(), corpus.stills.without_scores()
    cards = card_embeddings(arguments.texts / "cards.npz")
    tables = WordTables.load(arguments.words)
    views = {"speech": embeddings, "words": word_view(tables)}
    sources = {
        "frames": [image_bags(posters, "trn"), film_bags(stills, "trn", weight=3)],
        # Trailers have narrators, who talk as plots are written; dialogue alone does not teach
        # them, and an expert of plots alone reads real trailers' captions better than one of
        # dialogue alone.
        **{
            name: [
                passage_bags(corpus.dialogues, "trn", measured, view, weight=3),
                passage_bags(corpus.plots, "trn", measured, view, weight=2),
            ]
            for name, view in views.items()
        },
        "screen_text": [
            card_bags(corpus.titles, "trn", measured, cards),
            card_bags(corpus.readings, "trn", measured, cards),
            card_bags(corpus.plots, "trn", measured, cards, weight=2),
        ],
    }
    sources["words"].append(passage_bags(corpus.readings, "trn", measured, views["words"]))
    validation_of = {
        "frames": {
            "posters": image_validation(posters, "val"),
            "stills": image_validation(stills, "val"),
        },
        **{
            name: {
                "one window": window_validation(corpus.dialogues, "val", measured, 1, view),
                "all windows": window_validation(corpus.dialogues, "val", measured, None, view),
                "plots": single_validation(corpus.plots, "val", view),
            }
            for name, view in views.items()
        },
        "screen_text": {
            "titles": single_validation(corpus.titles, "val", embeddings),
            "posters": single_validation(corpus.readings, "val", embeddings),
            "plots": single_validation(corpus.plots, "val", embeddings),
        },
    }
    validation_of["words"]["posters"] = single_validation(corpus.readings, "val", views["words"])
    prior = movienet_prior(
        arguments.data / "movienet_trailers.csv", arguments.data / "movienet_splits.json"
    )
    profile = load_profile(arguments.profile)
    extractors = {e.spec.name: e.spec for e in build_extractors(profile, offline=True)}
    alone: dict[str, LateFusionClassifier] = {}
    scores: dict[str, dict[str, float]] = {}
    for name, bags in sources.items():
        alone[name], scores[name] = trained_expert(
            name, bags, validation_of[name], extractors[name].fingerprint, arguments.experts
        )
        with torch.no_grad():
            expert_of(alone[name], name).bias.add_(
                torch.from_numpy(log_odds(prior) - log_odds(prevalence(bags)))
            )
    config = ClassifierConfig(
        architecture=ARCHITECTURE,
        labels=GENRES,
        features={
            name: FeatureConfig(dim=extractors[name].dim, fingerprint=extractors[name].fingerprint)
            for name in alone
        },
    )
    module = LateFusionClassifier(config, ARCHITECTURE)
    module.fusion.prior.copy_(torch.from_numpy(log_odds(prior)))
    for m, (name, trained) in enumerate(alone.items()):
        expert, learnt = expert_of(module, name), expert_of(trained, name)
        if isinstance(expert, Expert) and expert.trust is not None:
            assert isinstance(learnt, Expert)
            with_scores(learnt, expert)
        else:
            expert.load_state_dict(learnt.state_dict())
        with torch.no_grad():
            module.fusion.alpha[m].copy_(trained.fusion.alpha[0])
            module.fusion.kappa[m].copy_(trained.fusion.kappa[0])
    experts = {name: expert_of(module, name) for name in alone}
    validation = fusion_set(corpus, experts, tables, cards, "val", draws=12, seed=arguments.seed)
    offset = log_odds(validation.labels.mean(axis=0)) - log_odds(prior)
    trusts = {
        name: expert.trust
        for name, expert in experts.items()
        if isinstance(expert, Expert) and expert.trust is not None
    }
    correlation = json.loads((arguments.images / FRAME_CORRELATION).read_text())
    # The lower end of its interval: shots of a trailer are more alike than stills picked by hand.
    kappa = correlation["low"]
    loss = train_fusion(module.fusion, trusts, validation, offset, kappa)
    logits = fused_logits(module.fusion, trusts, validation) + offset
    calibration = fit_platt(validation.labels, logits, prior_strength=20.0)
    probabilities = sigmoid(calibration.logits(logits))
    thresholds = tune_thresholds(validation.labels, probabilities)
    config = config.model_copy(
        update={
            "calibration": Calibration(scale=calibration.scale, bias=calibration.bias),
            "thresholds": thresholds,
            "training": {
                "recipe": "recipes/embedded/train_classifier.py",
                "seed": arguments.seed,
                "validation_map": scores,
                "frame_correlation": correlation,
                "fusion_loss": loss,
            },
        }
    )
    save_pretrained(arguments.out, module.eval(), config, (HERE / "model_card.md").read_text())
    for m, name in enumerate(module.fusion.names):
        with torch.no_grad():
            trust = nn.functional.softplus(module.fusion.alpha[m])
            half = nn.functional.softplus(module.fusion.kappa[m])
        print(
            f"{name}: trust {trust.mean():.2f} ({trust.min():.2f}-{trust.max():.2f}), "
            f"half of it at {half:.1f} steps"
        )


if __name__ == "__main__":
    main()
