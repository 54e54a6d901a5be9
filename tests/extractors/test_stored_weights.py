from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from reelgenre.errors import WeightsError
from reelgenre.extractors.sessions import open_session
from reelgenre.extractors.stored_weights import METADATA, NORM_EPSILON, stored_weights

CHANNELS_IN, CHANNELS = 3, 6


@pytest.fixture
def network() -> nn.Sequential:
    """A convolution and a depthwise one, each with its normalisation."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(CHANNELS_IN, CHANNELS, (3, 5), bias=False),
        nn.BatchNorm2d(CHANNELS, eps=NORM_EPSILON),
        nn.Conv2d(CHANNELS, CHANNELS, 2, groups=CHANNELS, bias=False),
        nn.BatchNorm2d(CHANNELS, eps=NORM_EPSILON),
    )
    for norm in (network[1], network[3]):
        for numbers in norm.state_dict().values():
            if numbers.is_floating_point():
                numbers.uniform_(0.2, 2.0)
    return network.eval()


@pytest.fixture
def files(network: nn.Sequential, tmp_path: Path) -> tuple[Path, Path]:
    """An ONNX file without weights, and a checkpoint that has them among other bytes."""
    content, rows = bytearray(b"\x80\x02odd"), []

    def put(numbers: torch.Tensor) -> int:
        at = len(content)
        content.extend(numbers.detach().contiguous().numpy().astype("<f4").tobytes())
        content.extend(b"\x01")  # nothing is aligned
        return at

    for name, convolution, norm in (("a", network[0], network[1]), ("b", network[2], network[3])):
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        kernel = convolution.weight.permute(2, 3, 1, 0)
        parts = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        rows.append(
            {
                "weight": f"{name}.weight",
                "bias": f"{name}.bias",
                "shape": list(kernel.shape),
                "at": put(kernel),
                "norm": [put(part) for part in parts],
            }
        )
    initialisers = []
    for name, shape in {
        "a.weight": (CHANNELS, CHANNELS_IN, 3, 5),
        "a.bias": (CHANNELS,),
        "b.weight": (CHANNELS, 1, 2, 2),
        "b.bias": (CHANNELS,),
    }.items():
        lacking = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        lacking.data_location = TensorProto.EXTERNAL
        lacking.external_data.add(key="location", value="checkpoint")
        initialisers.append(lacking)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "a.weight", "a.bias"], ["h"]),
            helper.make_node("Conv", ["h", "b.weight", "b.bias"], ["y"], group=CHANNELS),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS_IN, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CHANNELS, 6, 4])],
        initialisers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"author": "test", METADATA: json.dumps(rows)})
    path, checkpoint = tmp_path / "model.onnx", tmp_path / "weights.pth"
    path.write_bytes(model.SerializeToString())
    checkpoint.write_bytes(bytes(content))
    return path, checkpoint


@torch.inference_mode()
def test_the_graph_computes_with_the_checkpoints_weights(
    network: nn.Sequential, files: tuple[Path, Path]
) -> None:
    model, checkpoint = files
    session = open_session(model, 1, checkpoint)
    x = torch.randn(1, CHANNELS_IN, 9, 9)
    (found,) = session.run(None, {"x": x.numpy()})
    np.testing.assert_allclose(found, network(x).numpy(), rtol=1e-4, atol=1e-4)


def test_without_them_the_file_is_no_model(files: tuple[Path, Path]) -> None:
    with pytest.raises(WeightsError, match="cannot load"):
        open_session(files[0], 1)


def test_a_checkpoint_that_ends_early_is_refused(files: tuple[Path, Path]) -> None:
    model, checkpoint = files
    checkpoint.write_bytes(checkpoint.read_bytes()[:-20])
    with pytest.raises(WeightsError, match="does not go with"):
        stored_weights(model.read_bytes(), checkpoint)


def test_a_file_that_names_no_such_weights_is_refused(files: tuple[Path, Path]) -> None:
    model, checkpoint = files
    whole = onnx.load(model, load_external_data=False)
    del whole.metadata_props[:]
    for content in (whole.SerializeToString(), b"\xff\xff not a model"):
        with pytest.raises(WeightsError, match="does not go with"):
            stored_weights(content, checkpoint)
