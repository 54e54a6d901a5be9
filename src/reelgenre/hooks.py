"""How a caller follows what the library does: one callable, for progress and for artefacts."""

from __future__ import annotations

from typing import Any, Protocol


class Hook(Protocol):
    """Called with the name of a step, how much of it is done, and what it made, if anything.

    Args:
        step: ``decode``, ``speech``, ``weights:whisper-base`` and so on.
        completed: done so far, in the step's own unit (seconds, bytes, steps).
        total: of the same unit; None where it is not known.
        artifact: what the step made (an ``Extraction``, a ``MediaReport``); None for progress.
    """

    def __call__(
        self, step: str, completed: float, total: float | None, artifact: Any = None
    ) -> None: ...


def no_hook(step: str, completed: float, total: float | None, artifact: Any = None) -> None:
    """The hook of a caller who wants to hear nothing."""
