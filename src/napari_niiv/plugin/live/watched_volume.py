"""Whether a volume is being read just now."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, fields
from typing import Any

from numpy.typing import NDArray

from napari_niiv.volume import Volume


class Reads:
    """Counts the reads that are under way, on any thread; a context for one."""

    def __init__(self) -> None:
        self._lock, self._count = threading.Lock(), 0

    @property
    def busy(self) -> bool:
        """Whether a read is under way."""
        return self._count > 0

    def __enter__(self) -> None:
        with self._lock:
            self._count += 1

    def __exit__(self, *problem: object) -> None:
        with self._lock:
            self._count -= 1


@dataclass(frozen=True, eq=False)
class WatchedVolume(Volume):
    """A volume that tells when it is being read; so do the volumes of its times and channels.

    Attributes
    ----------
    reads : Reads
    """

    reads: Reads = field(default_factory=Reads)

    @classmethod
    def of(cls, volume: Volume, reads: Reads) -> WatchedVolume:
        """The same volume, watched."""
        return cls(**{each.name: getattr(volume, each.name) for each in fields(Volume)}, reads=reads)

    def read_raw(self, *args: Any, **kwargs: Any) -> NDArray[Any]:
        """Read a box, as `Volume.read_raw`."""
        with self.reads:
            return super().read_raw(*args, **kwargs)
