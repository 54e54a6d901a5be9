"""Write the trained image encoder as the ONNX file that is shipped.

It has two upper branches over the blocks that fine-tuning left alone: the fine-tuned one knows
genres, ImageNet's own knows things, and the features of both side by side serve better than either.

The file takes uint8 [N, 160, 288, 3] RGB and scales it itself; weights are stored as float16 (half
the size) and computed with as float32. The features are checked against torch before the file gets
its name.

    python recipes/embedded/export_frames.py --weights build/frames/stills.pt \
        --checkpoint efficientnet-lite0-57934424.pth --out frame_encoder.onnx
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from efficientnet_lite import EfficientNetLite0
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from train_frames import GenreImageModel

from reelgenre.extractors.frame_input import INPUT_HEIGHT, INPUT_WIDTH
from reelgenre.files import atomic_write

_LARGE = 1024  # elements; smaller tensors stay float32
_TOLERANCE = 2e-2  # relative, of float16 weights


class ShippedEncoder(nn.Module):
    """Images uint8 [N, H, W, 3] to features [N, 2560]: fine-tuned, then ImageNet's."""

    def __init__(self, tuned: EfficientNetLite0, imagenet: EfficientNetLite0) -> None:
        super().__init__()
        self.tuned, self.imagenet = tuned, imagenet

    def forward(self, images: Tensor) -> Tensor:
        maps = self.tuned.lower(images.permute(0, 3, 1, 2).float().div(127.5).sub(1.0))
        return torch.cat([self.tuned.upper(maps), self.imagenet.upper(maps)], dim=1)


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


def export(weights: Path, checkpoint: Path, out: Path) -> None:
    """Export, halve, check against torch, write.

    Raises:
        ValueError: the ONNX features differ from torch's by more than float16 weights explain.
    """
    state = torch.load(weights, map_location="cpu", weights_only=True)
    model = ShippedEncoder(
        GenreImageModel.from_state(state).encoder, EfficientNetLite0.from_imagenet(str(checkpoint))
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
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True, help="ImageNet weights (.pth)")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    export(arguments.weights, arguments.checkpoint, arguments.out)


if __name__ == "__main__":
    main()
