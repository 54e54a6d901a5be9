"""Measure the embedded classifier: on validation while choosing, on the test split once.

Writes one JSON file with every figure and the Markdown page made of it; for the test split also the
page in ``docs/`` and the model card.

    python recipes/embedded/evaluate.py --split tst --images build/images --texts build/texts \
        --data ../shared/data --frames build/frames --model src/reelgenre/models/embedded/v1 \
        --out build/evaluation
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bags import Bag, by_film
from image_features import ImageFeatures
from images import load
from numpy.typing import NDArray
from texts import Passages
from train_classifier import Corpus, film_index
from train_frames import GenreImageModel, logits_of

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
from reelgenre.files import atomic_write
from reelgenre.genres import GENRES
from reelgenre.sequences import FeatureSequence

Floats = NDArray[np.float32]
RESAMPLINGS = 1000
HERE = Path(__file__).parent


class Fused:
    """The saved classifier on bags of features, as users run it."""

    def __init__(self, folder: Path) -> None:
        self.classifier = GenreClassifier.from_pretrained(folder)

    def probabilities(self, samples: list[dict[str, Bag]]) -> Floats:
        """float32 [N, 21]."""
        return np.stack([self._one(sample) for sample in samples])

    def _one(self, sample: dict[str, Bag]) -> Floats:
        features = {}
        for name, bag in sample.items():
            steps = np.arange(len(bag), dtype=np.float32)
            made_by = self.classifier.config.features[name].fingerprint
            assert made_by is not None
            features[name] = FeatureSequence(bag, np.stack([steps, steps + 1], axis=1), made_by)
        return self.classifier.predict(features).probabilities

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Per genre, as saved."""
        assert self.classifier.config.thresholds is not None
        return self.classifier.config.thresholds


def windows(passages: Passages, rows: NDArray[np.intp], *, every: bool) -> Bag:
    """The middle window of a film's dialogue, or all of its windows."""
    chosen = rows if every else rows[len(rows) // 2 :][:1]
    return np.concatenate([passages.steps(row) for row in chosen])


def image_samples(features: ImageFeatures, split: str) -> tuple[list[dict[str, Bag]], Floats]:
    """The fixed crops of every image of a split."""
    keep = np.flatnonzero(features.splits == split)
    bags = [{"frames": features.fixed[i].astype(np.float32)} for i in keep]
    return bags, features.labels[keep]


def measure(corpus: Corpus, fused: Fused, split: str) -> dict[str, EvaluationReport]:
    """Each modality alone and together, on the films of a split."""

    def report(samples: list[dict[str, Bag]], labels: Floats) -> EvaluationReport:
        probabilities = fused.probabilities(samples)
        return evaluate(
            labels, probabilities, GENRES, thresholds=fused.thresholds, resamplings=RESAMPLINGS
        )

    reports = {"posters": report(*image_samples(corpus.posters, split))}
    reports["film stills"] = report(*image_samples(corpus.stills, split))
    groups = by_film(corpus.dialogues, split, set())
    labels = np.stack([corpus.dialogues.labels[rows[0]] for rows in groups])
    for name, every in (("one window", False), ("all windows", True)):
        samples = [{"speech": windows(corpus.dialogues, rows, every=every)} for rows in groups]
        reports[f"dialogue, {name}"] = report(samples, labels)
    titles = film_index(corpus.titles.films, corpus.titles.splits, split)
    rows = [indices[0] for indices in titles.values()]
    reports["titles"] = report(
        [{"screen_text": corpus.titles.steps(row)} for row in rows], corpus.titles.labels[rows]
    )
    posters = film_index(corpus.posters.films, corpus.posters.splits, split)
    paired = [rows for rows in groups if str(corpus.dialogues.films[rows[0]]) in posters]
    films = [str(corpus.dialogues.films[rows[0]]) for rows in paired]
    labels = np.stack([corpus.dialogues.labels[rows[0]] for rows in paired])
    pictures = [corpus.posters.fixed[posters[film][0]].astype(np.float32) for film in films]
    reports["both sets: poster alone"] = report([{"frames": bag} for bag in pictures], labels)
    for name, every in (("one window", False), ("all windows", True)):
        speech = [windows(corpus.dialogues, rows, every=every) for rows in paired]
        reports[f"both sets: dialogue alone, {name}"] = report(
            [{"speech": bag} for bag in speech], labels
        )
        both = [{"frames": f, "speech": s} for f, s in zip(pictures, speech, strict=True)]
        reports[f"both sets: fused, {name}"] = report(both, labels)
        three = [
            sample
            | ({"screen_text": corpus.titles.steps(titles[film][0])} if film in titles else {})
            for sample, film in zip(both, films, strict=True)
        ]
        reports[f"both sets: fused with the title, {name}"] = report(three, labels)
    return reports


def captions(corpus: Corpus, fused: Fused) -> dict[str, Any]:
    """Real trailers' speech captions, text alone; these films are in no text training set."""
    passages = corpus.captions
    samples = [{"speech": passages.steps(row)} for row in range(len(passages))]
    reports = {
        "model": evaluate(passages.labels, fused.probabilities(samples), GENRES, thresholds=0.5),
        "prior": evaluate(
            passages.labels,
            np.tile(corpus.titles.labels[corpus.titles.splits == "trn"].mean(0), (len(samples), 1)),
            GENRES,
            thresholds=0.5,
        ),
    }
    return {name: summary(report) for name, report in reports.items()}


def stills_against_posters(data: Path, frames: Path, split: str) -> dict[str, Any]:
    """The encoder with its own output layer, after each stage of its training, on held stills."""
    stills = load(data / "stills.parquet").only(split)
    crops = [encoder_input(image) for image in stills.images]
    scores = {}
    for stage in ("posters", "stills"):
        model = GenreImageModel.from_state(torch.load(frames / f"{stage}.pt", weights_only=True))
        scores[stage] = sigmoid(logits_of(model, crops))
    differences = compare(stills.labels, scores["posters"], scores["stills"])
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
    rows = [
        [name, str(entry["samples"]), *(cell(entry[key]) for key in columns)]
        for name, entry in results["films"].items()
    ]
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
        f"Split `{results['split']}`; percent, with 95 % bootstrap intervals over films.",
        markdown_table(["films seen as", "films", *columns.values()], rows, numeric=range(1, 5)),
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
        "Fused, all windows: a plain 0.5 finds "
        f"{counts['found_at_half']:.2f} of {counts['true']:.2f} genres a film on average, the "
        f"per-genre thresholds {counts['found_at_thresholds']:.2f}; macro F1 "
        f"{percent(counts['f1_at_half'])} and {percent(counts['f1_at_thresholds'])}. Expected "
        f"calibration error {percent(counts['calibration_error'])} %.",
    ]
    return "\n\n".join(parts) + "\n"


def thresholds_against_half(
    report_of: Callable[[float | tuple[float, ...]], EvaluationReport], fused: Fused
) -> dict[str, float]:
    """What thresholds per genre change against a plain 0.5."""
    half, tuned = report_of(0.5), report_of(fused.thresholds)
    samples = half.samples
    return {
        "true": sum(row.positives for row in half.labels) / samples,
        "found_at_half": sum(row.predicted for row in half.labels) / samples,
        "found_at_thresholds": sum(row.predicted for row in tuned.labels) / samples,
        "f1_at_half": half.metrics["macro_f1"],
        "f1_at_thresholds": tuned.metrics["macro_f1"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", choices=["val", "tst"], required=True)
    for name in ("data", "images", "texts", "frames", "model", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    corpus = Corpus.load(arguments.images, arguments.texts)
    fused = Fused(arguments.model)
    reports = measure(corpus, fused, arguments.split)
    posters = film_index(corpus.posters.films, corpus.posters.splits, arguments.split)
    paired = [
        rows
        for rows in by_film(corpus.dialogues, arguments.split, set())
        if str(corpus.dialogues.films[rows[0]]) in posters
    ]
    labels = np.stack([corpus.dialogues.labels[rows[0]] for rows in paired])
    probabilities = fused.probabilities(
        [
            {
                "frames": corpus.posters.fixed[
                    posters[str(corpus.dialogues.films[rows[0]])][0]
                ].astype(np.float32),
                "speech": windows(corpus.dialogues, rows, every=True),
            }
            for rows in paired
        ]
    )

    def report_of(thresholds: float | tuple[float, ...]) -> EvaluationReport:
        return evaluate(labels, probabilities, GENRES, thresholds=thresholds, resamplings=1)

    shown = ("posters", "dialogue, all windows", "both sets: fused, all windows")
    results = {
        "split": arguments.split,
        "films": {name: summary(report) for name, report in reports.items()},
        "captions": captions(corpus, fused),
        "stills_against_posters": stills_against_posters(
            arguments.data, arguments.frames, arguments.split
        ),
        "genres": {
            name: {row.label: row.average_precision for row in reports[name].labels}
            for name in shown
        },
        "thresholds": thresholds_against_half(report_of, fused)
        | {"calibration_error": expected_calibration_error(labels, probabilities)},
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2) + "\n"
    (arguments.out / f"{arguments.split}.json").write_text(text)
    if arguments.split == "tst":
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "tst.json").write_text(text)
        (HERE.parents[1] / "docs" / "embedded-results.md").write_text(
            "# What the embedded classifier reaches\n\nMade by `recipes/embedded/evaluate.py "
            "--split tst`, once, after everything was chosen on `val`.\n\n" + page(results)
        )
        card = (HERE / "model_card.md").read_text()
        at = card.index("## What it cannot do")
        with atomic_write(arguments.model / "README.md") as file:
            file.write(f"{card[:at]}## Measured\n\n{page(results)}\n{card[at:]}".encode())
    print(page(results))


if __name__ == "__main__":
    main()
