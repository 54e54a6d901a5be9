"""Train the table of words that the `words` modality votes with.

One regularised logistic regression per genre over tf-idf, on dialogues (windows in groups about as
long as what is said in a long trailer), plots (as narrators speak), what is written on posters (as
trailers name their actors) and film titles. The classifier that is trained on the votes must not
see a film judged by a table which that film helped to make, so the table is also made five times,
each time without a fifth of the films.

    python recipes/embedded/words.py --data ../shared/data --texts build/texts --out build/words
"""

from __future__ import annotations

import argparse
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from images import multi_hot
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from texts import Passages

from reelgenre.extractors.words import WordTable, words_of
from reelgenre.genres import GENRES

FOLDS = 5
WINDOWS = 6
"""Dialogue windows in one document."""
FEWEST = 10
"""Documents with a genre, below which its words tell nothing."""
FILMS = 3
"""Films that must use a word: the names of one film's people tell nothing of others."""
STRENGTH = 1.0
"""Inverse of the regularisation; 1, 3 and 10 were compared on validation."""


@dataclass(frozen=True)
class Documents:
    """Texts of training films with their labels float32 [N, 21] and films [N]."""

    texts: list[str]
    labels: NDArray[np.float32]
    films: NDArray[np.str_]

    def without(self, fold: int) -> Documents:
        """The documents of the films in all other folds."""
        keep = np.flatnonzero([fold_of(str(film)) != fold for film in self.films])
        return Documents([self.texts[i] for i in keep], self.labels[keep], self.films[keep])


def fold_of(film: str) -> int:
    """The fold that a film belongs to."""
    return int(hashlib.sha256(film.encode()).hexdigest(), 16) % FOLDS


def documents(data: Path, shown: list[Passages]) -> Documents:
    """Texts of training films, without those whose captions are measured.

    Args:
        data: the data folder, for dialogues and plots.
        shown: what is written on posters, and titles.
    """
    measured = set(pd.read_parquet(data / "trailer_captions.parquet").imdb_id)
    texts: list[str] = []
    labels: list[NDArray[np.float32]] = []
    films: list[str] = []
    for film in pd.read_parquet(data / "dialogues.parquet").itertuples():
        if film.split == "trn" and film.imdb_id not in measured:
            windows = [" ".join(window) for window in film.windows]
            groups = [windows[at : at + WINDOWS] for at in range(0, len(windows), WINDOWS)]
            texts += [" ".join(group) for group in groups]
            labels += [multi_hot(list(film.genres))] * len(groups)
            films += [film.imdb_id] * len(groups)
    for film in pd.read_parquet(data / "plots.parquet").itertuples():
        if film.split == "trn" and film.imdb_id not in measured:
            # Twice, so that the short plots are not drowned by the dialogues' four parts each.
            texts += [film.plot] * 2
            labels += [multi_hot(list(film.genres))] * 2
            films += [film.imdb_id] * 2
    for passages in shown:
        for row, film in enumerate(passages.films):
            if passages.splits[row] == "trn" and film not in measured:
                texts += passages.document(row)
                labels.append(passages.labels[row])
                films.append(str(film))
    return Documents(texts, np.stack(labels), np.array(films))


def fit_table(training: Documents) -> WordTable:
    """One logistic regression per genre; a genre with too few documents gets no votes."""
    films_with: dict[str, set[str]] = defaultdict(set)
    for text, film in zip(training.texts, training.films, strict=True):
        for word in words_of(text):
            films_with[word].add(str(film))
    count = len(set(training.films.tolist()))
    known = [word for word, films in films_with.items() if FILMS <= len(films) <= count / 2]
    vectoriser = TfidfVectorizer(analyzer=words_of, vocabulary=sorted(known), sublinear_tf=True)
    features = vectoriser.fit_transform(training.texts)
    weights = np.zeros((features.shape[1], len(GENRES)), np.float32)
    for genre in range(len(GENRES)):
        if training.labels[:, genre].sum() >= FEWEST:
            model = LogisticRegression(C=STRENGTH, max_iter=300)
            weights[:, genre] = model.fit(features, training.labels[:, genre]).coef_[0]
    vocabulary = vectoriser.get_feature_names_out().tolist()
    return WordTable(vocabulary, vectoriser.idf_.astype(np.float32), weights)


def save(table: WordTable, path: Path) -> None:
    """Write a table as :meth:`WordTable.load` reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = np.frombuffer("\n".join(table.vocabulary).encode(), np.uint8)
    save_file({"words": words, "idf": table.idf, "weights": table.weights.astype(np.float16)}, path)


@dataclass(frozen=True)
class WordTables:
    """The table for new films, and those that training films are judged by."""

    whole: WordTable
    folds: tuple[WordTable, ...]

    @classmethod
    def load(cls, folder: Path) -> WordTables:
        """Read what this script wrote."""
        return cls(
            WordTable.load(folder / "words.safetensors"),
            tuple(WordTable.load(folder / f"without-{fold}.safetensors") for fold in range(FOLDS)),
        )

    def of(self, film: str, split: str) -> WordTable:
        """A table that the film had no part in."""
        return self.folds[fold_of(film)] if split == "trn" else self.whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "texts", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    shown = [Passages.load(arguments.texts / f"{name}.npz") for name in ("posters", "titles")]
    training = documents(arguments.data, shown)
    whole = fit_table(training)
    save(whole, arguments.out / "words.safetensors")
    for fold in range(FOLDS):
        save(fit_table(training.without(fold)), arguments.out / f"without-{fold}.safetensors")
    print(f"{len(training.texts)} documents, {len(whole.vocabulary)} words")
    for genre, name in enumerate(GENRES):
        best = np.argsort(-whole.weights[:, genre] * whole.idf)[:12]
        print(f"{name}: {' '.join(whole.vocabulary[i] for i in best)}")


if __name__ == "__main__":
    main()
