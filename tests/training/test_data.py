"""What enters a batch, and that batches change nothing in evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.training.conftest import DIMS, LABELS, toy_recipe

from reelgenre.classifiers.build import build_module
from reelgenre.classifiers.module import Standardise
from reelgenre.errors import FeatureMismatchError
from reelgenre.training import (
    FeatureInfo,
    Sampling,
    check_features,
    evaluation_sampling,
    network_config,
    predict,
    weighted_bce,
)
from reelgenre.training.data import collate
from reelgenre.training.memory import MemorySource, MemorySplit
from reelgenre.training.preparation import prepare


def split_of(*lengths: int) -> MemorySplit:
    """Feature ``x`` whose step t of video i holds 100 i + t."""
    values = [
        (100 * i + np.arange(n, dtype=np.float32))[:, None] if n else None
        for i, n in enumerate(lengths)
    ]
    truth = np.eye(len(lengths), 3, dtype=bool)
    return MemorySplit([f"v{i}" for i in range(len(lengths))], truth, {"x": values})


def batch_of(
    split: MemorySplit, rule: Sampling, seed: tuple[int, ...] | None = (0, 0)
) -> list[list[float]]:
    rows = np.arange(len(split.ids))
    batch = collate(split, rows, {"x": rule}, {"x": 1}, seed)
    values, mask = batch.features["x"][..., 0], batch.masks["x"]
    return [values[i][mask[i]].tolist() for i in rows]


def test_longer_is_cut_shorter_is_masked_missing_is_all_masked() -> None:
    rule = Sampling(mean=False, most=3, random=False)
    assert batch_of(split_of(5, 2, 0), rule) == [[0, 1, 2], [100, 101], []]


def test_average_is_of_the_kept_steps() -> None:
    assert batch_of(split_of(5, 2, 0), Sampling(True, 3, False)) == [[1], [100.5], []]


def test_random_frames_are_in_order_and_new_in_every_epoch_and_video() -> None:
    split = split_of(50, 50)
    rule = Sampling(mean=False, most=5, random=True)
    first, again, later = (batch_of(split, rule, seed) for seed in ((0, 0), (0, 0), (0, 1)))
    assert first == again != later
    assert all(row == sorted(set(row)) and len(row) == 5 for row in first)
    assert [value - 100 for value in first[1]] != first[0]
    assert batch_of(split, rule, None) == batch_of(split, rule, None)


def test_random_frames_do_not_depend_on_the_batch() -> None:
    split, rule = split_of(50, 50, 50), Sampling(False, 5, True)
    alone = collate(split, np.array([2]), {"x": rule}, {"x": 1}, (4, 2)).features["x"]
    together = collate(split, np.arange(3), {"x": rule}, {"x": 1}, (4, 2)).features["x"]
    assert torch.equal(alone[0], together[2])


def test_batch_without_any_feature() -> None:
    batch = collate(split_of(0, 0), np.arange(2), {"x": Sampling.whole()}, {"x": 1}, None)
    assert not batch.masks["x"].any()


@pytest.mark.parametrize("standardise", [False, True])
def test_predictions_are_those_of_single_videos(source: MemorySource, standardise: bool) -> None:
    recipe = toy_recipe()
    torch.manual_seed(0)
    module = build_module(network_config(recipe, source))
    prepare(module, source.split("trn"), standardise=standardise)
    module.eval()
    split = source.splits["tst"]
    batched = predict(module, split)
    ahead = predict(module, split, evaluation_sampling(recipe))
    for row in range(len(split.ids)):
        features = {
            name: torch.from_numpy(split.read(row, name)[None].astype(np.float32))
            for name in DIMS
            if split.lengths[name][row]
        }
        if not features:
            continue
        with torch.no_grad():
            alone = module(features)[0].numpy()
        assert batched[row] == pytest.approx(alone, abs=1e-5)
        assert ahead[row] == pytest.approx(alone, abs=1e-5)


def test_prediction_restores_the_mode(source: MemorySource) -> None:
    module = build_module(network_config(toy_recipe(), source)).train()
    predict(module, source.split("tst"))
    assert module.training


def test_statistics_are_those_of_all_training_steps(source: MemorySource) -> None:
    module = build_module(network_config(toy_recipe(), source))
    prepare(module, source.split("trn"), standardise=True)
    videos = [v for v in source.splits["trn"].values["clip"] if v is not None]
    steps = np.concatenate(videos).astype(np.float64)
    place = module.get_submodule("standardise.clip")
    assert isinstance(place, Standardise)
    assert place.mean.numpy() == pytest.approx(steps.mean(axis=0), abs=1e-5)
    assert place.std.numpy() == pytest.approx(steps.std(axis=0), abs=1e-5)


def test_late_fusion_gets_its_prior(source: MemorySource) -> None:
    recipe = toy_recipe(
        features={"clip": {}, "ocr": {}}, architecture={"name": "late_fusion", "hidden": 4}
    )
    module = build_module(network_config(recipe, source))
    prepare(module, source.split("trn"), standardise=False)
    share = torch.sigmoid(module.get_buffer("fusion.prior")).numpy()
    assert share == pytest.approx(source.split("trn").truth.mean(axis=0), abs=0.01)


def test_classifier_on_other_features_or_labels_is_refused(source: MemorySource) -> None:
    config = network_config(toy_recipe(), source)
    check_features(config, source)
    other = dict(source.features)
    for change, message in (
        ({"clip": FeatureInfo(12, "clip:other")}, "made by clip:other"),
        ({"clip": FeatureInfo(13, "clip:toy")}, "13 wide"),
    ):
        with pytest.raises(FeatureMismatchError, match=message):
            check_features(config, MemorySource(LABELS, {**other, **change}, {}))
    with pytest.raises(FeatureMismatchError, match="no feature 'clip'"):
        check_features(config, MemorySource(LABELS, {"ocr": other["ocr"]}, {}))
    with pytest.raises(FeatureMismatchError, match="labels"):
        check_features(config, MemorySource(("x",), other, {}))


def test_loss_is_the_papers_formula() -> None:
    generator = np.random.default_rng(0)
    logits, truth = generator.normal(size=(6, 5)), generator.integers(2, size=(6, 5))
    p = 1 / (1 + np.exp(-logits))
    expected = -(0.25 * truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()
    actual = weighted_bce(torch.from_numpy(logits), torch.from_numpy(truth), 0.25)
    assert float(actual) == pytest.approx(expected)
    extreme = weighted_bce(torch.tensor([[1e4, -1e4]]), torch.tensor([[0.0, 1.0]]), 0.25)
    assert float(extreme) == pytest.approx((1e4 + 0.25 * 1e4) / 2)
