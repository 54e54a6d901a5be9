"""``reelgenre tune``: a grid of recipes, chosen on the validation split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reelgenre.cli.train import Device, Extractors, Out, Planted, Store, Threads


def tune(
    grid: Annotated[Path, typer.Argument(metavar="GRID", help="Grid file (YAML).")],
    store: Store = None,
    planted: Planted = False,
    out: Out = Path("runs"),
    device: Device = None,
    threads: Threads = 2,
    extractor: Extractors = None,
) -> None:
    """Train every combination of a grid and show them, the best validation mAP first."""
    from reelgenre.cli.train import open_source, runtime
    from reelgenre.training.tuning import load_grid, trials_table
    from reelgenre.training.tuning import tune as tune_grid

    choices, document = load_grid(grid)
    source = open_source(store, planted, extractor)
    with runtime(device, threads) as settings:
        trials = tune_grid(choices, document, source, out, settings)
    typer.echo(trials_table(trials))
    typer.echo(f"\nBest: {out / trials[0].recipe.name}")
