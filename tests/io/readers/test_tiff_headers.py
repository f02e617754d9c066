"""The voxel size in the headers of microscopes' TIFF files, written field by field, and in headers that are damaged."""

from __future__ import annotations

import json
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tifffile

from benchmarks import sample_files
from napari_niiv.io.open import open_volume, read_spacing
from napari_niiv.volume import Volume

SIZE = (0.8, 0.1, 0.2)


def values(*shape: int, dtype="u2") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def check(path: Path, array: np.ndarray, size=SIZE, unit: str = "micrometer") -> Volume:
    volume = open_volume(path)
    np.testing.assert_array_equal(volume.read_raw(), array)
    assert volume.voxel_size == pytest.approx(size)
    assert volume.unit == unit
    assert not volume.provenance.spacing_problem
    assert read_spacing(path).sizes == pytest.approx(size)
    return volume


def lsm(path: Path, array: np.ndarray, sizes=(0.2e-6, 0.1e-6, 0.8e-6)) -> Path:
    sample_files.lsm(path, array, sizes)
    return path


def test_zeiss_lsm(tmp_path: Path) -> None:
    array = values(4, 10, 12)
    check(lsm(tmp_path / "a.lsm", array), array)


def test_an_lsm_of_zeros_says_nothing(tmp_path: Path) -> None:
    volume = open_volume(lsm(tmp_path / "a.lsm", values(4, 10, 12), (0.0, 0.0, 0.0)))
    assert volume.provenance.spacing_problem == "does not say its z step"


def stk(path: Path, array: np.ndarray, *more) -> Path:
    sample_files.stk(path, array, *more)
    return path


def test_metamorph_stk(tmp_path: Path) -> None:
    array = values(4, 10, 12)
    check(stk(tmp_path / "a.stk", array), array)


def test_the_first_plane_of_an_stk_has_no_way_to_go(tmp_path: Path) -> None:
    steps = [Fraction(1, 10**6), *[Fraction("0.8")] * 3]
    assert open_volume(stk(tmp_path / "a.stk", values(4, 10, 12), "um", steps)).voxel_size == pytest.approx(SIZE)


SCANIMAGE = {
    "SI.VERSION_MAJOR": 2020,
    "SI.hStackManager.framesPerSlice": 1,
    "SI.hStackManager.actualNumSlices": 4,
    "SI.hStackManager.stackZStepSize": 3,
    "SI.hStackManager.actualStackZStepSize": 0.8,
    "SI.hChannels.channelSave": 1,
    "SI.hRoiManager.imagingFovUm": "[-1.2 -0.5;1.2 -0.5;1.2 0.5;-1.2 0.5]",
}


def scanimage(path: Path, array: np.ndarray, **changed) -> Path:
    software = "\n".join(f"{name} = {value}" for name, value in (SCANIMAGE | changed).items() if value is not None)
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for page in array:
            writer.write(page, contiguous=False, metadata=None, photometric="minisblack", software=software)
    return path


def test_scanimage(tmp_path: Path) -> None:
    array = values(4, 10, 12, dtype="i2")
    check(scanimage(tmp_path / "a.tif", array), array)


def test_scanimage_in_a_bigtiff_of_its_own(tmp_path: Path) -> None:
    array = values(4, 10, 12, dtype="i2")
    path = scanimage(tmp_path / "a.tif", array)
    with tifffile.TiffFile(path) as file:
        software = file.pages.first.software.encode() + b"\0"
    # the statements between the header and the pages, where ScanImage itself puts them; offsets move with them
    block = struct.pack("<4I", 0x07030301, 3, len(software), 0) + software
    block += bytes(-len(block) % 16)
    path.write_bytes(moved(path.read_bytes(), block))
    check(path, array)


def moved(content: bytes, block: bytes) -> bytes:
    """A TIFF file with a block behind its header; all of its offsets are corrected."""
    data, by = bytearray(content), len(block)
    big = content[2] == 43
    pointer, counter, entry, value = ("<Q", "<Q", 20, 12) if big else ("<I", "<H", 12, 8)
    start, wide = (8, 8) if big else (4, 4)

    def move(at: int, kind: str) -> int:
        (old,) = struct.unpack_from(kind, data, at)
        struct.pack_into(kind, data, at, old + by if old else 0)
        return old

    page = move(start, pointer)
    while page:
        (count,) = struct.unpack_from(counter, data, page)
        first = page + struct.calcsize(counter)
        for field in range(first, first + entry * count, entry):
            tag, kind, length = struct.unpack_from("<HHQ" if big else "<HHI", data, field)
            if {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 16: 8}[kind] * length > wide:
                move(field + value, pointer)
            elif tag == 273:
                move(field + value, {3: "<H", 4: "<I", 16: "<Q"}[kind])
        page = move(first + entry * count, pointer)
    return bytes(data[: 2 * start]) + block + bytes(data[2 * start :])


def test_scanimage_without_a_field_of_view_asks(tmp_path: Path) -> None:
    array = values(4, 10, 12, dtype="i2")
    volume = open_volume(scanimage(tmp_path / "a.tif", array, **{"SI.hRoiManager.imagingFovUm": None}))
    assert volume.provenance.spacing_problem == "does not say its pixel size"
    assert volume.provenance.spacing.sizes == (0.8, None, None)
    assert volume.unit == "micrometer"


@pytest.mark.parametrize("more", [{"SI.hChannels.channelSave": "[1;3]"}, {"SI.hStackManager.framesPerSlice": 2}])
def test_channels_and_frames_of_scanimage_that_look_like_slices_are_told(tmp_path: Path, more: dict) -> None:
    array = values(4, 10, 12, dtype="i2")
    provenance = open_volume(scanimage(tmp_path / "a.tif", array, **more)).provenance
    assert "are all shown as slices" in provenance.note
    assert provenance.spacing_problem == "does not say its z step"


def micromanager(path: Path, array: np.ndarray, summary: dict, description: bytes = b"") -> Path:
    """Micro-Manager's: its summary lies between the header of the file and the first page."""
    tags = [(51123, "s", 0, '{"FrameIndex": 0}', True)]
    options = {"metadata": None, "photometric": "minisblack", "description": description or None}
    tifffile.imwrite(path, array, extratags=tags, **options)
    text = json.dumps(summary).encode()
    block = struct.pack("<8I", 54773648, 0, 0, 0, 0, 0, 2355492, len(text)) + text
    path.write_bytes(moved(path.read_bytes(), block + bytes(-len(block) % 16)))
    return path


SUMMARY = {"z-step_um": -0.8, "PixelSize_um": 0.1, "Slices": 4}


def test_micromanager(tmp_path: Path) -> None:
    array = values(4, 10, 12)
    check(micromanager(tmp_path / "a.tif", array, SUMMARY), array, (0.8, 0.1, 0.1))


def ome_xml(attributes: str, namespace='xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"') -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME {namespace}><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYZCT" Type="uint16" SizeX="12" SizeY="10" SizeZ="4" SizeC="1" SizeT="1" '
        f'{attributes}><Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData/></Pixels></Image></OME>'
    ).encode()


def ome(path: Path, array: np.ndarray, xml: bytes) -> Path:
    tifffile.imwrite(path, array, metadata=None, description=xml, photometric="minisblack")
    return path


GOOD = 'PhysicalSizeX="0.2" PhysicalSizeY="0.1" PhysicalSizeZ="0.8"'


@pytest.mark.parametrize(
    "xml",
    [
        ome_xml(GOOD),
        ome_xml(GOOD, namespace=""),
        ome_xml(GOOD.replace(".", ",")),
        ome_xml(GOOD.replace('Z="0.8"', 'Z="8e-6" PhysicalSizeZUnit="dm"')),
        ome_xml(GOOD.replace('Z="0.8"', 'Z="800000" PhysicalSizeZUnit="pm"')),
    ],
)
def test_ome_xml_as_it_is_found(tmp_path: Path, xml: bytes) -> None:
    array = values(4, 10, 12)
    check(ome(tmp_path / "a.ome.tif", array, xml), array)


@pytest.mark.parametrize("z", ["", "NaN", "wide", "INF"])
def test_a_size_that_is_no_number_is_asked_for(tmp_path: Path, z: str) -> None:
    array = values(4, 10, 12)
    volume = open_volume(ome(tmp_path / "a.ome.tif", array, ome_xml(GOOD.replace("0.8", z))))
    np.testing.assert_array_equal(volume.read_raw(), array)
    assert volume.provenance.spacing_problem == "does not say its z step"
    assert volume.provenance.spacing.sizes == (None, 0.1, 0.2)


def test_the_parts_of_a_size_in_two_headers(tmp_path: Path) -> None:
    array = values(4, 10, 12)
    xml = ome_xml('PhysicalSizeX="100" PhysicalSizeXUnit="nm" PhysicalSizeY="100" PhysicalSizeYUnit="nm"')
    check(micromanager(tmp_path / "a.ome.tif", array, SUMMARY, xml), array, (800, 100, 100), "nanometer")


def test_headers_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    array = values(4, 10, 12)
    assert check(micromanager(tmp_path / "a.ome.tif", array, SUMMARY, ome_xml(GOOD)), array).provenance.note == (
        "its OME-XML says a voxel of 0.8 × 0.1 × 0.2 micrometer (z × y × x), its Micro-Manager header one of "
        "0.8 × 0.1 × 0.1 micrometer; that of its OME-XML is taken"
    )


def test_a_header_that_cannot_be_read_costs_the_voxel_size_alone(tmp_path: Path) -> None:
    array = values(4, 10, 12)
    volume = open_volume(ome(tmp_path / "a.ome.tif", array, ome_xml(GOOD).replace(b"<TiffData/>", b"<TiffData>")))
    np.testing.assert_array_equal(volume.read_raw(), array)
    assert volume.provenance.spacing_problem == "does not say its z step"
    assert volume.provenance.note == "its OME-XML cannot be read, so the voxel size in it is not known"


def imagej(path: Path, array: np.ndarray, unit: str, spacing="0.8", **more) -> Path:
    metadata = {"axes": "ZYX", "spacing": float(spacing.replace(",", ".")), "unit": unit} | more
    tifffile.imwrite(path, array, imagej=True, resolution=(5, 10), metadata=metadata)
    return path


@pytest.mark.parametrize(
    ("unit", "name"),
    [
        ("microns", "micrometer"),
        ("Micron", "micrometer"),
        ("\\u00B5m", "micrometer"),
        ("um ", "micrometer"),
        ("cm", "centimeter"),
        ("pm", "picometer"),
        ("nM", "nanometer"),
        ("", "pixel"),
        ("pixels", "pixel"),
        ("null", "pixel"),
    ],
)
def test_units_as_imagej_spells_them(tmp_path: Path, unit: str, name: str) -> None:
    array = values(4, 10, 12)
    assert not check(imagej(tmp_path / "a.tif", array, unit), array, unit=name).provenance.note


@pytest.mark.parametrize("raw", [b"\xc2\xb5m", b"\xb5m"])
def test_the_micro_sign_of_imagej_in_two_encodings(tmp_path: Path, raw: bytes) -> None:
    array = values(4, 10, 12)
    path = imagej(tmp_path / "a.tif", array, "Q" * len(raw))
    path.write_bytes(path.read_bytes().replace(b"Q" * len(raw), raw))
    check(path, array)


def test_imagejs_units_of_single_axes(tmp_path: Path) -> None:
    array = values(4, 10, 12)
    check(imagej(tmp_path / "a.tif", array, "um", "800", zunit="nm"), array)


def test_imagejs_z_step_with_a_decimal_comma(tmp_path: Path) -> None:
    array = values(4, 10, 12)
    path = imagej(tmp_path / "a.tif", array, "um")
    path.write_bytes(path.read_bytes().replace(b"spacing=0.8", b"spacing=0,8"))
    check(path, array)


def test_a_unit_of_imagejs_that_is_none(tmp_path: Path) -> None:
    volume = open_volume(imagej(tmp_path / "a.tif", values(4, 10, 12), "furlong"))
    assert volume.unit == "pixel"
    assert volume.anisotropy == pytest.approx(0.8 / np.sqrt(0.02))
    assert "'furlong'" in volume.provenance.note


def test_the_resolution_of_a_plain_tiff_gives_the_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    options = {"photometric": "minisblack", "metadata": None}
    tifffile.imwrite(path, values(4, 10, 12), resolution=(5e4, 1e5), resolutionunit="CENTIMETER", **options)
    provenance = open_volume(path).provenance
    assert provenance.spacing.sizes[1:] == pytest.approx((0.1, 0.2))
    assert (provenance.spacing.unit, provenance.spacing_problem) == ("micrometer", "does not say its z step")


def test_each_of_several_stacks_has_its_own_resolution(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    options = {"photometric": "minisblack", "metadata": None, "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as writer:
        writer.write(values(4, 10, 12), resolution=(5e4, 1e5), **options)
        writer.write(values(5, 8, 8), resolution=(1e4, 2e4), **options)
    for name, size in (("0", (0.1, 0.2)), ("1", (0.5, 1.0))):
        assert open_volume(path, dataset=name).provenance.spacing.sizes[1:] == pytest.approx(size)


def test_the_resolution_of_a_picture_to_be_printed_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    options = {"photometric": "minisblack", "metadata": None}
    tifffile.imwrite(path, values(4, 10, 12), resolution=(72, 72), resolutionunit="INCH", **options)
    assert open_volume(path).provenance.spacing.sizes == (None, None, None)
