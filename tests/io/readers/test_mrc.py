"""MRC files written by mrcfile."""

from __future__ import annotations

import itertools
import math
import pickle
import struct
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


IMOD = 1146047817


def imod(path: Path, array: np.ndarray, flags: int, byte_order="<", **header) -> Path:
    """As IMOD writes it: its stamp and flags in bytes 152 to 160, the range of the values in 76 to 84."""
    path = write(path, array.view("i1") if array.dtype == "u1" else array, **header)
    content = bytearray(path.read_bytes())
    content[152:160] = struct.pack(f"{byte_order}2i", IMOD, flags)
    content[76:84] = struct.pack(f"{byte_order}2f", array.min(), array.max())
    path.write_bytes(content)
    return path


def bytes_up_to_240() -> np.ndarray:
    return np.linspace(40, 240, 120).astype("u1").reshape(4, 5, 6)


def test_unsigned_bytes_of_imod(tmp_path: Path) -> None:
    array = bytes_up_to_240()
    volume = open_volume(imod(tmp_path / "a.mrc", array, 0))
    assert isinstance(volume.array, Mapped)
    assert volume.dtype == np.uint8
    np.testing.assert_array_equal(volume.read_raw(), array)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume.array)), array)
    assert volume.voxel_size == pytest.approx((20, 6, 5))
    assert not volume.provenance.note


@pytest.mark.parametrize("flags", [1, 5, 13])
def test_signed_bytes_of_imod(tmp_path: Path, flags: int) -> None:
    array = (values(4, 5, 6) - 50).astype("i1")
    volume = open_volume(imod(tmp_path / "a.mrc", array, flags))
    assert volume.dtype == np.int8
    np.testing.assert_array_equal(volume.read_raw(), array)


def test_imods_flag_and_the_range_contradict_each_other(tmp_path: Path) -> None:
    volume = open_volume(imod(tmp_path / "a.mrc", bytes_up_to_240(), 1))
    assert volume.dtype == np.int8
    assert volume.provenance.note == "IMOD's flag says signed bytes, its range is 40 to 240; they are taken as signed"
    volume = open_volume(imod(tmp_path / "b.mrc", np.full((4, 5, 6), -3, "i1") + np.arange(6, dtype="i1"), 0))
    assert volume.dtype == np.uint8
    assert volume.provenance.note.endswith("its range is -3 to 2; they are taken as unsigned")


def test_a_range_above_127_tells_unsigned_bytes_of_other_programs(tmp_path: Path) -> None:
    array = bytes_up_to_240()
    volume = open_volume(write(tmp_path / "a.mrc", array.view("i1"), dmin=40, dmax=240))
    np.testing.assert_array_equal(volume.read_raw(), array)


def test_half_bytes_of_imod_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="two 4-bit values in a byte"):
        open_volume(imod(tmp_path / "a.mrc", bytes_up_to_240(), 16))


def test_the_sign_of_imods_origin(tmp_path: Path) -> None:
    array = values(4, 5, 6)
    assert open_volume(imod(tmp_path / "a.mrc", array, 4, origin=(1, 2, 3))).origin == (3, 2, 1)
    assert open_volume(imod(tmp_path / "b.mrc", array, 0, origin=(1, 2, 3))).origin == (-3, -2, -1)


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_the_order_of_axes(tmp_path: Path, order: tuple[int, int, int]) -> None:
    array = values(4, 5, 6)
    column, row, section = order
    path = tmp_path / "a.map"
    with mrcfile.new(path, array) as file:
        file.header.mapc, file.header.mapr, file.header.maps = order
        file.header.mx, file.header.my, file.header.mz = 10, 10, 10
        file.header.cella = (50.0, 60.0, 200.0)
    volume = open_volume(path)
    assert volume.voxel_size == pytest.approx((20, 6, 5))
    stored = [section, row, column]
    np.testing.assert_array_equal(volume.read_raw(), array.transpose([stored.index(axis) for axis in (3, 2, 1)]))


def test_axes_that_have_no_sensible_numbers(tmp_path: Path) -> None:
    array = values(4, 5, 6)
    volume = open_volume(write(tmp_path / "a.mrc", array, mapc=1, mapr=1, maps=3))
    np.testing.assert_array_equal(volume.read_raw(), array)
    assert volume.provenance.note == "its axes have the numbers [1, 1, 3]; they are taken as x, y, z"
    volume = open_volume(write(tmp_path / "b.mrc", array, mapc=0, mapr=0, maps=0))
    assert not volume.provenance.note


@pytest.mark.parametrize(
    ("size", "sizes"), [(None, (None, 12.3, 12.3)), (1.0, (None, 12.3, 12.3)), (40.0, (40, 40, 40))]
)
def test_the_pixel_size_that_serialem_writes_beside_a_stack(tmp_path: Path, size, sizes) -> None:
    path = write(tmp_path / "a.st", values(4, 5, 6), size)
    (tmp_path / "a.st.mdoc").write_text("PixelSpacing = 12.3\nImageFile = a.st\n\n[ZValue = 0]\nPixelSpacing = 9\n")
    spacing = open_volume(path).provenance.spacing
    assert (spacing.sizes, spacing.unit) == (sizes, "angstrom")


@pytest.mark.parametrize("cell", [math.nan, math.inf, -3.0])
def test_a_cell_that_makes_no_sense_is_asked_for(tmp_path: Path, cell: float) -> None:
    array = values(4, 5, 6)
    path = write(tmp_path / "a.mrc", array)
    content = bytearray(path.read_bytes())
    content[48:52] = struct.pack("<f", cell)
    path.write_bytes(content)
    volume = open_volume(path)
    assert volume.provenance.spacing_problem
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
