"""Faces and their expression: a detector in YuNet's format that finds red squares, a small ViT."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.extractors.paper.picture_models import (
    CELL,
    EXPRESSIONS,
    pictures,
    rewrite,
    save_expression_vit,
    save_red_detector,
)
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from reelgenre.errors import WeightsError
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.paper import face_emotion as room
from reelgenre.extractors.paper.face_detection import Face, YuNet
from reelgenre.extractors.settings import FaceEmotionSettings
from reelgenre.media import Frame


def scene(*cells: tuple[int, int], height: int = 192, width: int = 320) -> NDArray[np.uint8]:
    """A grey picture with red cells at these rows and columns of the grid."""
    image = np.full((height, width, 3), 90, np.uint8)
    for row, column in cells:
        image[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = (255, 0, 0)
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    (folder / "detector").mkdir()
    save_red_detector(folder / "detector" / "face_detection_yunet_2023mar.onnx")
    save_expression_vit(folder / "vit")
    return folder


@pytest.fixture(scope="module")
def detector(folder: Path) -> YuNet:
    return YuNet(folder / "detector" / "face_detection_yunet_2023mar.onnx", "0" * 64)


@pytest.fixture(scope="module")
def model(folder: Path) -> room.ExpressionModel:
    return room.ExpressionModel(folder / "vit", "1" * 64, torch.device("cpu"), torch.float32)


class Boxes:
    """A detector that is told what it finds."""

    identity = "boxes"

    def __init__(self, *found: Sequence[Face]) -> None:
        self._found = iter(found)

    def find(self, image: NDArray[np.uint8]) -> list[Face]:
        return list(next(self._found))


def face(left: int, top: int, side: int) -> Face:
    return Face(left, top, left + side, top + side, 0.9)


# Detection


def test_faces_are_found_where_they_are(detector: YuNet) -> None:
    assert detector.find(scene()) == []
    found = detector.find(scene((1, 2), (4, 7)))
    assert [(f.left, f.top, f.right, f.bottom) for f in found] == [
        (64, 32, 96, 64),
        (224, 128, 256, 160),
    ]
    assert all(0.99 < f.score < 1 for f in found)


def test_large_pictures_are_searched_small_and_boxes_are_in_their_pixels(detector: YuNet) -> None:
    # 1280 wide: searched at 640, where a cell of 64 is 32.
    small = scene((1, 2), height=352, width=640)
    large = cv2.resize(small, (1280, 704), interpolation=cv2.INTER_NEAREST)
    (found,) = detector.find(np.asarray(large, dtype=np.uint8))
    assert (found.left, found.top, found.right, found.bottom) == (128, 64, 192, 128)
    assert found.area == 64 * 64
    cut = found.cut(np.asarray(large, dtype=np.uint8))
    assert cut.shape == (64, 64, 3)
    assert (cut == (255, 0, 0)).all()


def test_boxes_end_at_the_edge(detector: YuNet) -> None:
    # The last cell reaches beyond the picture, which is padded for the search.
    (found,) = detector.find(scene((5, 9), height=190, width=318))
    assert (found.right, found.bottom) == (318, 190)


def test_the_largest_face_comes_first(detector: YuNet) -> None:
    # The first cell of the picture ends at its edge, four pixels before its own.
    found = detector.find(scene((0, 9), (3, 1), width=316))
    assert [f.area for f in found] == [32 * 32, 28 * 32]


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (300, 7), (1080, 1920)])
def test_any_shape_is_searched(shape: tuple[int, int], detector: YuNet) -> None:
    assert detector.find(np.zeros((*shape, 3), np.uint8)) == []


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_damaged_detector_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match="YuNet"):
        YuNet(tmp_path / "x.onnx", "0" * 64)


def test_a_truncated_detector_is_refused(folder: Path, tmp_path: Path) -> None:
    content = (folder / "detector" / "face_detection_yunet_2023mar.onnx").read_bytes()
    (tmp_path / "x.onnx").write_bytes(content[:-200])
    with pytest.raises(WeightsError, match="YuNet"):
        YuNet(tmp_path / "x.onnx", "0" * 64)


# Expression


def test_features_and_probabilities_are_those_of_transformers(
    folder: Path, model: room.ExpressionModel
) -> None:
    reference = save_expression_vit(folder / "vit")
    faces = pictures(3, 50, 40)
    processor = ViTImageProcessorPil.from_pretrained(folder / "vit")
    pixels = processor(faces, input_data_format="channels_last", return_tensors="pt")
    with torch.no_grad():
        logits = reference(**pixels).logits
        normalised = reference.vit(**pixels).last_hidden_state[:, 0].numpy()
        read = model.read(faces)
        # The last layer's output, whose normalisation the classifier reads.
        again = reference.vit.layernorm(torch.from_numpy(read.features))
    np.testing.assert_allclose(again.numpy(), normalised, atol=1e-4)
    assert np.abs(read.features - normalised).max() > 0.1
    best = logits.softmax(dim=-1).max(dim=-1)
    np.testing.assert_allclose(read.probabilities, best.values, atol=1e-5)
    assert read.labels == tuple(EXPRESSIONS[i] for i in best.indices)


def test_a_step_is_the_mean_of_the_two_largest_faces(
    model: room.ExpressionModel, frames_view: Callable[..., Any]
) -> None:
    images = pictures(4)
    boxes = [
        [face(0, 0, 60), face(70, 10, 40), face(120, 50, 20)],
        [],
        [face(10, 5, 30)],
        [],
    ]
    extraction = room.FaceEmotion("face_emotion", Boxes(*boxes), model).extract(frames_view(images))
    assert extraction is not None
    sequence = extraction.sequence
    np.testing.assert_array_equal(sequence.times, [[0, 2], [4, 6]])
    first = model.read([images[0][:60, :60], images[0][10:50, 70:110]])
    np.testing.assert_allclose(sequence.values[0], first.features.mean(axis=0), atol=1e-5)
    third = model.read([images[2][5:35, 10:40]])
    np.testing.assert_allclose(sequence.values[1], third.features[0], atol=1e-5)
    told = [(e.kind, e.start, e.text, e.step) for e in extraction.evidence]
    assert told == [
        ("face", 1.0, first.labels[0], 0),
        ("face", 1.0, first.labels[1], 0),
        ("face", 5.0, third.labels[0], 1),
    ]
    scores = [e.score for e in extraction.evidence]
    expected = [*first.probabilities, *third.probabilities]
    np.testing.assert_allclose(np.array(scores, float), expected, atol=1e-5)


def test_no_face_and_no_picture_are_none(
    detector: YuNet, model: room.ExpressionModel, frames_view: Callable[..., Any]
) -> None:
    extractor = room.FaceEmotion("face_emotion", detector, model)
    for images in ([], [np.zeros((50, 90, 3), np.uint8)] * 3, [scene()]):
        view = frames_view(images)
        assert extractor.extract(view) is None
        assert view.ended


def test_batch_size_does_not_change_the_features(
    detector: YuNet,
    model: room.ExpressionModel,
    frames_view: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extractor = room.FaceEmotion("face_emotion", detector, model)
    noise = np.random.default_rng(0)
    images = []
    for index in range(20):
        image = scene(*[(row, index % 7) for row in range(index % 4)])
        # Faces that differ, each still red.
        reds = image[..., 0] == 255
        image[reds] = noise.integers((225, 0, 0), (255, 30, 30), (int(reds.sum()), 3))
        images.append(image)
    expected = extractor.extract(frames_view(images))
    assert expected is not None
    assert expected.sequence.steps == 15
    for size in (1, 3, 64):
        monkeypatch.setattr(room, "_BATCH", size)
        got = extractor.extract(frames_view(images))
        assert got is not None
        np.testing.assert_array_equal(got.sequence.times, expected.sequence.times)
        np.testing.assert_allclose(got.sequence.values, expected.sequence.values, atol=1e-4)


def test_faces_are_found_in_several_threads_at_once(detector: YuNet) -> None:
    images = [scene(*[(row, 1 + row) for row in range(number)]) for number in range(4)]
    # Of unlike sizes, which a detector of OpenCV's is set to before each picture.
    images = [image[: len(image) - 8 * i] for i, image in enumerate(images)]
    alone = [detector.find(image) for image in images]
    assert len({len(faces) for faces in alone}) > 2
    start = threading.Barrier(len(images))

    def work(number: int) -> list[list[Face]]:
        start.wait(10)
        return [detector.find(images[(number + turn) % len(images)]) for turn in range(12)]

    with ThreadPoolExecutor(len(images)) as pool:
        for number, found in enumerate(pool.map(work, range(len(images)))):
            assert found == [alone[(number + turn) % len(images)] for turn in range(12)]
    assert len(detector._idle) <= len(images)


def test_a_long_video_is_read_in_batches(model: room.ExpressionModel) -> None:
    waiting = most = 0

    class Counting(Boxes):
        def find(self, image: NDArray[np.uint8]) -> list[Face]:
            nonlocal waiting
            waiting -= 1
            return [face(0, 0, 20)]

    class View:
        def frames(self) -> Iterator[Frame]:
            nonlocal waiting, most
            for index in range(300):
                waiting += 1
                most = max(most, waiting)
                image = np.full((24, 32, 3), index % 200, np.uint8)
                yield Frame(image, index + 0.5, (float(index), index + 1.0))

    extraction = room.FaceEmotion("x", Counting(), model).extract(View())  # type: ignore[arg-type]
    assert extraction is not None
    assert extraction.sequence.steps == 300
    assert most <= room._BATCH


def test_the_builder_loads_folders_of_the_users_own(
    folder: Path, frames_view: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    settings = FaceEmotionSettings(
        kind="face_emotion", detector="./detector", weights="./vit", precision="fp32"
    )
    first, second = (room.face_emotion(settings, Loading(folder, device="cpu")) for _ in "ab")
    assert capfd.readouterr() == ("", "")
    assert first.spec == second.spec
    assert (first.spec.name, first.spec.dim) == ("face_emotion", 32)
    images = [scene((0, 1), (3, 3)), scene(), scene((2, 2))]
    a, b = first.extract(frames_view(images)), second.extract(frames_view(images))
    assert a is not None
    assert b is not None
    np.testing.assert_array_equal(a.sequence.values, b.sequence.values)
    np.testing.assert_array_equal(a.sequence.times, [[0, 2], [4, 6]])


def test_a_classifier_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    save_expression_vit(tmp_path)
    rewrite(tmp_path, classifier__weight=None)
    with pytest.raises(WeightsError, match=r"lacks classifier\.weight"):
        room.ExpressionModel(tmp_path, "x", torch.device("cpu"), torch.float32)
