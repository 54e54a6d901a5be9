"""``reelgenre evaluate``: a saved classifier on a split of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reelgenre.cli.train import Device, Extractors, Planted, Threads


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Classifier: a folder or hub id.")],
    store: Annotated[
        str | None,
        typer.Argument(metavar="[STORE]", help="Feature store: a folder or an address."),
    ] = None,
    planted: Planted = False,
    split: Annotated[str, typer.Option(help="Which videos.")] = "tst",
    against: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Compare with another classifier, paired by video."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="One threshold, in place of the model's own.", min=0.0, max=1.0),
    ] = None,
    resamplings: Annotated[int, typer.Option(help="Of the bootstrap.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.", min=0)] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    device: Device = None,
    threads: Threads = 2,
    extractor: Extractors = None,
) -> None:
    """Measure a classifier: precision, recall, F1 and mAP with intervals, and per label."""
    from dataclasses import asdict

    from reelgenre.classifiers.saving import load_module
    from reelgenre.cli.train import open_source
    from reelgenre.evaluation import compare, differences_table
    from reelgenre.evaluation import evaluate as measure
    from reelgenre.training import Runtime, check_features, predict

    source = open_source(store, planted, extractor)
    chosen = source.split(split)
    place = Runtime(device=device, threads=threads).torch_device()
    answers = []
    for address in [model] if against is None else [model, against]:
        module = load_module(_address(address)).to(place)
        check_features(module.config, source)
        logits = predict(module, chosen, device=place, threads=threads)
        own = module.config.thresholds or (0.5,) * len(module.config.labels)
        cut = own if threshold is None else (threshold,) * len(own)
        answers.append((module.config.probabilities(logits), cut))
    (probabilities, thresholds), *others = answers
    report = measure(
        chosen.truth,
        probabilities,
        source.labels,
        thresholds=thresholds,
        resamplings=resamplings,
        seed=seed,
    )
    differences = {}
    for other, cut in others:
        differences = dict(
            compare(
                chosen.truth,
                probabilities,
                other,
                (thresholds, cut),
                resamplings=resamplings,
                seed=seed,
            )
        )
    if json:
        from json import dumps

        document = report.to_dict()
        if differences:
            document["differences"] = {name: asdict(d) for name, d in differences.items()}
        typer.echo(dumps(document, indent=2))
        return
    typer.echo(report.to_markdown())
    if against is not None:
        typer.echo(differences_table(differences, model, against))


def _address(text: str) -> str | Path:
    return Path(text) if Path(text).is_dir() else text
