"""External data is found wherever a tensor can hide; models are built with the onnx package."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from reelgenre.classifiers.onnx_check import has_external_data


def inside() -> TensorProto:
    return numpy_helper.from_array(np.arange(300, dtype=np.float32), "w")


def outside() -> TensorProto:
    tensor = inside()
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def location_only() -> TensorProto:
    tensor = inside()
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def entry_only() -> TensorProto:
    tensor = inside()
    tensor.external_data.add(key="location", value="w.bin")
    return tensor


def graph(tensor: TensorProto) -> onnx.GraphProto:
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [y], [tensor])


def as_initializer(tensor: TensorProto) -> onnx.ModelProto:
    return helper.make_model(graph(tensor))


def as_attribute(tensor: TensorProto) -> onnx.ModelProto:
    model = as_initializer(inside())
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    return model


def as_tensors_attribute(tensor: TensorProto) -> onnx.ModelProto:
    model = as_initializer(inside())
    model.graph.node.append(helper.make_node("Custom", [], ["c"], values=[inside(), tensor]))
    return model


def in_branch(tensor: TensorProto) -> onnx.ModelProto:
    model = as_initializer(inside())
    branch = helper.make_node(
        "If", ["w"], ["c"], then_branch=graph(inside()), else_branch=graph(tensor)
    )
    model.graph.node.append(branch)
    return model


def in_sparse(tensor: TensorProto) -> onnx.ModelProto:
    model = as_initializer(inside())
    model.graph.sparse_initializer.add().values.CopyFrom(tensor)
    return model


def in_function(tensor: TensorProto) -> onnx.ModelProto:
    model = as_initializer(inside())
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    model.functions.append(
        helper.make_function("d", "f", [], ["c"], [node], [helper.make_opsetid("", 18)])
    )
    return model


def in_function_default(tensor: TensorProto) -> onnx.ModelProto:
    model = in_function(inside())
    model.functions[0].attribute_proto.append(helper.make_attribute("v", tensor))
    return model


def in_training(tensor: TensorProto) -> onnx.ModelProto:
    model = as_initializer(inside())
    model.training_info.add().algorithm.CopyFrom(graph(tensor))
    return model


@pytest.mark.parametrize(
    "place",
    [
        as_initializer,
        as_attribute,
        as_tensors_attribute,
        in_branch,
        in_sparse,
        in_function,
        in_function_default,
        in_training,
    ],
)
def test_found_in_every_place_and_only_there(
    place: Callable[[TensorProto], onnx.ModelProto],
) -> None:
    assert not has_external_data(place(inside()).SerializeToString())
    for tensor in (outside(), location_only(), entry_only()):
        assert has_external_data(place(tensor).SerializeToString())


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(1, 1300), noise=st.binary(max_size=50))
def test_damaged_files_give_an_answer_or_a_value_error(cut: int, noise: bytes) -> None:
    data = as_initializer(outside()).SerializeToString()[:cut] + noise
    with contextlib.suppress(ValueError):
        assert has_external_data(data) in (True, False)
    with contextlib.suppress(ValueError):
        assert has_external_data(noise) in (True, False)


@pytest.mark.parametrize(
    "data", [b"\x80", b"\x3a\x05abc", b"\x38\x01", b"\x07", b"\x3a" + b"\xff" * 11]
)
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"file ends|not a message|wire type|too long"):
        has_external_data(data)


def wrap(field: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    size, length = len(data), b""
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([field << 3 | 2]) + length + bytes([size]) + data


def test_absurd_nesting_is_refused() -> None:
    attribute = b""
    for _ in range(40):
        attribute = wrap(6, wrap(1, wrap(5, attribute)))
    with pytest.raises(ValueError, match="nested"):
        has_external_data(wrap(7, wrap(1, wrap(5, attribute))))
