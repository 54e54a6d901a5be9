"""One family of errors: each says what went wrong and what to do about it."""

from __future__ import annotations


class ReelgenreError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        cause: what is wrong, as a sentence without its full stop.
        remedy: what the user can do about it, likewise.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause}. {remedy}.")
        self.cause = cause
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[ReelgenreError], tuple[str, str]]:
        return type(self), (self.cause, self.remedy)


class MediaError(ReelgenreError):
    """A file cannot be opened, holds neither picture nor sound, or gives nothing when decoded."""


class WeightsError(ReelgenreError):
    """Weights are unknown, missing, incomplete or not what their hash says."""


class FeatureMismatchError(ReelgenreError):
    """Features were made by another extractor than the classifier was trained on."""


class ModelError(ReelgenreError):
    """A classifier folder is incomplete, damaged or written by a newer version."""


class StoreError(ReelgenreError):
    """A feature store cannot be opened, read or written."""


class RecipeError(ReelgenreError):
    """A recipe or profile has unknown keys, wrong values or asks for what is not there."""
