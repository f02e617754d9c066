"""Files of weights (safetensors): what they claim is compared with what is there before memory is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from napari_niiv import strict_json

# bytes of the part of a safetensors file that names the tensors: ours take some thousand
_MOST_HEADER = 8 << 20


class DamagedWeights(Exception):
    """A file of weights cannot be read, or contradicts itself."""


@dataclass(frozen=True)
class Stored:
    """A tensor in a file, not read.

    Attributes
    ----------
    shape : tuple of int
    floating : bool
        Whether its numbers are floating-point ones of 16, 32 or 64 bits.
    """

    shape: tuple[int, ...]
    floating: bool


@dataclass(frozen=True)
class WeightFile:
    """An open safetensors file whose header is sound: its tensors are as long as their shapes say, and in the file.

    Attributes
    ----------
    metadata : mapping of str to str
    stored : mapping of str to Stored
        Tensors by name.
    """

    metadata: Mapping[str, str]
    stored: Mapping[str, Stored]
    _file: Any

    def fits(self, shapes: Mapping[str, Sequence[int]]) -> bool:
        """Whether it holds tensors of just these names and shapes."""
        return {name: stored.shape for name, stored in self.stored.items()} == {k: tuple(v) for k, v in shapes.items()}

    def tensors(self) -> dict[str, Tensor]:
        """All tensors, as they are stored."""
        return {name: self._file.get_tensor(name) for name in self.stored}


@contextmanager
def open_weights(path: Path) -> Iterator[WeightFile]:
    """Open a safetensors file; its header is read, and compared with the length of the file.

    Raises
    ------
    DamagedWeights
        If it is no such file, truncated, or its header names something twice or is longer than any of ours.
    OSError
        If the file cannot be read.
    """
    _check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            stored = {
                name: Stored(tuple(part.get_shape()), part.get_dtype() in ("F16", "BF16", "F32", "F64"))
                for name, part in slices.items()
            }
            yield WeightFile(file.metadata() or {}, stored, file)
    except SafetensorError as error:
        raise DamagedWeights(str(error)) from error


def _check_header(path: Path) -> None:
    """Refuse what safetensors would take memory for, or read in one of several ways."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MOST_HEADER, path.stat().st_size - 8):
            raise DamagedWeights("no header, or one that is longer than the file")
        try:
            header = strict_json.parse(file.read(length))
        except ValueError as error:
            raise DamagedWeights(f"the header is damaged ({error})") from error
    if not isinstance(header, dict):
        raise DamagedWeights("the header is no JSON object")


def finite(tensors: Mapping[str, Tensor]) -> bool:
    """Whether all numbers of some tensors are finite."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors.values())
