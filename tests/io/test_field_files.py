"""Files as people met them: what reads them right elsewhere is tested with the readers, the rest here."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import mrcfile
import numpy as np
import pytest
import tifffile
import zarr

from napari_niiv.cli import main
from napari_niiv.errors import VolumeError
from napari_niiv.io.open import open_volume

SIZES = {"spacing": 0.8, "unit": "um"}


def values(*shape: int, dtype: str = "u1") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_slices_are_no_colours(tmp_path: Path, count: int) -> None:
    array = values(count, 32, 40)
    tifffile.imwrite(tmp_path / "plain.tif", array, photometric="minisblack")
    tifffile.imwrite(
        tmp_path / "imagej.tif", array, imagej=True, metadata={"axes": "ZYX", **SIZES}, resolution=(10, 10)
    )
    np.testing.assert_array_equal(open_volume(tmp_path / "plain.tif").read_raw(), array)
    if count > 1:
        volume = open_volume(tmp_path / "imagej.tif")
        np.testing.assert_array_equal(volume.read_raw(), array)
        assert volume.voxel_size == pytest.approx((0.8, 0.1, 0.1))
        return
    with pytest.raises(VolumeError, match="no Z"):  # ImageJ does not tell a slice from a picture
        open_volume(tmp_path / "imagej.tif")


@pytest.mark.parametrize("count", [3, 4])
def test_few_slices_that_a_program_wrote_as_colours(tmp_path: Path, count: int) -> None:
    path, array = tmp_path / "a.tif", values(count, 32, 40)
    tifffile.imwrite(path, array, photometric="rgb", planarconfig="separate")
    with pytest.raises(VolumeError, match=rf"RGB picture of {count} planes; .* name its axes 'zyx'\."):
        open_volume(path)
    np.testing.assert_array_equal(open_volume(path, axes="zyx").read_raw(), array)


@pytest.mark.parametrize("axes", ["TYX", "CYX"])
def test_slices_that_are_called_frames_or_channels(tmp_path: Path, axes: str) -> None:
    path, array = tmp_path / "a.tif", values(6, 32, 40)
    tifffile.imwrite(path, array, imagej=True, metadata={"axes": axes, **SIZES}, resolution=(10, 10))
    with pytest.raises(VolumeError, match=f"axes '{axes}' and no Z; .* name its axes"):
        open_volume(path)
    volume = open_volume(path, axes="zyx")
    assert volume.voxel_size == pytest.approx((0.8, 0.1, 0.1))
    np.testing.assert_array_equal(volume.read_raw(), array)


@pytest.mark.parametrize(
    "suffix",
    [
        *(".czi", ".lif", ".nd2", ".oib", ".dcm", ".nrrd", ".mha", ".klb", ".raw", ".vsi", ".dm3", ".dm4", ".zarr.zip"),
        *(".img", ".mgz", ".ser", ".emd", ".xml"),
    ],
)
def test_formats_that_are_not_read(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(bytes(512))
    assert main(["info", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"napari-niiv: file{suffix} is ")
    assert error.count("\n") == 1


def test_a_folder_of_dicom_files(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"IM{number:04}").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(VolumeError, match="folder of a kind that cannot be read"):
        open_volume(tmp_path)


def test_what_systems_leave_among_slices(tmp_path: Path) -> None:
    array = values(12, 32, 40)
    for number, picture in enumerate(array):
        tifffile.imwrite(tmp_path / f"img{number}.TIF", picture)
        (tmp_path / f"._img{number}.TIF").write_bytes(b"\0\5\26\7")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "notes.txt"):
        (tmp_path / name).write_text("x")
    np.testing.assert_array_equal(open_volume(tmp_path).read_raw(), array)


def test_slices_of_sixteen_bits_as_png_and_names_in_two_cases(tmp_path: Path) -> None:
    array = values(12, 32, 40, dtype="u2") * 257
    for number, picture in enumerate(array):
        name = f"{'S' if number % 2 else 's'}{number:03}.png"
        (tmp_path / name).write_bytes(imagecodecs.png_encode(picture))
    volume = open_volume(tmp_path)
    assert volume.dtype == np.uint16
    np.testing.assert_array_equal(volume.read_raw(), array)


def test_a_zarr_in_fortran_order_of_the_other_endianness_without_a_fill_value(tmp_path: Path) -> None:
    array = values(6, 32, 40, dtype=">u2")
    options = {"chunks": (5, 20, 30), "order": "F", "zarr_format": 2, "fill_value": None}
    zarr.create_array(tmp_path / "a.zarr", shape=array.shape, dtype=">u2", **options)[:] = array
    np.testing.assert_array_equal(open_volume(tmp_path / "a.zarr").read_raw(), array)


@pytest.mark.parametrize("kind", ["stamp", "one voxel as cell", "one section as cell"])
def test_mrc_headers_of_older_programs(tmp_path: Path, kind: str) -> None:
    path, array = tmp_path / "a.mrc", values(6, 32, 40, dtype="i2")
    with mrcfile.new(path) as file:
        file.set_data(array)
        file.voxel_size = (40, 40, 320)
        if kind == "stamp":
            file.header.machst = [0x44, 0x20, 0x20, 0x20]
        elif kind == "one voxel as cell":
            file.header.mx = file.header.my = file.header.mz = 1
            file.header.cella = (40, 40, 320)
        else:
            file.header.mz, file.header.cella.z = 1, 320
    volume = open_volume(path)
    np.testing.assert_array_equal(volume.read_raw(), array)
    assert volume.voxel_size == pytest.approx((320, 40, 40))


def test_memory_that_does_not_suffice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("napari_niiv.cli.info.open_input", full)
    assert main(["info", str(tmp_path / "a.tif")]) == 2
    assert capsys.readouterr().err == "napari-niiv: The memory of this computer is full; end other programs.\n"
