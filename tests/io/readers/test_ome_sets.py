"""Sets of OME-TIFF files, and TIFF files that hold several images: what is shown when one file is opened."""

from __future__ import annotations

import pickle
import uuid
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_niiv.errors import DatasetChoice, VolumeError
from napari_niiv.io.open import open_volume, read_spacing
from napari_niiv.io.spacing import Spacing

NAMESPACE = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 60000, shape).astype(np.uint16)


def identifier(name: str) -> str:
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}"


def image(number: int, name: str, shape: tuple[int, ...], planes: list[tuple[str, int]], z_step: float = 0.8) -> str:
    """The OME-XML of an image; `planes` are its files and the pages in them."""
    data = "".join(
        f'<TiffData IFD="{page}" FirstZ="{z}" FirstC="0" FirstT="0" PlaneCount="1">'
        f'<UUID FileName="{file}">{identifier(file)}</UUID></TiffData>'
        for z, (file, page) in enumerate(planes)
    )
    z, y, x = shape
    sizes = f'SizeX="{x}" SizeY="{y}" SizeZ="{z}" SizeC="1" SizeT="1"'
    physical = f'PhysicalSizeX="0.1" PhysicalSizeY="0.1" PhysicalSizeZ="{z_step}"'
    return (
        f'<Image ID="Image:{number}" Name="{name}"><Pixels ID="Pixels:{number}" DimensionOrder="XYZCT" Type="uint16" '
        f'{sizes} {physical}><Channel ID="Channel:{number}:0" SamplesPerPixel="1"/>{data}</Pixels></Image>'
    )


def write(path: Path, planes: np.ndarray, body: str, comment: str = "", **options) -> None:
    xml = f'<?xml version="1.0" encoding="UTF-8"?>{comment}<OME {NAMESPACE} UUID="{identifier(path.name)}">{body}</OME>'
    tifffile.imwrite(path, planes, metadata=None, description=xml.encode(), photometric="minisblack", **options)


def split(folder: Path, array: np.ndarray, pieces: int = 2, **options) -> list[Path]:
    """One image in several files, unequally long, whose headers differ in length as well."""
    folder.mkdir(exist_ok=True)
    parts = np.array_split(np.arange(len(array)), pieces)
    names = [f"split_{k}.ome.tif" for k in range(pieces)]
    planes = [(names[k], page) for k, part in enumerate(parts) for page in range(len(part))]
    for k, part in enumerate(parts):
        comment = f"<!-- {'x' * 3000 * k} -->"
        write(folder / names[k], array[part], image(0, "s", array.shape, planes), comment, **options)
    return [folder / name for name in names]


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16), "compression": "lzw"}], ids=str)
def test_each_file_of_a_set_shows_all_planes(tmp_path: Path, options) -> None:
    array = values(7, 32, 40)
    for path in split(tmp_path, array, 3, **options):
        volume = open_volume(path)
        assert (volume.axes, volume.voxel_size) == ("zyx", (0.8, 0.1, 0.1))
        np.testing.assert_array_equal(volume.read_raw(), array)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read_raw(slice(2, 6)), array[2:6])
        piecewise = open_volume(path, memory=0)
        np.testing.assert_array_equal(piecewise.read_raw(slice(2, 6), slice(5, 9)), array[2:6, 5:9])


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}], ids=str)
def test_a_file_shows_its_own_position(tmp_path: Path, options) -> None:
    """Two positions, not equally deep; each file tells of both."""
    arrays = [values(4, 32, 40, seed=1), values(8, 32, 40, seed=2)]
    names = ["well_Pos0.ome.tif", "well_Pos1.ome.tif"]
    body = "".join(
        image(k, f"Pos{k}", array.shape, [(names[k], page) for page in range(len(array))], 0.8 / (k + 1))
        for k, array in enumerate(arrays)
    )
    for k, array in enumerate(arrays):
        write(tmp_path / names[k], array, body, f"<!-- {'x' * 3000 * k} -->", **options)
    for k, array in enumerate(arrays):
        volume = open_volume(tmp_path / names[k])
        assert volume.voxel_size == (0.8 / (k + 1), 0.1, 0.1)
        np.testing.assert_array_equal(volume.read_raw(), array)
        assert read_spacing(tmp_path / names[k]) == Spacing((0.8 / (k + 1), 0.1, 0.1), "micrometer")
    (tmp_path / names[0]).unlink()  # another position is not needed
    np.testing.assert_array_equal(open_volume(tmp_path / names[1]).read_raw(), arrays[1])


def companion(folder: Path, array: np.ndarray, images: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "stack.companion.ome"
    names = [f"stack_z{z}.ome.tif" for z in range(len(array))]
    for name, plane in zip(names, array, strict=True):
        write(folder / name, plane, f'<BinaryOnly MetadataFile="{path.name}" UUID="{identifier(path.name)}"/>')
    body = images or image(0, "s", array.shape, [(name, 0) for name in names])
    xml = f'<?xml version="1.0" encoding="UTF-8"?><OME {NAMESPACE} UUID="{identifier(path.name)}">{body}</OME>'
    path.write_text(xml, encoding="utf-8")
    return path


def test_a_companion(tmp_path: Path) -> None:
    array = values(6, 32, 40)
    path = companion(tmp_path, array)
    for opened in (path, tmp_path / "stack_z0.ome.tif", tmp_path / "stack_z4.ome.tif"):
        volume = open_volume(opened)
        assert (volume.axes, volume.voxel_size, volume.unit) == ("zyx", (0.8, 0.1, 0.1), "micrometer")
        np.testing.assert_array_equal(volume.read_raw(), array)
    assert open_volume(path).name == "stack"
    (tmp_path / "stack_z3.ome.tif").unlink()
    with pytest.raises(VolumeError, match=r"lacks 1 of its files \(stack_z3\.ome\.tif\)"):
        open_volume(path)
    path.unlink()
    with pytest.raises(VolumeError, match=r"of stack\.companion\.ome, which is missing"):
        open_volume(tmp_path / "stack_z0.ome.tif")


def test_a_folder_or_list_of_the_files_of_a_set_is_the_set(tmp_path: Path) -> None:
    array = values(6, 32, 40)
    for made in (split(tmp_path / "split", array), [companion(tmp_path / "companion", array)]):
        volume = open_volume(made[0].parent)
        assert volume.voxel_size == (0.8, 0.1, 0.1)
        np.testing.assert_array_equal(volume.read_raw(), array)
    files = sorted((tmp_path / "companion").glob("*.tif"))
    np.testing.assert_array_equal(open_volume(files).read_raw(), array)


def test_the_images_of_a_companion(tmp_path: Path) -> None:
    array = values(6, 32, 40)
    halves = [[(f"stack_z{z}.ome.tif", 0) for z in part] for part in ((0, 1, 2), (3, 4, 5))]
    path = companion(tmp_path, array, "".join(image(k, f"P{k}", (3, 32, 40), half) for k, half in enumerate(halves)))
    with pytest.raises(DatasetChoice, match=r"2 images: P0 \(3 × 32 × 40 uint16\), P1 \("):
        open_volume(path)
    np.testing.assert_array_equal(open_volume(path, dataset="P1").read_raw(), array[3:])
    np.testing.assert_array_equal(open_volume(tmp_path / "stack_z4.ome.tif").read_raw(), array[3:])
    assert read_spacing(path) == Spacing()


def test_missing_files_are_named(tmp_path: Path) -> None:
    first, second, _ = split(tmp_path, values(7, 32, 40), 3)
    second.unlink()
    for opened in (first, tmp_path / "split_2.ome.tif"):
        with pytest.raises(VolumeError, match=r"a set that lacks 1 of its files \(split_1\.ome\.tif\)"):
            open_volume(opened)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}], ids=str)
def test_a_truncated_file_of_a_set_is_named(tmp_path: Path, options) -> None:
    first, second = split(tmp_path, values(8, 32, 40), **options)
    second.write_bytes(second.read_bytes()[:-1500])
    with pytest.raises(VolumeError, match=r"split_\d|truncated") as caught:
        open_volume(first)
    assert "\n" not in str(caught.value)


def test_missing_planes_are_named(tmp_path: Path) -> None:
    array = values(6, 32, 40)
    body = image(0, "s", (8, 32, 40), [("short.ome.tif", page) for page in range(6)])
    write(tmp_path / "short.ome.tif", array, body)
    with pytest.raises(VolumeError, match=r"short\.ome\.tif lacks 2 of its 8 planes \(6, 7, counted from 0\)"):
        open_volume(tmp_path / "short.ome.tif")


def test_a_file_of_another_set_with_the_right_name_is_told(tmp_path: Path) -> None:
    array = values(6, 16, 20)
    first, second = split(tmp_path / "one", array)
    assert not open_volume(first).provenance.note
    xml = tifffile.tiffcomment(second).replace(f'UUID="{identifier(second.name)}"', f'UUID="{identifier("other")}"')
    tifffile.tiffcomment(second, xml.encode())
    note = "by their identifiers (UUID) these files are not those that their set means: split_1.ome.tif"
    for path in (first, second):
        assert open_volume(path).provenance.note == note
        np.testing.assert_array_equal(open_volume(path).read_raw(), array)


def test_files_that_were_renamed(tmp_path: Path) -> None:
    array = values(6, 32, 40)
    body = image(0, "s", array.shape, [("old.ome.tif", page) for page in range(6)])
    write(tmp_path / "new.ome.tif", array, body)  # its identifier is not that of the set
    np.testing.assert_array_equal(open_volume(tmp_path / "new.ome.tif").read_raw(), array)
    first, second = split(tmp_path, array)
    renamed = first.rename(tmp_path / "renamed.ome.tif")
    np.testing.assert_array_equal(open_volume(renamed).read_raw(), array)
    with pytest.raises(VolumeError, match=r"lacks 1 of its files \(split_0\.ome\.tif\)"):
        open_volume(second)


def stacks(path: Path, *images: tuple[str, np.ndarray, float]) -> Path:
    with tifffile.TiffWriter(path, ome=True) as writer:
        for name, array, z_step in images:
            axes = "ZYX"[-array.ndim :]
            sizes = {f"PhysicalSize{a}": z_step if a == "Z" else 0.1 for a in axes}
            writer.write(array, metadata={"axes": axes, "Name": name, **sizes}, photometric="minisblack")
    return path


def test_of_several_stacks_one_must_be_named(tmp_path: Path) -> None:
    first, second = values(5, 32, 40), values(6, 32, 40, seed=1)
    path = stacks(tmp_path / "two.ome.tif", ("raw", first, 0.8), ("later", second, 0.4))
    with pytest.raises(DatasetChoice, match=r"2 images: raw \(5 × 32 × 40 uint16\), later \(6 ×"):
        open_volume(path)
    volume = open_volume(path, dataset="later")
    assert (volume.voxel_size, volume.name) == ((0.4, 0.1, 0.1), "two/later")
    np.testing.assert_array_equal(volume.read_raw(), second)
    np.testing.assert_array_equal(open_volume(path, dataset="raw").read_raw(), first)
    with pytest.raises(VolumeError, match="no image 'none', but raw, later"):
        open_volume(path, dataset="none")


def test_the_only_stack_beside_an_overview(tmp_path: Path) -> None:
    array = values(5, 32, 40)
    path = stacks(tmp_path / "slide.ome.tif", ("overview", array[0, ::2, ::2].copy(), 0), ("stack", array, 0.8))
    volume = open_volume(path)
    assert "overview (16 × 20 uint16)" in volume.provenance.note
    assert volume.voxel_size == (0.8, 0.1, 0.1)
    np.testing.assert_array_equal(volume.read_raw(), array)


@pytest.mark.parametrize("metadata", [None, {}], ids=["plain", "tifffile's own"])
def test_several_stacks_without_ome(tmp_path: Path, metadata) -> None:
    first, second = values(5, 32, 40), values(6, 24, 24, seed=1)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for array in (first, second):
            writer.write(array, metadata=metadata, photometric="minisblack")
    with pytest.raises(DatasetChoice, match=r"2 images: .* \(5 × 32 × 40 uint16\), .* \(6 × 24 × 24 uint16\)") as asked:
        open_volume(tmp_path / "a.tif")
    for name, array in zip(asked.value.datasets, (first, second), strict=True):
        np.testing.assert_array_equal(open_volume(tmp_path / "a.tif", dataset=name).read_raw(), array)
