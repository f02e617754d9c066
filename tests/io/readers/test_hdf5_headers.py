"""Sizes and voxel sizes of HDF5 files as microscopes write them: Imaris, Luxendo, BigDataViewer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_niiv.io.open import open_volume

h5py = pytest.importorskip("h5py")

SIZE = (0.8, 0.2, 0.1)


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, shape).astype("u2")


def letters(value) -> np.ndarray:
    """Texts as Imaris stores them."""
    return np.array([c.encode() for c in str(value)], "S1")


def imaris(path: Path, array: np.ndarray, root: str = "", own_sizes=(), **info) -> Path:
    """Two levels, padded to multiples of 8; the size in the description, and in the channels of levels `own_sizes`."""
    z, y, x = array.shape
    with h5py.File(path, "w") as file:
        group = file.require_group(root) if root else file
        said = {"X": x, "Y": y, "Z": z, "Unit": "um"} | info
        for axis, (count, size) in enumerate(((x, 0.1), (y, 0.2), (z, 0.8))):
            said |= {f"ExtMin{axis}": 0, f"ExtMax{axis}": count * size}
        group.require_group("DataSetInfo/Image").attrs.update({k: letters(v) for k, v in said.items() if v is not None})
        for level, step in enumerate((1, 2)):
            part = array[:, ::step, ::step]
            channel = group.require_group(f"DataSet/ResolutionLevel {level}/TimePoint 0/Channel 0")
            channel["Data"] = np.pad(part, [(0, -n % 8) for n in part.shape])
            if level in own_sizes:
                channel.attrs.update({f"ImageSize{a}": letters(n) for a, n in zip("ZYX", part.shape, strict=True)})
        if root:
            for name in ("DataSet", "DataSetInfo"):
                file[name] = h5py.SoftLink(f"/{root}/{name}")
    return path


@pytest.mark.parametrize("root", ["", "Workflows/InitialImages"])
@pytest.mark.parametrize(("own_sizes", "levels"), [((), 0), ((0, 1), 1), ((1,), 1), ((0,), 0)])
def test_the_size_of_an_imaris_file_is_without_its_padding(tmp_path: Path, root: str, own_sizes, levels: int) -> None:
    array = values(5, 20, 28)
    volume = open_volume(imaris(tmp_path / "a.ims", array, root, own_sizes))
    np.testing.assert_array_equal(volume.read_raw(), array)
    assert volume.voxel_size == pytest.approx(SIZE)
    assert len(volume.pyramid) == levels
    for level in volume.pyramid:
        np.testing.assert_array_equal(level, array[:, ::2, ::2])


def test_an_imaris_file_that_contradicts_itself(tmp_path: Path) -> None:
    array = values(5, 20, 28)
    volume = open_volume(imaris(tmp_path / "a.ims", array, own_sizes=(0, 1), Z=9))
    np.testing.assert_array_equal(volume.read_raw(), array)
    assert volume.provenance.note == (
        "its channels have 5 × 20 × 28 voxels, its description says 9 × 20 × 28; the channels are taken as they are"
    )


@pytest.mark.parametrize("wrong", ["", "many", None])
def test_an_imaris_size_that_is_no_number_costs_no_voxels(tmp_path: Path, wrong) -> None:
    array = values(8, 16, 24)
    volume = open_volume(imaris(tmp_path / "a.ims", array, X=wrong, Y=wrong, Z=wrong))
    np.testing.assert_array_equal(volume.read_raw(), array)


def luxendo(path: Path, array: np.ndarray, size, metadata=None) -> Path:
    with h5py.File(path, "w") as file:
        for step in (1, 2, 4):
            data = file.create_dataset(
                "Data" if step == 1 else f"Data_{step}_{step}_{step}", data=array[::step, ::step, ::step]
            )
            if size is not None:
                data.attrs["element_size_um"] = np.array(size) * step
        if metadata is not None:
            file["metadata"] = json.dumps(metadata)
    return path


def test_luxendos_levels_are_a_pyramid(tmp_path: Path) -> None:
    array = values(8, 16, 24)
    path = luxendo(tmp_path / "a.lux.h5", array, SIZE)
    volume = open_volume(path)
    np.testing.assert_array_equal(volume.read_raw(), array)
    assert volume.voxel_size == SIZE
    assert [(level.axial, level.lateral) for level in volume.levels()] == [(1, 1), (2, 2), (4, 4)]
    np.testing.assert_array_equal(volume.pyramid[1], array[::4, ::4, ::4])
    coarse = open_volume(path, dataset="Data_2_2_2")
    assert coarse.voxel_size == pytest.approx((1.6, 0.4, 0.2))


def test_a_level_of_luxendos_without_voxels_is_left_out(tmp_path: Path) -> None:
    path = luxendo(tmp_path / "a.lux.h5", values(8, 16, 24), SIZE)
    with h5py.File(path, "a") as file:
        del file["Data_2_2_2"]
        file.create_dataset("Data_2_2_2", (4, 8, 12), "u2", chunks=(4, 8, 12))
    assert [(level.axial, level.lateral) for level in open_volume(path).levels()] == [(1, 1), (4, 4)]


def test_luxendos_size_in_its_text(tmp_path: Path) -> None:
    metadata = {"processingInformation": {"voxel_size_um": {"width": 0.1, "height": 0.2, "depth": 0.8}}}
    volume = open_volume(luxendo(tmp_path / "a.lux.h5", values(8, 16, 24), (np.nan,) * 3, metadata))
    assert (volume.voxel_size, volume.unit) == (SIZE, "micrometer")


@pytest.mark.parametrize("size", [(np.nan,) * 3, (0.2, 0.1), "broken", None])
def test_sizes_that_say_nothing_are_asked_for(tmp_path: Path, size) -> None:
    array = values(8, 16, 24)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", data=array)
        if size is not None:
            data.attrs["element_size_um"] = size
        file["metadata"] = "{"
    volume = open_volume(tmp_path / "a.h5")
    np.testing.assert_array_equal(volume.read_raw(), array)
    assert volume.provenance.spacing_problem == "does not say its z step"
    assert volume.provenance.spacing.sizes[1:] == ((0.2, 0.1) if size == (0.2, 0.1) else (None, None))


XML = """<SpimData version="0.2"><SequenceDescription><ImageLoader format="bdv.hdf5">
<hdf5 type="relative">{}</hdf5></ImageLoader><ViewSetups><ViewSetup><id>0</id><voxelSize><unit>µm</unit>
<size>0.1 0.2 0,8</size></voxelSize></ViewSetup></ViewSetups></SequenceDescription></SpimData>"""


def bigdataviewer(path: Path, array: np.ndarray, xml: str, text: str = XML) -> Path:
    with h5py.File(path, "w") as file:
        file["t00000/s00/0/cells"] = array.view("i2")
        file["s00/resolutions"] = [[1.0, 1, 1]]
    path.with_name(xml).write_text(text.format(path.name), encoding="utf-8")
    return path.with_name(xml)


def test_bigdataviewers_numbers_with_decimal_commas(tmp_path: Path) -> None:
    array = values(8, 16, 24)
    bigdataviewer(tmp_path / "a.h5", array, "a.xml")
    volume = open_volume(tmp_path / "a.h5")
    np.testing.assert_array_equal(volume.read_raw(), array)
    assert (volume.voxel_size, volume.unit) == (SIZE, "micrometer")


def test_the_xml_that_is_opened_has_the_voxel_size(tmp_path: Path) -> None:
    array = values(8, 16, 24)
    volume = open_volume(bigdataviewer(tmp_path / "a.h5", array, "other.xml"))
    np.testing.assert_array_equal(volume.read_raw(), array)
    assert (volume.voxel_size, volume.unit) == (SIZE, "micrometer")
    assert open_volume(tmp_path / "a.h5").provenance.spacing_problem


def test_a_damaged_xml_costs_the_voxel_size_alone(tmp_path: Path) -> None:
    array = values(8, 16, 24)
    bigdataviewer(tmp_path / "a.h5", array, "a.xml", "<SpimData>")
    volume = open_volume(tmp_path / "a.h5")
    np.testing.assert_array_equal(volume.read_raw(), array)
    assert volume.provenance.note == "a.xml cannot be read, so the voxel size in it is not known"
