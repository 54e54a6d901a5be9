"""Encode posters and stills with the shipped image encoder: what the frames expert trains on.

Of each image the fixed crops it is measured with and some film-like ones, as one bag per image.

    python recipes/embedded/image_features.py --data ../shared/data --encoder frame_encoder.onnx \
        --checkpoint efficientnet-lite2-9656183e.pth --out build/images
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from array_set import ArraySet
from images import ImageSet, film_like, fixed_crops, load
from numpy.typing import NDArray

from reelgenre.extractors.frames import FrameEncoder
from reelgenre.genres import GENRES

FILM_LIKE = {"posters": 3, "stills": 6}


@dataclass(frozen=True)
class ImageFeatures(ArraySet):
    """Features of the crops of images.

    Attributes:
        fixed: float16 [N, F, D], of the crops that are the same every time.
        varied: float16 [N, V, D], of random film-like crops.
        labels: float32 [N, 21].
        films: IMDb ids [N].
        splits: [N].
    """

    fixed: NDArray[np.float16]
    varied: NDArray[np.float16]
    labels: NDArray[np.float32]
    films: NDArray[np.str_]
    splits: NDArray[np.str_]

    def without_scores(self) -> ImageFeatures:
        """Only the features: of the films that the encoder was trained on its scores are right."""
        return replace(
            self,
            fixed=self.fixed[..., : -len(GENRES)],
            varied=self.varied[..., : -len(GENRES)],
        )


def encode(kind: str, images: ImageSet, encoder: FrameEncoder) -> ImageFeatures:
    """Crop and encode a whole set; the random crops depend on the image's place alone."""
    fixed, varied = [], []
    for index, image in enumerate(images.images):
        random = np.random.default_rng((7, index))
        still = kind == "stills"
        crops = fixed_crops(kind, image)
        count = len(crops)
        crops += [film_like(image, random, still=still) for _ in range(FILM_LIKE[kind])]
        features = encoder.encode(np.stack(crops)).astype(np.float16)
        fixed.append(features[:count])
        varied.append(features[count:])
        if index % 500 == 0:
            print(f"{kind}: {index}/{len(images.images)}", flush=True)
    return ImageFeatures(
        np.stack(fixed), np.stack(varied), images.labels, images.films, images.splits
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "encoder", "checkpoint", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    encoder = FrameEncoder(arguments.encoder, "training", checkpoint=arguments.checkpoint)
    for kind in ("stills", "posters"):
        features = encode(kind, load(arguments.data / f"{kind}.parquet"), encoder)
        features.save(arguments.out / f"{kind}.npz")


if __name__ == "__main__":
    main()
