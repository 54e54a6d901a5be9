"""What an experiment hands back, and how its numbers read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reelgenre.evaluation import percent
from reelgenre.files import atomic_write
from reelgenre.training.runs import mean_and_spread


@dataclass(frozen=True)
class ExperimentReport:
    """A finished experiment.

    Attributes:
        name: of the experiment.
        markdown: tables and notes.
        plots: PNG files by name.
        values: test metrics by row and metric, one per seed.
        not_made: rows that the data cannot give, with the reason.
    """

    name: str
    markdown: str
    plots: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    values: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    not_made: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Put the page and its plots into a folder.

        Returns:
            The page.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.plots.items():
            with atomic_write(folder / name) as file:
                file.write(data)
        page = folder / f"{self.name}.md"
        images = "".join(f"\n![{name}]({name})\n" for name in self.plots)
        with atomic_write(page) as file:
            file.write((self.markdown + images).encode())
        return page


def mean_with_spread(values: Sequence[float]) -> str:
    """``66.02 ± 0.31`` in percent; without the spread for one seed."""
    mean, spread = mean_and_spread(values)
    return percent(mean) if math.isnan(spread) else f"{percent(mean)} ± {percent(spread)}"


def paper_value(value: float | None) -> str:
    """A number of the paper, already in percent."""
    return "–" if value is None else f"{value:.2f}"  # noqa: RUF001
