"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Offline = Annotated[bool, typer.Option("--offline", help="Fetch nothing; use what is here.")]


def modality_names(text: str) -> tuple[str, ...]:
    """What ``--modalities A,B`` names."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise typer.BadParameter("--modalities needs at least one name", param_hint="--modalities")
    return names
