"""Stores whose chunks are missing, or named otherwise than their metadata say: never zeros in silence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from napari_niiv.errors import VolumeError
from napari_niiv.io.open import open_volume
from napari_niiv.io.readers import chunks_there

METADATA = (".zarray", ".zattrs", ".zgroup", "zarr.json", "attributes.json")


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, shape).astype(np.uint8)


def chunks_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name not in METADATA)


def make(path: Path, kind: str, array: np.ndarray) -> None:
    chunks = (2, 8, 8)
    if kind == "n5":
        tensorstore = pytest.importorskip("tensorstore")
        spec = {"driver": "n5", "kvstore": path.as_uri(), "metadata": {"blockSize": list(chunks[::-1])}}
        options = {"create": True, "dtype": "uint8", "shape": array.shape[::-1]}
        tensorstore.open(spec, **options).result().write(array.T).result()
        return
    separator = "/" if "/" in kind else "."
    encoding = {"name": "default" if kind[0] == "3" else "v2", "separator": separator}
    made = zarr.create_array(
        path, shape=array.shape, dtype="u1", chunks=chunks, zarr_format=int(kind[0]), chunk_key_encoding=encoding
    )
    made[:] = array


KINDS = ["2.", "2/", "3.", "3/", "n5"]


@pytest.mark.parametrize("kind", KINDS)
def test_some_or_all_chunks_are_missing(tmp_path: Path, kind: str) -> None:
    array = values(4, 16, 24)
    path = tmp_path / ("a.n5" if kind == "n5" else "a.zarr")
    make(path, kind, array)
    assert len(chunks_of(path)) == 12
    whole = open_volume(path)
    assert not whole.provenance.note
    np.testing.assert_array_equal(whole.read_raw(), array)
    for chunk in chunks_of(path)[:5]:
        chunk.unlink()
    volume = open_volume(path)
    assert volume.provenance.note == "5 of its 12 chunks are missing and shown as 0"
    assert (volume.read_raw() == 0).sum() == 5 * 2 * 8 * 8
    for chunk in chunks_of(path):
        chunk.unlink()
    with pytest.raises(VolumeError, match="holds none of its chunks, only their description"):
        open_volume(path)


@pytest.mark.parametrize("other", ["1_2_3", "1.2.3", "1/2/3", "c/1/2/3", "c.1.2.3"])
@pytest.mark.parametrize("kind", KINDS)
def test_chunks_that_have_other_names(tmp_path: Path, kind: str, other: str) -> None:
    array = values(8, 24, 32)
    path = tmp_path / ("a.n5" if kind == "n5" else "a.zarr")
    make(path, kind, array)
    chunks = {str(file.relative_to(path)): file.read_bytes() for file in chunks_of(path)}
    separator = "_" if "_" in other else "." if "." in other else "/"
    rename = {name: separator.join([p for p in name.replace("/", ".").split(".") if p != "c"]) for name in chunks}
    renamed = {name: f"c{separator}{new}" if other[0] == "c" else new for name, new in rename.items()}
    if all(name == new for name, new in renamed.items()):
        return  # these are the names that the metadata say
    for name, content in chunks.items():
        (path / name).unlink()
        (path / renamed[name]).parent.mkdir(parents=True, exist_ok=True)
        (path / renamed[name]).write_bytes(content)
    with pytest.raises(VolumeError, match=r"keeps its chunks in files such as .* where its metadata say") as caught:
        open_volume(path)
    assert "\n" not in str(caught.value)


def test_nested_chunks_whose_separator_is_not_named(tmp_path: Path) -> None:
    """As older programs wrote them."""
    make(tmp_path / "a.zarr", "2/", values(4, 16, 24))
    metadata = json.loads((tmp_path / "a.zarr/.zarray").read_text())
    del metadata["dimension_separator"]
    (tmp_path / "a.zarr/.zarray").write_text(json.dumps(metadata))
    with pytest.raises(VolumeError, match=r"such as \d/\d/\d, where its metadata say 0\.0\.0; correct the metadata"):
        open_volume(tmp_path / "a.zarr")


def test_a_fill_value_is_told(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=(4, 8, 8), chunks=(1, 8, 8), dtype="u1", fill_value=7)
    array[1:] = values(3, 8, 8)
    volume = open_volume(tmp_path / "a.zarr")
    assert volume.provenance.note == "1 of its 4 chunks is missing and shown as 7"
    np.testing.assert_array_equal(volume.read_raw()[0], 7)


def test_levels_without_chunks_are_left_out(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    datasets = []
    for level, step in enumerate((1, 2, 4)):
        array = values(4, 32, 32)[:, ::step, ::step]
        made = group.create_array(str(level), shape=array.shape, dtype="u1", chunks=(4, 8, 8))
        if level != 1:
            made[:] = array
        transform = {"type": "scale", "scale": [4.0, 1.0 * step, 1.0 * step]}
        datasets.append({"path": str(level), "coordinateTransformations": [transform]})
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    volume = open_volume(tmp_path / "a.zarr")
    assert [level.array.shape for level in volume.levels()] == [(4, 32, 32), (4, 8, 8)]


def test_of_a_large_sparse_store_few_chunks_are_looked_for(tmp_path: Path, monkeypatch) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=(4000, 4000, 4000), chunks=(8, 8, 8), dtype="u1")
    array[:8, :80, :1600] = 3
    looked, listed = [], []
    exists, scandir = Path.exists, os.scandir
    monkeypatch.setattr(chunks_there.Path, "exists", lambda self: looked.append(self) or exists(self))
    monkeypatch.setattr(chunks_there.os, "scandir", lambda path: listed.append(path) or scandir(path))
    volume = open_volume(tmp_path / "a.zarr")
    assert volume.provenance.note == "about 99 % of its 125000000 chunks are missing and shown as 0"
    assert len(looked) < 1100
    assert len(listed) < 30
    assert (volume.read_raw(slice(0, 1), slice(0, 8), slice(0, 8)) == 3).all()


def test_hdf5_whose_voxels_were_never_written(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    for options in ({"chunks": (2, 8, 8)}, {}):
        with h5py.File(path, "w") as file:
            file.create_dataset("raw", shape=(4, 16, 24), dtype="u1", **options)
        with pytest.raises(VolumeError, match=r"a\.h5 holds no voxels of /raw"):
            open_volume(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", shape=(4, 16, 24), dtype="u1", chunks=(2, 8, 8))[:2] = 5
    volume = open_volume(path)
    assert volume.provenance.note == "6 of its 12 chunks are missing and shown as 0"
    np.testing.assert_array_equal(volume.read_raw()[:, 0, 0], [5, 5, 0, 0])


def test_hdf5_whose_voxels_are_in_another_file(tmp_path: Path) -> None:
    array = values(4, 16, 24)
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["raw"] = array
    layout = h5py.VirtualLayout(array.shape, "u1")
    layout[:] = h5py.VirtualSource("part.h5", "raw", array.shape)
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)
    np.testing.assert_array_equal(open_volume(tmp_path / "whole.h5").read_raw(), array)
    (tmp_path / "part.h5").unlink()
    with pytest.raises(VolumeError, match=r"lacks the files that hold its voxels \(part\.h5\)"):
        open_volume(tmp_path / "whole.h5")


def test_tiles_that_a_tiff_leaves_out(tmp_path: Path) -> None:
    array = values(3, 32, 32)
    path = tmp_path / "a.tif"

    def tiles():
        for number, plane in enumerate(array):
            for row in (0, 16):
                for column in (0, 16):
                    yield None if number == 1 else plane[row : row + 16, column : column + 16]

    tifffile.imwrite(
        path, tiles(), shape=array.shape, dtype="u1", tile=(16, 16), photometric="minisblack", compression="zlib"
    )
    volume = open_volume(path)
    assert volume.provenance.note == "4 of its 12 chunks are missing and shown as 0"
    np.testing.assert_array_equal(volume.read_raw()[[0, 2]], array[[0, 2]])
