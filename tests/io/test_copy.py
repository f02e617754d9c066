"""Copies of volumes as OME-Zarr, compared with what tifffile and zarr read."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from ome_zarr_models.v05 import Image

from napari_niiv.errors import OutputError, VolumeError
from napari_niiv.io import copy as module
from napari_niiv.io.copy import CopyFinished, CopyProgress, copy_to_zarr, free_target
from napari_niiv.io.lazy_arrays import FileArray, LazyArray
from napari_niiv.io.open import open_volume
from napari_niiv.volume import Provenance, Volume


def values(*shape: int, dtype="u2") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.fixture
def small(monkeypatch) -> None:
    """Cuts small volumes as large ones would be."""
    monkeypatch.setattr("napari_niiv.io.open.IN_MEMORY_BYTES", 100)
    monkeypatch.setattr(module, "_CHUNK", (4, 8, 8))
    monkeypatch.setattr(module, "_SHARD", (4, 16, 16))
    monkeypatch.setattr(module, "_PIECE_BYTES", 4 << 10)
    monkeypatch.setattr(module, "_MOST_BYTES", 16 << 10)
    monkeypatch.setattr(module, "_COARSEST", 16)


def compressed(path: Path, array: np.ndarray, axes: str, **options) -> Volume:
    sizes = {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25}
    metadata = {"axes": axes, **sizes}
    if "C" in axes:
        metadata["Channel"] = {"Name": ["DAPI", "GFP"]}
    tifffile.imwrite(path, array, ome=True, compression="zlib", metadata=metadata, **options)
    volume = open_volume(path)
    assert isinstance(volume.array, FileArray)
    return volume


@pytest.mark.parametrize(
    ("axes", "options", "dtype"),
    [
        ("ZYX", {}, "u1"),
        ("ZYX", {"tile": (16, 32)}, "u2"),
        ("ZYX", {"rowsperstrip": 3}, "f4"),
        ("CZYX", {"tile": (16, 32)}, "f4"),
        ("TCZYX", {}, "u2"),
    ],
    ids=str,
)
def test_a_compressed_tiff(tmp_path: Path, small, axes: str, options, dtype: str) -> None:
    array = values(*(2, 2, 5, 45, 70)[-len(axes) :], dtype=dtype)
    volume = compressed(tmp_path / "a.ome.tif", array, axes, **options)
    *progress, last = copy_to_zarr(volume, tmp_path / "a.zarr")
    assert isinstance(last, CopyFinished)
    assert last.path == tmp_path / "a.zarr"
    assert all(isinstance(event, CopyProgress) for event in progress)
    done = [event.done for event in progress]
    assert done == sorted(set(done))
    assert progress[-1].fraction == 1
    assert sorted(os.listdir(tmp_path)) == ["a.ome.tif", "a.zarr"]
    expected = tifffile.imread(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr" / "0", mode="r")[...], expected)
    copy = open_volume(tmp_path / "a.zarr")
    assert (copy.axes, copy.dtype, copy.unit) == (axes.lower(), dtype, "micrometer")
    assert copy.voxel_size == pytest.approx((2.0, 0.5, 0.25))
    assert copy.origin == pytest.approx((0, 0, 0))
    if "C" in axes:
        assert copy.metadata["channel_names"] == ["DAPI", "GFP"]
    assert not {"slow", "spacing_problem"} & set(copy.provenance.plain)


def test_the_metadata_are_those_of_the_standard(tmp_path: Path) -> None:
    array = values(2, 5, 600, 300)
    metadata = {"channel_names": ["a", "b"], "channel_colours": ["#ff8000", ""]}
    volume = Volume(array, "czyx", (4.0, 0.5, 0.6), "nanometer", "stack", (10.0, 20.0, 30.0), metadata)
    list(copy_to_zarr(volume, tmp_path / "a.zarr"))
    image = Image.from_zarr(zarr.open_group(tmp_path / "a.zarr", mode="r"))
    multiscale = image.ome_attributes.multiscales[0]
    assert [axis.name for axis in multiscale.axes] == ["c", "z", "y", "x"]
    assert [axis.unit for axis in multiscale.axes[1:]] == ["nanometer"] * 3
    assert [d.coordinateTransformations[0].scale for d in multiscale.datasets] == [
        [1, 4, 0.5, 0.6],
        [1, 4, 1.0, 1.2],
        [1, 4, 2.0, 2.4],
    ]
    assert multiscale.datasets[1].coordinateTransformations[1].translation == pytest.approx([0, 10, 20.25, 30.3])
    shown = image.ome_attributes.omero["channels"]
    assert [channel["label"] for channel in shown] == ["a", "b"]
    assert [channel["color"] for channel in shown] == ["FF8000", "FF00FF"]
    assert 0 <= shown[0]["window"]["start"] < shown[0]["window"]["end"] <= 200


@pytest.mark.parametrize("shape", [(3, 600, 520), (3, 517, 1031)])
@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_coarser_levels_are_means_of_pixels(tmp_path: Path, shape, dtype: str) -> None:
    array = values(*shape, dtype=dtype)
    list(copy_to_zarr(Volume(array, voxel_size=(4, 1, 1)), tmp_path / "a.zarr"))
    copy = open_volume(tmp_path / "a.zarr")
    levels = copy.levels()
    assert [level.lateral for level in levels][:2] == [1, 2]
    assert all(level.axial == 1 for level in levels)
    even = array[:, : shape[1] // 2 * 2, : shape[2] // 2 * 2].astype(float)
    means = even.reshape(shape[0], shape[1] // 2, 2, shape[2] // 2, 2).mean((2, 4))
    coarse = levels[1].array[:, : shape[1] // 2, : shape[2] // 2]
    np.testing.assert_allclose(coarse, means, atol=0.5 if dtype == "u2" else 1e-4)
    if shape[1] % 2:
        ends = array[:, -1, : shape[2] // 2 * 2].astype(float).reshape(shape[0], -1, 2).mean(2)
        np.testing.assert_allclose(levels[1].array[:, -1, : shape[2] // 2], ends, atol=0.5 if dtype == "u2" else 1e-4)


class Counting(LazyArray):
    """Notes which chunks each read touches, and how many bytes it asks for."""

    def __init__(self, array: np.ndarray, chunks: tuple[int, ...]) -> None:
        super().__init__(array.shape, array.dtype, chunks)
        self.array, self.touched, self.largest = array, Counter(), 0

    def _read(self, key):
        ranges = [
            range(k.start // c, -(-k.stop // c)) if isinstance(k, slice) else [k // c]
            for k, c in zip(key, self.chunks, strict=True)
        ]
        self.touched.update(itertools.product(*ranges))
        values = self.array[key]
        self.largest = max(self.largest, values.nbytes)
        return values


@pytest.mark.parametrize(
    ("chunks", "most"),
    [
        ((1, 60, 70), 40 << 10),  # pages
        ((1, 3, 70), 17 << 10),  # strips
        ((1, 16, 16), 8 << 10),  # tiles
        ((5, 7, 9), 90 << 10),
        ((13, 60, 1), 40 << 10),  # stored x first
    ],
    ids=str,
)
def test_each_page_is_decoded_once_in_bounded_memory(tmp_path: Path, small, chunks, most: int) -> None:
    array = values(13, 60, 70)
    source = Counting(array, chunks)
    list(copy_to_zarr(Volume(source), tmp_path / "a.zarr"))
    assert set(source.touched.values()) == {1}
    assert source.largest <= most < array.nbytes
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr" / "0", mode="r")[...], array)


def test_a_strip_is_decoded_once(tmp_path: Path, small, monkeypatch) -> None:
    """As above, with tifffile's own decoder."""
    volume = compressed(tmp_path / "a.ome.tif", values(9, 45, 70), "ZYX")
    calls = []
    codecs = tifffile.TIFF.DECOMPRESSORS
    decode = codecs[8]
    counting = lambda *args, **more: (calls.append(1), decode(*args, **more))[1]  # noqa: E731
    monkeypatch.setattr(type(codecs), "__getitem__", lambda self, key: counting)
    list(copy_to_zarr(volume, tmp_path / "a.zarr"))
    assert len(calls) == 9


@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_copy_that_is_stopped_leaves_nothing(tmp_path: Path, small, after: int) -> None:
    events = copy_to_zarr(Volume(values(9, 45, 70)), tmp_path / "a.zarr")
    for _ in range(after):
        next(events)
        assert not (tmp_path / "a.zarr").exists()
    events.close()
    assert os.listdir(tmp_path) == []


def test_what_killed_copies_left_goes_with_the_next(tmp_path: Path, small) -> None:
    volume, target = Volume(values(9, 45, 70)), tmp_path / "a.zarr"
    program = (
        "import sys, os, signal, numpy as np; from napari_niiv.io.copy import copy_to_zarr; "
        "from napari_niiv.volume import Volume; "
        "events = copy_to_zarr(Volume(np.zeros((9, 45, 70), 'u1')), sys.argv[1]); next(events); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(target)], check=False).returncode == 9
    assert any(name.endswith(".part") for name in os.listdir(tmp_path))
    other = copy_to_zarr(volume, target)
    next(other)  # two at once
    another = copy_to_zarr(volume, target)
    next(another)
    assert len([name for name in os.listdir(tmp_path) if name.endswith(".part")]) == 2
    other.close()
    assert isinstance(list(another)[-1], CopyFinished)
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, small, monkeypatch) -> None:
    class Broken(Counting):
        def _read(self, key):
            if key[0].start > 0:
                raise RuntimeError("the codec\nsaid so")
            return super()._read(key)

    with pytest.raises(VolumeError, match=r"'volume' cannot be read \(the codec said so") as caught:
        list(copy_to_zarr(Volume(Broken(values(9, 45, 70), (1, 45, 70))), tmp_path / "a.zarr"))
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "halved", full)
    with pytest.raises(OutputError, match=r"The disk is full, so a\.zarr was given up"):
        list(copy_to_zarr(Volume(values(9, 45, 70)), tmp_path / "a.zarr"))
    assert os.listdir(tmp_path) == []


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    volume = Volume(values(3, 8, 8), provenance=Provenance(str(tmp_path / "in.zarr")))
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "in.zarr").mkdir()
    for target, sentence in (
        ("a.zarr", "exists already"),
        ("a.tif", "must end in .zarr"),
        ("none/a.zarr", "does not exist"),
        ("in.zarr/b.zarr", "lies inside"),
    ):
        with pytest.raises(OutputError, match=sentence):
            next(copy_to_zarr(volume, tmp_path / target))
    events = copy_to_zarr(volume, tmp_path / "b.zarr")
    next(events)
    (tmp_path / "b.zarr").mkdir()  # by somebody else, meanwhile
    with pytest.raises(OutputError, match="exists already by now"):
        list(events)
    assert os.listdir(tmp_path / "b.zarr") == []
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "b.zarr", "in.zarr"]


def test_a_free_name(tmp_path: Path) -> None:
    source = tmp_path / "my stack.ome.tif"
    assert free_target(source) == tmp_path / "my-stack.zarr"
    (tmp_path / "my-stack.zarr").mkdir()
    (tmp_path / "my-stack-2.zarr").touch()
    assert free_target(source) == tmp_path / "my-stack-3.zarr"
    (tmp_path / "other").mkdir()
    assert free_target(source, tmp_path / "other") == tmp_path / "other" / "my-stack.zarr"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="folders are never read-only here")
def test_no_name_in_a_read_only_folder(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert free_target(tmp_path / "locked" / "a.tif") is None
