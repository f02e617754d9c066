"""Folders laid out as WEBKNOSSOS does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_niiv.errors import DatasetChoice, VolumeError
from napari_niiv.io.open import open_volume

SCALE = {"factor": [4.0, 5.0, 40.0], "unit": "nanometer"}


def values() -> np.ndarray:
    """As z, y, x."""
    return np.random.default_rng(0).integers(1, 200, (6, 16, 24)).astype("u1")


def folder(path: Path, scale: Any = SCALE, layers=("color",), named: bool = True, **more: Any) -> Path:
    """Layers of mags 1, 2-2-1; the arrays are c, x, y, z."""
    described = []
    for layer in layers:
        mags = []
        for mag, name in (([1, 1, 1], "1"), ([2, 2, 1], "2-2-1")):
            data = values()[:, :: mag[1], :: mag[0]].T[np.newaxis]
            zarr.create_array(path / layer / name, data=data, dimension_names=list("cxyz") if named else None)
            mags.append({"mag": mag} | ({"path": f"./{layer}/{name}"} if named else {}))
        described.append({"name": layer, "category": "color", "dataFormat": "zarr3", "mags": mags} | more)
    properties = {"id": {"name": "a"}, "scale": scale, "dataLayers": described}
    (path / "datasource-properties.json").write_text(json.dumps(properties))
    return path


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("scale", [SCALE, [4.0, 5.0, 40.0]])
def test_the_only_layer(tmp_path: Path, scale, named: bool) -> None:
    volume = open_volume(folder(tmp_path, scale, named=named))
    np.testing.assert_array_equal(volume.read_raw(), values())
    assert (volume.voxel_size, volume.unit) == ((40, 5, 4), "nanometer")
    assert [(level.axial, level.lateral) for level in volume.levels()] == [(1, 1), (1, 2)]
    np.testing.assert_array_equal(volume.levels()[1].array, values()[:, ::2, ::2])


def test_several_layers_must_be_told_apart(tmp_path: Path) -> None:
    folder(tmp_path, layers=("color", "labels"))
    with pytest.raises(DatasetChoice, match=r"2 images: color \(6 × 16 × 24 uint8\), labels \("):
        open_volume(tmp_path)
    assert open_volume(tmp_path, dataset="labels").voxel_size == (40, 5, 4)
    with pytest.raises(VolumeError, match="has no layer 'none', but color, labels"):
        open_volume(tmp_path, dataset="none")


def test_mags_without_chunks(tmp_path: Path) -> None:
    folder(tmp_path)
    shutil.rmtree(tmp_path / "color/2-2-1/c")
    assert [(level.axial, level.lateral) for level in open_volume(tmp_path).levels()] == [(1, 1)]
    shutil.rmtree(tmp_path / "color/1/c")
    with pytest.raises(VolumeError, match="holds none of its chunks"):
        open_volume(tmp_path)


@pytest.mark.parametrize("scale", [None, [1, 2], {"factor": "big"}, {"factor": [None, 1, 1], "unit": "nm"}])
def test_a_scale_that_makes_no_sense_is_asked_for(tmp_path: Path, scale) -> None:
    volume = open_volume(folder(tmp_path, scale))
    assert volume.provenance.spacing_problem
    np.testing.assert_array_equal(volume.read_raw(), values())


def test_layers_of_another_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="stores the layer color as wkw, which is not read"):
        open_volume(folder(tmp_path, dataFormat="wkw"))


@pytest.mark.parametrize("text", ["{", "[]", '{"dataLayers": [{"name": "a", "dataFormat": "zarr", "mags": []}]}'])
def test_damaged_properties(tmp_path: Path, text: str) -> None:
    (tmp_path / "datasource-properties.json").write_text(text)
    with pytest.raises(VolumeError, match="is not a readable WEBKNOSSOS folder") as caught:
        open_volume(tmp_path)
    assert "\n" not in str(caught.value)
