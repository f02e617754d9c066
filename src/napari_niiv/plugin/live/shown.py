"""What a live view tells of each picture that it shows."""

from __future__ import annotations

from dataclasses import dataclass

from napari_niiv.reconstruction.views.request import SliceResponse


@dataclass(frozen=True)
class Shown:
    """A picture that has just appeared on the live layer.

    Attributes
    ----------
    response : SliceResponse
        The picture itself, which pass it is of, and how long it took.
    pixel_size : float
        Size of its pixels along the columns, in `unit`.
    unit : str
        The source's, such as "nm".
    final : bool
        Whether it is the best of its view: no better pass follows.
    """

    response: SliceResponse
    pixel_size: float
    unit: str
    final: bool
