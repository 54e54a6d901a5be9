"""Small random image models in the published formats, and pictures for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import onnx
import torch
from benchmarks.table3_models import CLIP_PREPROCESSOR as PUBLISHED_CLIP
from benchmarks.table3_models import VIT_PREPROCESSOR as PUBLISHED_VIT
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    PreTrainedModel,
    SiglipConfig,
    SiglipModel,
    ViTConfig,
    ViTForImageClassification,
)

Model = TypeVar("Model", bound=PreTrainedModel)

SIZE = 32
_TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": SIZE,
    "patch_size": 8,
}
_TEXT = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
# As the published files have them, but smaller: CLIP's is of the old kind, with bare numbers.
CLIP_PREPROCESSOR: dict[str, Any] = PUBLISHED_CLIP | {"size": SIZE, "crop_size": SIZE}
SIGLIP_PREPROCESSOR: dict[str, Any] = {
    "do_convert_rgb": None,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "SiglipImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": SIZE, "width": SIZE},
}
VIT_PREPROCESSOR: dict[str, Any] = PUBLISHED_VIT | {"size": SIZE}
CELL = 32
EXPRESSIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def save_clip(folder: Path, seed: int = 0, width: int = 12) -> CLIPModel:
    """A whole CLIP, text tower and all, as it is published; its features are ``width`` wide."""
    torch.manual_seed(seed)
    model = CLIPModel(
        CLIPConfig(
            text_config=dict(_TEXT, projection_dim=width),
            vision_config=dict(_TOWER, projection_dim=width),
            projection_dim=width,
        )
    )
    return _save(model, folder, CLIP_PREPROCESSOR)


def save_siglip(folder: Path) -> SiglipModel:
    torch.manual_seed(1)
    config = SiglipConfig(text_config=dict(_TEXT, projection_size=32), vision_config=_TOWER)
    return _save(SiglipModel(config), folder, SIGLIP_PREPROCESSOR)


def save_expression_vit(folder: Path, width: int = 32) -> ViTForImageClassification:
    torch.manual_seed(2)
    config = ViTConfig(
        **{**_TOWER, "hidden_size": width},  # type: ignore[arg-type]
        id2label=dict(enumerate(EXPRESSIONS)),
        label2id={label: i for i, label in enumerate(EXPRESSIONS)},
    )
    return _save(ViTForImageClassification(config), folder, VIT_PREPROCESSOR)


def _save(model: Model, folder: Path, preprocessor: dict[str, Any]) -> Model:
    # Larger weights than a fresh model has, so that features differ well between pictures.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    untyped: Any = model
    untyped.eval()
    return model


def save_red_detector(path: Path) -> None:
    """An ONNX file with YuNet's inputs and outputs whose faces are red cells of 32 pixels.

    At strides 8, 16 and 32 YuNet gives per cell two scores, a box (centre and log of the size, in
    strides) and five points. Here the scores are how red the cell is, at stride 32 alone.
    """
    nodes, outputs, constants = [], [], []

    def constant(name: str, value: Any, kind: Any = np.float32) -> str:
        constants.append(numpy_helper.from_array(np.array(value, dtype=kind), name))
        return name

    def layer(out: str, width: int, weights: Any, bias: Any, stride: int) -> None:
        name = f"{out}_{stride}"
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, width]))
        w, b = constant(f"w_{name}", weights), constant(f"b_{name}", bias)
        shape = constant(f"shape_{name}", [1, -1, width], np.int64)
        nodes.extend(
            [
                helper.make_node("Conv", [f"cells_{stride}", w, b], [f"map_{name}"]),
                helper.make_node("Transpose", [f"map_{name}"], [f"last_{name}"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"last_{name}", shape], [f"flat_{name}"]),
                helper.make_node("Sigmoid" if width == 1 else "Identity", [f"flat_{name}"], [name]),
            ]
        )

    for stride in (8, 16, 32):
        nodes.append(
            helper.make_node(
                "AveragePool",
                ["input"],
                [f"cells_{stride}"],
                kernel_shape=[stride, stride],
                strides=[stride, stride],
            )
        )
        # Blue, green, red: OpenCV's order.
        red = np.reshape([-0.5, -0.5, 1.0], (1, 3, 1, 1)) / 20
        for score in ("cls", "obj"):
            layer(score, 1, red, [-5.0 if stride == CELL else -90.0], stride)
        layer("bbox", 4, np.zeros((4, 3, 1, 1)), [0.5, 0.5, 0.0, 0.0], stride)
        layer("kps", 10, np.zeros((10, 3, 1, 1)), np.zeros(10), stride)
    order = {"cls": 0, "obj": 1, "bbox": 2, "kps": 3}
    outputs.sort(key=lambda value: order[value.name.split("_")[0]])
    graph = helper.make_graph(
        nodes,
        "red",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 640, 640])],
        outputs,
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def rewrite(folder: Path, **changes: torch.Tensor | None) -> None:
    """Change tensors of a checkpoint by name (dots as two underscores); None takes one away."""
    state = load_file(folder / "model.safetensors")
    for name, tensor in changes.items():
        key = name.replace("__", ".")
        if tensor is None:
            del state[key]
        else:
            state[key] = tensor
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def pictures(count: int, height: int = 90, width: int = 160) -> list[NDArray[np.uint8]]:
    """Smooth coloured pictures, each different."""
    generator = np.random.default_rng(count)
    small = generator.integers(0, 256, (count, 6, 10, 3), dtype=np.uint8)
    return [
        np.asarray(cv2.resize(p, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        for p in small
    ]


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each row of one with the same row of the other."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / lengths)
