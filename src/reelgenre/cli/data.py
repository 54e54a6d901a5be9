"""`reelgenre data`: labels, splits and released features into a feature store."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgenre.cli.exits import FAILED, OK, SOME_FAILED

if TYPE_CHECKING:
    from reelgenre.datasets import Fault, LabelTable
    from reelgenre.store import FeatureStore

app = typer.Typer(
    help="Data sets: labels, splits and released features into a feature store.",
    no_args_is_help=True,
)

SHOWN = 20
StoreFolder = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store.")]


@app.command("import-release")
def import_release(
    features: Annotated[Path, typer.Argument(metavar="FEATURES.pkl", help="Of the release.")],
    store: StoreFolder,
) -> None:
    """Bring the features of the paper's public release into a store; safe to repeat."""
    from reelgenre.cli.progress import Progress
    from reelgenre.datasets import import_features

    with Progress(1) as progress:
        report = import_features(features, store, hook=progress.hook)
    for name, count in report.features.items():
        typer.echo(f"{name}: {count} stored, {report.absent[name]} absent")
    _list("not imported", report.failed)
    typer.echo(f"{report.videos} videos in {store}")
    raise typer.Exit(SOME_FAILED if report.failed else OK)


@app.command()
def label(
    store: StoreFolder,
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS", help="CSV or JSON lines: video, labels, split.")
    ],
    sorted_split: Annotated[
        bool,
        typer.Option(
            "--sorted-split", help="Split by the paper's rule, not by the file: 70, 10 and 20 %."
        ),
    ] = False,
) -> None:
    """Put your own labels and splits into a store; paths in the file start from its folder."""
    from reelgenre.datasets import read_labels, sorted_id_split
    from reelgenre.store import FeatureStore

    table = read_labels(labels)
    if sorted_split:
        table = table.with_splits(sorted_id_split([video.video for video in table.videos]))
    _put(FeatureStore.open(store), table, labels.parent)


@app.command()
def movienet(
    store: StoreFolder,
    trailers: Annotated[Path, typer.Argument(metavar="TRAILERS.csv", help="The published list.")],
    splits: Annotated[
        Path | None,
        typer.Argument(metavar="[SPLITS.json]", help="Default: the sorted-id rule, the same."),
    ] = None,
) -> None:
    """Put MovieNet's genres, splits and durations into a store of its trailers."""
    from reelgenre.datasets import read_movienet
    from reelgenre.store import FeatureStore

    _put(FeatureStore.open(store), read_movienet(trailers, splits), trailers.parent)


def _put(store: FeatureStore, table: LabelTable, base: Path) -> None:
    from reelgenre.datasets import label_store

    _list("in the file", [_fault(fault) for fault in table.faults])
    report = label_store(store, table, base=base)
    _list("not in the store", report.unknown)
    _list("the name of several videos", report.ambiguous)
    _list("labelled differently elsewhere in the file", report.contradictory)
    typer.echo(
        f"{report.labelled} of the store's {len(store.videos)} videos labelled from "
        f"{len(table.videos)} rows with {len(table.classes)} labels"
    )
    raise typer.Exit(OK if report.labelled else FAILED)


def _fault(fault: Fault) -> str:
    return f"{fault.video or 'all'}: {fault.what}; {fault.done}"


def _list(title: str, lines: Sequence[str]) -> None:
    """Some of the lines on standard error, and how many there are."""
    if not lines:
        return
    sys.stderr.write(f"reelgenre: {title} ({len(lines)}):\n")
    for line in lines[:SHOWN]:
        sys.stderr.write(f"  {line}\n")
    if len(lines) > SHOWN:
        sys.stderr.write(f"  and {len(lines) - SHOWN} more\n")
