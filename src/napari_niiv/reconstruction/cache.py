"""The caches of views, for latent grids and voxels, limited in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Generic, Protocol, TypeVar

import torch
from numpy.typing import NDArray

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
        """What an owner cached under a key, now the most recently used, or None."""
        with self._lock:
            if (value := self._entries.get((owner, key))) is not None:
                self._entries.move_to_end((owner, key))
            return value

    def put(self, owner: object, key: Hashable, value: T) -> None:
        """Cache something, dropping the least recently used beyond the limit, whosever it is."""
        with self._lock:
            if (old := self._entries.pop((owner, key), None)) is not None:
                self.bytes -= old.nbytes
            self._entries[owner, key] = value
            self.bytes += value.nbytes
            while self.bytes > self.limit and len(self._entries) > 1:
                _, dropped = self._entries.popitem(last=False)
                self.bytes -= dropped.nbytes

    def drop(self, owner: object) -> None:
        """Forget all that an owner cached."""
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
    """What the views of one program may cache: latent grids on the device of the model, and voxels read.

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
        """Free all that an owner cached."""
        self.voxels.drop(owner)
        self.forget_latents(owner)
