"""HDF5 as h5py writes it, in the layouts of ilastik, Fiji, Imaris and BigDataViewer."""

from __future__ import annotations

import json
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from napari_niiv.errors import DatasetChoice, VolumeError
from napari_niiv.io.lazy_arrays import FileArray
from napari_niiv.io.open import open_volume, read_spacing
from napari_niiv.io.spacing import Spacing

h5py = pytest.importorskip("h5py")


def values(*shape: int, dtype="u2") -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, shape).astype(dtype)


def axistags(order: str) -> str:
    return json.dumps({"axes": [{"key": a, "typeFlags": 2, "resolution": 0, "description": ""} for a in order]})


def write(path: Path, array: np.ndarray, name: str = "data", attributes=None, **options) -> Path:
    with h5py.File(path, "a") as file:
        file.create_dataset(name, data=array, **options).attrs.update(attributes or {})
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (1, 8, 9)},
        {"chunks": (2, 4, 4), "compression": "gzip"},
        {"compression": "lzf", "shuffle": True},
    ],
    ids=str,
)
def test_the_only_dataset_is_opened_lazily(tmp_path: Path, options) -> None:
    array = values(6, 8, 9)
    path = write(tmp_path / "a.h5", array, "volumes/raw", {"element_size_um": [0.5, 0.1, 0.2]}, **options)
    write(path, np.zeros((4, 4)), "table")
    volume = open_volume(path)
    assert isinstance(volume.array, FileArray)
    assert volume.array._opened is None
    assert (volume.axes, volume.unit, volume.name) == ("zyx", "micrometer", "a")
    assert volume.voxel_size == (0.5, 0.1, 0.2)
    np.testing.assert_array_equal(volume.read_raw(slice(1, 3), slice(2, 5)), array[1:3, 2:5])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read_raw(), array)
    assert read_spacing(path) == Spacing((0.5, 0.1, 0.2), "micrometer")
    with ThreadPoolExecutor(8) as pool:
        for i, read in enumerate(pool.map(lambda i: volume.array[i % 6], range(50))):
            np.testing.assert_array_equal(read, array[i % 6])


def test_several_datasets_must_be_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdf5", values(3, 4, 5), "raw")
    write(path, values(4, 5, 6), "more/labels")
    with pytest.raises(
        DatasetChoice, match=r"2 images: raw \(3 × 4 × 5 uint16\), more/labels \(.*; give one with"
    ) as e:
        open_volume(path)
    assert e.value.datasets == ("raw", "more/labels")
    assert pickle.loads(pickle.dumps(e.value)).lines == e.value.lines
    assert read_spacing(path) == Spacing()
    volume = open_volume(path, dataset="/more/labels")
    assert (volume.shape, volume.name) == ((4, 5, 6), "a/more/labels")
    for wrong in ("none", "more"):
        with pytest.raises(VolumeError, match=f"no dataset '{wrong}', but more/labels, raw; give one of these"):
            open_volume(path, dataset=wrong)


@pytest.mark.parametrize("order", ["zyx", "xyz", "tzyxc", "zyxc", "czyx"])
def test_axes_as_ilastik_writes_them(tmp_path: Path, order: str) -> None:
    size = dict(zip("tczyx", (2, 3, 4, 5, 6), strict=True))
    array = values(*(size[a] for a in order))
    volume = open_volume(write(tmp_path / "a.h5", array, "exported_data", {"axistags": axistags(order)}))
    expected = [a for a in "tczyx" if a in order]
    assert volume.axes == "".join(expected)
    turned = array.transpose([order.index(a) for a in expected])
    np.testing.assert_array_equal(volume.array, turned)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume.array))[..., 2], turned[..., 2])


def test_a_single_channel_is_no_axis(tmp_path: Path) -> None:
    array = values(1, 4, 5, 6, 1)
    attributes = {"axistags": axistags("tzyxc"), "element_size_um": [4.0, 1.0, 1.0]}
    volume = open_volume(write(tmp_path / "a.h5", array, "d", attributes))
    assert (volume.axes, volume.voxel_size) == ("zyx", (4, 1, 1))
    np.testing.assert_array_equal(volume.read_raw(), array[0, ..., 0])


def test_dimension_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", values(5, 6, 4))
    with h5py.File(path, "a") as file:
        for dim, label in zip(file["data"].dims, ("y", "x", "z"), strict=True):
            dim.label = label
    assert open_volume(path).shape == (4, 5, 6)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([b"z", b"y", b"x"]),  # texts of a fixed length, at which h5py's own reading of labels ends the process
        np.array(["z"], h5py.string_dtype()),
        np.array(["z"] * 9, h5py.string_dtype()),
        "zyx",
        np.arange(3),
        h5py.Empty("S3"),
        np.array([h5py.Reference()] * 3, h5py.ref_dtype),
    ],
)
def test_dimension_labels_of_other_types_harm_nothing(tmp_path: Path, labels) -> None:
    path = write(tmp_path / "a.h5", values(4, 5, 6), attributes={"DIMENSION_LABELS": labels})
    assert open_volume(path).axes == "zyx"


@pytest.mark.parametrize(
    ("attributes", "size", "unit", "origin"),
    [
        ({"resolution": [40, 4, 4], "units": "nm"}, (40, 4, 4), "nanometer", (0, 0, 0)),
        (
            {"voxel_size": (40, 4, 4), "units": ["nm"] * 3, "offset": [80, 0, 4]},
            (40, 4, 4),
            "nanometer",
            (80, 0, 4),
        ),
        ({"element_size_um": np.array([2, 1, 1], "f4")}, (2, 1, 1), "micrometer", (0, 0, 0)),
    ],
)
def test_sizes(tmp_path: Path, attributes, size, unit: str, origin) -> None:
    volume = open_volume(write(tmp_path / "a.h5", values(3, 4, 5), attributes=attributes))
    assert (volume.voxel_size, volume.unit, volume.origin) == (size, unit, origin)
    assert not volume.provenance.spacing_problem


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({}, "does not say its z step"),
        ({"element_size_um": [0.0, 1, 1]}, "z step is 0"),
        ({"element_size_um": [-1.0, 1, 1]}, "z step is -1"),
        ({"element_size_um": [np.nan, 1, 1]}, "does not say its z step"),
        ({"element_size_um": 3.0}, "does not say its z step"),
        ({"element_size_um": "large"}, "does not say its z step"),
        ({"resolution": [2.0, 0, 0], "axistags": "{"}, "does not say its pixel size"),
    ],
)
def test_sizes_that_are_missing_or_absurd(tmp_path: Path, attributes, problem: str) -> None:
    volume = open_volume(write(tmp_path / "a.h5", values(3, 4, 5), attributes=attributes))
    assert problem in volume.provenance.spacing_problem


# Imaris


def imaris(path: Path, array: np.ndarray, levels=(1, 2), unit="um") -> Path:
    """`array` is (t, c, z, y, x); blocks are padded to multiples of 8, as Imaris pads them."""

    def text(value) -> np.ndarray:
        return np.array([c.encode() for c in str(value)], "S1")

    with h5py.File(path, "w") as file:
        info = file.create_group("DataSetInfo/Image").attrs
        _, _, z, y, x = array.shape
        for axis, (low, count, size) in enumerate(((10.0, x, 0.25), (20.0, y, 0.25), (-4.0, z, 2.0))):
            info[f"ExtMin{axis}"], info[f"ExtMax{axis}"] = text(low), text(low + count * size)
            info["XYZ"[axis]] = text(count)
        info["Unit"] = text(unit)
        for channel, name in enumerate(("DAPI", "GFP", "RFP")[: array.shape[1]]):
            facts = file.create_group(f"DataSetInfo/Channel {channel}").attrs
            facts["Name"], facts["Color"] = text(name), text(f"{channel / 2:.3f} 1.000 0.000")
        for level, step in enumerate(levels):
            for t, c in np.ndindex(array.shape[:2]):
                part = array[t, c, :, ::step, ::step]
                group = file.create_group(f"DataSet/ResolutionLevel {level}/TimePoint {t}/Channel {c}")
                group.attrs.update({f"ImageSize{a}": text(n) for a, n in zip("ZYX", part.shape, strict=True)})
                padded = np.pad(part, [(0, -n % 8) for n in part.shape])
                group.create_dataset("Data", data=padded, chunks=(8, 8, 8), compression="gzip")
    return path


@pytest.mark.parametrize(("times", "channels"), [(1, 1), (2, 3), (1, 2), (11, 1)])
def test_imaris(tmp_path: Path, times: int, channels: int) -> None:
    array = values(times, channels, 5, 30, 22)
    path = imaris(tmp_path / "a.ims", array)
    volume = open_volume(path)
    assert volume.axes == "t" * (times > 1) + "c" * (channels > 1) + "zyx"
    assert (volume.unit, volume.voxel_size) == ("micrometer", (2.0, 0.25, 0.25))
    assert volume.origin == (-3.0, 20.125, 10.125)
    assert list(volume.metadata["channel_names"]) == ["DAPI", "GFP", "RFP"][:channels]
    assert volume.metadata["channel_colours"] == ["#00ff00", "#80ff00", "#ffff00"][:channels]
    assert [(level.axial, level.lateral) for level in volume.levels()] == [(1, 1), (1, 2)]
    np.testing.assert_array_equal(np.squeeze(array), volume.array)
    np.testing.assert_array_equal(np.squeeze(array)[..., ::2, ::2], volume.pyramid[0])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).array, np.squeeze(array))
    assert read_spacing(path) == Spacing((2.0, 0.25, 0.25), "micrometer")


def test_imaris_files_that_lack_parts(tmp_path: Path) -> None:
    path = imaris(tmp_path / "a.ims", values(2, 2, 5, 30, 22))
    with h5py.File(path, "a") as file:
        del file["DataSet/ResolutionLevel 0/TimePoint 1/Channel 1"]
        del file["DataSetInfo/Image"].attrs["ExtMax2"]
    with pytest.raises(VolumeError, match="lacks channels at some of its times"):
        open_volume(path)
    volume = open_volume(path, dataset="DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data")
    assert volume.shape == (8, 32, 24)  # as it is stored
    with h5py.File(path, "a") as file:
        del file["DataSet/ResolutionLevel 0/TimePoint 1"]
    assert "does not say its z step" in open_volume(path).provenance.spacing_problem


# BigDataViewer

XML = """<SpimData version="0.2"><SequenceDescription><ViewSetups>
<ViewSetup><id>0</id><voxelSize><unit>um</unit><size>0.4 0.4 2.0</size></voxelSize></ViewSetup>
<ViewSetup><id>1</id><voxelSize><unit>nm</unit><size>4 4 40</size></voxelSize></ViewSetup>
</ViewSetups></SequenceDescription></SpimData>"""


def bigdataviewer(path: Path, array: np.ndarray, setups: int = 1) -> Path:
    """`array` is (t, z, y, x); unsigned values are kept as signed ones."""
    with h5py.File(path, "w") as file:
        for setup in range(setups):
            file[f"s{setup:02d}/resolutions"] = [[1.0, 1, 1], [2.0, 2, 1]]
            for t, stack in enumerate(array):
                for level, step in enumerate((1, 2)):
                    part = (stack + setup)[:, ::step, ::step].view("i2")
                    file.create_dataset(f"t{t:05d}/s{setup:02d}/{level}/cells", data=part, chunks=(2, 8, 8))
    path.with_suffix(".xml").write_text(XML)
    return path


def test_bigdataviewer(tmp_path: Path) -> None:
    array = values(2, 5, 16, 20) + np.uint16(40_000)
    path = bigdataviewer(tmp_path / "a.h5", array)
    volume = open_volume(path)
    assert (volume.axes, volume.voxel_size, volume.unit) == ("tzyx", (2.0, 0.4, 0.4), "micrometer")
    assert [(level.axial, level.lateral) for level in volume.at(0).levels()] == [(1, 1), (1, 2)]
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).array, array)
    path.with_suffix(".xml").unlink()
    assert "does not say its z step" in open_volume(path).provenance.spacing_problem


def test_setups_of_bigdataviewer(tmp_path: Path) -> None:
    path = bigdataviewer(tmp_path / "a.h5", values(1, 5, 16, 20), setups=2)
    with pytest.raises(
        DatasetChoice,
        match=r"2 images: s00 \(5 × 16 × 20 \w+, 2 × .* µm\), s01 \(.*, 40 × 4 × 4 nm",
    ):
        open_volume(path)
    volume = open_volume(path, dataset="s01")
    assert (volume.axes, volume.voxel_size, volume.unit) == ("zyx", (40, 4, 4), "nanometer")
    np.testing.assert_array_equal(volume.array, values(1, 5, 16, 20)[0] + 1)
    assert open_volume(path, dataset="t00000/s01/1/cells").shape == (5, 8, 10)


def spim_data(loader: str, base: str = ".") -> str:
    return (
        f'<SpimData version="0.2"><BasePath type="relative">{base}</BasePath><SequenceDescription>{loader}'
        "</SequenceDescription></SpimData>"
    )


def test_the_xml_of_bigdataviewer_opens_its_file(tmp_path: Path) -> None:
    array = values(1, 5, 16, 20)
    (tmp_path / "data").mkdir()
    bigdataviewer(tmp_path / "data/a.h5", array, setups=2)
    xml = tmp_path / "other.xml"
    xml.write_text(spim_data('<ImageLoader format="bdv.hdf5"><hdf5 type="relative">a.h5</hdf5></ImageLoader>', "data"))
    with pytest.raises(DatasetChoice, match="s00"):
        open_volume(xml)
    np.testing.assert_array_equal(open_volume(xml, dataset="s01").array, array[0] + 1)
    (tmp_path / "data/a.h5").unlink()
    with pytest.raises(VolumeError, match=r"other\.xml names a\.h5, which is missing"):
        open_volume(xml)
    for content, message in (
        (
            spim_data('<ImageLoader format="spimreconstruction.stack"/>'),
            "'spimreconstruction.stack', which",
        ),
        ("<other/>", "is no XML of BigDataViewer's"),
        ("x", "is not a readable XML file"),
    ):
        xml.write_text(content)
        with pytest.raises(VolumeError, match=message):
            open_volume(xml)


# what cannot be read


@pytest.mark.parametrize("content", [b"", b"no HDF5" * 99, "truncated", "half"])
def test_files_that_are_no_hdf5(tmp_path: Path, content) -> None:
    path = write(tmp_path / "a.h5", values(6, 32, 32))
    if isinstance(content, str):
        content = path.read_bytes()[: 100 if content == "truncated" else path.stat().st_size // 2]
    path.write_bytes(content)
    with pytest.raises(VolumeError, match=r"a\.h5 is not a readable HDF5 file") as caught:
        open_volume(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_chunk(tmp_path: Path) -> None:
    array = values(6, 32, 32)
    path = write(tmp_path / "a.h5", array, chunks=(1, 32, 32), compression="gzip")
    with h5py.File(path) as file:
        place = file["data"].id.get_chunk_info(3)
    content = bytearray(path.read_bytes())
    content[place.byte_offset : place.byte_offset + place.size] = bytes(place.size)
    path.write_bytes(content)
    volume = open_volume(path)
    np.testing.assert_array_equal(volume.read_raw(slice(0, 3)), array[:3])
    with pytest.raises(VolumeError, match="cannot be read"):
        volume.read_raw(slice(2, 4))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 5)), "no dataset of three or more dimensions"),
        (np.zeros((2,) * 6), "name its axes"),
        (np.zeros((3, 4, 5), "c8"), "convert it to integers or real numbers"),
        (np.zeros((0, 4, 5)), "empty"),
    ],
)
def test_what_is_no_volume(tmp_path: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(VolumeError, match=message) as caught:
        open_volume(write(tmp_path / "a.h5", array))
    assert "\n" not in str(caught.value)


def test_rgb(tmp_path: Path) -> None:
    attributes = {"DIMENSION_LABELS": ["z", "y", "x", "rgb"]}
    path = write(tmp_path / "a.h5", values(3, 4, 5, 3))
    with h5py.File(path, "a") as file:
        for dim, label in zip(file["data"].dims, attributes["DIMENSION_LABELS"], strict=True):
            dim.label = label
    volume = open_volume(path, axes="zyxc")
    assert volume.axes == "czyx"


def test_the_message_names_the_extra(tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path / "a.h5", values(3, 4, 5))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(VolumeError, match=r'pip install "napari-niiv\[hdf5\]"'):
        open_volume(path)
