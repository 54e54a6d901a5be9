"""The commands and their options; each body lives in its own module and is imported when run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from reelgenre.cli import (
    data,
    evaluate,
    experiment,
    extract,
    optimise,
    predict,
    store,
    train,
    tune,
)
from reelgenre.cli.exits import OK
from reelgenre.cli.options import Offline, modality_names

app = typer.Typer(
    help="Movie genres of trailers and short videos, from what they show and sound like.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help: the decorated one costs more start-up time than all the rest.
    rich_markup_mode=None,
)
models = typer.Typer(help="The pretrained weights: what there is, where from, whether intact.")
app.add_typer(models, name="models", no_args_is_help=True)
profiles = typer.Typer(help="Which sets of extractors there are, and what is in each.")
app.add_typer(profiles, name="profiles", no_args_is_help=True)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"reelgenre {version('reelgenre')}")
        raise typer.Exit(OK)


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Log everything to standard error.")
    ] = False,
) -> None:
    """Movie genres of trailers and short videos, from what they show and sound like."""
    if verbose:
        logging.getLogger("reelgenre").setLevel(logging.DEBUG)


@app.command()
def classify(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Video or sound files, and folders of them."),
    ],
    top: Annotated[int, typer.Option(help="Genres to show in the table.", min=1)] = 8,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="One probability from which a genre is predicted, in place of the model's "
            "per-genre thresholds.",
            min=0.0,
            max=1.0,
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON: an object for one file, else an array."),
    ] = False,
    jsonl: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write one JSON object per line and file."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Keep FILE of --jsonl; skip the files that it has."),
    ] = False,
    profile: Annotated[
        str, typer.Option(help="Shipped profile, or a profile file of your own.")
    ] = "embedded",
    model: Annotated[
        Path | None, typer.Option(help="Classifier folder, in place of the profile's own.")
    ] = None,
    modalities: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Use these of the profile's modalities. Default: what the classifier reads.",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Processor threads of each model.", min=1)
    ] = None,
    device: Annotated[
        str, typer.Option(help="Of torch models, where the profile has any: auto, cpu, cuda, mps.")
    ] = "auto",
    offline: Offline = False,
) -> None:
    """Tell the genres of videos, how sure they are, and why."""
    if resume and jsonl is None:
        raise typer.BadParameter("--resume goes with --jsonl FILE")
    if json and jsonl is not None:
        raise typer.BadParameter("give --json or --jsonl FILE, not both")
    from reelgenre.cli.classify import Request, classify_all

    raise typer.Exit(
        classify_all(
            Request(
                paths=tuple(paths),
                top=top,
                threshold=threshold,
                json=json,
                jsonl=jsonl,
                resume=resume,
                profile=profile,
                model=model,
                modalities=None if modalities is None else modality_names(modalities),
                threads=threads,
                device=device,
                offline=offline or None,
            )
        )
    )


@app.command()
def doctor() -> None:
    """Print versions, weights and providers, what is missing and how to get it."""
    from reelgenre.cli.doctor import examine

    raise typer.Exit(examine())


Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all.")]


@models.command("list")
def list_models() -> None:
    """List all weights with status, size, licence and source."""
    from reelgenre.cli.models import list_all

    raise typer.Exit(list_all())


@models.command()
def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Default: what the embedded profile needs."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(help="All that this profile needs: shipped, or a file of your own."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask at a terminal.")] = False,
    offline: Offline = False,
) -> None:
    """Say what will be fetched, bring it into place and check it; safe to repeat."""
    from reelgenre.cli.models import pull_all

    raise typer.Exit(pull_all(names or [], profile, offline or None, yes))


@models.command()
def verify(names: Names = None) -> None:
    """Hash the weights that are here and compare."""
    from reelgenre.cli.models import verify_all

    raise typer.Exit(verify_all(names or []))


@models.command()
def where(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Print the path of one set of weights."""
    from reelgenre.cli.models import print_where

    raise typer.Exit(print_where(name))


@profiles.command("list")
def list_profiles() -> None:
    """List the profiles that come with the package, and their modalities."""
    from reelgenre.cli.profiles import list_all

    raise typer.Exit(list_all())


@profiles.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Shipped, or a profile file of your own.")
    ],
) -> None:
    """Print a profile's settings and its weights as they stand on this machine."""
    from reelgenre.cli.profiles import show as show_profile

    raise typer.Exit(show_profile(name))


# Research: feature stores, data sets, training. Needs the extra `train` when run, not to start.
app.add_typer(store.app, name="store")
app.add_typer(data.app, name="data")
predict.register(app, models)
optimise.register(models)
for command in (extract.extract, train.train, tune.tune, evaluate.evaluate, experiment.experiment):
    app.command()(command)
