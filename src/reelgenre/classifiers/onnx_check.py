"""Refusing ONNX files that would read other files, without the onnx package.

An ONNX tensor may say that its data lies in another file (``external_data``), by a path of the
model author's choice. Classifiers are one file, so any such reference is refused. The walk below
follows the protobuf wire format through exactly those fields of ``onnx.proto3`` through which a
tensor can be reached.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
MAX_DEPTH = 64

# message -> {field number: message of that field}; field numbers of onnx.proto3 (IR version 13).
_FIELDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        22: "SparseTensor",
        23: "SparseTensor",
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
_TENSOR_EXTERNAL_DATA = 13
_TENSOR_DATA_LOCATION = 14


def has_external_data(model: bytes) -> bool:
    """Whether any tensor of a serialised ``ModelProto`` refers to another file.

    Raises:
        ValueError: the bytes are not a protobuf message of this kind.
    """
    return _any_external(memoryview(model), "Model", 0)


def _any_external(message: memoryview, kind: str, depth: int) -> bool:
    if depth > MAX_DEPTH:
        raise ValueError("messages are nested too deeply")
    for field, wire_type, value in _fields(message):
        if kind == "Tensor" and field in (_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION):
            if field == _TENSOR_EXTERNAL_DATA or value != 0:
                return True
            continue
        child = _FIELDS[kind].get(field)
        if child is None:
            continue
        if wire_type != LENGTH_DELIMITED or isinstance(value, int):
            raise ValueError(f"field {field} of {kind} is not a message")
        if _any_external(value, child, depth + 1):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Field number, wire type and value (number, or bytes) of each field of a message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            number, at = _varint(message, at)
            yield field, wire_type, number
            continue
        if wire_type == LENGTH_DELIMITED:
            length, at = _varint(message, at)
        elif wire_type in (FIXED32, FIXED64):
            length = 4 if wire_type == FIXED32 else 8
        else:
            raise ValueError(f"unknown wire type {wire_type}")
        if at + length > len(message):
            raise ValueError("the file ends inside a field")
        yield field, wire_type, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("the file ends inside a number")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a number is too long")
