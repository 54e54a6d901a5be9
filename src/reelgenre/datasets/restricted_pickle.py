"""Reading published pickles as plain data, without running anything that they ask for.

A pickle is a program: ``GLOBAL`` names any function of any installed module and ``REDUCE`` calls
it. Here a name is looked up in a short table and nowhere else; what the table gives are our own
functions, which accept nothing but plain data and return plain data:

- ``collections.OrderedDict`` -> dict; ``pathlib`` paths and ``torch.device`` -> str;
- NumPy arrays and scalars of booleans, integers and floats, built from their bytes by us, never
  by NumPy's own ``__setstate__``;
- in ``torch.save`` archives also dense tensors -> arrays. torch itself is not needed.

Everything else is refused before it exists. This guards against code, not against size: a pickle
can still ask for about as much memory as its file is large, and a deliberately bad one for more.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from reelgenre.errors import StoreError

_DTYPES = {
    code: np.dtype(code) for code in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
} | {code: np.dtype(code) for code in ("f2", "f4", "f8")}
_STORAGES = {
    "HalfStorage": "f2",
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}
MAX_DEPTH = 100


def load_pickle(path: Path) -> Any:
    """The plain data in a pickle file.

    Returns:
        None, booleans, numbers, strings, bytes, arrays, and dicts, lists and tuples of these.

    Raises:
        StoreError: the file cannot be read, is no pickle, or asks for anything but plain data.
    """
    # Read as it is unpickled: no second copy of a large file.
    with _opened(path) as file:
        return _load(file, path, {})


def load_torch_archive(path: Path) -> Any:
    """The plain data and tensors (as arrays) in a file that ``torch.save`` wrote (torch >= 1.6).

    Raises:
        StoreError: the file cannot be read, is no such archive, or asks for anything but plain
            data and dense tensors.
    """
    try:
        with _opened(path) as file, zipfile.ZipFile(file) as archive:
            names = [n for n in archive.namelist() if n.endswith("/data.pkl")]
            if len(names) != 1:
                raise _refusal(path, "it is no torch archive")
            root = names[0].removesuffix("data.pkl")
            order = f"{root}byteorder"
            if order in archive.namelist() and archive.read(order) != b"little":
                raise _refusal(path, "its byte order is not little-endian")
            storages = {
                n.removeprefix(f"{root}data/"): archive.read(n)
                for n in archive.namelist()
                if n.startswith(f"{root}data/")
            }
            with archive.open(names[0]) as data:
                return _load(data, path, storages)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise _refusal(path, "it is no torch archive") from error


class _RefusedError(Exception):
    """What a pickle asks for is not plain data."""


class _Maker:
    """A function in the place of a global. A pickle cannot change it (``BUILD``) or subclass it."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setstate__(self, state: Any) -> NoReturn:
        raise _RefusedError("it changes a function")


class _Pending:
    """An object that its pickle fills in after making it; ``resolve`` gives the plain value."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state: Any = None

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def resolve(self) -> Any:
        raise NotImplementedError


class _Dtype(_Pending):
    __slots__ = ("_code",)

    def __init__(self, code: Any, *_: Any) -> None:
        super().__init__()
        self._code = code

    def resolve(self) -> np.dtype[Any]:
        dtype = _DTYPES.get(self._code) if isinstance(self._code, str) else None
        if dtype is None:
            raise _RefusedError(f"it holds an array of {self._code!r}")
        state = self._state
        order = state[1] if isinstance(state, tuple) and len(state) >= 2 else "|"
        if order not in ("<", ">", "|", "="):
            raise _RefusedError("it holds an array of unknown byte order")
        ordered: np.dtype[Any] = dtype.newbyteorder(order)
        return ordered


class _Array(_Pending):
    __slots__ = ()

    def resolve(self) -> NDArray[Any]:
        match self._state:
            case (_, tuple() as shape, _Dtype() as dtype, fortran, bytes() as data):
                return _array(data, dtype.resolve(), shape, "F" if fortran is True else "C")
        raise _RefusedError("it holds an array that is not made of bytes")


class _Dict(dict[Any, Any]):
    """An OrderedDict; torch hangs metadata on it as attributes, which is dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


def _array(data: bytes, dtype: np.dtype[Any], shape: tuple[Any, ...], order: Any) -> NDArray[Any]:
    if not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 32:
        raise _RefusedError("it holds an array of impossible shape")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise _RefusedError("it holds an array whose bytes do not fill its shape")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _scalar(dtype: Any, data: Any) -> Any:
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
        raise _RefusedError("it holds a scalar that is not made of bytes")
    return _array(data, dtype.resolve(), (), "C").item()


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    del kind, shape, code  # what the array is stands in the state that follows
    return _Array()


def _encode(text: Any, encoding: Any) -> bytes:
    """How protocol 2 spells bytes: ``_codecs.encode(text, "latin1")``."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _RefusedError("it encodes text")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    """How protocol 2 spells empty bytes: ``bytes()``; with arguments it is refused."""
    return b""


def _text(*parts: Any) -> str:
    if not all(isinstance(p, str) for p in parts):
        raise _RefusedError("it holds a path that is not made of text")
    return "/".join(parts).replace("//", "/")


def _device(kind: Any, index: Any = None) -> str:
    if not isinstance(kind, str) or not (index is None or type(index) is int):
        raise _RefusedError("it holds an unknown device")
    return kind if index is None else f"{kind}:{index}"


def _ordered_dict(items: Any = ()) -> _Dict:
    return _Dict(items)


def _tensor(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False, *_: Any
) -> NDArray[Any]:
    """A dense tensor, copied out of its storage after checking that it lies inside it."""
    del requires_grad
    numbers = (offset, *size, *stride) if type(size) is type(stride) is tuple else (None,)
    if (
        not isinstance(storage, np.ndarray)
        or len(size) != len(stride)
        or len(size) > 32
        or not all(type(n) is int and n >= 0 for n in numbers)
    ):
        raise _RefusedError("it holds a tensor that is not dense")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if 0 in size:
        return np.empty(size, storage.dtype)
    # A stride of 0 would let a small file ask for any amount of memory.
    if last >= len(storage) or math.prod(size) > len(storage):
        raise _RefusedError("it holds a tensor that reaches out of its storage")
    steps = tuple(s * storage.itemsize for s in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()


def _storage(code: str) -> Callable[..., NoReturn]:
    def make(*_: Any) -> NoReturn:
        raise _RefusedError(f"it makes a storage of {code} itself")

    return make


_GLOBALS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _empty_bytes,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _storage("ndarray"),
    ("torch", "device"): _device,
    **{
        (module, name): function
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name, function in (("_reconstruct", _reconstruct), ("scalar", _scalar))
    },
    **{
        (module, name): _text
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "PurePath", "PurePosixPath", "WindowsPath")
    },
}
_TENSOR_GLOBALS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    **{("torch", name): _storage(name) for name in _STORAGES},
}


class _Unpickler(pickle.Unpickler):
    """Looks names up in the tables, storages in the archive, and nothing anywhere else."""

    def __init__(self, file: IO[bytes], storages: Mapping[str, bytes]) -> None:
        super().__init__(file)
        self._storages = storages
        known = {**_GLOBALS, **_TENSOR_GLOBALS} if storages else _GLOBALS
        # Fresh for every file: whatever a pickle does to one of them ends with it.
        self._known = {key: _Maker(make) for key, make in known.items()}
        self._codes = {
            id(self._known[key]): _STORAGES[key[1]]
            for key in self._known
            if key[0] == "torch" and key[1] in _STORAGES
        }

    def find_class(self, module: str, name: str) -> Any:
        maker = self._known.get((module, name))
        if maker is None:
            raise _RefusedError(f"it asks for {module}.{name}")
        return maker

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        match pid:
            case ("storage", kind, str() as key, str(), int() as count):
                code = self._codes.get(id(kind))
                data = self._storages.get(key)
                if code is not None and data is not None:
                    return _array(data, _DTYPES[code], (count,), "C")
        raise _RefusedError("it asks for an object outside itself")


def _load(file: IO[bytes], path: Path, storages: Mapping[str, bytes]) -> Any:
    try:
        return _plain(_Unpickler(file, storages).load(), {}, 0)
    except _RefusedError as error:
        raise _refusal(path, str(error)) from error
    # A damaged or hostile pickle can make the unpickler raise nearly anything.
    except Exception as error:
        raise _refusal(path, f"it is damaged ({type(error).__name__})") from error


def _plain(value: Any, seen: dict[int, Any], depth: int) -> Any:
    """The same data with every stand-in resolved; shared parts stay shared, cycles are refused."""
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, np.ndarray):
        return value
    if id(value) in seen:
        if seen[id(value)] is _OPEN:
            raise _RefusedError("it contains itself")
        return seen[id(value)]
    if depth > MAX_DEPTH:
        raise _RefusedError("it is nested too deeply")
    seen[id(value)] = _OPEN
    plain: Any
    if isinstance(value, _Pending):
        plain = value.resolve()
    elif isinstance(value, dict):
        plain = {_plain(k, seen, depth + 1): _plain(v, seen, depth + 1) for k, v in value.items()}
    elif type(value) in (list, tuple):
        plain = type(value)(_plain(v, seen, depth + 1) for v in value)
    else:
        raise _RefusedError(f"it holds a {type(value).__name__.lstrip('_')}")
    seen[id(value)] = plain
    return plain


_OPEN = object()


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read ({error.strerror})", "Check the path and its permissions"
        ) from error


def _refusal(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{path} was not loaded: {why}",
        "Only plain data, arrays and tensors are read from pickles; get the original file",
    )
