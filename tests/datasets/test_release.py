"""The public release end to end: on small synthetic files, and on the sample where it is there."""

from __future__ import annotations

import json
import pathlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from reelgenre.classifiers import GenreClassifier
from reelgenre.cli import data, predict
from reelgenre.datasets import import_classifier, import_features, predict_store
from reelgenre.errors import FeatureMismatchError, ModelError, StoreError
from reelgenre.store import FeatureStore

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "published_release_sample"
LENGTHS = {"beats": 5, "clip": 4}
DIMS = {"beats": 3, "clip": 2}
LABELS = ["Drama", "War", "Western"]
STATS: dict[str, dict[str, Any]] = {
    "beats": {"mean": np.float32(0.5), "std": np.float32(2), "min": 0.0, "max": 1.0},
    "clip": {"mean": np.float32(-1), "std": np.float32(0.5), "min": 0.0, "max": 1.0},
}


def published_samples(key: str = "label") -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def array(name: str, steps: int) -> Any:
        return rng.normal(size=(steps, DIMS[name])).astype(np.float32) if steps else []

    shapes = {"aaaaaaaaaaa": (9, 4), "bbbbbbbbbbb": (2, 0), "ccccccccccc": (0, 1)}
    return {
        name: {
            "features": {"beats": array("beats", beats), "clip": array("clip", clip)},
            key: np.array([number, 1, 0], np.float32),
        }
        for number, (name, (beats, clip)) in zip((0, 1, 0), shapes.items(), strict=True)
    }


def write_features(folder: Path, samples: dict[str, Any], /, **changes: Any) -> Path:
    content = {"samples": samples, "stats": STATS, "idx_to_label": dict(enumerate(LABELS))}
    path = folder / "features.pkl"
    path.write_bytes(pickle.dumps(content | changes))
    return path


def write_mlp(folder: Path, *, standardize: bool = True) -> tuple[Path, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(3, 5)).astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    state = {"model.0.weight": torch.from_numpy(weight), "model.0.bias": torch.from_numpy(bias)}
    config = {
        "model": "mlp", "features": ["beats", "clip"], "feature_lengths": LENGTHS,
        "feature_dims": DIMS, "n_layers": 1, "n_heads": 8, "n_labels": 3, "labels": LABELS,
        "dropout": 0.5, "d_model": 256, "normalize": False, "standardize": standardize,
        "device": torch.device("cpu"), "output_dir": pathlib.PosixPath("a/b"), "n_frames": None,
    }  # fmt: skip
    torch.save(state, folder / "mlp.pt")
    torch.save(config, folder / "mlp_config.pt")
    return folder / "mlp.pt", weight, bias


def published_logits(sample: dict[str, Any], weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """What the release computes, written down independently."""
    averages = []
    for name in sorted(DIMS):
        padded = np.zeros((LENGTHS[name], DIMS[name]))
        values = np.asarray(sample["features"][name])
        if len(values):
            values = (values - float(STATS[name]["mean"])) / float(STATS[name]["std"])
            if len(values) > len(padded):
                values = values[np.linspace(0, len(values) - 1, len(padded)).astype(int)]
            padded[: len(values)] = values
        averages.append(padded.mean(axis=0))
    logits: np.ndarray = weight @ np.concatenate(averages) + bias
    return logits


@pytest.mark.parametrize("key", ["label", "labels"])
def test_features_become_a_store(tmp_path: Path, key: str) -> None:
    samples = published_samples(key)
    report = import_features(write_features(tmp_path, samples), tmp_path / "s")
    assert (report.videos, report.failed) == (3, ())
    assert report.features == {"beats": 2, "clip": 2}
    assert report.absent == {"beats": 1, "clip": 1}
    store = FeatureStore.open(tmp_path / "s")
    assert store.find("bbbbbbbbbbb").labels == ("Drama", "War")
    for name, sample in samples.items():
        for feature, values in sample["features"].items():
            found = store.get(store.find(name), feature)
            if len(values) == 0:
                assert found is None
            else:
                assert found is not None
                assert np.array_equal(found.values, values)
    # Again: nothing is twice.
    import_features(tmp_path / "features.pkl", tmp_path / "s")
    assert len(FeatureStore.open(tmp_path / "s").videos) == 3


def test_a_bad_array_costs_only_itself(tmp_path: Path) -> None:
    samples = published_samples()
    samples["aaaaaaaaaaa"]["features"]["beats"][1, 1] = np.nan
    report = import_features(write_features(tmp_path, samples), tmp_path / "s")
    (failure,) = report.failed
    assert failure.startswith("aaaaaaaaaaa beats")
    store = FeatureStore.open(tmp_path / "s")
    assert store.get(store.find("aaaaaaaaaaa"), "clip") is not None
    assert list(store.missing(store.extractors, retry_failed=True).values()) == [
        ("beats:zenodo-13909366",)
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": [1]},
        {"samples": {"a": 1}},
        {"samples": {"a": {"features": {}, "label": np.array([1.0, 0.5, 0])}}},
        {"samples": {"a": {"features": {}, "label": np.array([1.0, 0])}}},
        {"samples": {"a": {"features": {}}}},
        {"idx_to_label": {1: "Drama"}},
        {"idx_to_label": None},
        {"stats": {"clip": {"mean": 1.0}}},
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    file = write_features(tmp_path, published_samples(), **changes)
    with pytest.raises(StoreError, match=r"features\.pkl"):
        import_features(file, tmp_path / "s")


class Evil:
    """A pickle of it asks for a command to be run."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return pathlib.Path.touch, (self.target,)


def test_no_file_of_the_release_can_run_code(tmp_path: Path) -> None:
    mark = tmp_path / "pwned"
    features = write_features(tmp_path, {"a": Evil(mark)})
    with pytest.raises(StoreError, match="not loaded"):
        import_features(features, tmp_path / "s")
    weights, *_ = write_mlp(tmp_path)
    with pytest.raises(StoreError, match="not loaded"):
        import_classifier(weights, tmp_path / "m")
    write_features(tmp_path, published_samples())
    for name in ("mlp.pt", "mlp_config.pt"):
        write_mlp(tmp_path)
        torch.save({"model": Evil(mark)}, tmp_path / name)
        with pytest.raises(StoreError, match="not loaded"):
            import_classifier(weights, tmp_path / "m")
    assert not mark.exists()
    assert not (tmp_path / "m").exists()


def test_classifiers_give_the_published_logits_through_store_and_folder(tmp_path: Path) -> None:
    samples = published_samples()
    features = write_features(tmp_path, samples)
    weights, weight, bias = write_mlp(tmp_path)
    application, models = typer.Typer(), typer.Typer()
    predict.register(application, models)
    application.add_typer(data.app, name="data")
    application.add_typer(models, name="models")
    for command in (
        ["data", "import-release", features, tmp_path / "s"],
        ["models", "import-release", weights, tmp_path / "m"],
        ["predict", tmp_path / "m", tmp_path / "s", "--jsonl", tmp_path / "out.jsonl"],
    ):
        result = CliRunner().invoke(application, list(map(str, command)))
        assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["video_id"] for row in rows] == list(samples)
    for row in rows:
        expected = published_logits(samples[row["video_id"]], weight, bias)
        assert row["classes"] == LABELS
        assert np.allclose(row["logits"], expected, atol=1e-4)
        assert np.allclose(row["probabilities"], 1 / (1 + np.exp(-expected)), atol=1e-4)


def test_statistics_come_from_the_file_beside_the_store_or_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    weights, *_ = write_mlp(tmp_path)
    with pytest.raises(ModelError, match="--statistics"):
        import_classifier(weights, tmp_path / "m")
    features = write_features(tmp_path / "elsewhere", published_samples())
    import_features(features, tmp_path / "s")
    folders = [
        import_classifier(weights, tmp_path / f"m{n}", statistics=source)
        for n, source in enumerate((features, tmp_path / "s"))
    ]
    one, two = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert one == two
    weights, *_ = write_mlp(tmp_path, standardize=False)
    import_classifier(weights, tmp_path / "plain")  # Needs none.


def test_features_of_another_extractor_are_refused(tmp_path: Path) -> None:
    weights, *_ = write_mlp(tmp_path, standardize=False)
    import_classifier(weights, tmp_path / "m")
    store = FeatureStore.create(tmp_path / "s")
    with pytest.raises(FeatureMismatchError, match="clip:zenodo-13909366"):
        list(predict_store(GenreClassifier.from_pretrained(tmp_path / "m"), store))


@pytest.mark.skipif(not SAMPLE.exists(), reason="needs the release's sample in ../shared/data")
@pytest.mark.parametrize("name", ["mlp", "single_transformer", "multi_transformer"])
def test_the_sample_of_the_release_gives_its_expected_logits(tmp_path: Path, name: str) -> None:
    import_features(SAMPLE / "features.pkl", tmp_path / "s")
    import_classifier(SAMPLE / f"{name}.pt", tmp_path / "m")
    expected = np.load(SAMPLE / "expected_logits.npz")
    found = {
        p.video.video_id: p.prediction
        for p in predict_store(
            GenreClassifier.from_pretrained(tmp_path / "m", threads=1),
            FeatureStore.open(tmp_path / "s"),
        )
    }
    assert set(found) == set(expected["youtube_ids"].tolist())
    for video_id, logits in zip(expected["youtube_ids"].tolist(), expected[name], strict=True):
        prediction = found[video_id]
        assert prediction is not None
        assert np.abs(prediction.logits - logits).max() < 1e-4
