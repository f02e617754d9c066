"""Files that name others: those must lie in the folder; nothing else is read, whatever a file says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from benchmarks.sample_files import hdf5, ome_set, spim_data
from napari_niiv.errors import VolumeError
from napari_niiv.io.named_files import is_beside
from napari_niiv.io.open import open_volume

SHAPE = (6, 24, 20)


def values() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, SHAPE).astype("u1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder beside one of another user, whose files are there."""
    secret = tmp_path / "secret"
    secret.mkdir()
    hdf5(secret / "voxels.h5", values())
    values().tofile(secret / "voxels.raw")
    tifffile.imwrite(secret / "voxels.ome.tif", values())
    (secret / "set.companion.ome").write_text("<OME/>")
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("a.tif", True),
        ("sub/a.tif", True),
        ("sub/../a.tif", True),
        ("../own/a.tif", True),
        ("../a.tif", False),
        ("sub/../../a.tif", False),
        ("/etc/passwd", False),
        ("../owner/a.tif", False),
        ("", False),
        (".", False),
        ("a\0.tif", False),
    ],
)
def test_what_lies_in_a_folder(tmp_path: Path, name: str, beside: bool) -> None:
    assert is_beside(tmp_path / "own", name) is beside
    assert is_beside(tmp_path / "own", str(tmp_path / "own" / "x"))


def bdv_xml(folder: Path, name: str) -> Path:
    loader = f'<ImageLoader format="bdv.hdf5"><hdf5 type="relative">{name}</hdf5></ImageLoader>'
    (folder / "a.xml").write_text(spim_data(loader))
    return folder / "a.xml"


def bdv_base(folder: Path, name: str) -> Path:
    loader = '<ImageLoader format="bdv.hdf5"><hdf5 type="relative">voxels.h5</hdf5></ImageLoader>'
    (folder / "a.xml").write_text(spim_data(loader, os.path.dirname(name)))
    return folder / "a.xml"


def linked(folder: Path, name: str) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file["data"] = h5py.ExternalLink(name, "data")
    return folder / "a.h5"


def linked_twice(folder: Path, name: str) -> Path:
    linked(folder, name).rename(folder / "b.h5")
    return linked(folder, "b.h5")


def virtual(folder: Path, name: str) -> Path:
    layout = h5py.VirtualLayout(SHAPE, "u1")
    layout[:] = h5py.VirtualSource(name, "data", SHAPE)
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    return folder / "a.h5"


def virtual_twice(folder: Path, name: str) -> Path:
    virtual(folder, name).rename(folder / "b.h5")
    return virtual(folder, "b.h5")


def raw(folder: Path, name: str) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("data", SHAPE, "u1", external=[(name.replace(".h5", ".raw"), 0, h5py.h5f.UNLIMITED)])
    return folder / "a.h5"


def ome_file(folder: Path, name: str) -> Path:
    ome_set(folder / "set", values(), companion=False)
    path = folder / "set" / "part0.ome.tif"
    xml = tifffile.tiffcomment(path).replace("part1.ome.tif", f"../{name}".replace(".h5", ".ome.tif"))
    tifffile.tiffcomment(path, xml.encode())
    return path


def ome_metadata(folder: Path, name: str) -> Path:
    ome_set(folder / "set", values(), companion=True)
    path = folder / "set" / "part0.ome.tif"
    other = f"../{os.path.dirname(name)}/set.companion.ome"
    tifffile.tiffcomment(path, tifffile.tiffcomment(path).replace("set.companion.ome", other).encode())
    return path


@pytest.mark.parametrize(
    "write", [bdv_xml, bdv_base, linked, linked_twice, virtual, virtual_twice, raw, ome_file, ome_metadata]
)
def test_files_elsewhere_are_not_read(folder: Path, write: Callable[[Path, str], Path]) -> None:
    with pytest.raises(VolumeError, match="lies outside of its folder; put it beside it") as caught:
        open_volume(write(folder, "../secret/voxels.h5"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("write", [bdv_xml, linked, linked_twice, virtual, virtual_twice, raw])
def test_files_beside_are_read(
    folder: Path, write: Callable[[Path, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    (folder / "voxels.h5").write_bytes((folder / "../secret/voxels.h5").read_bytes())
    (folder / "voxels.raw").write_bytes((folder / "../secret/voxels.raw").read_bytes())
    np.testing.assert_array_equal(open_volume(write(folder, "voxels.h5")).read_raw(), values())


def test_files_that_are_missing_are_named(folder: Path) -> None:
    for write, name in ((virtual, "voxels.h5"), (raw, "voxels.raw")):
        with pytest.raises(VolumeError, match=f"lacks the files that hold its voxels \\({name}\\)"):
            open_volume(write(folder, "voxels.h5"))


def test_a_virtual_dataset_of_itself(folder: Path) -> None:
    with pytest.raises(VolumeError, match="those of itself"):
        open_volume(virtual(folder, "a.h5"))
