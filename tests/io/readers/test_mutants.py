"""Some of the mutants of `benchmarks/fuzz_readers.py`, which tries a hundred thousand: none ends in anything but voxels
or a sentence."""

from __future__ import annotations

import gzip
import json
import re
import struct
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr

if sys.platform != "linux":
    pytest.skip("processes are watched and limited as Linux has it", allow_module_level=True)

from benchmarks.fuzz_readers import fuzz
from benchmarks.sample_files import mrc, n5, n5_pyramid, nifti, slices
from napari_niiv.errors import VolumeError
from napari_niiv.io.open import open_volume

MUTANTS = range(300)


def test_mutants(tmp_path: Path) -> None:
    outcomes = list(fuzz(MUTANTS, tmp_path))
    assert [outcome.number for outcome in outcomes] == list(MUTANTS)
    assert [outcome for outcome in outcomes if outcome.failure] == []
    assert 50 < sum(outcome.refused for outcome in outcomes) < 250


# what mutants found, each in its smallest form


def refused(path: Path, match: str) -> None:
    with pytest.raises(VolumeError, match=match) as caught:
        open_volume(path).read_raw()
    assert str(caught.value).isprintable()


def array() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (6, 24, 20)).astype("u1")


def patch(path: Path, offset: int, kind: str, value: float) -> None:
    content = bytearray(path.read_bytes())
    struct.pack_into(kind, content, offset, value)
    path.write_bytes(content)


@pytest.mark.parametrize(("size", "checksum"), [(0, True), (1 << 30, False)])
def test_chunks_of_a_length_that_cannot_be(tmp_path: Path, size: int, checksum: bool) -> None:
    """HDF5 would end the process at a checksum of less than it needs itself, and take memory for the other."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=array(), chunks=(2, 8, 8), compression="gzip", fletcher32=checksum)
        chunk = file["data"].id.get_chunk_info(0)
    # in the index: its length, the filters that are left out, its place, and where it is
    entry = struct.pack("<II4QQ", chunk.size, 0, 0, 0, 0, 0, chunk.byte_offset)
    patch(path, path.read_bytes().index(entry), "<I", size)
    refused(path, "chunks of /data are cut off")


def test_an_extended_header_longer_than_the_file(tmp_path: Path) -> None:
    mrc(tmp_path / "a.mrc", array())
    patch(tmp_path / "a.mrc", 92, "<i", 1 << 30)
    refused(tmp_path / "a.mrc", "truncated or no MRC file")


def test_an_extended_header_longer_than_any(tmp_path: Path) -> None:
    """The file is as long, and takes no space."""
    mrc(tmp_path / "a.mrc", array())
    patch(tmp_path / "a.mrc", 92, "<i", (1 << 31) - 1)
    with (tmp_path / "a.mrc").open("r+b") as file:
        file.truncate(3 << 30)
    refused(tmp_path / "a.mrc", "truncated or no MRC file")


@pytest.mark.parametrize("length", [-20, 32000])
def test_lengths_of_a_nifti_that_cannot_be(tmp_path: Path, length: int) -> None:
    for name in ("a.nii", "a.nii.gz"):
        nifti(tmp_path / name, array())
    patch(tmp_path / "a.nii", 46, "<h", length)
    refused(tmp_path / "a.nii", "empty|truncated|not a readable")
    content = bytearray(gzip.decompress((tmp_path / "a.nii.gz").read_bytes()))
    struct.pack_into("<hh", content, 44, 32000, length)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content))
    refused(tmp_path / "a.nii.gz", "empty|truncated|not a readable")


def test_a_picture_higher_than_its_file(tmp_path: Path) -> None:
    """The decoder of BMP would read on in foreign memory."""
    slices(tmp_path / "s", array(), "bmp")
    patch(tmp_path / "s" / "000.bmp", 22, "<i", 1 << 25)
    refused(tmp_path / "s", r"000\.bmp is not a readable picture \(it is cut off\)")


def test_pages_that_lead_back_into_themselves(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array(), metadata=None, photometric="minisblack", rowsperstrip=24)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        after = page.offset + 2 + 12 * len(page.tags)
    patch(path, after, "<I", page.offset)
    refused(path, "no Z")


def test_fewer_strips_than_the_height_needs(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array(), metadata=None, photometric="minisblack", compression="zlib", rowsperstrip=8)
    with tifffile.TiffFile(path) as file:
        offsets = [page.tags["RowsPerStrip"].valueoffset for page in file.pages]
    for offset in offsets:
        patch(path, offset, "<H", 1)
    refused(path, "does not say where all of its voxels are")


@pytest.mark.parametrize("tag", ["ImageWidth", "ImageLength"])
def test_a_page_wider_than_any_picture(tmp_path: Path, tag: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array(), photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        entry = file.pages[0].tags[tag]
    patch(path, entry.offset + 2, "<H", 4)  # a number of 32 bits
    patch(path, entry.valueoffset, "<I", 1 << 27)
    refused(path, "134217728 pixels wide")


def test_metadata_of_zarr_that_are_of_another_kind(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=array(), chunks=(2, 8, 8), zarr_format=2)
    (tmp_path / "a.zarr" / ".zattrs").write_text("[3]")
    np.testing.assert_array_equal(open_volume(tmp_path / "a.zarr").read_raw(), array())
    zarr.create_array(tmp_path / "b.zarr", data=array(), chunks=(2, 8, 8), zarr_format=3)
    text = (tmp_path / "b.zarr" / "zarr.json").read_text()
    (tmp_path / "b.zarr" / "zarr.json").write_text(re.sub(r'"chunk_shape": \[\s*2', '"chunk_shape": [0', text))
    refused(tmp_path / "b.zarr", "is not a readable zarr")


@pytest.mark.parametrize("factors", [[[0], 2, 1], ["x", 2, 1], [{}, 2, 1]])
def test_factors_of_an_n5_that_are_no_numbers(tmp_path: Path, factors: list[object]) -> None:
    n5_pyramid(tmp_path / "a.n5", array())
    path = tmp_path / "a.n5" / "s1" / "attributes.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "downsamplingFactors": factors}))
    np.testing.assert_array_equal(open_volume(tmp_path / "a.n5").read_raw(), array())


def test_names_in_files_steer_no_terminal(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x\x1b[2J\n"] = file["y"] = array()
    refused(tmp_path / "a.h5", "holds 2 images")


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("edge", [1, 3, 4, 16])
def test_blocks_of_an_n5_that_are_of_another_size(tmp_path: Path, axis: int, edge: int) -> None:
    n5(tmp_path / "a.n5", array(), "gzip")
    path = tmp_path / "a.n5" / "attributes.json"
    attributes = json.loads(path.read_text())
    attributes["blockSize"][axis] = edge
    path.write_text(json.dumps(attributes))
    refused(tmp_path / "a.n5", "has blocks of .* voxels, where its metadata say")


@pytest.mark.parametrize("version", [2, 3])
def test_chunks_beyond_the_shape_are_told(tmp_path: Path, version: int) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=array(), chunks=(2, 8, 8), zarr_format=version)
    assert not open_volume(path).provenance.note
    described = path / (".zarray" if version == 2 else "zarr.json")
    described.write_text(re.sub(r'("shape": \[\s*6,\s*)24', r"\g<1>16", described.read_text()))
    assert "some of its chunks lie beyond its shape" in open_volume(path).provenance.note
