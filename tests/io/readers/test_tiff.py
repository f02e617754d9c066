"""Real files, written by tifffile in every flavour."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_niiv.errors import VolumeError
from napari_niiv.io.lazy_arrays import FileArray
from napari_niiv.io.open import open_volume, read_spacing


def values(*shape: int, dtype="u2") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def imagej(path: Path, array: np.ndarray, axes: str, resolution=(4.0, 5.0), **metadata) -> Path:
    metadata = {"axes": axes, "spacing": 2.0, "unit": "um"} | metadata
    tifffile.imwrite(path, array, imagej=True, resolution=resolution, metadata=metadata)
    return path


def ome(path: Path, array: np.ndarray, axes: str, sizes=(2.0, 0.2, 0.25), units=("µm",) * 3, **options) -> Path:
    metadata = {"axes": axes}
    for axis, size, unit in zip("ZYX", sizes, units, strict=True):
        metadata |= {f"PhysicalSize{axis}": size} if size is not None else {}
        metadata |= {f"PhysicalSize{axis}Unit": unit} if unit is not None else {}
    tifffile.imwrite(path, array, ome=True, metadata=metadata, **options)
    return path


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_imagej_stacks_are_mapped(tmp_path: Path, dtype: str) -> None:
    array = values(5, 6, 7, dtype=dtype)
    volume = open_volume(imagej(tmp_path / "a.tif", array, "ZYX"))
    assert isinstance(volume.array, np.memmap)
    assert (volume.axes, volume.unit, volume.name) == ("zyx", "micrometer", "a")
    assert volume.voxel_size == pytest.approx((2.0, 0.2, 0.25))
    assert not volume.provenance.spacing_problem
    np.testing.assert_array_equal(volume.array, array)


def test_imagej_hyperstacks(tmp_path: Path) -> None:
    array = values(2, 5, 3, 6, 7)
    volume = open_volume(imagej(tmp_path / "a.tif", array, "TZCYX"))
    assert volume.axes == "tczyx"
    np.testing.assert_array_equal(volume.array, array.transpose(0, 2, 1, 3, 4))


@pytest.mark.parametrize(
    ("units", "sizes", "expected", "unit"),
    [
        (("µm", "µm", "µm"), (2.0, 0.2, 0.25), (2.0, 0.2, 0.25), "micrometer"),
        (("nm", "nm", "nm"), (50, 4.6, 4.6), (50, 4.6, 4.6), "nanometer"),
        (("µm", "nm", "nm"), (0.05, 4.6, 4.6), (50, 4.6, 4.6), "nanometer"),
        (("nm", "µm", "µm"), (50, 0.0046, 0.0046), (0.05, 0.0046, 0.0046), "micrometer"),
        (("mm", "µm", "nm"), (1e-3, 1.0, 1000.0), (1000.0, 1000.0, 1000.0), "nanometer"),
        ((None, None, None), (2.0, 0.5, 0.5), (2.0, 0.5, 0.5), "micrometer"),
        (("Å", "Å", "Å"), (20, 5, 5), (20, 5, 5), "angstrom"),
        (("pixel", "pixel", "pixel"), (4, 1, 1), (4, 1, 1), "pixel"),
    ],
)
def test_ome_units(tmp_path: Path, units, sizes, expected, unit: str) -> None:
    volume = open_volume(ome(tmp_path / "a.ome.tif", values(4, 5, 6), "ZYX", sizes, units))
    assert volume.voxel_size == pytest.approx(expected)
    assert (volume.unit, volume.name) == (unit, "a")
    assert not volume.provenance.spacing_problem


def test_ome_units_that_cannot_be_compared(tmp_path: Path) -> None:
    path = ome(tmp_path / "a.ome.tif", values(4, 5, 6), "ZYX", (2, 1, 1), ("µm", "pixel", "pixel"))
    problem = open_volume(path).provenance.spacing_problem
    assert problem == "gives its z step in micrometer, its pixel size in pixel, which cannot be compared"


@pytest.mark.parametrize("axes", ["TCZYX", "CZYX", "ZCYX", "TZYX"])
def test_ome_hyperstacks_and_channel_names(tmp_path: Path, axes: str) -> None:
    size = dict(zip("TCZYX", (2, 3, 4, 5, 6), strict=True))
    array = values(*(size[a] for a in axes))
    metadata = {"axes": axes, "PhysicalSizeZ": 4.0, "PhysicalSizeY": 1.0, "PhysicalSizeX": 1.0}
    if "C" in axes:
        metadata["Channel"] = {"Name": ["DAPI", "GFP", "RFP"], "Color": [0x0000FFFF, 0x00FF80FF, -0xFFFF01]}
    tifffile.imwrite(tmp_path / "a.ome.tif", array, ome=True, metadata=metadata)
    volume = open_volume(tmp_path / "a.ome.tif")
    order = [a for a in "TCZYX" if a in axes]
    assert volume.axes == "".join(order).lower()
    np.testing.assert_array_equal(volume.array, array.transpose([axes.index(a) for a in order]))
    if "C" in axes:
        assert volume.metadata["channel_names"] == ["DAPI", "GFP", "RFP"]
        assert volume.metadata["channel_colours"] == ["#0000ff", "#00ff80", "#ff0000"]


def test_the_colours_of_imagejs_lookup_tables(tmp_path: Path) -> None:
    rise = np.arange(256, dtype=np.uint8)
    cyan, grey, inverted = np.stack([0 * rise, rise, rise]), np.stack([rise] * 3), np.stack([rise[::-1]] * 3)
    metadata = {"axes": "ZCYX", "LUTs": [cyan, grey, inverted]}
    tifffile.imwrite(tmp_path / "a.tif", values(4, 3, 5, 6), imagej=True, metadata=metadata)
    assert dict(open_volume(tmp_path / "a.tif").metadata) == {"channel_colours": ["#00ffff", "#ffffff", ""]}


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib"},
        {"compression": "lzw"},
        {"compression": "zstd"},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"tile": (16, 16), "compression": "zlib"},
        {"rowsperstrip": 3},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"byteorder": ">", "compression": "lzw"},
    ],
    ids=str,
)
def test_layouts(tmp_path: Path, options) -> None:
    array = values(4, 21, 19)
    path = ome(tmp_path / "a.ome.tif", array, "ZYX", **options)
    volume = open_volume(path)
    np.testing.assert_array_equal(volume.array, array)
    assert volume.anisotropy == pytest.approx(2 / np.sqrt(0.2 * 0.25))
    read = volume.read(slice(1, 3), slice(2, 9), slice(3, 5))
    np.testing.assert_array_equal(read, array[1:3, 2:9, 3:5])


@pytest.mark.parametrize("axes", ["ZYX", "TZYX"])
@pytest.mark.parametrize(
    ("options", "chunk"), [({}, (21, 19)), ({"tile": (16, 16)}, (16, 16)), ({"rowsperstrip": 8}, (8, 19))]
)
def test_large_compressed_files_are_read_piece_by_piece(tmp_path: Path, monkeypatch, axes: str, options, chunk) -> None:
    monkeypatch.setattr("napari_niiv.io.open.IN_MEMORY_BYTES", 100)
    array = values(*(3, 4, 21, 19)[-len(axes) :])
    path = ome(tmp_path / "a.ome.tif", array, axes, compression="zlib", **options)
    volume = open_volume(path)
    assert isinstance(volume.array, FileArray)
    assert volume.array.chunks == (1,) * (len(axes) - 2) + chunk
    assert volume.provenance.slow
    moved = pickle.loads(pickle.dumps(volume))
    one = volume.at(*[0] * (len(axes) - 3))
    path.unlink()  # nothing was read yet
    with pytest.raises(VolumeError, match="cannot be read"):
        one.read_raw()
    ome(path, array, axes, compression="zlib", **options)
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_array_equal(moved.array[..., 3:9, 5], array[..., 3:9, 5])
    np.testing.assert_array_equal(one.read_raw(), array[(0,) * (len(axes) - 3)])


def test_the_caller_says_what_memory_may_hold(tmp_path: Path) -> None:
    array = values(3, 8, 7)
    path = ome(tmp_path / "a.ome.tif", array, "ZYX", compression="zlib")
    decoded, lazy = open_volume(path, memory=array.nbytes), open_volume(path, memory=array.nbytes - 1)
    assert isinstance(decoded.array, np.ndarray)
    assert not decoded.provenance.slow
    assert isinstance(lazy.array, FileArray)
    assert lazy.provenance.slow
    np.testing.assert_array_equal(decoded.array, lazy.array)


def test_a_stack_whose_first_axis_has_no_name_is_read_piece_by_piece_too(tmp_path: Path) -> None:
    array = values(3, 8, 7)
    tifffile.imwrite(tmp_path / "a.tif", array, compression="zlib", photometric="minisblack")
    volume = open_volume(tmp_path / "a.tif", memory=1)
    assert isinstance(volume.array, FileArray)
    assert volume.axes == "zyx"
    np.testing.assert_array_equal(volume.array, array)


def test_a_voxel_size_is_read_without_voxels(tmp_path: Path, monkeypatch) -> None:
    path = ome(tmp_path / "a.ome.tif", values(3, 8, 7), "ZYX", compression="zlib")
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", None)
    assert read_spacing(path).voxel_size == open_volume(path, memory=0).voxel_size


def test_only_the_tiles_that_are_needed_are_decoded(tmp_path: Path, monkeypatch) -> None:
    """Damaged ones elsewhere do no harm."""
    monkeypatch.setattr("napari_niiv.io.open.IN_MEMORY_BYTES", 100)
    array = values(3, 64, 64)
    path = ome(tmp_path / "a.ome.tif", array, "ZYX", compression="zlib", tile=(32, 32))
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[1].dataoffsets[3], file.pages[1].databytecounts[3]
    content = bytearray(path.read_bytes())
    content[offset : offset + count] = bytes(count)
    path.write_bytes(content)
    volume = open_volume(path)
    np.testing.assert_array_equal(volume.read_raw(y=slice(0, 32)), array[:, :32])
    with pytest.raises(VolumeError, match="cannot be read"):
        volume.read_raw()


def test_many_threads_read_at_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("napari_niiv.io.open.IN_MEMORY_BYTES", 100)
    array = values(6, 64, 64)
    volume = open_volume(ome(tmp_path / "a.ome.tif", array, "ZYX", compression="zlib", tile=(32, 32)))
    with ThreadPoolExecutor(8) as pool:
        for i, read in enumerate(pool.map(lambda i: volume.array[i % 6, :, i:], range(40))):
            np.testing.assert_array_equal(read, array[i % 6, :, i:])


def test_a_pyramid(tmp_path: Path) -> None:
    """SubIFDs, as OME-TIFF has them; levels that are not whole are left out."""
    array = values(4, 64, 48)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        metadata = {"axes": "ZYX", "PhysicalSizeZ": 4.0, "PhysicalSizeY": 1.0, "PhysicalSizeX": 1.0}
        file.write(array, subifds=2, metadata=metadata, tile=(16, 16))
        for step in (2, 4):
            file.write(array[:, ::step, ::step], subfiletype=1, tile=(16, 16))
    volume = open_volume(tmp_path / "a.ome.tif")
    assert [(level.axial, level.lateral) for level in volume.levels()] == [(1, 1), (1, 2), (1, 4)]
    np.testing.assert_array_equal(volume.pyramid[1], array[:, ::4, ::4])


def test_plain_multipage_files_are_stacks_without_a_voxel_size(tmp_path: Path) -> None:
    array = values(4, 5, 6)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", metadata=None)
    volume = open_volume(tmp_path / "a.tif")
    assert volume.axes == "zyx"
    assert "does not say its z step" in volume.provenance.spacing_problem
    np.testing.assert_array_equal(volume.array, array)
    tifffile.imwrite(tmp_path / "b.tif", array, photometric="minisblack")  # tifffile's own "shaped" kind
    np.testing.assert_array_equal(open_volume(tmp_path / "b.tif").array, array)


@pytest.mark.parametrize(
    ("spacing", "problem"),
    [(0, "says that its z step is 0"), (-2, "says that its z step is -2"), (None, "does not say its z step")],
)
def test_absurd_imagej_spacing(tmp_path: Path, spacing, problem: str) -> None:
    metadata = {} if spacing is None else {"spacing": spacing}
    path = tmp_path / "a.tif"
    metadata = {"axes": "ZYX", "unit": "um"} | metadata
    tifffile.imwrite(path, values(4, 5, 6), imagej=True, resolution=(4.0, 4.0), metadata=metadata)
    volume = open_volume(path)
    assert volume.provenance.spacing_problem == problem
    assert volume.anisotropy == 1


def test_imagejs_default_for_pictures_to_be_printed(tmp_path: Path) -> None:
    path = imagej(tmp_path / "a.tif", values(4, 5, 6), "ZYX", (72.0, 72.0), unit="inch", spacing=1 / 72)
    assert "in inches (0.0139)" in open_volume(path).provenance.spacing_problem


@pytest.mark.parametrize("missing", ["Z", "X", "all", "negative", "zero"])
def test_partial_ome_spacing(tmp_path: Path, missing: str) -> None:
    sizes = {
        "Z": (None, 1.0, 1.0),
        "X": (2.0, 1.0, None),
        "all": (None, None, None),
        "negative": (-2.0, 1.0, 1.0),
        "zero": (0.0, 1.0, 1.0),
    }[missing]
    volume = open_volume(ome(tmp_path / "a.ome.tif", values(4, 5, 6), "ZYX", sizes, (None,) * 3))
    assert volume.provenance.spacing_problem
    assert all(v > 0 for v in volume.voxel_size)


@pytest.mark.parametrize("kind", ["RGB page", "RGB stack", "planar RGB", "2-D", "2-D ImageJ", "2-D with channels"])
def test_what_is_no_volume(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.tif"
    if kind == "RGB page":
        tifffile.imwrite(path, values(20, 20, 3, dtype="u1"), photometric="rgb")
    elif kind == "RGB stack":
        tifffile.imwrite(path, values(4, 20, 20, 3, dtype="u1"), photometric="rgb", imagej=True)
    elif kind == "planar RGB":
        tifffile.imwrite(path, values(3, 20, 20, dtype="u1"), photometric="rgb", planarconfig="separate")
    elif kind == "2-D":
        tifffile.imwrite(path, values(20, 20))
    elif kind == "2-D ImageJ":
        imagej(path, values(20, 20), "YX")
    else:
        imagej(path, values(3, 20, 20), "CYX")
    with pytest.raises(VolumeError, match="RGB" if "RGB" in kind else "no Z") as caught:
        open_volume(path)
    assert "\n" not in str(caught.value)


WRITERS = {
    "ImageJ": lambda path, array: imagej(path, array, "ZYX"),
    "OME": lambda path, array: ome(path, array, "ZYX"),
    "OME zlib": lambda path, array: ome(path, array, "ZYX", compression="zlib"),
    "OME tiles": lambda path, array: ome(path, array, "ZYX", tile=(16, 16), compression="lzw"),
    "plain": lambda path, array: tifffile.imwrite(path, array, metadata=None, photometric="minisblack"),
    "plain zlib": lambda path, array: tifffile.imwrite(
        path, array, metadata=None, photometric="minisblack", compression="zlib"
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.5, 0.9, 0.995])
def test_truncated_files(tmp_path: Path, writer: str, share: float) -> None:
    """Refused, never half a volume."""
    path = tmp_path / "a.tif"
    WRITERS[writer](path, values(8, 40, 40))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(VolumeError, match=r"a\.tif (is truncated|is not a readable|holds no picture)") as caught:
        open_volume(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"II", b"II*\0", b"MM\0*\0\0\0\x08", b"hello world" * 50, b"\x89PNG\r\n"])
def test_what_is_no_tiff(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(VolumeError) as caught:
        open_volume(tmp_path / "a.tif")
    assert "a.tif" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_pixels(tmp_path: Path) -> None:
    path = ome(tmp_path / "a.ome.tif", values(8, 40, 40), "ZYX", compression="zlib")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(VolumeError, match="not a readable TIFF"):
        open_volume(path)


def test_tifffile_is_silent_only_while_a_file_is_read(tmp_path: Path, caplog) -> None:
    path = ome(tmp_path / "a.ome.tif", values(8, 40, 40), "ZYX")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(VolumeError, match="is truncated"):
        open_volume(path)
    assert not caplog.records
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 8
    assert [record.name for record in caplog.records] == ["tifffile"]


def test_importing_changes_no_loggers() -> None:
    code = (
        "import logging, napari_niiv.io.readers.slices, napari_niiv.io.readers.ome_zarr\n"
        "for logger in map(logging.getLogger, ('tifffile', 'asyncio')):\n"
        "    assert not logger.filters and not logger.handlers and logger.propagate"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


OME = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">
<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="16" SizeY="16" SizeZ="{planes}" SizeC="1" SizeT="1"
PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeZ="4">{data}</Pixels></Image></OME>"""


@pytest.mark.parametrize("data", ["", "<TiffData/>", '<TiffData IFD="0" PlaneCount="{planes}"/>'])
@pytest.mark.parametrize(
    ("planes", "message"),
    [
        (3, ""),
        (5, "lacks 2 of its 5 planes|holds 3 of the 5 planes"),
        (1_000_000, "says that it has 1,000,000 planes, more than .* bytes can hold"),
        (10**15, "says that it has 1,000,000,000,000,000 planes"),
    ],
)
def test_planes_that_the_metadata_say(tmp_path: Path, data: str, planes: int, message: str) -> None:
    xml = OME.format(planes=planes, data=data.format(planes=planes)).replace("\n", " ")
    voxels = np.random.default_rng(0).integers(0, 255, (3, 16, 16), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=False) as file:
        for number, picture in enumerate(voxels):
            description = xml.encode() if number == 0 else None
            file.write(picture, description=description, metadata=None, contiguous=False)
    if message:
        with pytest.raises(VolumeError, match=message):
            open_volume(tmp_path / "a.ome.tif")
    else:
        assert (np.asarray(open_volume(tmp_path / "a.ome.tif").array[...]) == voxels).all()
