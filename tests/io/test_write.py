from __future__ import annotations

import os
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile

from napari_niiv.errors import OutputError, VolumeError
from napari_niiv.io import write as module
from napari_niiv.io.open import open_volume
from napari_niiv.io.write import check_output, write_tiff
from napari_niiv.volume import Volume

SIZE = (0.0046, 0.0046, 0.0046)


def array(*shape: int, dtype="u2") -> np.ndarray:
    return (np.random.default_rng(0).random(shape) * 200).astype(dtype)


@pytest.mark.parametrize("unit", ["micrometer", "nanometer", "millimeter", "meter", "angstrom", "pixel"])
@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".ome.tif"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "i2", "f8"])
def test_round_trip(tmp_path: Path, unit: str, suffix: str, dtype: str) -> None:
    volume = Volume(array(5, 6, 7, dtype=dtype), voxel_size=(0.05, 0.0046, 0.0047), unit=unit)
    write_tiff(volume, tmp_path / f"a{suffix}")
    again = open_volume(tmp_path / f"a{suffix}")
    assert again.dtype == volume.dtype
    assert (again.axes, again.unit) == ("zyx", unit)
    assert again.voxel_size == pytest.approx(volume.voxel_size, rel=1e-6)
    assert not again.provenance.spacing_problem
    np.testing.assert_array_equal(again.array, volume.array)
    with tifffile.TiffFile(tmp_path / f"a{suffix}") as file:
        assert file.is_imagej == (dtype in ("u1", "u2", "f4") and suffix != ".ome.tif" and unit != "angstrom")
        assert file.is_imagej != file.is_ome


@pytest.mark.parametrize("axes", ["tzyx", "czyx", "tczyx"])
@pytest.mark.parametrize("wrap", [np.asarray, lambda a: da.from_array(a, chunks=2)])
def test_more_axes(tmp_path: Path, axes: str, wrap) -> None:
    values = array(*(2, 3, 4, 5, 6)[-len(axes) :])
    write_tiff(Volume(wrap(values), axes, (0.4, 0.1, 0.1), "micrometer"), tmp_path / "a.tif")
    again = open_volume(tmp_path / "a.tif")
    assert again.axes == axes
    assert again.voxel_size == pytest.approx((0.4, 0.1, 0.1))
    np.testing.assert_array_equal(again.array, values)


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [("?", "u1"), (">u2", "u2"), (">f4", "f4"), ("f2", "f4"), ("i8", "f8"), ("u8", "f8"), ("u4", "u4")],
)
def test_types_that_tiff_lacks_are_widened(tmp_path: Path, dtype: str, kept: str) -> None:
    values = array(4, 5, 6, dtype="f4").astype(dtype)
    write_tiff(Volume(values, voxel_size=SIZE), tmp_path / "a.tif")
    again = open_volume(tmp_path / "a.tif")
    assert again.dtype == np.dtype(kept)
    np.testing.assert_array_equal(again.array, values)


def test_large_volumes_are_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IMAGEJ_BYTES", 100)
    write_tiff(Volume(array(4, 5, 6), voxel_size=SIZE, unit="micrometer"), tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff
        assert file.is_ome


def test_dask_is_computed_slab_by_slab_and_progress_told(tmp_path: Path) -> None:
    values, at_once, told = array(7, 6, 6), [], []

    def block(part: np.ndarray) -> np.ndarray:
        at_once.append(len(told))
        return part

    lazily = da.from_array(values, chunks=(2, 3, 6)).map_blocks(block, dtype=values.dtype, meta=values[:0])
    write_tiff(Volume(lazily), tmp_path / "a.tif", progress=told.append)
    assert at_once == [0, 0, 1, 1, 2, 2, 3, 3]
    assert told == pytest.approx([2 / 7, 4 / 7, 6 / 7, 1])
    np.testing.assert_array_equal(open_volume(tmp_path / "a.tif").array, values)


@pytest.mark.parametrize("error", [VolumeError("gone"), OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_half_written_stays(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a.tif").write_bytes(b"before")

    def stop(fraction: float) -> None:
        raise error

    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)) as caught:
        write_tiff(Volume(array(64, 5, 6)), tmp_path / "a.tif", overwrite=True, progress=stop)
    if isinstance(error, OSError):
        assert "No space left on device" in str(caught.value)
    assert (tmp_path / "a.tif").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a.tif"]


def test_the_output_is_checked_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tif").write_bytes(b"before")
    (tmp_path / "folder.tif").mkdir()
    for name, message in (
        ("a.png", "must end in .tif or .tiff"),
        ("a", "must end in"),
        ("a.tif", "exists already"),
        ("folder.tif", "is a folder"),
        ("none/a.tif", "does not exist"),
        ("a.tif/b.tif", "is not a folder"),
    ):
        with pytest.raises(OutputError, match=message) as caught:
            write_tiff(Volume(array(2, 3, 4)), tmp_path / name)
        assert "\n" not in str(caught.value)
    assert check_output(tmp_path / "a.tif", overwrite=True) == tmp_path / "a.tif"
    monkeypatch.setattr(module.os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="cannot be written to"):
        check_output(tmp_path / "b.tif")
    assert (tmp_path / "a.tif").read_bytes() == b"before"


@pytest.mark.parametrize("colours", [["#ff8000", "#0000ff"], ["#ff8000", ""], ["#ff8000"]])
def test_names_and_colours_of_channels(tmp_path: Path, colours: list[str]) -> None:
    metadata = {"channel_names": ["a", "b"], "channel_colours": colours}
    write_tiff(Volume(np.ones((2, 3, 4, 5), np.uint8), "czyx", metadata=metadata), tmp_path / "a.tif")
    again = open_volume(tmp_path / "a.tif").metadata
    assert again["channel_names"] == ["a", "b"]
    assert again.get("channel_colours") == (colours if len(colours) == 2 and all(colours) else None)
