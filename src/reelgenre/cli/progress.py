"""Progress on a terminal; nothing when standard error is not one."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from reelgenre.cli.render import printable


class Progress:
    """One bar for all files and one for what is going on in the present one.

    Args:
        files: how many there will be.
    """

    def __init__(self, files: int) -> None:
        self._bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._all: TaskID | None = self._bars.add_task("files", total=files) if files > 1 else None
        self._steps: dict[str, TaskID] = {}
        self._name = ""

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bars off the terminal."""
        self._bars.stop()

    def start(self, name: str) -> None:
        """A file begins."""
        self._name = printable(name)

    def finish(self) -> None:
        """The present file is done, one way or the other."""
        for task in self._steps.values():
            self._bars.remove_task(task)
        self._steps.clear()
        if self._all is not None:
            self._bars.advance(self._all)

    def hook(self, step: str, completed: float, total: float | None, artifact: Any = None) -> None:
        """See :class:`reelgenre.hooks.Hook`."""
        if step not in self._steps:
            name = f"{self._name}  {step}" if step == "decode" else step
            self._steps[step] = self._bars.add_task(name, total=total)
        self._bars.update(self._steps[step], completed=completed, total=total)


class CountProgress:
    """One bar that counts, with the rate and the time that remains.

    Args:
        step: what is counted, as hooks call it; others have bars of their own.
        total: how many there are.
    """

    def __init__(self, step: str, total: int) -> None:
        self._bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            # A video may take minutes.
            speed_estimate_period=600,
            disable=not sys.stderr.isatty(),
        )
        self._steps: dict[str, TaskID] = {step: self._bars.add_task(step, total=total)}

    def __enter__(self) -> CountProgress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def hook(self, step: str, completed: float, total: float | None, artifact: Any = None) -> None:
        """See :class:`reelgenre.hooks.Hook`."""
        if step not in self._steps:
            self._steps[step] = self._bars.add_task(step, total=total)
        self._bars.update(self._steps[step], completed=completed)


class _Rate(ProgressColumn):
    """So many per hour."""

    def render(self, task: Task) -> Text:
        """The column's text."""
        return Text("" if task.speed is None else f"{task.speed * 3600:,.0f}/h")
