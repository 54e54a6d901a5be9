"""What each mechanism is worth, on data in which the evidence was planted to need it (ours)."""

from __future__ import annotations

import numpy as np

from reelgenre.evaluation import EvaluationReport, markdown_table
from reelgenre.training.data import Split
from reelgenre.training.experiments.report import ExperimentReport, mean_with_spread
from reelgenre.training.experiments.running import MAP, Laboratory
from reelgenre.training.recipe import FeatureRecipe, Recipe

TEXTS = ("ocr", "asr")


def mechanisms(laboratory: Laboratory) -> ExperimentReport:
    """Attention over time, order, averaging, missing modalities and masks, one by one."""
    multi = laboratory.recipe("multi-transformer")
    mlp = laboratory.recipe("mlp")
    attended = laboratory.recipe("table3-ocr-asr")
    unmasked = _unmasked(multi)
    without_texts = laboratory.recipe("table3-clip-musicnet-audiotag")
    test = laboratory.source.split(laboratory.test)
    blind = _Hidden(test, TEXTS)
    cases: list[tuple[str, str, list[EvaluationReport]]] = []

    def case(question: str, title: str, recipe: Recipe, split: Split | None = None) -> None:
        cases.append((question, title, laboratory.measure(recipe, split)))

    case("sparse evidence (clip)", "MLP", _only(mlp, "clip"))
    case("sparse evidence (clip)", "transformer", _only(multi, "clip"))
    case("ordered evidence (audiotag)", "MLP", _only(mlp, "audiotag"))
    case("ordered evidence (audiotag)", "transformer", _only(multi, "audiotag"))
    case("noisy tokens (ocr, asr)", "attended", attended)
    case("noisy tokens (ocr, asr)", "averaged", multi)
    case("texts taken away at test", "trained with texts", multi, blind)
    case("texts taken away at test", "never had texts", without_texts, blind)
    case("padding", "masked", multi)
    case("padding", "zeros, attended to", unmasked)
    values = {
        f"{question}: {title}": {MAP: [report.metrics[MAP] for report in reports]}
        for question, title, reports in cases
    }
    rows = [
        [question, title, mean_with_spread([report.metrics[MAP] for report in reports])]
        for question, title, reports in cases
    ]
    table = markdown_table(["mechanism", "model", "mAP"], rows, numeric=[2])
    markdown = f"## Mechanisms\n\n{laboratory.conditions()}\n\n{table}\n"
    return ExperimentReport("mechanisms", markdown, {}, values)


def _only(recipe: Recipe, feature: str) -> Recipe:
    """The recipe with one of its features."""
    return recipe.model_copy(
        update={
            "name": f"{recipe.name}-only-{feature}",
            "features": {feature: recipe.features[feature]},
        }
    )


def _unmasked(recipe: Recipe) -> Recipe:
    """The recipe with zero padding that is attended to, as in the published code."""
    features = {
        name: FeatureRecipe.model_validate({**feature.model_dump(), "max_steps": feature.steps})
        for name, feature in recipe.features.items()
    }
    architecture = recipe.architecture.model_copy(update={"padding": "zeros", "absent": "zeros"})
    return recipe.model_copy(
        update={
            "name": f"{recipe.name}-unmasked",
            "features": features,
            "architecture": architecture,
        }
    )


class _Hidden:
    """The same videos, but none of them has some of the features."""

    def __init__(self, split: Split, features: tuple[str, ...]) -> None:
        self.ids, self.truth = split.ids, split.truth
        self.lengths = {
            name: np.zeros_like(lengths) if name in features else lengths
            for name, lengths in split.lengths.items()
        }
        self.read = split.read
