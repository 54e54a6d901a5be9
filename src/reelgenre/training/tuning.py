"""Grid search on validation mAP: every combination once, resumable like the runs it is made of."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import optuna
from pydantic import BaseModel, ConfigDict, Field

from reelgenre.errors import RecipeError
from reelgenre.evaluation import markdown_table, percent
from reelgenre.training.data import Source
from reelgenre.training.recipe import Recipe, parse_as, parse_recipe, read_yaml
from reelgenre.training.runs import mean_and_spread, train
from reelgenre.training.trainer import Runtime

Choice = str | int | float | bool | None


class Grid(BaseModel):
    """Which settings of a recipe to try.

    Attributes:
        recipe: the recipe, as a path from the grid's own file.
        choices: values by the setting's place in the recipe, such as
            ``optimisation.learning_rate``.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    recipe: str
    choices: dict[str, Annotated[tuple[Choice, ...], Field(min_length=1)]] = Field(min_length=1)


@dataclass(frozen=True)
class Trial:
    """One combination.

    Attributes:
        choices: its values, in the order of the grid.
        recipe: the whole recipe that was trained.
        validation_map: mean over seeds, and its spread.
    """

    choices: dict[str, Choice]
    recipe: Recipe
    validation_map: tuple[float, float]


def load_grid(path: Path) -> tuple[Grid, dict[str, Any]]:
    """Read a grid and the recipe that it varies; every combination is checked.

    Raises:
        RecipeError: one of them cannot be read or is not valid.
    """
    grid = parse_as(Grid, read_yaml(path), str(path))
    base = path.parent / grid.recipe
    document = read_yaml(base)
    parse_recipe(document, str(base))
    for place, values in grid.choices.items():
        for value in values:
            _with_choices(document, {place: value}, 0)
    return grid, document


def tune(
    grid: Grid, document: dict[str, Any], source: Source, out: Path, runtime: Runtime
) -> list[Trial]:
    """Train every combination of a grid.

    Args:
        grid: the choices.
        document: of the recipe to vary, as parsed from YAML.
        source: the data; the test split is never read.
        out: results go to ``out / NAME-trial-N``; finished combinations are kept.
        runtime: where and how.

    Returns:
        All trials, the best validation mAP first.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    choices = {place: list(values) for place, values in grid.choices.items()}
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.GridSampler(choices, seed=0)
    )
    trials: list[Trial] = []

    def objective(trial: optuna.Trial) -> float:
        chosen = {p: trial.suggest_categorical(p, v) for p, v in choices.items()}
        recipe = _with_choices(document, chosen, trial.number)
        runs = train(recipe, source, out, runtime)
        value = mean_and_spread(
            [run.result.best.validation["mean_average_precision"] for run in runs]
        )
        trials.append(Trial(chosen, recipe, value))
        return value[0]

    study.optimize(objective)
    return sorted(trials, key=lambda trial: -trial.validation_map[0])


def trials_table(trials: Sequence[Trial]) -> str:
    """Markdown table of trials."""
    places = list(trials[0].choices)
    rows = [
        [
            *(str(trial.choices[place]) for place in places),
            " ± ".join(percent(value) for value in trial.validation_map),
        ]
        for trial in trials
    ]
    return markdown_table([*places, "mAP (val)"], rows, numeric=[len(places)])


def _with_choices(document: dict[str, Any], choices: dict[str, Choice], number: int) -> Recipe:
    changed = copy.deepcopy(document)
    for place, value in choices.items():
        *parents, last = place.split(".")
        target: Any = changed
        for parent in parents:
            target = target.setdefault(parent, {}) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            raise RecipeError(f"The recipe has no place {place}", "Correct the grid")
        target[last] = value
    changed["name"] = f"{changed['name']}-trial-{number}"
    return parse_recipe(changed, f"The recipe with {choices}")
