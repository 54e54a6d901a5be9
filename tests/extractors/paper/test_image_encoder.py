"""Image towers on torch against transformers' own, and what becomes of damaged checkpoints."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tests.extractors.paper.picture_models import (
    CLIP_PREPROCESSOR,
    SIGLIP_PREPROCESSOR,
    VIT_PREPROCESSOR,
    cosine,
    pictures,
    rewrite,
    save_clip,
    save_expression_vit,
    save_siglip,
)
from transformers import CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from reelgenre.errors import WeightsError
from reelgenre.extractors.base import Extractor
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.paper import image_encoder as room
from reelgenre.extractors.paper.image_preprocess import read_preprocessing
from reelgenre.extractors.settings import ImageEncoderSettings
from reelgenre.media import Frame, Frames, open_media


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    save_clip(tmp_path / "clip")
    return tmp_path / "clip"


def build(folder: Path, **settings: Any) -> Extractor:
    return room.image_encoder(
        ImageEncoderSettings(
            kind="image_encoder",
            weights=f"./{folder.name}",
            **{"precision": "fp32", **settings},
        ),
        Loading(folder.parent, device="cpu"),
    )


def features(extractor: Extractor, view: Any) -> NDArray[np.float32]:
    extraction = extractor.extract(view)
    assert extraction is not None
    return extraction.sequence.values


# Preprocessing


@pytest.mark.parametrize(
    ("theirs", "content"),
    [
        (CLIPImageProcessorPil, CLIP_PREPROCESSOR),
        (SiglipImageProcessorPil, SIGLIP_PREPROCESSOR),
        (ViTImageProcessorPil, VIT_PREPROCESSOR),
    ],
)
def test_preprocessing_is_that_of_transformers(
    theirs: Any, content: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
    reference, ours = theirs.from_pretrained(tmp_path), read_preprocessing(tmp_path)
    for height, width in [(90, 160), (160, 90), (33, 32), (32, 32), (40, 301), (7, 9), (2, 32)]:
        picture = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = reference(picture, input_data_format="channels_last")["pixel_values"][0]
        got = ours(picture)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=1e-6, err_msg=f"{height} x {width}")


def test_a_picture_of_extreme_shape_costs_no_more(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(CLIP_PREPROCESSOR))
    # Resized as a whole it would take 9 GB.
    assert read_preprocessing(tmp_path)(np.full((1, 3_000_000, 3), 128, np.uint8)).shape[1:] == (
        32,
        32,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"do_resize": False},
        {"do_normalize": False},
        {"do_center_crop": False},
        {"size": 16},
        {"size": None},
        {"image_mean": [0.5]},
        {"image_std": [0.5, 0.5, 0.0]},
        {"resample": 77},
        {"crop_size": {"height": 0, "width": 8}},
    ],
)
def test_preprocessing_that_is_not_understood_is_refused(
    change: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(CLIP_PREPROCESSOR | change))
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json"):
        read_preprocessing(tmp_path)


def test_missing_preprocessing_is_refused(clip: Path) -> None:
    (clip / "preprocessor_config.json").unlink()
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json"):
        build(clip)


# Features


def test_clip_gives_the_embedding_of_transformers(
    tmp_path: Path, frames_view: Callable[..., Any]
) -> None:
    reference = save_clip(tmp_path / "clip")
    seen = pictures(5)
    processor = CLIPImageProcessorPil.from_pretrained(tmp_path / "clip")
    pixels = processor(seen, input_data_format="channels_last", return_tensors="pt")
    with torch.no_grad():
        expected = reference.get_image_features(**pixels).pooler_output.numpy()
    got = features(build(tmp_path / "clip"), frames_view(seen))
    assert got.shape == (5, 12)
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())
    # Not scaled to length 1.
    assert np.ptp(np.linalg.norm(got, axis=1)) > 1e-3


def test_siglip_is_chosen_by_its_config_alone(
    tmp_path: Path, frames_view: Callable[..., Any]
) -> None:
    reference = save_siglip(tmp_path / "siglip")
    seen = pictures(3)
    processor = SiglipImageProcessorPil.from_pretrained(tmp_path / "siglip")
    pixels = processor(seen, input_data_format="channels_last", return_tensors="pt")
    with torch.no_grad():
        expected = reference.get_image_features(**pixels).pooler_output.numpy()
    extractor = build(tmp_path / "siglip")
    got = features(extractor, frames_view(seen))
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())
    assert extractor.spec.dim == 32


def test_vit_gives_what_its_classifier_reads(
    tmp_path: Path, frames_view: Callable[..., Any]
) -> None:
    reference = save_expression_vit(tmp_path / "vit")
    seen = pictures(3)
    processor = ViTImageProcessorPil.from_pretrained(tmp_path / "vit")
    pixels = processor(seen, input_data_format="channels_last", return_tensors="pt")
    with torch.no_grad():
        expected = reference(**pixels).logits.numpy()
        got = features(build(tmp_path / "vit"), frames_view(seen))
        logits = reference.classifier(torch.from_numpy(got.copy())).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())


def test_class_tokens_do_not_keep_all_tokens_in_memory(tmp_path: Path) -> None:
    save_expression_vit(tmp_path / "vit")
    encoder: Any = build(tmp_path / "vit")
    assert encoder.encode(pictures(2)).flags.owndata


def test_an_image_tower_on_its_own_is_the_same(
    tmp_path: Path, frames_view: Callable[..., Any]
) -> None:
    save_clip(tmp_path / "whole")
    tower = CLIPVisionModelWithProjection.from_pretrained(tmp_path / "whole")
    tower.save_pretrained(tmp_path / "tower")
    text = (tmp_path / "whole" / "preprocessor_config.json").read_text()
    (tmp_path / "tower" / "preprocessor_config.json").write_text(text)
    seen = pictures(2)
    np.testing.assert_array_equal(
        features(build(tmp_path / "whole"), frames_view(seen)),
        features(build(tmp_path / "tower"), frames_view(seen)),
    )


def test_batch_size_does_not_change_the_features(
    clip: Path, frames_view: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor, seen = build(clip), pictures(21)
    expected = features(extractor, frames_view(seen))
    assert cosine(expected, np.roll(expected, 1, axis=0)).max() < 0.9999
    for size in (1, 5, 64):
        monkeypatch.setattr(room, "BATCH", size)
        np.testing.assert_allclose(features(extractor, frames_view(seen)), expected, atol=1e-5)


def test_features_are_the_same_every_time(clip: Path, frames_view: Callable[..., Any]) -> None:
    first, second = build(clip), build(clip)
    seen = pictures(20)
    expected = features(first, frames_view(seen))
    np.testing.assert_array_equal(features(first, frames_view(seen)), expected)
    np.testing.assert_array_equal(features(second, frames_view(seen)), expected)


def test_half_precision_is_close_and_has_the_same_fingerprint(
    clip: Path, frames_view: Callable[..., Any]
) -> None:
    seen = pictures(4)
    exact, half = build(clip), build(clip, precision="bf16")
    got = features(half, frames_view(seen))
    assert got.dtype == np.float32
    expected = features(exact, frames_view(seen))
    assert cosine(got, expected).min() > 0.999
    assert not np.array_equal(got, expected)
    assert half.spec.fingerprint == exact.spec.fingerprint


def test_fingerprint_tells_weights_and_preprocessing(clip: Path, tmp_path: Path) -> None:
    first = build(clip).spec.fingerprint
    assert first == build(clip).spec.fingerprint
    save_clip(tmp_path / "other", seed=5)
    assert build(tmp_path / "other").spec.fingerprint != first
    (clip / "preprocessor_config.json").write_text(json.dumps(CLIP_PREPROCESSOR | {"resample": 2}))
    assert build(clip).spec.fingerprint != first


def test_threads_are_those_asked_for(clip: Path) -> None:
    before = torch.get_num_threads()
    settings = ImageEncoderSettings(kind="image_encoder", weights="./clip", precision="fp32")
    try:
        room.image_encoder(settings, Loading(clip.parent, threads=before + 1, device="cpu"))
        # Extractors run in threads of their own.
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == before + 1
    finally:
        torch.set_num_threads(before)


# Videos


def test_no_picture_is_none(clip: Path, frames_view: Callable[..., Any]) -> None:
    view = frames_view([])
    assert build(clip).extract(view) is None
    assert view.ended


def test_black_frames_count(clip: Path, frames_view: Callable[..., Any]) -> None:
    seen = [np.zeros((40, 60, 3), np.uint8), pictures(1)[0], np.zeros((40, 60, 3), np.uint8)]
    extraction = build(clip).extract(frames_view(seen))
    assert extraction is not None
    np.testing.assert_array_equal(extraction.sequence.times, [[0, 2], [2, 4], [4, 6]])
    np.testing.assert_allclose(extraction.sequence.values[0], extraction.sequence.values[2], 1e-5)
    assert [(e.kind, e.start, e.step) for e in extraction.evidence] == [
        ("frame", 1.0, 0),
        ("frame", 3.0, 1),
        ("frame", 5.0, 2),
    ]


def test_half_a_second_of_real_video(clip: Path, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "short.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in [pictures(1, 48, 64)[0]] * 12:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    extractor = build(clip)
    with open_media(tmp_path / "short.mp4") as media:
        assert isinstance(extractor.spec.needs, Frames)
        view = media.view(extractor.spec.needs)
        media.run()
        extraction = extractor.extract(view)
    assert extraction is not None
    np.testing.assert_allclose(extraction.sequence.times, [[0.0, 0.5]], atol=0.01)


def test_a_long_video_holds_few_frames(clip: Path) -> None:
    alive = most = 0

    def died() -> None:
        nonlocal alive
        alive -= 1

    class View:
        def frames(self) -> Iterator[Frame]:
            nonlocal alive, most
            for index in range(600):
                image = np.full((24, 32, 3), index % 251, np.uint8)
                weakref.finalize(image, died)
                alive += 1
                most = max(most, alive)
                yield Frame(image, index + 0.5, (float(index), index + 1.0))

    extraction = build(clip).extract(View())  # type: ignore[arg-type]
    assert extraction is not None
    assert extraction.sequence.steps == 600
    assert most <= 2 * room.BATCH + 2


# Damage


def test_loading_prints_nothing(clip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    build(clip)
    assert capfd.readouterr() == ("", "")


def test_pytorch_bin_is_read(clip: Path, frames_view: Callable[..., Any]) -> None:
    expected = features(build(clip), frames_view(pictures(2)))
    state = load_file(clip / "model.safetensors")
    # Old checkpoints carry the positions' numbers as well.
    state["vision_model.embeddings.position_ids"] = torch.arange(17).expand((1, -1))
    torch.save(state, clip / "pytorch_model.bin")
    (clip / "model.safetensors").unlink()
    np.testing.assert_array_equal(features(build(clip), frames_view(pictures(2))), expected)


class _Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_is_refused_and_not_run(clip: Path, tmp_path: Path) -> None:
    (clip / "model.safetensors").unlink()
    torch.save({"x": _Runs(tmp_path / "ran")}, clip / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="more than tensors"):
        build(clip)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visual_projection__weight": None}, "lacks visual_projection.weight"),
        ({"vision_model__extra": torch.zeros(2)}, "unknown vision_model.extra"),
        (
            {"visual_projection__weight": torch.zeros(3, 32)},
            r"visual_projection.weight \(3, 32\) instead of \(12, 32\)",
        ),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(
    changes: dict[str, Any], message: str, clip: Path
) -> None:
    rewrite(clip, **changes)
    with pytest.raises(WeightsError, match=message):
        build(clip)


def test_truncated_weights_are_refused(clip: Path) -> None:
    path = clip / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="cannot be loaded"):
        build(clip)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_refused(name: str, clip: Path) -> None:
    (clip / name).unlink()
    with pytest.raises(WeightsError):
        build(clip)


def test_another_kind_of_model_is_refused(clip: Path) -> None:
    config = json.loads((clip / "config.json").read_text())
    (clip / "config.json").write_text(json.dumps(config | {"model_type": "siglip2"}))
    with pytest.raises(WeightsError, match="siglip2"):
        build(clip)


def test_preprocessing_of_another_size_is_refused(clip: Path) -> None:
    changed = CLIP_PREPROCESSOR | {"size": 64, "crop_size": 64}
    (clip / "preprocessor_config.json").write_text(json.dumps(changed))
    with pytest.raises(WeightsError, match="64 by 64"):
        build(clip)


def test_features_that_are_not_finite_are_refused(
    clip: Path, frames_view: Callable[..., Any]
) -> None:
    rewrite(clip, visual_projection__weight=torch.full((12, 32), torch.inf))
    with pytest.raises(WeightsError, match="not finite"):
        build(clip).extract(frames_view(pictures(1)))
