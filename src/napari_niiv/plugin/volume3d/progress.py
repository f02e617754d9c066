"""How far a 3-D view is, for the user."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_niiv.plugin.common.words import length_words


@dataclass(frozen=True)
class Progress:
    """How far the 3-D reconstruction is.

    Attributes
    ----------
    done, blocks : int
        How many blocks of how many are restored; there are none where interpolation is the right answer.
    remaining : float or None
        Seconds; None until a block is done.
    shape : tuple of int
        Voxels of the result along z, y, x.
    pixel_size : float
        Size of a voxel of the result along x, in `unit`.
    unit : str
        Such as "nm".
    notice : str
        What the user should know, such as a retreat to the CPU.
    """

    done: int
    blocks: int
    remaining: float | None
    shape: tuple[int, int, int]
    pixel_size: float
    unit: str
    notice: str = ""

    @property
    def text(self) -> str:
        """The progress in one line for the user."""
        head = f"3-D · pixel {length_words(self.pixel_size, self.unit)}"
        if not self.blocks:
            return f"{head} · interpolated (nothing to infer at this size)"
        if self.done == self.blocks:
            return f"{head} · refined from both planes"
        left = "" if self.remaining is None else f" · {max(1, round(self.remaining))} s left"
        share = math.floor(100 * self.done / self.blocks)
        return f"{head} · restoring… {share} %{left}"
