"""Texts as training data: sentence embeddings of the pieces of dialogue windows, plots and titles.

The embeddings are cached (they take most of the time), one file per set. A window becomes what
the speech extractor makes of speech: pieces of about a sentence, one embedding each.

    python recipes/embedded/texts.py --data ../shared/data --out build/texts
"""

from __future__ import annotations

import argparse
import ast
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from array_set import ArraySet
from images import multi_hot
from numpy.typing import NDArray

from reelgenre.extractors.chunking import chunk_lines
from reelgenre.extractors.sentences import SentenceEncoder
from reelgenre.files import atomic_write
from reelgenre.weights import resolve

# Windows taken of each film, spread over it; the test takes all (24).
WINDOWS = {"trn": 12, "val": 12, "tst": 24}
PLOT_SENTENCES = 10
_BLOCK = 4096


Row = tuple[str, str, NDArray[np.float32], list[str]]
"""Film, split, labels [21], pieces of text."""


@dataclass(frozen=True)
class Passages(ArraySet):
    """Passages of text as sequences of embeddings, all in one array.

    Attributes:
        values: float16 [S, 384], the pieces of all passages one after the other.
        text: uint8, the pieces themselves in UTF-8, one a line.
        starts: int [P + 1], where each passage begins; the last is S.
        words: int [P], words of each passage.
        labels: float32 [P, 21].
        films: IMDb ids [P].
        splits: [P].
    """

    values: NDArray[np.float16]
    text: NDArray[np.uint8]
    starts: NDArray[np.int64]
    words: NDArray[np.int64]
    labels: NDArray[np.float32]
    films: NDArray[np.str_]
    splits: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def pieces(self) -> list[str]:
        """S pieces of text."""
        return self.text.tobytes().decode().split("\n")

    def rows(self, passage: int) -> NDArray[np.int64]:
        """Which pieces one passage has."""
        return np.arange(*self.starts[passage : passage + 2])

    def steps(self, passage: int) -> NDArray[np.float32]:
        """float32 [T, 384] of one passage."""
        return self.values[self.rows(passage)].astype(np.float32)

    def document(self, passage: int) -> list[str]:
        """The pieces of text of one passage."""
        return [self.pieces[row] for row in self.rows(passage)]

    @classmethod
    def joined(cls, parts: list[Passages]) -> Passages:
        """Several sets as one."""
        offsets = np.cumsum([0] + [len(part.values) for part in parts])
        return cls(
            values=np.concatenate([part.values for part in parts]),
            text=as_bytes([piece for part in parts for piece in part.pieces]),
            starts=np.concatenate(
                [part.starts[:-1] + at for part, at in zip(parts, offsets[:-1], strict=True)]
                + [offsets[-1:]]
            ),
            words=np.concatenate([part.words for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            films=np.concatenate([part.films for part in parts]),
            splits=np.concatenate([part.splits for part in parts]),
        )


def as_bytes(pieces: list[str]) -> NDArray[np.uint8]:
    """Pieces of text, none with a line break, as bytes that an npz file can keep."""
    return np.frombuffer("\n".join(pieces).encode(), np.uint8)


def passages_of(
    rows: list[Row], encoder: SentenceEncoder, repaired: Callable[[str], str] = str
) -> Passages:
    """Embed (film, split, labels, pieces of text) rows; rows without text are left out.

    Args:
        rows: what to embed.
        encoder: embeds it.
        repaired: what is embedded in place of a piece of text.
    """
    rows = [row for row in rows if row[3]]
    pieces = [piece for row in rows for piece in row[3]]
    values = np.empty((len(pieces), 384), np.float16)
    began = time.perf_counter()
    for start in range(0, len(pieces), _BLOCK):
        block = pieces[start : start + _BLOCK]
        values[start : start + len(block)] = encoder.encode([repaired(text) for text in block])
        rate = (start + len(block)) / (time.perf_counter() - began)
        print(f"  {start + len(block)}/{len(pieces)} pieces, {rate:.0f} a second", flush=True)
    return Passages(
        values=values,
        text=as_bytes(pieces),
        starts=np.cumsum([0] + [len(row[3]) for row in rows]),
        words=np.array([sum(len(piece.split()) for piece in row[3]) for row in rows]),
        labels=np.stack([row[2] for row in rows]),
        films=np.array([row[0] for row in rows]),
        splits=np.array([row[1] for row in rows]),
    )


def dialogue_rows(path: Path, split: str) -> list[Row]:
    """One row per window, spread over the film (see ``WINDOWS``)."""
    rows = []
    for film in pd.read_parquet(path).itertuples():
        if film.split != split:
            continue
        windows = list(film.windows)
        count = min(len(windows), WINDOWS[split])
        chosen = np.linspace(0, len(windows) - 1, count).round().astype(int)
        windows = [windows[i] for i in chosen]
        labels = multi_hot(list(film.genres))
        rows += [(film.imdb_id, split, labels, pieces(list(window))) for window in windows]
    return rows


def plot_rows(path: Path) -> list[Row]:
    """One row per plot, its sentences as lines."""
    return [
        (
            film.imdb_id,
            film.split,
            multi_hot(list(film.genres)),
            pieces(re.split(r"(?<=[.!?])\s+", film.plot)[:PLOT_SENTENCES]),
        )
        for film in pd.read_parquet(path).itertuples()
    ]


def title_rows(labels: Path, splits: Path) -> list[Row]:
    """One row per trailer of MovieNet: its film's title without the year."""
    split_of = {
        video: name
        for name, videos in pd.read_json(splits, typ="series").items()
        for video in videos
    }
    rows = []
    for video in pd.read_csv(labels).itertuples():
        try:
            genres = [str(genre) for genre in ast.literal_eval(video.genres)]
        except (ValueError, SyntaxError):
            continue
        title = re.sub(r"\s*\(\d{4}.*?\)\s*$", "", str(video.title)).strip().lower()
        vector = multi_hot(genres)
        if title and vector.any() and video.youtube_id in split_of:
            rows.append((video.imdb_id, split_of[video.youtube_id], vector, [title]))
    return rows


def caption_rows(path: Path) -> list[Row]:
    """One row per real trailer: its automatic captions."""
    return [
        (film.imdb_id, film.split, multi_hot(list(film.genres)), pieces(list(film.lines)))
        for film in pd.read_parquet(path).itertuples()
    ]


def sentence_encoder() -> SentenceEncoder:
    """The embedded profile's own."""
    weights = resolve("minilm-int8")
    return SentenceEncoder(
        weights.files["model.onnx"], weights.files["tokenizer.json"], weights.artefact.digest
    )


def pieces(lines: list[str]) -> list[str]:
    """Lines as the speech extractor would cut them."""
    return [chunk.text for chunk in chunk_lines([line for line in lines if line.strip()])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    data: Path = arguments.data
    encoder = sentence_encoder()
    sets: dict[str, Callable[[], list[Row]]] = {
        "captions": lambda: caption_rows(data / "trailer_captions.parquet"),
        "dialogues_val": lambda: dialogue_rows(data / "dialogues.parquet", "val"),
        "dialogues_trn": lambda: dialogue_rows(data / "dialogues.parquet", "trn"),
        "titles": lambda: title_rows(data / "movienet_trailers.csv", data / "movienet_splits.json"),
        "plots": lambda: plot_rows(data / "plots.parquet"),
        "dialogues_tst": lambda: dialogue_rows(data / "dialogues.parquet", "tst"),
    }
    for name, rows in sets.items():
        path = arguments.out / f"{name}.npz"
        if path.exists():
            continue
        print(name, flush=True)
        passages_of(rows(), encoder).save(path)
    cards = [
        line for line in Path(__file__).with_name("cards.txt").read_text().splitlines() if line
    ]
    with atomic_write(arguments.out / "cards.npz") as file:
        np.savez(file, values=encoder.encode(cards))


if __name__ == "__main__":
    main()
