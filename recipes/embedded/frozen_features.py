"""What ImageNet's own network sees in posters and stills, which no training of ours has touched.

For the floor that the classifier is compared with (``floor.py``), and for how much the frames of
one film have in common (``frame_correlation.py``).

    python recipes/embedded/frozen_features.py --data ../shared/data \
        --checkpoint efficientnet-lite0-57934424.pth --out build/images
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from array_set import ArraySet
from efficientnet_lite import FEATURES, EfficientNetLite
from images import ImageSet, fixed_crops, load
from numpy.typing import NDArray


@dataclass(frozen=True)
class FrozenFeatures(ArraySet):
    """Pooled ImageNet features of images.

    Attributes:
        means: float32 [N, 1280]; of a poster the average over its five fixed crops.
        labels: float32 [N, 21].
        films: IMDb ids [N].
        splits: [N].
    """

    means: NDArray[np.float32]
    labels: NDArray[np.float32]
    films: NDArray[np.str_]
    splits: NDArray[np.str_]


@torch.inference_mode()
def encode(kind: str, images: ImageSet, network: EfficientNetLite) -> FrozenFeatures:
    """Crop and encode a whole set."""
    means = np.empty((len(images.images), FEATURES), np.float32)
    for row, image in enumerate(images.images):
        pixels = torch.from_numpy(np.stack(fixed_crops(kind, image))).permute(0, 3, 1, 2)
        with torch.autocast("cpu", torch.bfloat16):
            means[row] = network(pixels.float().div(127.5).sub(1.0)).float().mean(dim=0).numpy()
    return FrozenFeatures(means, images.labels, images.films, images.splits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", required=True, help="the packaged Lite0 weights (.pth)")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    network = EfficientNetLite.from_imagenet("lite0", arguments.checkpoint).eval()
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for kind in ("stills", "posters"):
        features = encode(kind, load(arguments.data / f"{kind}.parquet"), network)
        features.save(arguments.out / f"{kind}_imagenet.npz")


if __name__ == "__main__":
    main()
