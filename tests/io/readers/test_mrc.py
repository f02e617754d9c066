"""MRC files written by mrcfile."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_niiv.errors import VolumeError
from napari_niiv.io.mapped_arrays import Mapped
from napari_niiv.io.open import open_volume, read_spacing
from napari_niiv.io.spacing import Spacing

mrcfile = pytest.importorskip("mrcfile")


def values(*shape: int, dtype="i2") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def write(path: Path, array: np.ndarray, size=(5.0, 6.0, 20.0), **header) -> Path:
    """`size` is (x, y, z) in ångström."""
    with mrcfile.new(path, array, overwrite=True) as file:
        if size is not None:
            file.voxel_size = size
        for name, value in header.items():
            setattr(file.header, name, value)
    return path


@pytest.mark.parametrize("suffix", [".mrc", ".rec", ".st", ".map"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f4", "f2"])
def test_volumes_are_mapped(tmp_path: Path, suffix: str, dtype: str) -> None:
    array = values(4, 5, 6, dtype=dtype)
    path = write(tmp_path / f"a{suffix}", array)
    volume = open_volume(path)
    assert isinstance(volume.array, Mapped)
    assert (volume.axes, volume.unit, volume.name) == ("zyx", "angstrom", "a")
    assert volume.voxel_size == pytest.approx((20, 6, 5))
    assert volume.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(volume.read_raw(), array)
    packed = pickle.dumps(volume.array)
    assert len(packed) < 500
    np.testing.assert_array_equal(pickle.loads(packed), array)
    assert read_spacing(path).sizes == pytest.approx((20, 6, 5))


def test_the_extended_header_and_the_origin(tmp_path: Path) -> None:
    array = values(4, 5, 6)
    with mrcfile.new(tmp_path / "a.mrc", array) as file:
        file.set_extended_header(np.zeros(333, "u1"))
        file.voxel_size = 4.0
        file.header.origin = (1, 2, 3)
    volume = open_volume(tmp_path / "a.mrc")
    assert volume.origin == (3, 2, 1)
    np.testing.assert_array_equal(volume.array, array)


def test_stacks_of_volumes(tmp_path: Path) -> None:
    array = values(2, 4, 5, 6)
    volume = open_volume(write(tmp_path / "a.mrc", array))
    assert volume.axes == "tzyx"
    assert volume.voxel_size == pytest.approx((20, 6, 5))


def test_a_stack_of_pictures(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.st", values(4, 5, 6)) as file:
        file.set_image_stack()
        file.voxel_size = 7.0
    volume = open_volume(tmp_path / "a.st")
    assert volume.axes == "zyx"
    assert volume.voxel_size[1:] == pytest.approx((7, 7))


def test_big_endian(tmp_path: Path) -> None:
    array = values(4, 5, 6)
    path = write(tmp_path / "a.mrc", array)
    with mrcfile.open(path) as file:
        header, data = file.header.copy(), file.data.copy()
    header = header.view(header.dtype.newbyteorder("<")).astype(header.dtype.newbyteorder(">"))
    header.machst = [0x11, 0x11, 0, 0]
    path.write_bytes(header.tobytes() + data.astype(">i2").tobytes())
    volume = open_volume(path)
    assert volume.voxel_size == pytest.approx((20, 6, 5))
    np.testing.assert_array_equal(volume.read_raw(), array)


def test_no_size(tmp_path: Path) -> None:
    volume = open_volume(write(tmp_path / "a.mrc", values(4, 5, 6), None))
    assert "does not say its z step" in volume.provenance.spacing_problem
    assert read_spacing(tmp_path / "a.mrc") == Spacing((None, None, None), "pixel")


@pytest.mark.parametrize("keep", [0, 100, 1023, 1024, 1100, -1])
def test_truncated_files(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path / "a.mrc", values(4, 5, 6))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(VolumeError, match=r"a\.mrc is") as caught:
        open_volume(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_mrc(tmp_path: Path) -> None:
    (tmp_path / "a.map").write_bytes(b"no MRC" * 999)
    with pytest.raises(VolumeError, match=r"a\.map is") as caught:
        open_volume(tmp_path / "a.map")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [(np.zeros((4, 5), "f4"), "no Z"), (np.zeros((3, 4, 5), "c8"), "convert it to integers or real numbers")],
)
def test_what_is_no_volume(tmp_path: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(VolumeError, match=message):
        open_volume(write(tmp_path / "a.mrc", array))


def test_the_message_names_the_extra(tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path / "a.rec", values(3, 4, 5))
    monkeypatch.setitem(sys.modules, "mrcfile", None)
    with pytest.raises(VolumeError, match=r'pip install "napari-niiv\[mrc\]"'):
        open_volume(path)
