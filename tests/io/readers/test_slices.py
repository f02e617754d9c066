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
from napari_niiv.io.readers.slices import are_slices
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


def test_a_folder_of_another_format(tmp_path: Path) -> None:
    (tmp_path / "info").write_text("{}")
    with pytest.raises(VolumeError, match="neuroglancer's precomputed format"):
        open_volume(tmp_path)


def test_a_damaged_first_slice(tmp_path: Path) -> None:
    folder = write(tmp_path / "stack", values(3, 6, 7))
    (folder / "s_0.tif").write_bytes(b"x" * 50)
    with pytest.raises(VolumeError, match=r"s_0\.tif is not a readable"):
        open_volume(folder)


def named(folder: Path, *names: str) -> Path:
    """Slices of one pixel row that hold their place in the list."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        tifffile.imwrite(folder / name, np.full((2, 3), number, np.uint8), photometric="minisblack")
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ["s7.tif", "s8.tiff", "s9.TIF", "s10.tif"],
        ["S000.tif", "s001.tif", "S002.tif", "s003.tif"],
        ["z_0um.tif", "z_0.25um.tif", "z_0.5um.tif", "z_10um.tif"],
        ["z_-0.5um.tif", "z_0um.tif", "z_0.5um.tif"],
        ["v1.8.tif", "v1.9.tif", "v1.10.tif", "v1.11.tif"],
        ["img (1).tif", "img (2).tif", "img (3).tif", "img (10).tif"],
        ["slice_00000_z=0.0000um.tif", "slice_00001_z=0.0101um.tif", "slice_00002_z=0.0202um.tif"],
        ["r1-c1_S_001_183000.tif", "r1-c1_S_002_183107.tif", "r1-c1_S_003_183311.tif"],
    ],
    ids=lambda names: names[0],
)
def test_names_that_make_one_stack(tmp_path: Path, names: list[str]) -> None:
    volume = open_volume(named(tmp_path / "stack", *names), voxel_size=(2, 1, 1))
    np.testing.assert_array_equal(volume.read_raw()[:, 0, 0], range(len(names)))
    assert "left out" not in volume.provenance.note


@pytest.mark.parametrize(
    ("names", "channels"),
    [
        (["z00_ch00.tif", "z01_ch00.tif", "z00_ch01.tif", "z01_ch01.tif"], ["channel 0", "channel 1"]),
        (["z00_DAPI.tif", "z01_DAPI.tif", "z00_GFP.tif", "z01_GFP.tif"], ["DAPI", "GFP"]),
        (["s_DAPI_1.tif", "s_DAPI_2.tif", "s_GFP_1.tif", "s_GFP_2.tif"], ["DAPI", "GFP"]),
    ],
    ids=["numbers", "words", "words before"],
)
def test_names_that_tell_channels(tmp_path: Path, names: list[str], channels: list[str]) -> None:
    volume = open_volume(named(tmp_path / "stack", *names), voxel_size=(2, 1, 1))
    assert (volume.axes, volume.shape) == ("czyx", (2, 2, 2, 3))
    assert volume.metadata["channel_names"] == channels
    np.testing.assert_array_equal(np.asarray(volume.array)[:, :, 1, 1], [[0, 1], [2, 3]])
    np.testing.assert_array_equal(volume.array[1, :, 0, 1:], [[2, 2], [3, 3]])


def test_names_that_tell_times_and_channels(tmp_path: Path) -> None:
    names = [f"img_channel{c:03}_time{t:03}_z{z:03}.tif" for t in range(2) for c in range(2) for z in range(3)]
    volume = open_volume(named(tmp_path / "stack", *names), voxel_size=(2, 1, 1))
    assert (volume.axes, volume.shape) == ("tczyx", (2, 2, 3, 2, 3))
    np.testing.assert_array_equal(np.asarray(volume.array)[..., 0, 0].ravel(), range(12))
    (tmp_path / "stack" / names[4]).unlink()
    with pytest.raises(VolumeError, match="number 1 is missing beside img_channel001_time000_z000"):
        open_volume(tmp_path / "stack")


def test_copies_and_other_pictures_are_left_out_and_told(tmp_path: Path) -> None:
    folder = named(tmp_path / "stack", "s1.tif", "s2.tif", "s3.tif", "s4.tif", "s5.tif")
    named(folder, "S2 (1).tif", "s3 - Copy.tif", "s3 copy 2.tif", "Copy of s4.tif", "overview.tif")
    (folder / "overview.png").write_bytes(imagecodecs.png_encode(values(6, 7)))
    named(folder, "s1.tif", "s2.tif", "s3.tif", "s4.tif", "s5.tif")
    volume = open_volume(folder)
    np.testing.assert_array_equal(volume.read_raw()[:, 0, 0], range(5))
    assert volume.provenance.note == (
        "copies are left out: Copy of s4.tif, S2 (1).tif, s3 - Copy.tif, s3 copy 2.tif; left out, as they are no "
        "slices of this stack by their names: overview.png, overview.tif"
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a_1.tif", "a_2.tif", "b7_1.tif", "b7_2.tif"], r"several stacks .*\(a_1\.tif, b7_1\.tif, …\)"),
        (["x1_y1.tif", "x1_y2.tif", "x2_y1.tif", "x2_y2.tif"], "several stacks"),
        (["s1.tif", "s01.tif", "s2.tif"], r"s0?1\.tif and s0?1\.tif, which have the same number"),
        (["left.tif", "right.tif"], "no running number in common"),
        (["z1_DAPI.tif", "z2_DAPI.tif", "z1_GFP.tif", "z3_GFP.tif"], "number 3 is missing beside z1_DAPI.tif"),
    ],
    ids=["other names", "two numbers", "same number", "no number", "channels that differ"],
)
def test_names_that_make_no_stack(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(VolumeError, match=message) as caught:
        open_volume(named(tmp_path / "stack", *names))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("other", [values(6, 8), values(6, 7, dtype="u2")], ids=["size", "depth"])
def test_a_slice_that_differs_is_named_before_anything_is_read(tmp_path: Path, other: np.ndarray) -> None:
    folder = write(tmp_path / "stack", values(40, 6, 7))
    tifffile.imwrite(folder / "s_23.tif", other)
    with pytest.raises(VolumeError, match=r"s_23\.tif has the shape .* the first slice"):
        open_volume(folder)


def test_a_list_of_slices(tmp_path: Path) -> None:
    folder = write(tmp_path / "stack", values(12, 6, 7), numbers=range(1, 13))
    files = sorted(folder.iterdir())
    volume = open_volume(files)
    assert (volume.name, volume.provenance.path) == (files[0].stem, str(files[0]))
    np.testing.assert_array_equal(volume.read_raw(), values(12, 6, 7))
    assert "slices 5" in open_volume([f for f in files if f.stem != "s_5"]).provenance.note
    assert are_slices(files)
    tifffile.imwrite(folder / "whole.tif", values(3, 6, 7), photometric="minisblack")
    assert not are_slices([folder / "whole.tif", *files])
    assert not are_slices([folder / "none.tif", *files])
    np.save(folder / "a.npy", values(3, 6, 7))
    assert not are_slices([*files, folder / "a.npy"])
    with pytest.raises(VolumeError, match=r"a\.npy is no slice"):
        open_volume([*files, folder / "a.npy"])
    with pytest.raises(VolumeError, match="no files in the list"):
        open_volume([])
    assert open_volume([folder / "a.npy"]).shape == (3, 6, 7)
