"""Everything there is to train on, encoded, by film."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from bags import Bag
from image_features import ImageFeatures
from numpy.typing import NDArray
from texts import Passages

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Corpus:
    """Everything there is, encoded.

    Attributes:
        posters, stills: crops of images.
        readings: what is written on the posters.
        dialogues, plots, titles, captions: texts.
    """

    posters: ImageFeatures
    stills: ImageFeatures
    readings: Passages
    dialogues: Passages
    plots: Passages
    titles: Passages
    captions: Passages

    @classmethod
    def load(cls, images: Path, texts: Path) -> Corpus:
        """Read what ``image_features.py`` and ``texts.py`` wrote."""
        return cls(
            ImageFeatures.load(images / "posters.npz"),
            ImageFeatures.load(images / "stills.npz"),
            Passages.load(texts / "posters.npz"),
            Passages.joined(
                [Passages.load(texts / f"dialogues_{split}.npz") for split in ("trn", "val", "tst")]
            ),
            Passages.load(texts / "plots.npz"),
            Passages.load(texts / "titles.npz"),
            Passages.load(texts / "captions.npz"),
        )


class OfFilms(Protocol):
    """Arrays whose rows belong to films."""

    @property
    def films(self) -> NDArray[np.str_]: ...

    @property
    def splits(self) -> NDArray[np.str_]: ...


def film_index(rows: OfFilms, split: str) -> dict[str, list[int]]:
    """Rows of each film of a split."""
    index: dict[str, list[int]] = {}
    for row, (film, of) in enumerate(zip(rows.films, rows.splits, strict=True)):
        if of == split:
            index.setdefault(str(film), []).append(row)
    return index


def card_embeddings(cache: Path) -> Bag:
    """Embeddings of ``cards.txt``: what trailers say of themselves, whatever the film."""
    lines = [line for line in (HERE / "cards.txt").read_text().splitlines() if line]
    with np.load(cache) as arrays:
        rows: Bag = arrays["values"].astype(np.float32)
    if len(rows) != len(lines):
        raise ValueError(f"{cache} was made of another cards.txt; run texts.py again")
    return rows
