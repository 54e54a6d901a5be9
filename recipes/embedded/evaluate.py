"""Measure the embedded classifier: on validation while choosing, on the test split once.

Writes one JSON file with every figure and the Markdown page made of it; for the test split also the
page in ``docs/`` and the model card.

    python recipes/embedded/evaluate.py --split tst --images build/images --texts build/texts \
        --words build/words --data ../shared/data --scores build/scores \
        --model src/reelgenre/models/embedded/embedded-4 --out build/evaluation
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bags import Bag, by_film
from corpus import Corpus, film_index
from floor import floor_probabilities
from frozen_features import FrozenFeatures
from image_features import ImageFeatures
from images import load
from numpy.typing import NDArray
from scipy.special import logit
from texts import Passages
from train_frames import GenreImageModel, logits_of
from words import WordTables

from reelgenre.classifiers import GenreClassifier
from reelgenre.evaluation import (
    EvaluationReport,
    compare,
    evaluate,
    expected_calibration_error,
    markdown_table,
    percent,
    sigmoid,
)
from reelgenre.extractors.frame_input import encoder_input
from reelgenre.extractors.words import WordTable
from reelgenre.files import atomic_write
from reelgenre.genres import GENRES
from reelgenre.sequences import FeatureSequence

Floats = NDArray[np.float32]
Sample = dict[str, Bag]
"""A film's steps by modality, [T, D]; but frames are [V, T, D], V views of T pictures. The log-odds
of the views are averaged: as steps, several crops of one picture would pass for as many shots."""
RESAMPLINGS = 1000
FRAMES = "frames"
POSTERS = "posters: picture and writing"
FUSED = "both sets: picture, writing and dialogue, all windows"
HERE = Path(__file__).parent


class Fused:
    """The saved classifier on bags of features, as users run it."""

    def __init__(self, folder: Path) -> None:
        self.classifier = GenreClassifier.from_pretrained(folder)

    def probabilities(self, samples: Sequence[Sample]) -> Floats:
        """float32 [N, 21]."""
        return np.stack([self._one(sample) for sample in samples])

    def _one(self, sample: Sample) -> Floats:
        steps = {name: self._sequence(name, bag) for name, bag in sample.items() if name != FRAMES}
        views = [{FRAMES: self._sequence(FRAMES, view)} for view in sample.get(FRAMES, ())]
        seen = [self.classifier.predict(steps | view).probabilities for view in views or [{}]]
        mean: Floats = sigmoid(logit(np.stack(seen)).mean(axis=0)).astype(np.float32)
        return mean

    def _sequence(self, name: str, bag: Bag) -> FeatureSequence:
        made_by = self.classifier.config.features[name].fingerprint
        assert made_by is not None
        steps = np.arange(len(bag), dtype=np.float32)
        return FeatureSequence(bag, np.stack([steps, steps + 1], axis=1), made_by)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Per genre, as saved."""
        assert self.classifier.config.thresholds is not None
        return self.classifier.config.thresholds


Parts = dict[str, tuple[Passages, Sequence[int] | NDArray[np.intp]]]
"""Passages of one film by the modality that they come in."""


def texts(words: WordTable, parts: Parts) -> Sample:
    """Passages of one film, and the words of all of them."""
    sample, pieces = {}, []
    for modality, (passages, chosen) in parts.items():
        rows = np.concatenate([passages.rows(int(passage)) for passage in chosen])
        sample[modality] = passages.values[rows].astype(np.float32)
        pieces += [passages.pieces[row] for row in rows]
    votes = words.steps(pieces)
    return sample | ({"words": votes} if len(votes) else {})


def poster(posters: ImageFeatures, row: int) -> Sample:
    """One picture, in views of several crops."""
    return {FRAMES: posters.fixed[row][:, None].astype(np.float32)}


def film_stills(stills: ImageFeatures, rows: Sequence[int]) -> Sample:
    """Several pictures in one view, as shots of a trailer."""
    return {FRAMES: stills.fixed[rows, 0][None].astype(np.float32)}


@dataclass(frozen=True)
class Measured:
    """Films as the classifier saw them, and what came of it."""

    labels: Floats
    probabilities: Floats
    report: EvaluationReport


def measure(corpus: Corpus, words: WordTable, fused: Fused, split: str) -> dict[str, Measured]:
    """Each modality alone and together, on the films of a split."""
    dialogues, titles, readings = corpus.dialogues, corpus.titles, corpus.readings

    def measured(samples: list[Sample], labels: Floats) -> Measured:
        probabilities = fused.probabilities(samples)
        report = evaluate(
            labels, probabilities, GENRES, thresholds=fused.thresholds, resamplings=RESAMPLINGS
        )
        return Measured(labels, probabilities, report)

    def written(film: str) -> Parts:
        return {"screen_text": (readings, reading_of[film])} if film in reading_of else {}

    def pictures(films: Iterable[str]) -> list[Sample]:
        return [poster(corpus.posters, posters[film]) for film in films]

    posters = {film: rows[0] for film, rows in film_index(corpus.posters, split).items()}
    stills = film_index(corpus.stills, split)
    reading_of = film_index(readings, split)
    labels = corpus.posters.labels[list(posters.values())]
    alone = pictures(posters)
    found = {
        POSTERS: measured(
            [p | texts(words, written(film)) for film, p in zip(posters, alone, strict=True)],
            labels,
        ),
        "posters: picture alone": measured(alone, labels),
        "film stills, one by one": measured(
            [film_stills(corpus.stills, [row]) for rows in stills.values() for row in rows],
            corpus.stills.labels[[row for rows in stills.values() for row in rows]],
        ),
        "film stills, all of a film": measured(
            [film_stills(corpus.stills, rows) for rows in stills.values()],
            corpus.stills.labels[[rows[0] for rows in stills.values()]],
        ),
    }
    groups = by_film(dialogues, split, set())
    # The middle window of each film, or all of them.
    windows = {
        "one window": [group[len(group) // 2 :][:1] for group in groups],
        "all windows": groups,
    }
    labels = np.stack([dialogues.labels[group[0]] for group in groups])
    for name, chosen in windows.items():
        said = [texts(words, {"speech": (dialogues, part)}) for part in chosen]
        found[f"dialogue, {name}"] = measured(said, labels)
        sentences = [{"speech": sample["speech"]} for sample in said]
        found[f"dialogue, {name}, sentences without words"] = measured(sentences, labels)
    rows = [indices[0] for indices in film_index(titles, split).values()]
    found["titles"] = measured(
        [texts(words, {"screen_text": (titles, [row])}) for row in rows], titles.labels[rows]
    )
    films = [str(dialogues.films[group[0]]) for group in groups]
    paired = [i for i, film in enumerate(films) if film in posters]
    films, labels = [films[i] for i in paired], labels[paired]
    alone = pictures(films)
    found["both sets: picture alone"] = measured(alone, labels)
    for name, chosen in windows.items():
        speech: list[Parts] = [{"speech": (dialogues, chosen[i])} for i in paired]
        said = [texts(words, parts) for parts in speech]
        everything = [
            texts(words, part | written(f)) for part, f in zip(speech, films, strict=True)
        ]
        found[f"both sets: dialogue alone, {name}"] = measured(said, labels)
        for what, samples in (
            ("picture and dialogue", said),
            ("picture, writing and dialogue", everything),
        ):
            both = [picture | sample for picture, sample in zip(alone, samples, strict=True)]
            found[f"both sets: {what}, {name}"] = measured(both, labels)
    return found


def captions(corpus: Corpus, words: WordTable, fused: Fused) -> dict[str, Any]:
    """Real trailers' speech captions, text alone; these films are in no text training set."""
    passages = corpus.captions
    samples = [texts(words, {"speech": (passages, [row])}) for row in range(len(passages))]
    prior = corpus.titles.labels[corpus.titles.splits == "trn"].mean(0)
    given = {
        "model": fused.probabilities(samples),
        "sentences without words": fused.probabilities(
            [{"speech": sample["speech"]} for sample in samples]
        ),
        "prior": np.tile(prior, (len(samples), 1)),
    }
    return {
        name: summary(evaluate(passages.labels, probabilities, GENRES, thresholds=0.5))
        for name, probabilities in given.items()
    }


def stills_against_posters(data: Path, scores: Path, split: str) -> dict[str, Any]:
    """The genres' scores by the encoder alone, after each stage of its training, on held stills."""
    stills = load(data / "stills.parquet").only(split)
    crops = [encoder_input(image) for image in stills.images]
    found = {}
    for stage in ("posters", "stills"):
        model = GenreImageModel.from_state(
            torch.load(scores / f"{stage}.pt", map_location="cpu", weights_only=True)
        )
        found[stage] = sigmoid(logits_of(model, crops))
    differences = compare(stills.labels, found["posters"], found["stills"])
    return {
        name: {
            "posters_alone": difference.first,
            "with_stills": difference.second,
            "difference": difference.difference,
            "interval": [difference.interval.low, difference.interval.high],
        }
        for name, difference in differences.items()
        if name in ("mean_average_precision", "micro_average_precision", "lrap")
    } | {"stills": len(crops)}


def summary(report: EvaluationReport) -> dict[str, Any]:
    """What is kept of a report: the averages with their intervals."""
    return {
        "samples": report.samples,
        "chance": float(
            np.mean([r.positives / report.samples for r in report.labels if r.positives])
        ),
        **{
            name: {
                "value": report.metrics[name],
                "interval": [report.intervals[name].low, report.intervals[name].high],
            }
            for name in ("mean_average_precision", "micro_average_precision", "lrap", "macro_f1")
        },
    }


def page(results: dict[str, Any]) -> str:
    """The results as Markdown."""

    def cell(metric: dict[str, Any]) -> str:
        low, high = metric["interval"]
        return f"{percent(metric['value'])} ({percent(low)} to {percent(high)})"

    columns = {
        "mean_average_precision": "mAP",
        "micro_average_precision": "micro AP",
        "lrap": "LRAP",
    }

    def rows(entries: dict[str, Any]) -> list[list[str]]:
        return [
            [name, str(entry["samples"]), percent(entry["chance"])]
            + [cell(entry[key]) for key in columns]
            for name, entry in entries.items()
        ]

    header = ["films seen as", "films", "chance", *columns.values()]
    still = results["stills_against_posters"]
    change = [
        [
            columns[key],
            percent(still[key]["posters_alone"]),
            percent(still[key]["with_stills"]),
            f"{100 * still[key]['difference']:+.1f} "
            f"({100 * still[key]['interval'][0]:+.1f} to {100 * still[key]['interval'][1]:+.1f})",
        ]
        for key in columns
    ]
    caption = results["captions"]
    genres = [
        [genre, *(percent(results["genres"][column][genre]) for column in results["genres"])]
        for genre in GENRES
    ]
    counts = results["thresholds"]
    parts = [
        f"Split `{results['split']}`; percent, with 95 % bootstrap intervals over films. Chance "
        "is the mAP of guessing: the mean prevalence of the genres that occur.",
        markdown_table(header, rows(results["films"]), range(1, 6)),
        "The plainest classifier on the same films (`floor.py`: frozen ImageNet features of five "
        "crops, averaged, one hidden layer; averaged sentence embeddings, one hidden layer; "
        "log-odds added; recalibrated on `val`):",
        markdown_table(header, rows(results["floor"]), range(1, 6)),
        f"Film stills, the domain that counts: {still['stills']} held stills, the encoder with its "
        "own output layer, trained on posters alone and then on stills too.",
        markdown_table(
            ["", "posters alone", "with stills", "difference"], change, numeric=(1, 2, 3)
        ),
        f"Real trailers' speech captions ({caption['model']['samples']} trailers, films in no text "
        f"training set), text alone: LRAP {cell(caption['model']['lrap'])}, against "
        f"{percent(caption['prior']['lrap']['value'])} for MovieNet's prevalences. Of all figures "
        "here this one is the least held out: that the speech expert learns from plots as well as "
        "from dialogue was decided with these captions in view.",
        "Average precision per genre (empty: no such film):",
        markdown_table(["genre", *results["genres"]], genres, numeric=range(1, 4)),
        "Everything fused, all windows: a plain 0.5 finds "
        f"{counts['found_at_half']:.2f} of {counts['true']:.2f} genres a film on average, the "
        f"per-genre thresholds {counts['found_at_thresholds']:.2f}; macro F1 "
        f"{percent(counts['f1_at_half'])} and {percent(counts['f1_at_thresholds'])}. Expected "
        f"calibration error {percent(counts['calibration_error'])} %.",
    ]
    return "\n\n".join(parts) + "\n"


def thresholds_against_half(seen: Measured) -> dict[str, float]:
    """What thresholds per genre change against a plain 0.5."""
    tuned = seen.report
    half = evaluate(seen.labels, seen.probabilities, GENRES, thresholds=0.5, resamplings=1)
    samples = half.samples
    return {
        "true": sum(row.positives for row in half.labels) / samples,
        "found_at_half": sum(row.predicted for row in half.labels) / samples,
        "found_at_thresholds": sum(row.predicted for row in tuned.labels) / samples,
        "f1_at_half": half.metrics["macro_f1"],
        "f1_at_thresholds": tuned.metrics["macro_f1"],
        "calibration_error": expected_calibration_error(seen.labels, seen.probabilities),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", choices=["val", "tst"], required=True)
    for name in ("data", "images", "texts", "words", "scores", "model", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    corpus = Corpus.load(arguments.images, arguments.texts)
    words = WordTables.load(arguments.words).whole
    fused = Fused(arguments.model)
    found = measure(corpus, words, fused, arguments.split)
    per_genre = (POSTERS, "dialogue, all windows", FUSED)
    results = {
        "split": arguments.split,
        "films": {name: summary(seen.report) for name, seen in found.items()},
        "floor": {
            name: summary(evaluate(labels, probabilities, GENRES, resamplings=RESAMPLINGS))
            for name, (labels, probabilities) in floor_probabilities(
                FrozenFeatures.load(arguments.images / "posters_imagenet.npz"),
                corpus.dialogues,
                arguments.split,
            ).items()
        },
        "captions": captions(corpus, words, fused),
        "stills_against_posters": stills_against_posters(
            arguments.data, arguments.scores, arguments.split
        ),
        "genres": {
            name: {row.label: row.average_precision for row in found[name].report.labels}
            for name in per_genre
        },
        "thresholds": thresholds_against_half(found[FUSED]),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2) + "\n"
    (arguments.out / f"{arguments.split}.json").write_text(text)
    if arguments.split == "tst":
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "tst.json").write_text(text)
        (HERE.parents[1] / "docs" / "embedded-results.md").write_text(
            "# What the embedded classifier reaches\n\nMade by `recipes/embedded/evaluate.py "
            "--split tst` after everything was chosen on `val`. It is the fourth look at this "
            "split: embedded 1 (without words), 2 (trained otherwise) and 3 (with another image "
            "encoder, without the posters' text) were measured before.\n\n" + page(results)
        )
        card = (HERE / "model_card.md").read_text()
        at = card.index("## What it cannot do")
        with atomic_write(arguments.model / "README.md") as file:
            file.write(f"{card[:at]}## Measured\n\n{page(results)}\n{card[at:]}".encode())
    print(page(results))


if __name__ == "__main__":
    main()
