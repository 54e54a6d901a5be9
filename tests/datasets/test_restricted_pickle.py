"""Plain data comes back equal; everything that would run, reach out or lie is refused."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import subprocess
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from reelgenre.datasets.restricted_pickle import load_pickle, load_torch_archive
from reelgenre.errors import StoreError


@pytest.fixture
def load(tmp_path: Path) -> Callable[[bytes], Any]:
    def load_bytes(data: bytes) -> Any:
        (tmp_path / "file.pkl").write_bytes(data)
        return load_pickle(tmp_path / "file.pkl")

    return load_bytes


def load_value(folder: Path, value: Any, protocol: int) -> Any:
    path = folder / "value.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    return load_pickle(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pickles")


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(value=PLAIN, protocol=st.integers(2, 5))
def test_plain_data_comes_back(folder: Path, value: Any, protocol: int) -> None:
    assert load_value(folder, value, protocol) == value


@settings(max_examples=60, deadline=None)
@given(
    array=hnp.arrays(
        st.sampled_from(["<f4", ">f4", "<f8", "<f2", "<i8", "|u1", "|b1", "<i2"]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        elements={"allow_nan": False},
    ),
    protocol=st.integers(2, 4),
    fortran=st.booleans(),
)
def test_arrays_and_scalars_come_back(
    folder: Path, array: Any, protocol: int, fortran: bool
) -> None:
    array = np.asfortranarray(array) if fortran else array
    found = load_value(folder, {"a": [array], "s": array.ravel()[:1].sum()}, protocol)
    np.testing.assert_array_equal(found["a"][0], array)
    assert found["a"][0].dtype == array.dtype
    assert found["s"] == array.ravel()[:1].sum()


def test_paths_devices_and_ordered_dicts_become_plain(folder: Path) -> None:
    value = {
        "dir": PosixPath("a/b c"),
        "root": PosixPath("/x"),
        "device": torch.device("cuda", 1),
        "cpu": torch.device("cpu"),
        "order": collections.OrderedDict(b=1, a=2),
    }
    found = load_value(folder, value, 2)
    assert found == {
        "dir": "a/b c",
        "root": "/x",
        "device": "cuda:1",
        "cpu": "cpu",
        "order": {"b": 1, "a": 2},
    }
    assert list(found["order"]) == ["b", "a"]
    assert type(found["order"]) is dict


def test_shared_parts_stay_shared_and_large_ones_cost_nothing(folder: Path) -> None:
    value: list[Any] = [1]
    for _ in range(60):  # 2**60 leaves if every mention were copied
        value = [value, value]
    found = load_value(folder, value, 4)
    assert found[0] is found[1]


class Calls:
    """Pickles to a call of any function with any arguments."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def test_a_large_file_is_in_memory_once(folder: Path) -> None:
    path = folder / "large.pkl"
    arrays = {f"video {i}": np.full((500, 512), i, np.float32) for i in range(16)}
    path.write_bytes(pickle.dumps(arrays, 4))
    tracemalloc.start()
    try:
        loaded = load_pickle(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all((loaded[name] == array).all() for name, array in arrays.items())
    assert peak < 1.2 * path.stat().st_size


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "function",
    [os.mkdir, os.system, eval, exec, open, subprocess.run, getattr, __import__, print],
    ids=lambda f: f.__name__,
)
def test_nothing_is_called(tmp_path: Path, function: Callable[..., Any], protocol: int) -> None:
    sprung = tmp_path / "sprung"
    path = tmp_path / "trap.pkl"
    path.write_bytes(pickle.dumps({"features": [Calls(function, str(sprung))]}, protocol))
    with pytest.raises(StoreError, match="asks for"):
        load_pickle(path)
    assert not sprung.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'touch sprung'\ntR.",
        b"(S'touch sprung'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch sprung'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x05touch\x85R.",
        # A name that is known, by a dotted path to one that is not.
        b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.",
        b"\x80\x04\x8c\x07pathlib\x8c\x0ePosixPath.open\x93.",
        # Copyreg's extension table.
        b"\x80\x02\x82\x01.",
        # A persistent id, which a plain pickle cannot have.
        b"Pstorage\n.",
        b"\x80\x02X\x01\x00\x00\x00xQ.",
    ],
)
def test_hand_written_programs_are_refused(load: Callable[[bytes], Any], program: bytes) -> None:
    with pytest.raises(StoreError):
        load(program)


MAKER = b"ccollections\nOrderedDict\n"


@pytest.mark.parametrize(
    "program",
    [
        MAKER + b"(dS'x'\nI1\nsb.",  # BUILD on a function: its __dict__
        MAKER + b"N(dS'__call__'\nI1\ns\x86b.",  # ... and its slots
        MAKER + b")\x81.",  # NEWOBJ: as if it were a class
        MAKER + b".",  # the function itself as a value
        b"\x80\x02" + MAKER + b"I5\n\x85R.",  # with arguments that it cannot take
        b"c__builtin__\nbytes\n(I1000000000000\ntR.",
        b"cpathlib\nPosixPath\n(I1\ntR.",
        b"ctorch\ndevice\n((lI1\ntR.",
        b"c_codecs\nencode\n(Vabc\nVrot13\ntR.",
        b"cnumpy\nndarray\n((I1000000000\ntI0\ntR.",
    ],
)
def test_the_known_names_cannot_be_bent(load: Callable[[bytes], Any], program: bytes) -> None:
    with pytest.raises(StoreError):
        load(program)
    assert load(pickle.dumps(collections.OrderedDict(a=1), 2)) == {"a": 1}


def array_pickle(shape: tuple[Any, ...], code: str, data: Any) -> bytes:
    """An array's pickle with a state of our choice."""
    made_by: Any = np.zeros(1, np.float32).__reduce__()
    reconstruct, args = made_by[:2]

    class Array:
        def __reduce__(self) -> tuple[Any, ...]:
            return reconstruct, args, (1, shape, Dtype(), False, data)

    class Dtype:
        def __reduce__(self) -> tuple[Any, ...]:
            return np.dtype, (code, False, True), (3, "<", None, None, None, -1, -1, 0)

    # The real classes refuse such states when copied, so they are only written.
    stream = io.BytesIO()
    pickle._Pickler(stream, 2).save_reduce(*Array().__reduce__())  # type: ignore[attr-defined]
    return b"\x80\x02" + stream.getvalue() + b"."


def test_arrays_that_lie_are_refused(load: Callable[[bytes], Any]) -> None:
    np.testing.assert_array_equal(load(array_pickle((2,), "f4", bytes(8))), np.zeros(2))
    for shape, code, data in [
        ((3,), "f4", bytes(8)),
        ((1 << 40,), "f4", bytes(8)),
        ((-2,), "f4", bytes(8)),
        ((True, 2), "f4", bytes(8)),
        ((2.0,), "f4", bytes(8)),
        ((2,), "O8", bytes(16)),
        ((2,), "V4", bytes(8)),
        ((2,), "S4", bytes(8)),
        ((2,), "f4", [0.0, 0.0]),
    ]:
        with pytest.raises(StoreError):
            load(array_pickle(shape, code, data))


def test_object_arrays_and_foreign_classes_are_refused(folder: Path) -> None:
    for value in (
        np.array([{"a": 1}], dtype=object),
        np.array(["text"]),
        np.zeros(1, dtype=[("x", "f4")]),
        np.datetime64("2024-01-01"),
        {1, 2},
        frozenset([1]),
        bytearray(b"x"),
        complex(1, 2),
        collections.Counter("a"),
        torch.zeros(2),
    ):
        with pytest.raises(StoreError):
            load_value(folder, value, 4)


def test_cycles_and_depth_are_refused(folder: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(StoreError, match="contains itself"):
        load_value(folder, loop, 4)
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(StoreError, match="deeply"):
        load_value(folder, deep, 4)


@settings(max_examples=60, deadline=None)
@given(noise=st.binary(max_size=60), cut=st.integers(0, 80))
def test_damage_is_a_store_error(folder: Path, noise: bytes, cut: int) -> None:
    path = folder / "noise.pkl"
    path.write_bytes(pickle.dumps({"a": [1, 2.0, "x"], "b": b"y" * 40})[:cut] + noise)
    try:
        load_pickle(path)
    except StoreError as error:
        assert str(path) in str(error)  # noqa: PT017


def test_missing_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        load_pickle(tmp_path / "none.pkl")
    with pytest.raises(StoreError, match="cannot be read"):
        load_torch_archive(tmp_path / "none.pt")


def test_state_dicts_come_back_as_arrays(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    model = torch.nn.Linear(3, 2)
    state = {
        **model.state_dict(),
        "whole": base,
        "part": base[1:3, ::2],
        "turned": base.T,
        "half": base.half(),
        "count": torch.tensor(7),
        "flags": base > 3,
        "none": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base).data,
    }
    torch.save(state, tmp_path / "state.pt")
    found = load_torch_archive(tmp_path / "state.pt")
    assert list(found) == list(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())
        assert found[name].dtype == tensor.numpy().dtype
    torch.save(model.state_dict(), tmp_path / "model.pt")  # an OrderedDict with _metadata
    assert list(load_torch_archive(tmp_path / "model.pt")) == ["weight", "bias"]


def test_traps_in_torch_archives_do_not_spring(tmp_path: Path) -> None:
    path = tmp_path / "trap.pt"
    torch.save({"weight": Calls(os.mkdir, str(tmp_path / "sprung"))}, path)
    with pytest.raises(StoreError, match="asks for"):
        load_torch_archive(path)
    torch.save(torch.nn.Linear(1, 1), path)
    with pytest.raises(StoreError, match="asks for"):
        load_torch_archive(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (5,), (1,)),
        (1, (4,), (1,)),
        (0, (2,), (4,)),
        (0, (1 << 40,), (0,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
        (0, (-1,), (1,)),
        (0, (2.0,), (1,)),
        (0, [2], (1,)),
    ],
)
def test_tensors_that_reach_out_of_their_storage_are_refused(
    tmp_path: Path, offset: Any, size: Any, stride: Any
) -> None:
    path = tmp_path / "tensor.pt"

    class Storage:
        pass

    class Pickler(pickle._Pickler):
        def persistent_id(self, value: Any) -> Any:
            if isinstance(value, Storage):
                return "storage", torch.FloatStorage, "0", "cpu", 4
            return None

    class Tensor:
        def __reduce__(self) -> tuple[Any, ...]:
            args: tuple[Any, ...] = (
                Storage(),
                offset,
                size,
                stride,
                False,
                collections.OrderedDict(),
            )
            return torch._utils._rebuild_tensor_v2, args

    stream = io.BytesIO()
    Pickler(stream, 2).dump(Tensor())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("t/data.pkl", stream.getvalue())
        archive.writestr("t/data/0", struct.pack("<4f", 1, 2, 3, 4))
    with pytest.raises(StoreError, match="tensor"):
        load_torch_archive(path)


def test_files_that_are_no_torch_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    for data in (b"", b"PK\x03\x04", pickle.dumps({})):
        path.write_bytes(data)
        with pytest.raises(StoreError, match="no torch archive"):
            load_torch_archive(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}))
        archive.writestr("a/byteorder", "big")
    with pytest.raises(StoreError, match="byte order"):
        load_torch_archive(path)
