"""Bounded memory: a cache limited in bytes, and retreat when a GPU runs out."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from numpy.typing import NDArray

from napari_niiv.errors import DeviceError
from napari_niiv.models.niiv import Niiv

R = TypeVar("R")
T = TypeVar("T", bound="Sized")


class Sized(Protocol):
    """A NumPy array, a tensor, what holds one."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""


class ByteCache(Generic[T]):
    """Least-recently-used arrays up to a number of bytes; safe to use from several threads.

    Parameters
    ----------
    limit : int
        Bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[object, Hashable], T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, owner: object, key: Hashable) -> T | None:
        """What an owner keeps under a key, now the most recently used, or None."""
        with self._lock:
            if (found := self._entries.get((owner, key))) is not None:
                self._entries.move_to_end((owner, key))
            return found

    def put(self, owner: object, key: Hashable, value: T) -> None:
        """Keep something, dropping the least recently used beyond the limit, whosever it is."""
        with self._lock:
            if (old := self._entries.pop((owner, key), None)) is not None:
                self.bytes -= old.nbytes
            self._entries[owner, key] = value
            self.bytes += value.nbytes
            while self.bytes > self.limit and len(self._entries) > 1:
                _, dropped = self._entries.popitem(last=False)
                self.bytes -= dropped.nbytes

    def drop(self, owner: object) -> None:
        """Forget all that an owner keeps."""
        with self._lock:
            for key in [key for key in self._entries if key[0] is owner]:
                self.bytes -= self._entries.pop(key).nbytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self.bytes = 0


GPU_BYTES = 4 << 30  # in all: the limit within which the niiv paper works
_WORKING = 1 << 30  # of it for weights and activations
HOST_BYTES = 2 << 30


class Memory:
    """What the views of one program may keep: latent grids on the device of the model, and voxels read.

    Parameters
    ----------
    gpu_bytes : int
        Limit on a GPU in all, weights and work included; 4 GB by default.
    host_bytes : int
        Limit in the computer's memory, half of it for voxels, half for latent grids if the model runs there.
    """

    def __init__(self, gpu_bytes: int = GPU_BYTES, host_bytes: int = HOST_BYTES) -> None:
        self.voxels: ByteCache[NDArray[Any]] = ByteCache(host_bytes // 2)
        self._latents: dict[str, ByteCache[Sized]] = {
            "cpu": ByteCache(host_bytes // 2),
            "gpu": ByteCache(max(gpu_bytes - _WORKING, gpu_bytes // 4)),
        }

    def latents(self, device: torch.device) -> ByteCache[Sized]:
        """The cache of latent grids on a device."""
        return self._latents["cpu" if device.type == "cpu" else "gpu"]

    def forget_latents(self, owner: object | None = None) -> None:
        """Free the latent grids of one owner, or of all."""
        for cache in self._latents.values():
            if owner is None:
                cache.clear()
            else:
                cache.drop(owner)

    def forget(self, owner: object) -> None:
        """Free all that an owner keeps."""
        self.voxels.drop(owner)
        self.forget_latents(owner)


# pixels of one batch: activations of the light model take about 0.5 GB on a GPU, 50 MB on a CPU
BATCH_PIXELS = {"cuda": 2_000_000, "mps": 500_000, "cpu": 50_000}
SMALLEST_BATCH = 10_000


@dataclass
class Workspace:
    """How many pixels a model may be given at once on its device; shrinks when memory runs out.

    Attributes
    ----------
    model : Niiv
    batch_pixels : int
    notice : str
        What the user should know of a retreat; empty when all is well.
    """

    model: Niiv
    batch_pixels: int = 0
    notice: str = ""

    def __post_init__(self) -> None:
        self.batch_pixels = self.batch_pixels or BATCH_PIXELS[self.model.device.type]

    def attempt(self, work: Callable[[], R], release: Callable[[], None] = lambda: None) -> R:
        """Run `work`; out of memory, halve the batch and try again, at last on the CPU.

        Parameters
        ----------
        work : callable
            Reads `batch_pixels` and the model's device anew each time it runs.
        release : callable
            Frees what can be freed before the next try.

        Raises
        ------
        DeviceError
            If memory runs out on the CPU too.
        """
        while True:
            device, pixels = self.model.device, self.batch_pixels
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                # another thread may have retreated meanwhile, which leaves this one half on each device
                alone = (device, pixels) == (self.model.device, self.batch_pixels)
                if not out_of_memory(error) and device == self.model.device:
                    raise
                if alone:
                    self._retreat(error)
            release()  # here, where the failed try no longer holds its tensors
            if device.type == "cuda":
                torch.cuda.empty_cache()

    def _retreat(self, error: Exception) -> None:
        device = self.model.device
        if self.batch_pixels // 2 >= SMALLEST_BATCH:
            self.batch_pixels //= 2
            self.notice = f"{device} ran out of memory; continuing with smaller tiles."
        elif device.type != "cpu":
            self.model.place("cpu")
            self.batch_pixels = BATCH_PIXELS["cpu"]
            self.notice = f"{device} ran out of memory even with small tiles; continuing on the CPU."
        else:
            raise DeviceError("Memory ran out; close other programs or choose a smaller window.") from error


def trim() -> None:
    """Give the system back what was freed; takes some milliseconds.

    Pictures come in ever other sizes, between which glibc is left with more and more gaps that it keeps.
    """
    if _MALLOC_TRIM is not None:
        _MALLOC_TRIM(0)


def keep_freed() -> None:
    """Let glibc keep what is freed for the next array, as it does unless it is told otherwise.

    dask tells its workers to give back each array. A page that is got anew is filled with zeros first: that took half
    of the time of an export on a GPU.
    """
    if _MALLOPT is not None:
        _MALLOPT(_M_MMAP_THRESHOLD, _MOST_KEPT)
        _MALLOPT(_M_TRIM_THRESHOLD, 2 * _MOST_KEPT)


_GLIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_MALLOC_TRIM, _MALLOPT = getattr(_GLIBC, "malloc_trim", None), getattr(_GLIBC, "mallopt", None)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_MOST_KEPT = 32 << 20  # bytes of an array: what glibc's own thresholds grow to


def out_of_memory(error: Exception) -> bool:
    """Only CUDA has a type of its own for it; MPS and the CPU say it in words."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(w in str(error) for w in words)
