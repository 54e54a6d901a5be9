"""`reelgenre store`: what is in a feature store, whether it is intact, shards and exports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from reelgenre.cli.exits import FAILED, OK

app = typer.Typer(
    help="Feature stores: what is in them, whether they are intact, shards and exports.",
    no_args_is_help=True,
)

Store = Annotated[str, typer.Argument(metavar="STORE", help="Folder, or any fsspec address.")]
Extractors = Annotated[
    list[str] | None,
    typer.Option(
        "--extractor",
        metavar="NAME",
        help="Only this extractor, by name or fingerprint; may be repeated.",
    ),
]


@app.command()
def info(
    store: Store,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show videos, splits and extractors, with what is absent, failed and packed."""
    from reelgenre.store import FeatureStore

    found = FeatureStore.open(store).info()
    if json:
        import dataclasses
        from json import dumps

        typer.echo(dumps(dataclasses.asdict(found), indent=2))
        return
    splits = ", ".join(f"{name} {count}" for name, count in found.splits.items()) or "none"
    typer.echo(f"{found.address}: {found.precision}, {found.value_bytes / 1e6:.1f} MB of values")
    typer.echo(f"videos {found.videos}, labelled {found.labelled}, splits: {splits}")
    for e in found.extractors:
        typer.echo(
            f"{e.fingerprint}  width {e.dim or '-'}  stored {e.stored}  absent {e.absent}  "
            f"failed {e.failed}  steps {e.steps}  packed {e.packed}"
        )


@app.command()
def verify(
    store: Store,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be; damaged files are set aside.")
    ] = False,
) -> None:
    """Read every file and compare it with the manifest and the hashes."""
    from reelgenre.cli.progress import Progress
    from reelgenre.store import FeatureStore

    with Progress(1) as progress:
        if repair:
            report = FeatureStore.repair(store, hook=progress.hook)
        else:
            report = FeatureStore.open(store).verify(hook=progress.hook)
    for problem in report.problems:
        done = " (repaired)" if problem.repaired else ""
        sys.stderr.write(f"reelgenre: {problem.path}: {problem.cause}{done}\n")
    typer.echo(f"{report.features} feature files and {report.shards} shards are whole")
    raise typer.Exit(OK if report.ok else FAILED)


@app.command()
def pack(
    store: Store,
    extractor: Extractors = None,
    shard_mb: Annotated[
        int, typer.Option(help="Megabytes of values from which a shard is full.", min=1)
    ] = 1024,
) -> None:
    """Copy what is not packed yet into large shards that training maps into memory."""
    from reelgenre.cli.progress import Progress
    from reelgenre.store import FeatureStore

    with Progress(1) as progress:
        shards = FeatureStore.open(store).pack(
            extractor or None, shard_bytes=shard_mb * 1_000_000, hook=progress.hook
        )
    for shard in shards:
        typer.echo(str(shard))
    typer.echo(f"{len(shards)} new shards")


@app.command()
def export(
    store: Store,
    file: Annotated[Path, typer.Argument(metavar="FILE.parquet", help="To be written.")],
    extractor: Extractors = None,
    split: Annotated[str | None, typer.Option(help="Only the videos of this split.")] = None,
) -> None:
    """Write videos and features into one Parquet file for other tools."""
    from reelgenre.cli.progress import Progress
    from reelgenre.store import FeatureStore

    with Progress(1) as progress:
        rows = FeatureStore.open(store).export(
            file, extractors=extractor or None, split=split, hook=progress.hook
        )
    typer.echo(f"{rows} videos in {file}")
