"""Explanations are the computation: shares of steps add up to what the modality did."""

from __future__ import annotations

import numpy as np

from reelgenre.classifiers import ExpertOutput, Prediction
from reelgenre.explain import explain
from reelgenre.extractors import Evidence, Extraction
from reelgenre.sequences import FeatureSequence

LABELS = ("Comedy", "Horror")


def extraction(*evidence: Evidence) -> Extraction:
    steps = max(len(evidence), 1)
    times = np.stack([np.arange(steps), np.arange(steps) + 1], axis=1).astype(np.float32)
    return Extraction(FeatureSequence(np.ones((steps, 3), np.float32), times, "t:1"), evidence)


def prediction(**step_scores: list[list[float]]) -> Prediction:
    experts = {
        name: ExpertOutput(
            logits=np.array(rows, np.float32).sum(axis=0),
            gate=np.array([0.5, 1.0], np.float32),
            step_scores=np.array(rows, np.float32),
        )
        for name, rows in step_scores.items()
    }
    half = np.array([0.5, 0.5], np.float32)
    return Prediction(
        labels=LABELS, logits=half, probabilities=half, thresholds=half, experts=experts
    )


def test_shares_are_gate_times_step_score_and_strongest_comes_first() -> None:
    said = extraction(
        Evidence("speech", 0, 1, "good morning", 0.9, 0),
        Evidence("speech", 1, 2, "it is behind you", 0.8, 1),
    )
    answer = prediction(speech=[[0.4, 0.1], [-0.2, 2.0]])
    items = explain(answer, {"speech": said}, LABELS, ["Horror"])
    assert [item.text for item in items] == ["it is behind you", "good morning"]
    assert items[0].genres == (("Horror", 2.0),)
    assert np.allclose(items[1].genres[0][1], 0.1)


def test_only_predicted_genres_are_explained_and_only_what_raised_them() -> None:
    said = extraction(Evidence("speech", 0, 1, "a joke", 0.9, 0))
    answer = prediction(speech=[[0.8, -1.0]])
    assert explain(answer, {"speech": said}, LABELS, ["Horror"])[0].genres == ()
    assert explain(answer, {"speech": said}, LABELS, [])[0].genres[0][0] == "Comedy"
    assert np.isclose(explain(answer, {"speech": said}, LABELS, [])[0].genres[0][1], 0.4)


def test_evidence_without_an_expert_is_kept_without_genres() -> None:
    heard = extraction(Evidence("tag", 0, 3, "gunshot", 0.7, 0))
    items = explain(prediction(), {"sound": heard}, LABELS, ["Horror"])
    assert [(item.text, item.genres) for item in items] == [("gunshot", ())]


def test_frames_are_thinned_to_those_that_count() -> None:
    frames = extraction(*[Evidence("frame", t, t, step=t) for t in range(40)])
    scores = [[0.0, float(t)] for t in range(40)]
    items = explain(prediction(frames=scores), {"frames": frames}, LABELS, ["Horror"])
    assert len(items) < 40
    assert [item.start for item in items] == sorted((i.start for i in items), reverse=True)
    assert items[0].start == 39
