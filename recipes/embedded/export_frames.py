"""Write the two trained networks as the one ONNX file that is shipped.

Of each image it gives the features of the network that was trained briefly, and behind them the
scores of the genres by the one that was trained for long: its log-odds less those of the genres'
shares of the training posters, so that 0 says nothing.

The file takes uint8 [N, 160, 288, 3] RGB and scales it itself; weights are stored as float16 (half
the size) and computed with as float32. What it gives is checked against torch before the file gets
its name.

    python recipes/embedded/export_frames.py --data ../shared/data --scores build/scores/stills.pt \
        --features build/features/stills.pt --out frame_encoder.onnx
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet as pq
import torch
from images import log_odds, multi_hot
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from train_frames import PLANS, GenreImageModel

from reelgenre.extractors.frame_input import INPUT_HEIGHT, INPUT_WIDTH
from reelgenre.files import atomic_write

_LARGE = 1024  # elements; smaller tensors stay float32
_TOLERANCE = 2e-2  # relative, of float16 weights


class ShippedEncoder(nn.Module):
    """Images uint8 [N, H, W, 3] to features and scores [N, 1280 + 21]."""

    neutral: Tensor

    def __init__(self, features: GenreImageModel, scores: GenreImageModel, neutral: Tensor) -> None:
        super().__init__()
        self.features, self.scores = features.encoder, scores
        self.register_buffer("neutral", neutral)

    def forward(self, images: Tensor) -> Tensor:
        scores = self.scores(images) - self.neutral
        scaled = images.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
        return torch.cat([self.features(scaled), scores], dim=1)


def with_half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large float32 weights as float16, each with a Cast behind it."""
    graph = model.graph
    casts = []
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < _LARGE:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)
    onnx.checker.check_model(model)
    return model


def trained(plan: str, weights: Path) -> GenreImageModel:
    """What ``train_frames.py`` left."""
    state = torch.load(weights, map_location="cpu", weights_only=True)
    return GenreImageModel.from_state(PLANS[plan].variant, state)


def neutral_scores(posters: Path) -> Tensor:
    """Log-odds [21] of the genres' shares of the training posters."""
    rows = pq.read_table(posters, columns=["split", "genres"]).to_pylist()
    labels = np.stack([multi_hot(row["genres"]) for row in rows if row["split"] == "trn"])
    return torch.from_numpy(log_odds(labels.mean(axis=0)))


def export(features: Path, scores: Path, posters: Path, out: Path) -> None:
    """Export, halve, check against torch, write.

    Raises:
        ValueError: what ONNX gives differs from torch's by more than float16 weights explain.
    """
    model = ShippedEncoder(
        trained("features", features), trained("scores", scores), neutral_scores(posters)
    ).eval()
    example = torch.randint(0, 256, (2, INPUT_HEIGHT, INPUT_WIDTH, 3), dtype=torch.uint8)
    program = torch.onnx.export(
        model,
        (example,),
        input_names=["images"],
        output_names=["features"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        opset_version=18,
        dynamo=True,
        optimize=True,
    )
    assert program is not None
    data = with_half_weights(program.model_proto).SerializeToString()
    with torch.inference_mode():
        expected = model(example).numpy()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    actual = session.run(None, {"images": example.numpy()})[0]
    difference = float(np.abs(actual - expected).max() / np.abs(expected).max())
    if difference > _TOLERANCE:
        raise ValueError(f"ONNX and torch differ by {difference:.1e} of the largest feature")
    with atomic_write(out) as file:
        file.write(data)
    print(f"{out}: {len(data) / 1e6:.1f} MB, largest difference {difference:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "features", "scores", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    export(arguments.features, arguments.scores, arguments.data / "posters.parquet", arguments.out)


if __name__ == "__main__":
    main()
