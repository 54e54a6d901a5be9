"""Posters and stills as training images: film-like crops, and the sets they come from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from reelgenre.extractors.frame_input import encoder_input
from reelgenre.genres import GENRES

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class ImageSet:
    """Films' images with their labels, all decoded.

    Attributes:
        images: RGB uint8 [H, W, 3] each, sizes differ.
        labels: float32 [N, 21] multi-hot.
        films: IMDb id of each image.
        splits: ``trn``, ``val`` or ``tst`` of each image (see :func:`stills_split`).
    """

    images: list[Image]
    labels: NDArray[np.float32]
    films: NDArray[np.str_]
    splits: NDArray[np.str_]

    def only(self, *splits: str) -> ImageSet:
        """The images of these splits."""
        keep = np.flatnonzero(np.isin(self.splits, splits))
        return ImageSet(
            [self.images[i] for i in keep], self.labels[keep], self.films[keep], self.splits[keep]
        )


def stills_split(imdb_id: str, split: str) -> str:
    """MovieNet's own split; films outside MovieNet (`extra`) are dealt by a hash of their id.

    Six of ten go to training, two to validation, two to the test, so that both are larger than
    the 28 and 55 stills that MovieNet's own split has.
    """
    if split != "extra":
        return split
    bucket = int(hashlib.sha256(imdb_id.encode()).hexdigest(), 16) % 10
    return "trn" if bucket < 6 else "val" if bucket < 8 else "tst"


def multi_hot(genres: list[str]) -> NDArray[np.float32]:
    """Labels float32 [21] of a list of genre names; names outside the 21 are passed over."""
    return np.array([genre in genres for genre in GENRES], dtype=np.float32)


def log_odds(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-odds of prevalences; what is rarer than half a percent counts as half a percent."""
    kept = np.clip(shares, 0.005, 0.995)
    odds: NDArray[np.float32] = np.log(kept / (1 - kept)).astype(np.float32)
    return odds


def load(path: Path) -> ImageSet:
    """Read and decode `posters.parquet` or `stills.parquet`."""
    table = pq.read_table(path, columns=["imdb_id", "split", "genres", "jpeg"]).to_pylist()
    images = [decoded(row["jpeg"]) for row in table]
    return ImageSet(
        images,
        np.stack([multi_hot(row["genres"]) for row in table]),
        np.array([row["imdb_id"] for row in table]),
        np.array([stills_split(row["imdb_id"], row["split"]) for row in table]),
    )


def decoded(jpeg: bytes) -> Image:
    """RGB uint8 [H, W, 3] of a JPEG file.

    Raises:
        ValueError: it is none.
    """
    picture = cv2.imdecode(np.frombuffer(jpeg, dtype=np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("not a JPEG")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def film_like(image: Image, random: np.random.Generator, *, still: bool = False) -> Image:
    """A random crop that looks as a frame of a film might: uint8 [160, 288, 3].

    From a poster: a landscape piece of it (posters carry their title low, frames carry none, so
    the upper part is preferred), darkened, desaturated, blurred, letterboxed at random. From a
    still: nearly the whole of it.
    """
    height, width = image.shape[:2]
    aspect = random.uniform(1.3, 2.39)
    scale = random.uniform(0.7, 1.0) if still else random.uniform(0.6, 1.0)
    crop_width = int(min(width * scale, height * scale * aspect))
    crop_height = int(min(crop_width / aspect, height))
    left = int(random.integers(0, width - crop_width + 1))
    room = height - crop_height
    top = int(random.uniform(0, 1) * room * (1.0 if still or random.random() < 0.3 else 0.6))
    crop = image[top : top + crop_height, left : left + crop_width]
    if random.random() < 0.5:
        crop = crop[:, ::-1]
    crop = encoder_input(np.ascontiguousarray(crop))
    crop = _graded(crop, random)
    if random.random() < 0.25:
        blurred = cv2.GaussianBlur(crop, (0, 0), random.uniform(0.4, 1.6))
        crop = np.asarray(blurred, dtype=np.uint8)
    if random.random() < 0.1:
        bar = int(random.integers(4, 20))
        crop = crop.copy()
        crop[:bar] = 0
        crop[-bar:] = 0
    return crop


def clean(image: Image, random: np.random.Generator) -> Image:
    """A poster nearly as it is, seen through the encoder's window: uint8 [160, 288, 3]."""
    height, width = image.shape[:2]
    crop_height = int(width * random.uniform(0.6, 1.0) / 1.25)
    top = int(random.integers(0, max(1, height - crop_height)))
    crop = image[top : top + crop_height]
    if random.random() < 0.5:
        crop = crop[:, ::-1]
    return encoder_input(np.ascontiguousarray(crop))


def fixed_crops(kind: str, image: Image) -> list[Image]:
    """The crops of a poster or a still that are the same every time: uint8 [160, 288, 3] each."""
    return test_crops(image) if kind == "posters" else [encoder_input(image)]


def test_crops(image: Image) -> list[Image]:
    """The five fixed landscape crops that a poster is measured with: uint8 [160, 288, 3] each."""
    height, width = image.shape[:2]
    crop_height = min(height, int(width / 1.5))
    tops = np.linspace(0, height - crop_height, 5).astype(int)
    return [encoder_input(image[top : top + crop_height]) for top in tops]


def _graded(image: Image, random: np.random.Generator) -> Image:
    """Random gamma, gain, contrast and saturation, mostly towards the dark."""
    x = image.astype(np.float32) / 255.0
    x = x ** random.uniform(0.8, 1.9) if random.random() < 0.6 else x
    x = x * random.uniform(0.45, 1.1)
    if random.random() < 0.4:
        grey = x.mean(axis=2, keepdims=True)
        keep = 0.0 if random.random() < 0.3 else random.uniform(0.3, 1.2)
        x = grey + (x - grey) * keep
    if random.random() < 0.3:
        x = x * random.uniform(0.85, 1.15, size=3).astype(np.float32)
    return np.asarray(np.clip(x * 255.0, 0, 255), dtype=np.uint8)
