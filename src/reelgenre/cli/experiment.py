"""``reelgenre experiment``: the paper's tables and figure on a store, or on planted evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reelgenre.cli.train import Device, Extractors, Out, Planted, Store, Threads

PLANTED = "Generated data with planted evidence, not MovieNet"


def experiment(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="table1, table2, table3, figure6 or mechanisms."),
    ],
    store: Store = None,
    planted: Planted = False,
    recipes: Annotated[
        Path, typer.Option(help="Folder of the paper's recipes (recipes/paper of the repository).")
    ] = Path("recipes/paper"),
    scale: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Make the recipes smaller as this file says; planted.yaml with --planted.",
        ),
    ] = None,
    out: Out = Path("runs"),
    report: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the page and its plots there.")
    ] = None,
    device: Device = None,
    threads: Threads = 2,
    extractor: Extractors = None,
) -> None:
    """Train what is missing and show the paper's numbers beside ours."""
    from reelgenre.cli.train import open_source, runtime
    from reelgenre.training.experiments import Laboratory, load_scale, run_experiment

    if planted and scale is None:
        scale = recipes / "planted.yaml"
    smaller = load_scale(scale) if scale else None
    source = open_source(store, planted, extractor)
    with runtime(device, threads) as settings:
        data = PLANTED if planted else ""
        laboratory = Laboratory(source, recipes, out, data, smaller, settings)
        made = run_experiment(name, laboratory)
    typer.echo(made.markdown)
    if report is not None:
        typer.echo(f"Written: {made.write(report)}")
