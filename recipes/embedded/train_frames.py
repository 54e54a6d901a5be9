"""Fine-tune EfficientNet-Lite0 into the network that scores the genres of an image.

It is trained for long, and by then knows the training images by heart: what a classifier learns
from its features of those images does not hold for others. So only its scores are used, and how far
to trust them is decided on validation films.

Stages: posters alone (film-like and clean crops), again from a high learning rate, then posters and
film stills together. Each stage leaves its checkpoint and a line of JSON per epoch with the mean
average precision on validation posters and validation stills; the checkpoints are compared on
stills by ``evaluate.py``.

    python recipes/embedded/train_frames.py --data ../shared/data \
        --checkpoint efficientnet-lite0-57934424.pth --out build/scores
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite import FEATURES, EfficientNetLite
from images import ImageSet, clean, film_like, load, test_crops
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from reelgenre.extractors.frame_input import encoder_input
from reelgenre.genres import GENRES


@dataclass(frozen=True)
class Stage:
    """One stage of the training.

    Attributes:
        epochs: how many.
        poster_share: of the posters, drawn anew each epoch.
        learning_rate: peak, of the output layer; the encoder takes a third of it.
        still_repeats: how often each training still comes in an epoch; 0 leaves stills out.
    """

    epochs: int
    learning_rate: float
    poster_share: float
    still_repeats: int


STAGES = {
    "posters-first": Stage(epochs=6, learning_rate=1e-3, poster_share=1.0, still_repeats=0),
    "posters": Stage(epochs=14, learning_rate=1e-3, poster_share=1.0, still_repeats=0),
    "stills": Stage(epochs=3, learning_rate=5e-4, poster_share=0.4, still_repeats=6),
}
BATCH = 48
WEIGHT_DECAY = 0.05
MIXUP = 0.3
EMA = 0.99


class GenreImageModel(nn.Module):
    """The encoder with a linear output layer: images [N, 160, 288, 3] uint8 to logits [N, 21]."""

    def __init__(self, encoder: EfficientNetLite) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(0.4)
        self.head = nn.Linear(FEATURES, len(GENRES))

    def forward(self, images: Tensor) -> Tensor:
        x = images.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
        logits: Tensor = self.head(self.dropout(self.encoder(x)))
        return logits

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> GenreImageModel:
        """The model that a stage left."""
        model = cls(EfficientNetLite("lite0"))
        model.load_state_dict(state)
        return model


class Crops(Dataset[tuple[NDArray[np.uint8], NDArray[np.float32]]]):
    """One epoch: a fresh random crop of each of its posters, and `repeats` of each still."""

    def __init__(self, posters: ImageSet, stills: ImageSet, stage: Stage, seed: int) -> None:
        self.posters, self.stills, self.seed = posters, stills, seed
        count = round(stage.poster_share * len(posters.images))
        self.drawn = np.random.default_rng(seed).permutation(len(posters.images))[:count]
        self.repeats = stage.still_repeats

    def __len__(self) -> int:
        return len(self.drawn) + self.repeats * len(self.stills.images)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        random = np.random.default_rng((self.seed, index))
        if index < len(self.drawn):
            image = self.posters.images[self.drawn[index]]
            crop = clean(image, random) if random.random() < 0.3 else film_like(image, random)
            return crop, self.posters.labels[self.drawn[index]]
        index = (index - len(self.drawn)) % len(self.stills.images)
        return film_like(self.stills.images[index], random, still=True), self.stills.labels[index]


@torch.inference_mode()
def logits_of(model: GenreImageModel, crops: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Logits float32 [N, 21] of prepared images."""
    model.eval()
    parts = []
    for start in range(0, len(crops), 64):
        batch = torch.from_numpy(np.stack(crops[start : start + 64]))
        with torch.autocast("cpu", torch.bfloat16):
            parts.append(model(batch).float().numpy())
    return np.concatenate(parts)


def mean_ap(labels: NDArray[np.float32], scores: NDArray[np.float32]) -> float:
    """Macro average precision over the genres that occur."""
    occurs = labels.any(axis=0)
    return float(average_precision_score(labels[:, occurs], scores[:, occurs], average="macro"))


def validate(model: GenreImageModel, posters: ImageSet, stills: ImageSet) -> dict[str, float]:
    """Mean average precision on posters (mean logit of three crops) and on stills."""
    crops = [test_crops(image)[::2] for image in posters.images]
    scores = logits_of(model, [c for three in crops for c in three]).reshape(len(crops), 3, -1)
    still_scores = logits_of(model, [encoder_input(image) for image in stills.images])
    return {
        "posters_map": 100 * mean_ap(posters.labels, scores.mean(axis=1)),
        "stills_map": 100 * mean_ap(stills.labels, still_scores),
        "stills_micro_ap": 100
        * float(average_precision_score(stills.labels, still_scores, average="micro")),
    }


def train_stage(
    name: str,
    stage: Stage,
    model: GenreImageModel,
    posters: ImageSet,
    stills: ImageSet,
    out: Path,
    seed: int,
) -> None:
    """Train one stage and leave `out/NAME.pt`, the running average of its weights."""
    encoder = [p for p in model.encoder.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        [
            {"params": encoder, "lr": stage.learning_rate / 3},
            {"params": model.head.parameters(), "lr": stage.learning_rate},
        ],
        weight_decay=WEIGHT_DECAY,
    )
    train_posters, train_stills = posters.only("trn"), stills.only("trn")
    val_posters, val_stills = posters.only("val"), stills.only("val")
    length = len(Crops(train_posters, train_stills, stage, 0))
    total = stage.epochs * math.ceil(length / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        [stage.learning_rate / 3, stage.learning_rate],
        total_steps=total,
        pct_start=0.1,
    )
    average = copy.deepcopy(model)
    loss_function = nn.BCEWithLogitsLoss()
    for epoch in range(stage.epochs):
        started = time.perf_counter()
        crops = Crops(train_posters, train_stills, stage, seed * 1000 + epoch)
        generator = torch.Generator().manual_seed(seed * 1000 + epoch)
        loader = DataLoader(crops, BATCH, shuffle=True, generator=generator, num_workers=1)
        losses: list[float] = []
        for images, labels in loader:
            model.train()
            # Running statistics stay ImageNet's: batches here are small and augmented.
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
            mix = float(np.random.default_rng((seed, epoch, len(losses))).beta(MIXUP, MIXUP))
            mixed = images.float().mul(mix).add(images.flip(0).float(), alpha=1 - mix)
            target = labels * mix + labels.flip(0) * (1 - mix)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(mixed)
            loss = loss_function(logits.float(), target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                for kept, now in zip(average.parameters(), model.parameters(), strict=True):
                    kept.lerp_(now, 1 - EMA)
            losses.append(loss.item())
        report = {
            "stage": name,
            "epoch": epoch + 1,
            "loss": float(np.mean(losses)),
            **validate(average, val_posters, val_stills),
            "seconds": time.perf_counter() - started,
        }
        print(json.dumps(report), flush=True)
        with (out / "log.jsonl").open("a") as log:
            log.write(json.dumps(report) + "\n")
        torch.save(average.state_dict(), out / f"{name}.pt")
    model.load_state_dict(average.state_dict())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", required=True, help="the packaged ImageNet weights (.pth)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    (arguments.out / "stages.json").write_text(
        json.dumps({name: asdict(stage) for name, stage in STAGES.items()}, indent=2)
    )
    posters = load(arguments.data / "posters.parquet")
    stills = load(arguments.data / "stills.parquet")
    model = GenreImageModel(EfficientNetLite.from_imagenet("lite0", arguments.checkpoint))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.encoder.freeze_stem()
    for name, stage in STAGES.items():
        done = arguments.out / f"{name}.done"
        if done.exists():
            # An earlier run got this far; its checkpoint is the start of the next stage.
            model.load_state_dict(torch.load(arguments.out / f"{name}.pt", weights_only=True))
            continue
        train_stage(name, stage, model, posters, stills, arguments.out, arguments.seed)
        done.touch()


if __name__ == "__main__":
    main()
