from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_niiv.errors import VolumeError
from napari_niiv.io.open import open_volume, read_spacing
from napari_niiv.io.spacing import Spacing


def array(*shape: int, dtype="u1") -> np.ndarray:
    return (np.arange(np.prod(shape)) % 251).reshape(shape).astype(dtype)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", ">u2", "f4", "f8", "?"])
def test_npy_is_mapped(tmp_path: Path, order: str, dtype: str) -> None:
    values = np.asarray(array(3, 4, 5, dtype=dtype), order=order)
    np.save(tmp_path / "v.npy", values)
    volume = open_volume(tmp_path / "v.npy")
    assert isinstance(volume.array, np.memmap)
    assert (volume.axes, volume.name, volume.unit, volume.voxel_size) == ("zyx", "v", "pixel", (1, 1, 1))
    assert "does not say its z step" in volume.provenance.spacing_problem
    np.testing.assert_array_equal(volume.array, values)


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((2, 3, 4, 5), None, "czyx"),
        ((2, 2, 3, 4, 5), None, "tczyx"),
        ((2, 1, 3, 4, 5), None, "tzyx"),
        ((1, 3, 4, 5), None, "zyx"),
        ((2, 3, 4, 5), "TZYX", "tzyx"),
        ((4, 5, 3), "yxz", "zyx"),
        ((3, 2, 4, 5), "zcyx", "czyx"),
    ],
)
def test_axes_are_put_in_order(tmp_path: Path, shape, axes, expected: str) -> None:
    values = array(*shape)
    np.save(tmp_path / "v.npy", values)
    volume = open_volume(tmp_path / "v.npy", axes=axes)
    assert volume.axes == expected
    letters = (axes or "tczyx"[-len(shape) :]).lower()
    kept = "".join(a for a in letters if a in expected)
    squeezed = values.reshape([n for n, a in zip(shape, letters, strict=True) if a in expected])
    np.testing.assert_array_equal(volume.array, np.einsum(f"{kept}->{expected}", squeezed))


@pytest.mark.parametrize(
    ("shape", "axes", "message"),
    [
        ((4, 5), None, "no Z"),
        ((4,), None, "no Y, Z"),
        ((2, 2, 2, 2, 2, 2), None, "name its axes"),
        ((3, 4, 5), "zyxc", "do not fit"),
        ((3, 4, 5), "zzy", "no X"),
        ((3, 4, 5, 2), "zyxz", "not understood"),
        ((2, 2, 3, 4, 5), "abzyx", "not understood"),
        ((3, 4, 5), "tyx", "no Z"),
        ((3, 4, 5, 3), "zyxs", "RGB"),
        ((0, 4, 5), None, "empty"),
        ((3, 0, 5), None, "empty"),
    ],
)
def test_what_is_no_volume(tmp_path: Path, shape, axes, message: str) -> None:
    np.save(tmp_path / "v.npy", array(*shape))
    with pytest.raises(VolumeError, match=message) as caught:
        open_volume(tmp_path / "v.npy", axes=axes)
    assert "\n" not in str(caught.value)
    assert "v" in str(caught.value)


def test_a_pickled_npy_is_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(VolumeError, match=r"v\.npy is not a readable \.npy array"):
        open_volume(tmp_path / "v.npy")


@pytest.mark.parametrize("keep", [0, 5, 50, -1])
def test_a_truncated_npy(tmp_path: Path, keep: int) -> None:
    np.save(tmp_path / "v.npy", array(3, 4, 5))
    (tmp_path / "v.npy").write_bytes((tmp_path / "v.npy").read_bytes()[:keep])
    with pytest.raises(VolumeError, match="is not a readable") as caught:
        open_volume(tmp_path / "v.npy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["c8", [("a", "u1")], "U3"])
def test_types_that_are_no_intensities(tmp_path: Path, dtype) -> None:
    np.save(tmp_path / "v.npy", np.zeros((2, 3, 4), dtype))
    with pytest.raises(VolumeError, match="convert it to integers or real numbers"):
        open_volume(tmp_path / "v.npy")


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="There is no file"):
        open_volume(tmp_path / "none.tif")
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(VolumeError, match="of a kind that cannot be read"):
        open_volume(tmp_path / "a.jpg")
    with pytest.raises(VolumeError, match=r"a\.jpg is not a readable picture"):
        open_volume(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(VolumeError, match="is a folder of a kind that cannot be read"):
        open_volume(tmp_path / "folder")
    for name in ("folder.tif", "folder.npy"):
        (tmp_path / name).mkdir()
        with pytest.raises(VolumeError, match="not a readable"):
            open_volume(tmp_path / name)


def test_a_voxel_size_can_be_corrected(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", array(3, 4, 5))
    volume = open_volume(str(tmp_path / "v.npy"), voxel_size=(8.0, 2.0, 2.0))
    assert volume.voxel_size == (8, 2, 2)
    assert not volume.provenance.spacing_problem
    with pytest.raises(VolumeError, match="not three positive numbers"):
        open_volume(tmp_path / "v.npy", voxel_size=(8.0, 0.0, 2.0))


def test_read_spacing(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", array(3, 4, 5))
    assert read_spacing(tmp_path / "v.npy") == Spacing()
    assert read_spacing(tmp_path / "none.tif") == Spacing()
    metadata = {"spacing": 3.0, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(tmp_path / "v.tif", array(3, 4, 5), imagej=True, metadata=metadata, resolution=(2, 2))
    assert read_spacing(tmp_path / "v.tif") == Spacing((3.0, 0.5, 0.5), "micrometer")
    (tmp_path / "bad.tif").write_bytes(b"no tiff")
    with pytest.raises(VolumeError, match="not a readable TIFF"):
        read_spacing(tmp_path / "bad.tif")


@pytest.mark.parametrize(
    ("name", "shape", "voxel_size"),
    [
        ("vnc_stack1.tif", (20, 1024, 1024), (0.05, 0.0046, 0.0046)),
        ("fib25_sample_128.tif", (128, 128, 128), (0.01, 0.01, 0.01)),
        ("flybrain_lm.tif", (57, 256, 256), (3.95, 2.68, 2.68)),
        ("mouse_lightsheet_cells_lm.tif", (30, 510, 667), (5, 2, 2)),
        ("cells3d_nuclei.tif", (60, 256, 256), (0.29, 0.26, 0.26)),
        ("mousebrain_lm.tif", (270, 193, 271), (50, 40, 40)),
    ],
)
def test_real_volumes(shared_data: Path, name: str, shape, voxel_size) -> None:
    volume = open_volume(shared_data / name)
    assert (volume.shape, volume.axes, volume.unit) == (shape, "zyx", "micrometer")
    assert volume.voxel_size == pytest.approx(voxel_size, rel=5e-3)
    assert not volume.provenance.spacing_problem
