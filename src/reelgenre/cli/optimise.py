"""`reelgenre models optimise`: ONNX files of an image encoder, for the CPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgenre.cli.exits import OK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_FRAMES = 64


def optimise(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|MODALITY|FOLDER",
            help="Image encoder: weights (clip-vit-b32, ./folder) or a profile's modality (clip).",
        ),
    ],
    profile: Annotated[
        str | None,
        typer.Option(help="The profile that MODALITY is of. Default: paper."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="New folder. Default: kept in the weights cache."),
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(metavar="VIDEO", help="Measure int8 on its frames. Default: synthetic ones."),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Fetch no weights.")] = False,
) -> None:
    """Make an image encoder fast on the CPU: ONNX files in fp32 and int8, checked and measured."""
    from reelgenre.cli.progress import Progress
    from reelgenre.errors import RecipeError
    from reelgenre.extractors.loading import Loading

    base, chosen = _choose(name, profile)
    with Progress(1) as progress:
        weights = Loading(base, offline=offline or None, hook=progress.hook).weights(chosen)
        try:
            from reelgenre.extractors.paper.image_export import optimise as make
            from reelgenre.extractors.paper.image_onnx import optimised_folder

            folder = optimised_folder(weights.artefact) if out is None else out.absolute()
            made = make(
                weights,
                folder,
                pictures=[] if frames is None else _frames(frames),
                measured_on="synthetic pictures" if frames is None else f"frames of {frames.name}",
                hook=progress.hook,
            )
        except ModuleNotFoundError as error:
            raise RecipeError(
                f"making ONNX files needs {error.name}, which is not installed",
                "pip install 'reelgenre[paper,train]'",
            ) from error
    mean, least = made.int8_cosine
    typer.echo(f"saved in {folder}")
    typer.echo(f"fp32 differs from torch by at most {made.parity:.1e}")
    typer.echo(
        f"int8 has a cosine of {mean:.4f} to fp32 (at least {least:.4f}) on {made.pictures} "
        f"{made.measured_on}"
    )
    typer.echo("To use them, set `onnx: true` in the profile, and `precision: int8` for int8")
    raise typer.Exit(OK)


def register(models: typer.Typer) -> None:
    """Add the command to ``models``."""
    models.command()(optimise)


def _choose(name: str, profile: str | None) -> tuple[Path, str]:
    """Which weights are meant, and the folder that a relative path of theirs starts from.

    Without a profile a folder or a registered name is what it says, before it is a modality of
    the paper's profile; with one it is a modality.

    Raises:
        RecipeError: it is neither, or a modality of another kind than an image encoder.
    """
    from reelgenre.errors import RecipeError
    from reelgenre.extractors.profiles import load_profile
    from reelgenre.extractors.settings import ImageEncoderSettings
    from reelgenre.weights import ARTEFACTS, names_folder

    registered = {artefact.name for artefact in ARTEFACTS}
    if profile is None and (names_folder(name) or name in registered):
        return Path(), name
    of = load_profile(profile or "paper")
    encoders = {one.modality: one for one in of.extractors if isinstance(one, ImageEncoderSettings)}
    if name in encoders:
        return of.folder, encoders[name].weights
    known = ", ".join(encoders) or "none"
    if name in of.modalities:
        raise RecipeError(
            f"the modality {name} of the profile {of.name} is no image encoder",
            f"Its image encoders: {known}",
        )
    no = "not" if profile else "neither weights (`reelgenre models list`) nor"
    raise RecipeError(
        f"{name!r} is {no} a modality of the profile {of.name}",
        f"Its image encoders: {known}; name another profile with --profile, or weights without it",
    )


def _frames(video: Path) -> list[NDArray[np.uint8]]:
    """The first mid-shot frames of a video."""
    from reelgenre.errors import MediaError
    from reelgenre.media import Frames, open_media

    with open_media(video) as media, ThreadPoolExecutor(1) as pool:
        view = media.view(Frames())
        decode = pool.submit(media.run)
        with view:
            images = [frame.image for frame in islice(view.frames(), _MOST_FRAMES)]
        decode.result()
    if not images:
        raise MediaError(f"{video} has no picture", "Name a video")
    return images
