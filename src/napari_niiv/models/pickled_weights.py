"""Weights that `torch.save` pickled, old (a series of pickles) or new (a zip), read without running what they say.

`torch.load` with ``weights_only`` decides what a pickle may make. What it may cost is found out before: the pickle is
gone through with stand-ins for all that it makes, which compare the sizes that it claims with what the file holds.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import torch

from napari_niiv.models.weight_files import DamagedWeights

_SAFE_SINCE = (2, 10)  # before, weights_only=True could be tricked: CVE-2025-32434 and CVE-2026-24747
# bytes of a pickle without its tensors, which are stored beside it; each may make a list or dict of some 70 bytes
_MOST_PICKLE = 1 << 19
# what a zip ends with where it has no comment
_END_OF_ZIP, _END_BYTES = b"PK\5\6", 22
# the pickles that an old file begins with: a number that marks it, a version, the computer, the object, its storages
_OLD_PICKLES = 5
_MAGIC = 0x1950A86A20F9469CFC6C
_ITEM_BYTES = {
    **{"DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2},
    **{"LongStorage": 8, "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1},
}


class MoreThanWeights(Exception):
    """A pickle holds something else than tensors, numbers, texts, lists and dicts, which could run code."""


class OldTorch(Exception):
    """This torch cannot read pickles safely; the message says what to do."""


def is_pickle(path: Path) -> bool:
    """Whether a file begins as `torch.save` begins it."""
    with path.open("rb") as file:
        start = file.read(2)
    return start == b"PK" or start[:1] == b"\x80"


def load_pickle(path: Path) -> Any:
    """What `torch.save` wrote, on the CPU.

    Raises
    ------
    MoreThanWeights
        If it holds more than weights.
    DamagedWeights
        If it is damaged, not from `torch.save`, or claims more than the file holds.
    OldTorch
        If this torch is too old.
    OSError
        If the file cannot be read.
    """
    if tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2]) < _SAFE_SINCE:
        raise OldTorch(
            f"{path.name} is a pickle, which torch {torch.__version__} cannot read safely; update torch to "
            f"{'.'.join(map(str, _SAFE_SINCE))} or later."
        )
    with path.open("rb") as file:
        _check(file, path.stat().st_size)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or malicious file provokes
        if "unsupported" in str(error).lower():
            raise MoreThanWeights from error
        raise DamagedWeights(str(error)) from error


def _check(file: BinaryIO, size: int) -> None:
    """Find out whether what a file claims to hold can be in it."""
    try:
        start = file.read(2)
        if start == b"PK":
            _check_zip(file, size)
        elif start[:1] == pickle.PROTO:
            _check_old(file, size)
        else:
            raise DamagedWeights("it is neither a zip nor a pickle")
    except (MoreThanWeights, DamagedWeights, OSError):
        raise
    except Exception as error:  # of a pickle or zip that makes no sense, anything
        raise DamagedWeights(str(error)) from error


def _check_zip(file: BinaryIO, size: int) -> None:
    file.seek(max(0, size - _END_BYTES))
    # with a comment, two readers might find two ends
    if file.read(4) != _END_OF_ZIP:
        raise DamagedWeights("the zip is cut off")
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        # torch takes names for the same that differ by case
        names = [member.filename.lower() for member in members]
        pickles = [name for name in names if name.endswith("/data.pkl") or name == "data.pkl"]
        stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        if not stored or len(set(names)) < len(names) or len(pickles) != 1:
            raise DamagedWeights("torch.save makes no such zip")
        lengths = {name: member.file_size for name, member in zip(names, members, strict=True)}
        if sum(lengths.values()) > size or lengths[pickles[0]] > _MOST_PICKLE:
            raise DamagedWeights("its parts are longer than the zip")
        content = archive.read(members[names.index(pickles[0])])
    folder = pickles[0].removesuffix("data.pkl")

    def check_storage(key: Any, length: int) -> None:
        if lengths.get(f"{folder}data/{key}".lower()) != length:
            raise DamagedWeights("a tensor is longer than what is stored of it")

    _Walk(io.BytesIO(content), check_storage).load()


def _check_old(file: BinaryIO, size: int) -> None:
    file.seek(0)
    content = io.BytesIO(file.read(_MOST_PICKLE))
    left, seen = size, set()

    def check_storage(key: Any, length: int) -> None:
        nonlocal left
        if (key, length) not in seen:  # several tensors may share one
            seen.add((key, length))
            left -= length
        if left < 0:
            raise DamagedWeights("its tensors are longer than the file")

    for number in range(_OLD_PICKLES):
        made = _Walk(content, check_storage).load()
        if number == 0 and made != _MAGIC:
            raise DamagedWeights("it is a pickle, but not from torch.save")


# stand-ins for what a pickle makes


@dataclass(frozen=True)
class _StorageType:
    item_bytes: int


@dataclass(frozen=True)
class _Storage:
    numbers: int


@dataclass(frozen=True)
class _Tensor:
    pass


def _tensor(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _Tensor:
    if min((offset, *shape, *strides)) < 0 or len(shape) != len(strides):
        raise DamagedWeights("a tensor has impossible sizes")
    numbers = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) if numbers else 0
    # nor may a few numbers stand for many, as strides of zero would have it
    if numbers > storage.numbers or last >= max(storage.numbers, 1):
        raise DamagedWeights("a tensor is larger than its storage")
    return _Tensor()


def _parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    if not isinstance(tensor, _Tensor):
        raise DamagedWeights("a parameter is no tensor")
    return tensor


def _dict(content: Any = (), *_: Any) -> dict[Any, Any]:
    """Of a dict, or of pairs; never of a tensor, which may be endless."""
    if not isinstance(content, dict | list | tuple):
        raise DamagedWeights("a dict is made of something else")
    made = dict(content)
    for key in made:
        _check_key(key)
    return made


def _check_key(key: Any) -> None:
    # of tuples within tuples, the hash alone could end the process
    if not isinstance(key, str | int):
        raise DamagedWeights("a dict has keys that are no names")


_MAKERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _dict,
    ("collections", "Counter"): _dict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.nn.parameter", "Parameter"): _parameter,
}


class _Walk(pickle._Unpickler):
    """Goes through a pickle and makes stand-ins; calls their makers alone, and changes lists and dicts alone.

    Python's own unpickler: the one in C would make an array as long as the largest number that an object is kept by.

    Parameters
    ----------
    file : BytesIO
    check_storage : callable
        Gets the key of each storage and its length in bytes; raises DamagedWeights if that cannot be.
    """

    stack: list[Any]  # of the base class, as `pop_mark`, which types do not know of
    pop_mark: Callable[[], list[Any]]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: io.BytesIO, check_storage: Callable[[Any, int], None]) -> None:
        super().__init__(file)
        self._check_storage = check_storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _MAKERS:
            return _MAKERS[module, name]
        if module == "torch" and name in _ITEM_BYTES:
            return _StorageType(_ITEM_BYTES[name])
        raise MoreThanWeights(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage, key, _, numbers, *_ = pid
        if kind not in ("storage", b"storage") or not isinstance(numbers, int) or numbers < 0:
            raise DamagedWeights("a storage has impossible sizes")
        _check_key(key)
        self._check_storage(key, numbers * storage.item_bytes)
        return _Storage(numbers)

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        maker = self.stack[-1]
        if not any(maker is known for known in _MAKERS.values()):
            raise MoreThanWeights("something is called")
        self.stack[-1] = maker(*arguments)

    def _build(self) -> None:
        self.stack.pop()  # attributes, which stand-ins have none of

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _check_key(key)
        self.stack[-1][key] = value

    def _set_items(self) -> None:
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            _check_key(key)
            self.stack[-1][key] = value

    def _more(self) -> None:
        raise MoreThanWeights("objects are made")

    dispatch[pickle.REDUCE[0]] = _reduce
    dispatch[pickle.BUILD[0]] = _build
    dispatch[pickle.SETITEM[0]] = _set_item
    dispatch[pickle.SETITEMS[0]] = _set_items
    for _code in (pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.INST, pickle.OBJ, pickle.FROZENSET, pickle.ADDITEMS):
        dispatch[_code[0]] = _more
    for _code in (pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.DICT):
        dispatch[_code[0]] = _more
