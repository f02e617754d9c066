"""Which of the images in a file is meant, where it holds several."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from napari_niiv.errors import DatasetChoice
from napari_niiv.io.spacing import Spacing

_LABELS = re.compile(
    r"label|segment|mask|annotation|ground.?truth|instance|prediction|probabilit|affinit|_ids?\b|\bids?\b",
    re.IGNORECASE,
)
_OVERVIEWS = re.compile(r"overview|thumb|preview|macro|projection|\bmip\b|downsampled", re.IGNORECASE)
_LABEL_TYPES = {"bool", "int64", "uint32", "uint64"}


@dataclass(frozen=True)
class StoredImage:
    """One of several images in a file.

    Attributes
    ----------
    name : str
        By which it can be named.
    shape : tuple of int
        Without the axes of length 1 before the last two; empty where it is not known.
    dtype : str
    spacing : Spacing or None
        Its voxel size, as far as it is known.
    """

    name: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    spacing: Spacing | None = None

    @classmethod
    def of(cls, name: str, array: object, spacing: Spacing | None = None) -> StoredImage:
        """That of an array, by its attributes."""
        shape = tuple(int(n) for n in getattr(array, "shape", ()))
        return cls(name, tuple(n for n in shape[:-2] if n > 1) + shape[-2:], str(getattr(array, "dtype", "")), spacing)

    @property
    def words(self) -> str:
        """Its shape and type as a person reads them, and its voxel size where that can be trusted."""
        spacing, size = self.spacing, ""
        if spacing is not None and not spacing.problem and not spacing.is_default:
            size = f", {spacing.short_words}"
        return f"{' × '.join(map(str, self.shape))} {self.dtype.lstrip('<>|=')}{size}".strip()


def choice(name: str, images: Sequence[StoredImage]) -> DatasetChoice:
    """The question which of several images of a file is meant; labels are asked for last.

    Parameters
    ----------
    name : str
        The file's.
    images : sequence of StoredImage
        In the order of the file, which holds where nothing else tells which is more likely.
    """
    ranked = sorted(images, key=lambda image: (_rank(image), -_magnitude(image)))
    return DatasetChoice(name, [image.name for image in ranked], [image.words for image in ranked])


def _magnitude(image: StoredImage) -> int:
    """How large it is, so coarsely that levels of a pyramid differ and positions of a stage do not."""
    return round(math.log(max(math.prod(image.shape), 1), 8))


def _rank(image: StoredImage) -> int:
    if _LABELS.search(image.name) or image.dtype.lstrip("<>|=") in _LABEL_TYPES:
        return 3
    if _OVERVIEWS.search(image.name):
        return 2
    return 1 if image.shape and len(image.shape) < 3 else 0
