"""`reelgenre profiles`: which sets of extractors there are and what is in one."""

from __future__ import annotations

import sys
from typing import Any

import yaml

from reelgenre.cli.exits import OK
from reelgenre.cli.models import missing_optimised
from reelgenre.extractors.profiles import Profile, load_profile, shipped_profiles
from reelgenre.weights import size_in_words, where


def list_all() -> int:
    """Print one line per shipped profile: its name and its modalities."""
    names = shipped_profiles()
    width = max(map(len, names))
    for name in names:
        profile = load_profile(name)
        classifier = "with a classifier" if profile.classifier else "bring a classifier"
        sys.stdout.write(f"{name:<{width}}  {', '.join(profile.modalities)} ({classifier})\n")
    return OK


def show(name: str) -> int:
    """Print a profile with every setting, defaults included, and its weights as they stand here.

    Raises:
        RecipeError: there is no such profile.
        WeightsError: it names weights that do not exist.
    """
    profile = load_profile(name)
    settings: dict[str, Any] = profile.model_dump(mode="json")
    sys.stdout.write(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    sys.stdout.write("\n" + _weights(profile))
    if profile.classifier is None:
        sys.stdout.write(
            "\nNo classifier of its own: `reelgenre classify` wants --model FOLDER with it.\n"
        )
    return OK


def _weights(profile: Profile) -> str:
    lines = []
    for settings in profile.extractors:
        lines.append(f"# {settings.modality} ({settings.kind})")
        for name in settings.artefacts:
            report = where(name, base=profile.folder)
            lines.append(
                f"#   {name}: {report.status}, {size_in_words(report.artefact)}, "
                f"{report.artefact.licence}"
            )
        for name in settings.optimised:
            problem = missing_optimised(name, profile.folder)
            lines.append(f"#   {name}, optimised: {'missing' if problem else 'present'}")
        if not settings.artefacts + settings.optimised:
            lines.append("#   weights in the profile's own folder")
    return "\n".join([*lines, ""])
