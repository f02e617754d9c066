"""Folders of numbered slices."""

from __future__ import annotations

import pickle
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from napari_niiv.errors import VolumeError
from napari_niiv.io.open import open_volume, read_spacing
from napari_niiv.io.readers import slices as module
from napari_niiv.io.spacing import Spacing


def values(*shape: int, dtype="u1") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def write(folder: Path, array: np.ndarray, name: str = "s_{}.tif", numbers=None) -> Path:
    folder.mkdir(exist_ok=True)
    for number, picture in zip(numbers or range(len(array)), array, strict=True):
        path = folder / name.format(number)
        if path.suffix == ".tif":
            tifffile.imwrite(path, picture, photometric="rgb" if picture.shape[-1] == 3 else "minisblack")
        else:
            path.write_bytes(imagecodecs.png_encode(picture))
    return folder


@pytest.mark.parametrize("name", ["s_{}.tif", "{:04d}.tif", "a3_z{}_c1.tif", "s{}.png", "X{}.PNG"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_slices_in_the_order_of_their_numbers(tmp_path: Path, name: str, dtype: str) -> None:
    array = values(12, 6, 7, dtype=dtype)
    folder = write(tmp_path / "stack", array, name, range(1, 13))
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.tif").write_bytes(b"x")
    volume = open_volume(folder)
    assert (volume.axes, volume.name, volume.array.chunks) == ("zyx", "stack", (1, 6, 7))
    assert not volume.provenance.note
    np.testing.assert_array_equal(volume.read_raw(), array)
    np.testing.assert_array_equal(volume.array[-1, 2:4], array[-1, 2:4])
    np.testing.assert_array_equal(volume.array[2:9:3, :, 3], array[2:9:3, :, 3])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read_raw(), array)


def test_only_the_slices_that_are_looked_at_are_read(tmp_path: Path, monkeypatch) -> None:
    folder = write(tmp_path / "stack", values(5, 6, 7))
    read = []
    picture = module._picture
    monkeypatch.setattr(module, "_picture", lambda path: read.append(path.stem) or picture(path))
    volume = open_volume(folder)
    assert not read
    volume.read_raw(slice(2, 4))
    assert read == ["s_2", "s_3"]


def test_the_pixel_size_of_the_first_slice(tmp_path: Path) -> None:
    (tmp_path / "stack").mkdir()
    for i in range(3):
        metadata = {"axes": "YX", "unit": "um"} | ({"spacing": 2.0} if i == 0 else {})
        path = tmp_path / "stack" / f"{i}.tif"
        tifffile.imwrite(path, values(6, 7), imagej=True, resolution=(4, 4), metadata=metadata)
    assert open_volume(tmp_path / "stack").voxel_size == (2, 0.25, 0.25)
    assert read_spacing(tmp_path / "stack") == Spacing((2, 0.25, 0.25), "micrometer")
    (tmp_path / "stack" / "0.tif").unlink()
    volume = open_volume(tmp_path / "stack")
    assert "does not say its z step" in volume.provenance.spacing_problem
    assert open_volume(tmp_path / "stack", voxel_size=(2, 1, 1)).anisotropy == 2


@pytest.mark.parametrize(
    ("numbers", "note"),
    [
        ([1, 2, 4, 5], "slices 3"),
        ([0, 10, 20, 40], "slices 30"),
        ([3, 4, 5, 6], None),
        ([1, 9, 2, 3], "slices 4, 5"),
    ],
)
def test_missing_slices_are_told(tmp_path: Path, numbers, note) -> None:
    volume = open_volume(write(tmp_path / "stack", values(4, 6, 7), numbers=numbers))
    assert volume.provenance.note.startswith(f"the folder lacks the {note}" if note else "")
    assert bool(volume.provenance.note) == bool(note)


def test_a_slice_of_another_kind_or_damaged(tmp_path: Path) -> None:
    folder = write(tmp_path / "stack", values(4, 6, 7))
    volume = open_volume(folder)
    for other in (values(6, 8), values(6, 7, dtype="u2")):
        tifffile.imwrite(folder / "s_2.tif", other)
        with pytest.raises(VolumeError, match=r"s_2\.tif has the shape"):
            volume.read_raw()
    for damaged in (b"", b"x" * 99):
        (folder / "s_2.tif").write_bytes(damaged)
        with pytest.raises(VolumeError, match=r"s_2\.tif is not a readable picture"):
            volume.read_raw()
    assert volume.read_raw(slice(0, 2)).shape == (2, 6, 7)
    (folder / "s_2.tif").unlink()
    with pytest.raises(VolumeError, match=r"s_2\.tif is not a readable picture"):
        volume.read_raw()


@pytest.mark.parametrize(
    ("array", "name", "message"),
    [
        (values(3, 6, 7, 3), "{}.tif", "RGB"),
        (values(3, 6, 7, 3), "{}.png", "RGB"),
        (values(3, 4, 6, 7), "{}.tif", "is a stack of shape"),
        (values(1, 6, 7), "{}.tif", "holds one picture, 0.tif"),
    ],
)
def test_what_is_no_stack(tmp_path: Path, array: np.ndarray, name: str, message: str) -> None:
    with pytest.raises(VolumeError, match=message) as caught:
        open_volume(write(tmp_path / "stack", array, name))
    assert "\n" not in str(caught.value)


def test_a_damaged_first_slice(tmp_path: Path) -> None:
    folder = write(tmp_path / "stack", values(3, 6, 7))
    (folder / "s_0.tif").write_bytes(b"x" * 50)
    with pytest.raises(VolumeError, match=r"s_0\.tif is not a readable"):
        open_volume(folder)
