"""Write the image encoder as the ONNX file that is shipped.

Of each image it gives the features of EfficientNet-Lite2 as ImageNet left it, and behind them the
scores of the genres by our fine-tuned network: its log-odds less those of the genres' shares of the
training posters, so that 0 says nothing.

The file holds our own weights only, stored as float16 (half the size) and computed with as float32.
For ImageNet's it says where they stand in the checkpoint that a package carries, and the extractor
reads them there (:mod:`reelgenre.extractors.stored_weights`). The file takes uint8 [N, 160, 288, 3]
RGB and scales it itself. What it gives is checked against torch before it gets its name.

    python recipes/embedded/export_frames.py --data ../shared/data --scores build/scores/stills.pt \
        --checkpoint efficientnet-lite2-9656183e.pth --out frame_encoder.onnx
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import torch
from efficientnet_lite import EfficientNetLite
from images import log_odds, multi_hot
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from train_frames import GenreImageModel

from reelgenre.extractors.frame_input import INPUT_HEIGHT, INPUT_WIDTH
from reelgenre.extractors.stored_weights import METADATA, stored_weights
from reelgenre.files import atomic_write
from reelgenre.onnx_sessions import cpu_session

_LARGE = 1024  # elements; smaller tensors stay float32
_TOLERANCE = 2e-2  # relative, of float16 weights


class ShippedEncoder(nn.Module):
    """Images uint8 [N, H, W, 3] to features and scores [N, 1280 + 21]."""

    neutral: Tensor

    def __init__(
        self, imagenet: EfficientNetLite, scores: GenreImageModel, neutral: Tensor
    ) -> None:
        super().__init__()
        self.imagenet, self.scores = imagenet, scores
        self.register_buffer("neutral", neutral)

    def forward(self, images: Tensor) -> Tensor:
        scores = self.scores(images) - self.neutral
        scaled = images.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
        return torch.cat([self.imagenet(scaled), scores], dim=1)


def with_half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store large float32 weights as float16, each with a Cast behind it."""
    graph = model.graph
    casts = []
    for weight in graph.initializer:
        if weight.data_location == TensorProto.EXTERNAL:
            continue
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < _LARGE:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)
    return model


def without_imagenet(
    model: onnx.ModelProto, imagenet: EfficientNetLite, checkpoint: Path
) -> onnx.ModelProto:
    """Put the places of ImageNet's weights in the checkpoint where the weights themselves were."""
    content = checkpoint.read_bytes()
    modules = dict(imagenet.named_modules())
    initialisers = {weight.name: weight for weight in model.graph.initializer}
    rows = []
    for node in model.graph.node:
        name = next((i for i in node.input if i.startswith("imagenet.")), None)
        if node.op_type != "Conv" or name is None:
            continue
        place = name.removeprefix("imagenet.").removesuffix(".weight")
        kernel = modules[place].weight.permute(2, 3, 1, 0)
        norm = modules[_norm_of(place)]
        parts = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        rows.append(
            {
                "weight": name,
                "bias": node.input[2],
                "shape": list(kernel.shape),
                "at": _place(kernel, content),
                "norm": [_place(part, content) for part in parts],
            }
        )
        for lacking in (name, node.input[2]):
            weight = initialisers[lacking]
            weight.ClearField("raw_data")
            weight.data_location = TensorProto.EXTERNAL
            weight.external_data.add(key="location", value=checkpoint.name)
    helper.set_model_props(model, {METADATA: json.dumps(rows, separators=(",", ":"))})
    return model


def _norm_of(convolution: str) -> str:
    """The name of the normalisation behind a convolution of EfficientNetLite."""
    parent, _, name = convolution.rpartition(".")
    own = {
        "_conv_stem": "_bn0",
        "_conv_head": "_bn1",
        "_expand_conv": "_bn0",
        "_depthwise_conv": "_bn1",
        "_project_conv": "_bn2",
    }[name]
    return f"{parent}.{own}" if parent else own


def _place(tensor: Tensor, content: bytes) -> int:
    """Where the numbers of a tensor stand."""
    pattern = tensor.detach().contiguous().numpy().astype("<f4").tobytes()
    at = content.index(pattern)
    if content.find(pattern, at + 1) >= 0:
        raise ValueError("the same numbers stand in two places of the checkpoint")
    return at


def neutral_scores(posters: Path) -> Tensor:
    """Log-odds [21] of the genres' shares of the training posters."""
    rows = pq.read_table(posters, columns=["split", "genres"]).to_pylist()
    labels = np.stack([multi_hot(row["genres"]) for row in rows if row["split"] == "trn"])
    return torch.from_numpy(log_odds(labels.mean(axis=0)))


def export(checkpoint: Path, scores: Path, posters: Path, out: Path) -> None:
    """Export, halve, leave out ImageNet's weights, check against torch, write.

    Raises:
        ValueError: what ONNX gives differs from torch's by more than float16 weights explain.
    """
    imagenet = EfficientNetLite.from_imagenet("lite2", str(checkpoint))
    state = torch.load(scores, map_location="cpu", weights_only=True)
    model = ShippedEncoder(
        imagenet, GenreImageModel.from_state(state), neutral_scores(posters)
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
    whole = without_imagenet(program.model_proto, imagenet, checkpoint)
    data = with_half_weights(whole).SerializeToString()
    with torch.inference_mode():
        expected = model(example).numpy()
    session = cpu_session(data, weights=stored_weights(data, checkpoint))
    actual = session.run(None, {"images": example.numpy()})[0]
    difference = float(np.abs(actual - expected).max() / np.abs(expected).max())
    if difference > _TOLERANCE:
        raise ValueError(f"ONNX and torch differ by {difference:.1e} of the largest feature")
    with atomic_write(out) as file:
        file.write(data)
    print(f"{out}: {len(data) / 1e6:.1f} MB, largest difference {difference:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "checkpoint", "scores", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    export(
        arguments.checkpoint, arguments.scores, arguments.data / "posters.parquet", arguments.out
    )


if __name__ == "__main__":
    main()
