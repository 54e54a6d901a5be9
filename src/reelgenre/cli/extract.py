"""`reelgenre extract`: the features of many videos into a store."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reelgenre.cli.options import Offline, modality_names


class Precision(StrEnum):
    """Of the values in a store."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"


def extract(
    store: Annotated[Path, typer.Option(metavar="FOLDER", help="Feature store; made if need be.")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH...", help="Video or sound files, and folders of them."),
    ] = None,
    list_file: Annotated[
        Path | None,
        typer.Option(
            "--list", metavar="FILE", help="More paths, one a line; - for standard input."
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Only the I-th of N parts, to divide a list between machines."
        ),
    ] = None,
    profile: Annotated[
        str, typer.Option(help="Shipped profile, or a profile file of your own.")
    ] = "embedded",
    modalities: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="Only these of the profile's modalities, and those they read."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="CSV or JSON lines: video, labels, split; put into the store."
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed in an earlier run.")
    ] = False,
    precision: Annotated[
        Precision | None, typer.Option(help="Of a new store; default float16.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; default: by cores and devices.", min=1)
    ] = None,
    videos_at_once: Annotated[
        int | None, typer.Option(help="In flight in each process; default: by cores.", min=1)
    ] = None,
    threads: Annotated[
        int, typer.Option(help="Processor threads of each model and decoder.", min=1)
    ] = 1,
    device: Annotated[
        str, typer.Option(help="Of torch models: auto, cpu, cuda, cuda:1, mps.")
    ] = "auto",
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Longest time for one video; default: ten minutes and 20 times its length.",
            min=0.1,
        ),
    ] = None,
    jsonl: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Add a JSON object per line and video to this file."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; extract nothing.")
    ] = False,
    offline: Offline = False,
) -> None:
    """Extract the features of many videos; may be stopped, killed and started again."""
    if not paths and list_file is None:
        raise typer.BadParameter("give a PATH or --list FILE")
    from reelgenre.cli.extracting import Request, extract_all
    from reelgenre.extraction import ExtractionOptions, ProfileExtractors

    try:
        options = ExtractionOptions(
            workers=workers,
            videos_at_once=videos_at_once,
            timeout_s=timeout,
            retry_failed=retry_failed,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    raise typer.Exit(
        extract_all(
            Request(
                paths=tuple(paths or ()),
                list_file=list_file,
                shard=None if shard is None else _shard(shard),
                store=store,
                precision=None if precision is None else precision.value,
                extractors=ProfileExtractors(
                    profile=profile,
                    modalities=None if modalities is None else modality_names(modalities),
                    threads=threads,
                    device=device,
                    offline=offline or None,
                ),
                options=options,
                labels=labels,
                jsonl=jsonl,
                json=json,
                dry_run=dry_run,
            )
        )
    )


def _shard(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise typer.BadParameter(
            f"{text!r} is no part: write 1/8 to 8/8 for eight parts", param_hint="--shard"
        )
    return int(index), int(count)
