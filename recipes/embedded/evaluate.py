"""Measure the embedded classifier: on validation while choosing, on the test split once.

Writes one JSON file with every figure and the Markdown page made of it; for the test split also the
page in ``docs/`` and the model card.

    python recipes/embedded/evaluate.py --split tst --images build/images --texts build/texts \
        --words build/words --data ../shared/data --frames build/frames \
        --model src/reelgenre/models/embedded/embedded-3 --out build/evaluation
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bags import Bag, Rows, by_film
from corpus import Corpus, film_index
from image_features import ImageFeatures
from images import load
from numpy.typing import NDArray
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
"""A film's bags by modality."""
RESAMPLINGS = 1000
HERE = Path(__file__).parent


class Fused:
    """The saved classifier on bags of features, as users run it."""

    def __init__(self, folder: Path) -> None:
        self.classifier = GenreClassifier.from_pretrained(folder)

    def probabilities(self, samples: Sequence[Sample]) -> Floats:
        """float32 [N, 21]."""
        return np.stack([self._one(sample) for sample in samples])

    def _one(self, sample: Sample) -> Floats:
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


def spoken(
    passages: Passages, chosen: Sequence[int] | NDArray[np.intp], words: WordTable
) -> Sample:
    """Passages of one film as speech, and its words."""
    rows = np.concatenate([passages.rows(int(passage)) for passage in chosen])
    return _texts("speech", passages, rows, words)


def shown(passages: Passages, passage: int, words: WordTable) -> Sample:
    """A title as text on the screen, and its words."""
    return _texts("screen_text", passages, passages.rows(passage), words)


def _texts(modality: str, passages: Passages, rows: Rows, words: WordTable) -> Sample:
    sample = {modality: passages.values[rows].astype(np.float32)}
    votes = words.steps(passages.pieces[row] for row in rows)
    return sample | ({"words": votes} if len(votes) else {})


def image_samples(features: ImageFeatures, split: str) -> tuple[list[Sample], Floats]:
    """The fixed crops of every image of a split."""
    keep = np.flatnonzero(features.splits == split)
    bags: list[Sample] = [{"frames": features.fixed[i].astype(np.float32)} for i in keep]
    return bags, features.labels[keep]


@dataclass(frozen=True)
class Measured:
    """Films as the classifier saw them, and what came of it."""

    labels: Floats
    probabilities: Floats
    report: EvaluationReport


def measure(corpus: Corpus, words: WordTable, fused: Fused, split: str) -> dict[str, Measured]:
    """Each modality alone and together, on the films of a split."""
    dialogues, titles = corpus.dialogues, corpus.titles

    def measured(samples: list[Sample], labels: Floats) -> Measured:
        probabilities = fused.probabilities(samples)
        report = evaluate(
            labels, probabilities, GENRES, thresholds=fused.thresholds, resamplings=RESAMPLINGS
        )
        return Measured(labels, probabilities, report)

    found = {
        "posters": measured(*image_samples(corpus.posters, split)),
        "film stills": measured(*image_samples(corpus.stills, split)),
    }
    groups = by_film(dialogues, split, set())
    # The middle window of each film, or all of them.
    parts = {
        "one window": [group[len(group) // 2 :][:1] for group in groups],
        "all windows": groups,
    }
    labels = np.stack([dialogues.labels[group[0]] for group in groups])
    for name, chosen in parts.items():
        said = [spoken(dialogues, part, words) for part in chosen]
        found[f"dialogue, {name}"] = measured(said, labels)
        sentences = [{"speech": sample["speech"]} for sample in said]
        found[f"dialogue, {name}, sentences without words"] = measured(sentences, labels)
    title_of = film_index(titles.films, titles.splits, split)
    rows = [indices[0] for indices in title_of.values()]
    found["titles"] = measured([shown(titles, row, words) for row in rows], titles.labels[rows])
    posters = film_index(corpus.posters.films, corpus.posters.splits, split)
    named = [film for film in posters if film in title_of]
    found["posters with the title"] = measured(
        [
            {"frames": corpus.posters.fixed[posters[film][0]].astype(np.float32)}
            | shown(titles, title_of[film][0], words)
            for film in named
        ],
        corpus.posters.labels[[posters[film][0] for film in named]],
    )
    films = [str(dialogues.films[group[0]]) for group in groups]
    paired = [i for i, film in enumerate(films) if film in posters]
    labels = labels[paired]
    pictures: list[Sample] = [
        {"frames": corpus.posters.fixed[posters[films[i]][0]].astype(np.float32)} for i in paired
    ]
    found["both sets: poster alone"] = measured(pictures, labels)
    for name, chosen in parts.items():
        speech = [spoken(dialogues, chosen[i], words) for i in paired]
        found[f"both sets: dialogue alone, {name}"] = measured(speech, labels)
        both = [picture | said for picture, said in zip(pictures, speech, strict=True)]
        found[f"both sets: fused, {name}"] = measured(both, labels)
        three = [
            sample | {"screen_text": titles.steps(title_of[films[i]][0])}
            if films[i] in title_of
            else sample
            for i, sample in zip(paired, both, strict=True)
        ]
        found[f"both sets: fused with the title, {name}"] = measured(three, labels)
    return found


def captions(corpus: Corpus, words: WordTable, fused: Fused) -> dict[str, Any]:
    """Real trailers' speech captions, text alone; these films are in no text training set."""
    passages = corpus.captions
    samples = [spoken(passages, [row], words) for row in range(len(passages))]
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
    rows = [
        [name, str(entry["samples"]), percent(entry["chance"]), *(cell(entry[k]) for k in columns)]
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
        f"Split `{results['split']}`; percent, with 95 % bootstrap intervals over films. Chance "
        "is the mAP of guessing: the mean prevalence of the genres that occur.",
        markdown_table(["films seen as", "films", "chance", *columns.values()], rows, range(1, 6)),
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
    for name in ("data", "images", "texts", "words", "frames", "model", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    corpus = Corpus.load(arguments.images, arguments.texts)
    words = WordTables.load(arguments.words).whole
    fused = Fused(arguments.model)
    found = measure(corpus, words, fused, arguments.split)
    per_genre = ("posters", "dialogue, all windows", "both sets: fused, all windows")
    results = {
        "split": arguments.split,
        "films": {name: summary(seen.report) for name, seen in found.items()},
        "captions": captions(corpus, words, fused),
        "stills_against_posters": stills_against_posters(
            arguments.data, arguments.frames, arguments.split
        ),
        "genres": {
            name: {row.label: row.average_precision for row in found[name].report.labels}
            for name in per_genre
        },
        "thresholds": thresholds_against_half(found["both sets: fused, all windows"]),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2) + "\n"
    (arguments.out / f"{arguments.split}.json").write_text(text)
    if arguments.split == "tst":
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "tst.json").write_text(text)
        (HERE.parents[1] / "docs" / "embedded-results.md").write_text(
            "# What the embedded classifier reaches\n\nMade by `recipes/embedded/evaluate.py "
            "--split tst` after everything was chosen on `val`. It is the third look at this "
            "split: embedded 1 (without words) and 2 (trained otherwise) were measured before.\n\n"
            + page(results)
        )
        card = (HERE / "model_card.md").read_text()
        at = card.index("## What it cannot do")
        with atomic_write(arguments.model / "README.md") as file:
            file.write(f"{card[:at]}## Measured\n\n{page(results)}\n{card[at:]}".encode())
    print(page(results))


if __name__ == "__main__":
    main()
