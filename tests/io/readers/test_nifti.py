"""NIfTI files written by nibabel."""

from __future__ import annotations

import pickle
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from napari_niiv.errors import VolumeError
from napari_niiv.io.lazy_arrays import FileArray, Rearranged
from napari_niiv.io.mapped_arrays import Mapped
from napari_niiv.io.open import open_volume, read_spacing

nibabel = pytest.importorskip("nibabel")


def values(*shape: int, dtype="i2") -> np.ndarray:
    """In NIfTI's order: x first."""
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def write(path: Path, array: np.ndarray, zooms=(0.5, 0.6, 4.0), unit="mm", slope=None, affine=None) -> Path:
    image = nibabel.Nifti1Image(array, np.diag([*zooms, 1.0]) if affine is None else affine)
    image.header.set_xyzt_units(unit, "sec")
    if slope:
        image.header.set_slope_inter(*slope)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
def test_volumes(tmp_path: Path, suffix: str, dtype: str) -> None:
    array = values(4, 5, 6, dtype=dtype)
    path = write(tmp_path / f"a{suffix}", array)
    volume = open_volume(path)
    assert (volume.axes, volume.unit, volume.name, volume.shape) == ("zyx", "millimeter", "a", (6, 5, 4))
    assert volume.voxel_size == pytest.approx((4.0, 0.6, 0.5))
    assert isinstance(volume.array, Mapped) == (suffix == ".nii")
    np.testing.assert_array_equal(volume.read_raw(), array.T)
    packed = pickle.dumps(volume.array)
    np.testing.assert_array_equal(pickle.loads(packed), array.T)
    assert read_spacing(path).voxel_size == pytest.approx((4.0, 0.6, 0.5))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_large_and_scaled_files_are_lazy(tmp_path: Path, suffix: str, monkeypatch) -> None:
    monkeypatch.setattr("napari_niiv.io.open.IN_MEMORY_BYTES", 100)
    array = values(4, 5, 6)
    path = write(tmp_path / f"a{suffix}", array, slope=(0.5, 3.0))
    with_slope = nibabel.load(path).get_fdata()
    volume = open_volume(path)
    assert isinstance(volume.array, Rearranged)
    assert isinstance(volume.array._source, FileArray)
    assert volume.dtype == np.float32
    assert bool(volume.provenance.slow) == (suffix == ".nii.gz")
    np.testing.assert_allclose(volume.read_raw(slice(2, 4)), with_slope.T[2:4])
    np.testing.assert_allclose(pickle.loads(pickle.dumps(volume)).read_raw(), with_slope.T)
    with ThreadPoolExecutor(8) as pool:
        for i, read in enumerate(pool.map(lambda i: volume.array[i % 6], range(30))):
            np.testing.assert_allclose(read, with_slope.T[i % 6])


@pytest.mark.parametrize(("shape", "axes"), [((4, 5, 6, 2), "tzyx"), ((4, 5, 6, 1, 3), "czyx")])
def test_more_axes(tmp_path: Path, shape, axes: str) -> None:
    volume = open_volume(write(tmp_path / "a.nii", values(*shape)))
    assert volume.axes == axes
    np.testing.assert_array_equal(volume.array, np.squeeze(values(*shape)).T)


@pytest.mark.parametrize(
    ("unit", "name"),
    [("micron", "micrometer"), ("meter", "meter"), ("mm", "millimeter"), ("unknown", "pixel")],
)
def test_units(tmp_path: Path, unit: str, name: str) -> None:
    assert open_volume(write(tmp_path / "a.nii", values(4, 5, 6), unit=unit)).unit == name


@pytest.mark.parametrize("turned", [False, True])
def test_the_origin_is_that_of_an_affine_that_turns_nothing(tmp_path: Path, turned: bool) -> None:
    affine = np.diag([-0.5 if turned else 0.5, 0.6, 4.0, 1.0])
    affine[:3, 3] = (10, 20, 30)
    volume = open_volume(write(tmp_path / "a.nii", values(4, 5, 6), affine=affine))
    assert volume.voxel_size == pytest.approx((4.0, 0.6, 0.5))
    assert volume.origin == ((0, 0, 0) if turned else (30, 20, 10))


def test_axes_that_are_named_anew_keep_their_sizes(tmp_path: Path) -> None:
    """A sagittal recording: the first stored axis is the coarse one."""
    volume = open_volume(write(tmp_path / "a.nii", values(4, 5, 6), (4.0, 0.6, 0.5)), axes="zyx")
    assert volume.voxel_size == pytest.approx((4.0, 0.6, 0.5))
    np.testing.assert_array_equal(volume.array, values(4, 5, 6))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("keep", [0, 10, 0.3, 0.9])
@pytest.mark.parametrize("slope", [None, (0.5, 1.0)])
def test_truncated_files(tmp_path: Path, suffix: str, keep: float, slope) -> None:
    path = write(tmp_path / f"a{suffix}", values(10, 20, 30), slope=slope)
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(VolumeError, match=r"is not a readable NIfTI file|is truncated") as caught:
        open_volume(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_nifti(tmp_path: Path) -> None:
    for name in ("a.nii", "a.nii.gz"):
        (tmp_path / name).write_bytes(b"no NIfTI" * 99)
        with pytest.raises(VolumeError, match="is not a readable NIfTI file"):
            open_volume(tmp_path / name)


def test_what_is_no_volume(tmp_path: Path) -> None:
    rgb = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for array, message in (
        (values(4, 5), "no Z"),
        (values(4, 5, 6).astype("c8"), "convert it to integers or real numbers"),
        (rgb, "RGB"),
        (values(2, 2, 2, 2, 2, 2), "name its axes"),
    ):
        affine = np.eye(4)
        with pytest.raises(VolumeError, match=message):
            open_volume(write(tmp_path / "a.nii", array, affine=affine))


def test_the_message_names_the_extra(tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path / "a.nii.gz", values(3, 4, 5))
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(VolumeError, match=r'pip install "napari-niiv\[nifti\]"'):
        open_volume(path)


def header(path: Path, pixdim=None, **codes: int) -> Path:
    """Overwrite fields of a header as other programs do, without what nibabel would correct: pixdim begins at 80."""
    content = bytearray(path.read_bytes())
    if pixdim is not None:
        content[80:92] = struct.pack("<3f", *pixdim)
    for name, code in codes.items():
        at = {"qform_code": 252, "sform_code": 254}[name]
        content[at : at + 2] = struct.pack("<h", code)
    path.write_bytes(content)
    return path


def test_the_sform_places_the_volume_and_a_pixdim_that_contradicts_it_is_told(tmp_path: Path) -> None:
    path = header(write(tmp_path / "a.nii", values(4, 5, 6)), (1, 1, 2), qform_code=0, sform_code=2)
    volume = open_volume(path)
    assert volume.voxel_size == pytest.approx((4, 0.6, 0.5))
    assert volume.provenance.note == (
        "its sform says a voxel of 4 × 0.6 × 0.5 millimeter (z × y × x), its pixdim one of 2 × 1 × 1 millimeter; "
        "that of its sform is taken"
    )
    assert read_spacing(path).sizes == pytest.approx((4, 0.6, 0.5))


def test_without_a_valid_sform_pixdim_counts(tmp_path: Path) -> None:
    volume = open_volume(header(write(tmp_path / "a.nii", values(4, 5, 6)), (1, 1, 2), qform_code=0, sform_code=0))
    assert volume.voxel_size == pytest.approx((2, 1, 1))
    assert not volume.provenance.note


def test_an_sform_of_zeros_leaves_pixdim(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", values(4, 5, 6))
    content = bytearray(path.read_bytes())
    content[280:328] = bytes(48)
    path.write_bytes(content)
    assert open_volume(header(path, sform_code=1)).voxel_size == pytest.approx((4, 0.6, 0.5))


def test_a_volume_that_is_oblique(tmp_path: Path) -> None:
    c, s = np.cos(0.2), np.sin(0.2)
    affine = np.array([[0.5, 0, 0, 0], [0, 0.6 * c, -4 * s, 0], [0, 0.6 * s, 4 * c, 0], [0, 0, 0, 1]])
    volume = open_volume(write(tmp_path / "a.nii", values(4, 5, 6), affine=affine))
    assert volume.voxel_size == pytest.approx((4, 0.6, 0.5))
    assert volume.origin == (0, 0, 0)


def test_negative_sizes_are_what_nibabel_makes_of_them(tmp_path: Path, caplog) -> None:
    path = header(write(tmp_path / "a.nii", values(4, 5, 6)), (-0.5, 0.6, -4), sform_code=0)
    volume = open_volume(path)
    assert volume.voxel_size == pytest.approx((4, 0.6, 0.5))
    assert "pixdim[1,2,3] should be positive" in volume.provenance.note
    assert not caplog.records


def test_a_unit_that_is_not_known_costs_the_unit_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", values(4, 5, 6))
    content = bytearray(path.read_bytes())
    content[123] = 7
    path.write_bytes(content)
    volume = open_volume(path)
    assert volume.unit == "pixel"
    assert volume.voxel_size == pytest.approx((4, 0.6, 0.5))
    np.testing.assert_array_equal(volume.read_raw(), values(4, 5, 6).T)


def test_the_thick_axis_is_not_the_last(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii", values(4, 5, 6), (4.0, 0.5, 0.5))
    assert "longest along x" in open_volume(path).provenance.spacing_problem
    volume = open_volume(path, axes="zyx")
    assert (volume.voxel_size, volume.provenance.spacing_problem) == ((4, 0.5, 0.5), "")
