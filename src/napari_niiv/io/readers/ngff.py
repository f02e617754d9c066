"""Axes, voxel size and place in the metadata of OME-Zarr (NGFF), of all versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from napari_niiv.io.readers.array_attributes import Origin, named_axes
from napari_niiv.io.spacing import Spacing, join_notes
from napari_niiv.io.stored_volume import usual_axes
from napari_niiv.io.units import convert, number, unit_name


@dataclass(frozen=True)
class Transform:
    """What takes the indices of a level to world coordinates.

    Attributes
    ----------
    scale, translation : mapping
        By the letters of the axes.
    unknown : tuple of str
        Kinds of transformations that are not understood, and left out.
    scaled : bool
        Whether the file gives a scale, and all of it is understood.
    """

    scale: Mapping[str, float]
    translation: Mapping[str, float]
    unknown: tuple[str, ...]
    scaled: bool


def axes_of(image: Mapping[str, Any], array: Any) -> tuple[str, list[Any]]:
    """Letters and units of the axes of an image.

    Older versions name only letters; where the image names none, the dimension names of its array count.
    """
    ndim = len(array.shape)
    listed = image.get("axes")
    if not listed and (systems := image.get("coordinateSystems")):
        listed = systems[0].get("axes")
    if not listed:
        names = getattr(array.metadata, "dimension_names", None)
        listed = list(named_axes({"dimension_names": list(names)} if names else {}, ndim) or usual_axes(ndim))
    axes = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in listed]
    names = [str(axis["name"]).lower() for axis in axes]
    # where they are named freely, their types tell
    if not set(names) <= set("tczyx"):
        kinds = [axis.get("type") for axis in axes]
        spatial = iter("zyx"[-kinds.count("space") :] if 0 < kinds.count("space") <= 3 else "???????")
        letters = {"time": "t", "channel": "c"}
        names = [next(spatial) if kind == "space" else letters.get(str(kind), "?") for kind in kinds]
    return "".join(names), [axis.get("unit") for axis in axes]


def transform_of(image: Mapping[str, Any], level: Mapping[str, Any], axes: str) -> Transform:
    """The transformations of a level, then those of the whole image."""
    scale, translation = dict.fromkeys(axes, 1.0), dict.fromkeys(axes, 0.0)
    unknown: list[str] = []
    scaled = False
    for step in _steps([level.get("coordinateTransformations"), image.get("coordinateTransformations")]):
        factors, shifts = _linear(step, len(axes))
        if factors is None and shifts is None:
            unknown.append(str(step.get("type") if isinstance(step, Mapping) else step))
        for axis, factor in zip(axes, factors or (), strict=False):
            scaled = True
            scale[axis] *= factor
            translation[axis] *= factor
        for axis, shift in zip(axes, shifts or (), strict=False):
            translation[axis] += shift
    sized = scaled and not {"scale", "affine"} & set(unknown)
    return Transform(scale, translation, tuple(dict.fromkeys(unknown)), sized)


def place_of(
    image: Mapping[str, Any], level: Mapping[str, Any], axes: str, units: Sequence[Any]
) -> tuple[Spacing, Origin]:
    """Voxel size and origin (z, y, x) of a level; transformations that are not understood are in the note."""
    transform = transform_of(image, level, axes)
    notes = [f"its coordinate transformation {kind!r} is not understood and left out" for kind in transform.unknown]
    if not transform.scaled:
        return Spacing(note=join_notes(*notes)), (0.0, 0.0, 0.0)
    named = dict(zip(axes, units, strict=True))
    spacing = Spacing.of([transform.scale.get(a) for a in "zyx"], [named.get(a) for a in "zyx"])
    z, y, x = (convert(transform.translation.get(a), unit_name(named.get(a)), spacing.unit) or 0.0 for a in "zyx")
    return replace(spacing, note=join_notes(spacing.note, *notes)), (z, y, x)


def _steps(transformations: Any) -> Iterator[Any]:
    """Transformations one after the other, those of sequences among them; what moves nothing is left out."""
    if not isinstance(transformations, list | tuple):
        transformations = [transformations]
    for step in transformations:
        if isinstance(step, list | tuple):
            yield from _steps(step)
        elif isinstance(step, Mapping) and step.get("type") == "sequence":
            yield from _steps(step.get("transformations"))
        elif step is not None and not (isinstance(step, Mapping) and step.get("type") == "identity"):
            yield step


def _linear(step: Any, ndim: int) -> tuple[list[float] | None, list[float] | None]:
    """The scale and the translation, as far as there are any, that a transformation is; None, None for another."""
    if not isinstance(step, Mapping):
        return None, None
    if (rows := step.get("affine")) is not None:
        return _diagonal(rows, ndim)
    return _numbers(step.get("scale"), ndim), _numbers(step.get("translation"), ndim)


def _diagonal(rows: Any, ndim: int) -> tuple[list[float] | None, list[float] | None]:
    """Scale and translation of an affine matrix that neither turns nor shears; None, None for another."""
    whole = [_numbers(row, ndim + 1) for row in rows] if isinstance(rows, list | tuple) else []
    matrix = [row for row in whole[:ndim] if row is not None]
    if len(matrix) != ndim or any(v for i, row in enumerate(matrix) for j, v in enumerate(row[:-1]) if i != j):
        return None, None
    return [row[i] for i, row in enumerate(matrix)], [row[-1] for row in matrix]


def _numbers(values: Any, count: int) -> list[float] | None:
    if not isinstance(values, list | tuple) or len(values) != count:
        return None
    numbers = [v for value in values if (v := number(value)) is not None]
    return numbers if len(numbers) == count else None
