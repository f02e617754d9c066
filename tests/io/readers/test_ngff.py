"""The metadata of OME-Zarr as programs write them, and as they should not have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_niiv.io.open import open_volume
from napari_niiv.volume import Volume

AXES = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
SCALE = {"type": "scale", "scale": [0.8, 0.2, 0.1]}
SHIFT = {"type": "translation", "translation": [1, 2, 3]}


def values() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, (6, 16, 24)).astype("u2")


def image(path: Path, of_level: Any, of_image: Any = None, steps=(1,), zarr_format=2, names=None, **more: Any) -> Path:
    """An image whose levels are `steps` times coarser; the transformations of the first level, and of the image."""
    group = zarr.create_group(path, zarr_format=zarr_format)
    datasets = []
    for number, step in enumerate(steps):
        group.create_array(str(number), data=values()[:, ::step, ::step], chunks=(3, 8, 8), dimension_names=names)
        coarser = [{"type": "scale", "scale": [0.8, 0.2 * step, 0.1 * step]}]
        datasets.append({"path": str(number), "coordinateTransformations": of_level if number == 0 else coarser})
    multiscale = {"version": "0.4", "axes": AXES, "datasets": datasets} | more
    if of_image is not None:
        multiscale["coordinateTransformations"] = of_image
    ome = {"multiscales": [{key: value for key, value in multiscale.items() if value is not None}]}
    group.attrs.update({"ome": ome} if zarr_format == 3 else ome)
    return path


def opened(path: Path, **options: Any) -> Volume:
    volume = open_volume(path, **options)
    np.testing.assert_array_equal(volume.read_raw(), values())
    return volume


def test_transformations_of_levels_and_of_the_image_are_applied_in_turn(tmp_path: Path) -> None:
    shift = {"type": "translation", "translation": [8, 2, 1]}
    twice = [{"type": "scale", "scale": [2, 2, 2]}, {"type": "translation", "translation": [1, 1, 1]}]
    volume = opened(image(tmp_path / "a.zarr", [SCALE, shift], twice))
    assert volume.voxel_size == pytest.approx((1.6, 0.4, 0.2))
    assert volume.origin == pytest.approx((17, 5, 3))
    assert opened(tmp_path / "a.zarr", dataset="0").voxel_size == pytest.approx((1.6, 0.4, 0.2))


@pytest.mark.parametrize(
    ("steps", "origin"),
    [
        (
            [{"type": "sequence", "transformations": [SCALE, {"type": "translation", "translation": [1, 2, 3]}]}],
            (1, 2, 3),
        ),
        ([{"type": "identity"}, SCALE], (0, 0, 0)),
        ([{"type": "affine", "affine": [[0.8, 0, 0, 1], [0, 0.2, 0, 2], [0, 0, 0.1, 3]]}], (1, 2, 3)),
        ([SCALE | {"scale": ["0.8", 0.2, "0,1"]}], (0, 0, 0)),
    ],
)
def test_transformations_that_are_understood(tmp_path: Path, steps, origin) -> None:
    volume = opened(image(tmp_path / "a.zarr", steps))
    assert (volume.voxel_size, volume.origin) == ((0.8, 0.2, 0.1), origin)
    assert not volume.provenance.note


@pytest.mark.parametrize(
    ("steps", "kind", "size_known"),
    [
        ([SCALE, {"type": "rotation", "rotation": [[1, 0], [0, 1]]}], "rotation", True),
        ([SCALE, {"type": "displacements", "path": "d"}], "displacements", True),
        ([{"type": "affine", "affine": [[0.8, 0.1, 0, 1], [0, 0.2, 0, 2], [0, 0, 0.1, 3]]}], "affine", False),
        ([{"type": "scale", "path": "elsewhere"}], "scale", False),
        ([{"type": "scale", "scale": [1, 2]}], "scale", False),
        ([{"type": "scale", "scale": "big"}], "scale", False),
        ([{"type": "scale", "scale": [1, None, 1]}], "scale", False),
        ("scale", "scale", False),
    ],
)
def test_transformations_that_are_not_understood_are_told(tmp_path: Path, steps, kind: str, size_known: bool) -> None:
    volume = opened(image(tmp_path / "a.zarr", steps))
    assert volume.provenance.note == f"its coordinate transformation {kind!r} is not understood and left out"
    assert (volume.voxel_size == (0.8, 0.2, 0.1)) is size_known
    assert bool(volume.provenance.spacing_problem) is not size_known


def test_a_scale_of_the_image_does_not_stand_for_one_of_the_level_that_is_not_understood(tmp_path: Path) -> None:
    path = image(tmp_path / "a.zarr", [{"type": "scale", "scale": "big"}], [{"type": "scale", "scale": [8, 1, 1]}])
    assert opened(path).provenance.spacing_problem == "does not say its z step"


@pytest.mark.parametrize("unit", ["centimeter", "picometer", "nm", "Micron", "dm"])
def test_units(tmp_path: Path, unit: str) -> None:
    path = image(tmp_path / "a.zarr", [SCALE], axes=[axis | {"unit": unit} for axis in AXES])
    names = {"nm": "nanometer", "Micron": "micrometer", "dm": "decimeter"}
    assert (opened(path).voxel_size, opened(path).unit) == ((0.8, 0.2, 0.1), names.get(unit, unit))


def test_a_unit_of_spaces_is_none(tmp_path: Path) -> None:
    volume = opened(image(tmp_path / "a.zarr", [SCALE], axes=[axis | {"unit": " "} for axis in AXES]))
    assert (volume.unit, volume.provenance.note) == ("pixel", "")


def test_a_z_step_in_picometres_beside_micrometres_is_absurd(tmp_path: Path) -> None:
    volume = opened(image(tmp_path / "a.zarr", [SCALE], axes=[AXES[0] | {"unit": "picometer"}, *AXES[1:]]))
    assert "times its pixel size, which is outside" in volume.provenance.spacing_problem


def test_levels_in_another_order_than_from_fine_to_coarse(tmp_path: Path) -> None:
    coarse = [{"type": "scale", "scale": [0.8, 0.4, 0.2]}]
    volume = opened(image(tmp_path / "a.zarr", coarse, steps=(2, 1)))
    assert volume.voxel_size == (0.8, 0.2, 0.1)
    assert [(level.axial, level.lateral) for level in volume.levels()] == [(1, 1), (1, 2)]


def test_axes_are_the_dimension_names_where_the_image_names_none(tmp_path: Path) -> None:
    path = image(tmp_path / "a.zarr", [SCALE], zarr_format=3, names=["x", "y", "z"], axes=None)
    volume = open_volume(path)
    np.testing.assert_array_equal(volume.read_raw(), values().T)
    assert volume.voxel_size == (0.1, 0.2, 0.8)


def test_axes_of_coordinate_systems(tmp_path: Path) -> None:
    systems = [{"name": "world", "axes": AXES}]
    volume = opened(image(tmp_path / "a.zarr", [SCALE], axes=None, coordinateSystems=systems))
    assert (volume.voxel_size, volume.unit) == ((0.8, 0.2, 0.1), "micrometer")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dataset", [None, "0"])
def test_the_number_of_the_format_as_a_text(tmp_path: Path, zarr_format: int, dataset: str | None) -> None:
    path = image(tmp_path / "a.zarr", [SCALE], zarr_format=zarr_format)
    for file in path.rglob("*"):
        if file.name in (".zarray", ".zgroup", "zarr.json"):
            file.write_text(json.dumps(json.loads(file.read_text()) | {"zarr_format": str(zarr_format)}))
    assert opened(path, dataset=dataset).voxel_size == (0.8, 0.2, 0.1)


@pytest.mark.parametrize(
    "names",
    [["plane", "row", "col"], ["Depth", "Height", "Width"], ["slice", "y", "column"], ["z", "y", "x"]],
)
def test_words_for_the_axes_of_plain_arrays(tmp_path: Path, names: list[str]) -> None:
    for order in ((0, 1, 2), (2, 1, 0)):
        path = tmp_path / f"{order[0]}.zarr"
        zarr.create_array(path, data=values().transpose(order), dimension_names=[names[i] for i in order])
        opened(path)
