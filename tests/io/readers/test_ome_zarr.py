"""OME-Zarr and plain zarr, written by zarr and tensorstore, their metadata checked by ome-zarr-models."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr
from ome_zarr_models.v04 import Image as Image04
from ome_zarr_models.v05 import Image as Image05

from napari_niiv.errors import DatasetChoice, VolumeError
from napari_niiv.io.open import open_volume, read_spacing
from napari_niiv.io.spacing import Spacing

TYPES = {"t": "time", "c": "channel"}


def values(*shape: int, dtype="u2") -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, shape).astype(dtype)


def axis(letter: str, unit: str = "micrometer") -> dict[str, str]:
    attributes = {"name": letter, "type": TYPES.get(letter, "space")}
    return attributes | ({"unit": unit} if letter in "zyx" else {})


def scale(*factors: float) -> dict[str, Any]:
    return {"type": "scale", "scale": list(factors)}


def shift(*by: float) -> dict[str, Any]:
    return {"type": "translation", "translation": list(by)}


def image(group: zarr.Group, array: np.ndarray, axes="zyx", steps=(1, 2, 4), voxel=(4.0, 0.5, 0.5), **more) -> None:
    """An OME image in a group, coarser levels by skipping; `more` replaces parts of the metadata."""
    named = [axis(a) for a in axes] if isinstance(axes, str) else axes
    datasets = []
    for number, step in enumerate(steps):
        key = (..., slice(None, None, step), slice(None, None, step))
        chunks = (1,) * (array.ndim - 2) + (16, 16)
        names = list("tczyx"[-array.ndim :]) if group.metadata.zarr_format == 3 else None
        group.create_array(str(number), data=array[key], chunks=chunks, dimension_names=names)
        factors = [1.0] * (array.ndim - 3) + [voxel[0], voxel[1] * step, voxel[2] * step]
        datasets.append({"path": str(number), "coordinateTransformations": [scale(*factors)]})
    multiscale: dict[str, Any] = {"axes": named, "datasets": datasets, "name": "im"}
    omero = more.pop("omero", None)
    multiscale |= more
    set_ome(group, {"multiscales": [multiscale]} | ({"omero": omero} if omero else {}))


def set_ome(group: zarr.Group, ome: dict[str, Any]) -> None:
    if group.metadata.zarr_format == 3:
        group.attrs["ome"] = {"version": "0.5", **ome}
    else:
        for one in ome.get("multiscales", ()):
            one["version"] = "0.4"
        group.attrs.update(ome)


@pytest.fixture(params=[2, 3], ids=["0.4", "0.5"])
def group(request, tmp_path: Path) -> zarr.Group:
    return zarr.open_group(tmp_path / "a.ome.zarr", mode="w", zarr_format=request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.ome.zarr"


def valid(group: zarr.Group) -> None:
    (Image05 if group.metadata.zarr_format == 3 else Image04).from_zarr(group)


def test_an_image_with_its_pyramid(group: zarr.Group, path: Path) -> None:
    array = values(5, 48, 64)
    image(group, array)
    valid(group)
    volume = open_volume(path)
    assert (volume.axes, volume.unit, volume.name) == ("zyx", "micrometer", "a")
    assert volume.voxel_size == (4.0, 0.5, 0.5)
    assert not volume.provenance.spacing_problem
    assert [(level.axial, level.lateral) for level in volume.levels()] == [(1, 1), (1, 2), (1, 4)]
    np.testing.assert_array_equal(volume.read_raw(), array)
    np.testing.assert_array_equal(volume.pyramid[1], array[:, ::4, ::4])
    assert read_spacing(path) == Spacing((4.0, 0.5, 0.5), "micrometer")
    assert read_spacing(path / "1") == Spacing((4.0, 1.0, 1.0), "micrometer")


@pytest.mark.parametrize("axes", ["tczyx", "czyx", "tzyx", "zcyx"])
def test_more_axes_and_channel_names(group: zarr.Group, path: Path, axes: str) -> None:
    size = dict(zip("tczyx", (2, 3, 4, 16, 20), strict=True))
    array = values(*(size[a] for a in axes))
    shown = {"DAPI": "0000FF", "GFP": "00FF00", "RFP": "no colour"}
    omero = {"channels": [{"label": name, "color": colour} for name, colour in shown.items()]}
    voxel = (3.0, 1.0, 1.0)
    factors = [voxel["zyx".index(a)] if a in "zyx" else 1.0 for a in axes]
    datasets = [{"path": "0", "coordinateTransformations": [scale(*factors)]}]
    image(group, array, axes, steps=(1,), datasets=datasets, omero=omero)
    volume = open_volume(path)
    order = [a for a in "tczyx" if a in axes]
    assert volume.axes == "".join(order)
    assert volume.metadata["channel_names"] == ["DAPI", "GFP", "RFP"]
    assert volume.metadata["channel_colours"] == ["#0000ff", "#00ff00", ""]
    assert volume.voxel_size == voxel
    np.testing.assert_array_equal(volume.array, array.transpose([axes.index(a) for a in order]))
    moved = pickle.loads(pickle.dumps(volume))
    np.testing.assert_array_equal(moved.at(*[0] * (len(axes) - 3)).read_raw(), volume.array[(0,) * (len(axes) - 3)])


@pytest.mark.parametrize(
    ("windows", "limits"),
    [
        ([{"start": 5, "end": 90.5, "min": 0, "max": 255}, {"start": -3, "end": 70}], [(5.0, 90.5), (-3.0, 70.0)]),
        ([{"start": 5, "end": 90}, None], None),
        ([{"start": 5, "end": 90}, {"start": 0, "end": 65535}], None),  # all that there is says nothing
        ([{"start": 90, "end": 5}, {"start": 0, "end": 70}], None),
        ([{"start": "a", "end": {}}, "full"], None),
        ([{"end": float("nan"), "start": 0}, [1, 2]], None),
    ],
)
def test_contrast_of_channels(group: zarr.Group, path: Path, windows, limits) -> None:
    array = values(2, 4, 16, 20)
    omero = {"channels": [{"label": "a", "window": windows[0]}, {"label": "b", "window": windows[1]}]}
    datasets = [{"path": "0", "coordinateTransformations": [scale(1.0, 3.0, 1.0, 1.0)]}]
    image(group, array, "czyx", steps=(1,), datasets=datasets, omero=omero)
    assert open_volume(path).metadata.get("channel_limits") == limits


def test_scales_and_translations_of_level_and_image(group: zarr.Group, path: Path) -> None:
    transforms = [scale(2, 1, 1), shift(10, 20, 30)]
    datasets = [{"path": "0", "coordinateTransformations": transforms}]
    whole = [scale(0.5, 0.1, 0.1), shift(1, 2, 3)]
    image(group, values(3, 8, 8), steps=(1,), datasets=datasets, coordinateTransformations=whole)
    volume = open_volume(path)
    assert volume.voxel_size == pytest.approx((1, 0.1, 0.1))
    assert volume.origin == pytest.approx((6, 4, 6))


@pytest.mark.parametrize(
    ("units", "expected", "unit"),
    [
        (("micrometer", "nanometer", "nanometer"), (40.0, 4.0, 4.0), "nanometer"),
        (("nanometer",) * 3, (0.04, 4.0, 4.0), "nanometer"),
        ((None, None, None), (0.04, 4.0, 4.0), "pixel"),
        (("angstrom", "angstrom", "angstrom"), (0.04, 4.0, 4.0), "angstrom"),
    ],
)
def test_units(group: zarr.Group, path: Path, units, expected, unit: str) -> None:
    axes = [{k: v for k, v in axis(a, u).items() if v} for a, u in zip("zyx", units, strict=True)]
    transforms = [{"path": "0", "coordinateTransformations": [scale(0.04, 4, 4), shift(0.02, 1, 1)]}]
    image(group, values(3, 8, 8), steps=(1,), axes=axes, datasets=transforms)
    volume = open_volume(path)
    assert volume.voxel_size == pytest.approx(expected)
    assert volume.origin == pytest.approx((expected[0] / 2, 1, 1))
    assert volume.unit == unit


@pytest.mark.parametrize(
    ("transforms", "kept"),
    [
        ([scale(4, 1, 1)], True),
        ([scale(4, 1, 1), shift(0, 0.25, 0.25)], True),  # as an average over two pixels lies
        ([scale(4, 1, 1), shift(0, 2, 2)], False),
        ([scale(4, 1.25, 1.25)], False),
        ([scale(8, 1, 1)], False),
    ],
)
def test_levels_that_are_not_whole_are_left_out(group: zarr.Group, path: Path, transforms, kept: bool) -> None:
    datasets = [
        {"path": "0", "coordinateTransformations": [scale(4, 0.5, 0.5)]},
        {"path": "1", "coordinateTransformations": transforms},
    ]
    image(group, values(5, 48, 64), steps=(1, 2), datasets=datasets)
    assert len(open_volume(path).pyramid) == kept


def test_older_versions_without_axes_or_scales(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "old.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=values(1, 1, 4, 8, 9), chunks=(1, 1, 1, 8, 9))
    group.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}]}]
    volume = open_volume(tmp_path / "old.zarr")
    assert volume.axes == "zyx"
    assert "does not say its z step" in volume.provenance.spacing_problem
    group.attrs["multiscales"] = [{"version": "0.3", "axes": list("tczyx"), "datasets": [{"path": "0"}]}]
    assert open_volume(tmp_path / "old.zarr").shape == (4, 8, 9)


def test_axes_with_names_of_their_own(group: zarr.Group, path: Path) -> None:
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in ("depth", "height", "width")]
    image(group, values(3, 8, 8), steps=(1,), axes=axes)
    assert open_volume(path).voxel_size == (4.0, 0.5, 0.5)


def test_opening_reads_no_voxels_and_a_slice_only_its_chunks(group: zarr.Group, path: Path) -> None:
    """All other chunks are garbage."""
    array = values(4, 48, 64)
    image(group, array, steps=(1,))
    for file in (path / "0").rglob("*"):
        inside = f"{file.relative_to(path / '0').as_posix()}"
        chunk = inside.removeprefix("c/").replace(".", "/") + "/"
        if file.is_file() and "zar" not in file.name and file.name != ".zattrs" and not chunk.startswith("2/0/"):
            file.write_bytes(b"garbage")
    volume = open_volume(path)
    np.testing.assert_array_equal(volume.read_raw(slice(2, 3), slice(0, 16)), array[2:3, :16])
    with pytest.raises(VolumeError, match="cannot be read") as caught:
        volume.read_raw()
    assert "\n" not in str(caught.value)


def test_damaged_chunks_print_nothing(group: zarr.Group, path: Path, caplog) -> None:
    """zarr leaves tasks behind, of which asyncio would print tracebacks."""
    image(group, values(4, 48, 64), steps=(1,))
    for file in (path / "0").rglob("*"):
        if file.is_file() and "zar" not in file.name and file.name != ".zattrs":
            file.write_bytes(b"garbage")
    with caplog.at_level(logging.ERROR), pytest.raises(VolumeError):
        open_volume(path).read_raw()
    import gc

    gc.collect()
    assert not [r for r in caplog.records if "concurrent_map" in r.getMessage()]


def test_the_only_image_of_bioformats2raw_is_opened(group: zarr.Group, path: Path) -> None:
    set_ome(group, {"bioformats2raw.layout": 3})
    image(group.create_group("0"), values(3, 16, 16))
    assert open_volume(path).voxel_size == (4.0, 0.5, 0.5)
    image(group.create_group("1"), values(4, 16, 16), voxel=(3.0, 1.0, 1.0))
    with pytest.raises(
        DatasetChoice,
        match=r"2 images: 0 \(3 × 16 × 16 \w+, 4 × 0.5 × 0.5 µm\), 1 \(4 × 16 × 16 \w+, .*\); give one",
    ) as caught:
        open_volume(path)
    assert caught.value.datasets == ("0", "1")
    volume = open_volume(path, dataset="1")
    assert (volume.voxel_size, volume.name) == ((3.0, 1.0, 1.0), "a/1")
    set_ome(group.create_group("OME"), {"series": ["1"]})
    assert open_volume(path).shape == (4, 16, 16)


def test_a_plate_asks_which_image(group: zarr.Group, path: Path) -> None:
    wells = [{"path": f"A/{i}", "rowIndex": 0, "columnIndex": i - 1} for i in (1, 2)]
    set_ome(group, {"plate": {"wells": wells}})
    for i in (1, 2):
        well = group.create_group(f"A/{i}")
        set_ome(well, {"well": {"images": [{"path": "0"}, {"path": "1"}]}})
        image(well.create_group("0"), values(3, 16, 16))
        image(well.create_group("1"), values(3, 16, 16))
    with pytest.raises(
        DatasetChoice, match=r"4 images: A/1/0 \(3 × 16 × 16 \w+, 4 × .*\), A/1/1 \(.*, A/2/0 \(.*, A/2/1 \("
    ):
        open_volume(path)
    with pytest.raises(DatasetChoice, match=r"2 images: A/2/0 \(.*, A/2/1 \("):
        open_volume(path, dataset="A/2")
    assert open_volume(path, dataset="A/2/1").shape == (3, 16, 16)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_plain_arrays(tmp_path: Path, zarr_format: int) -> None:
    array = values(4, 8, 9)
    plain = zarr.create_array(tmp_path / "p.zarr", data=array, chunks=(1, 8, 9), zarr_format=zarr_format)
    volume = open_volume(tmp_path / "p.zarr")
    assert isinstance(volume.array, zarr.Array)
    assert "does not say its z step" in volume.provenance.spacing_problem
    plain.attrs.update({"voxel_size": [40, 4, 4], "units": ["nm"] * 3, "offset": [400, 0, 8]})
    volume = open_volume(tmp_path / "p.zarr")
    assert (volume.voxel_size, volume.unit, volume.origin) == ((40, 4, 4), "nanometer", (400, 0, 8))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read_raw(), array)


def test_named_dimensions(tmp_path: Path) -> None:
    array = values(8, 9, 4)
    zarr.create_array(tmp_path / "3.zarr", data=array, dimension_names=["y", "x", "z"])
    old = zarr.create_array(tmp_path / "2.zarr", data=array, zarr_format=2)
    old.attrs["_ARRAY_DIMENSIONS"] = ["y", "x", "z"]
    for name in ("2.zarr", "3.zarr"):
        np.testing.assert_array_equal(open_volume(tmp_path / name).array, array.transpose(2, 0, 1))


def test_groups_of_plain_arrays(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "g.zarr", mode="w")
    group.create_array("table", data=np.zeros((4, 2)))
    with pytest.raises(VolumeError, match="no array of three or more dimensions"):
        open_volume(tmp_path / "g.zarr")
    group.create_array("raw/a", data=values(3, 4, 5))
    assert open_volume(tmp_path / "g.zarr").shape == (3, 4, 5)
    image(group.create_group("im"), values(3, 16, 16))
    with pytest.raises(DatasetChoice, match=r"im \(3 × 16 × 16 \w+, 4 × 0.5 × 0.5 µm\), raw/a \(3 × 4 × 5 \w+\)"):
        open_volume(tmp_path / "g.zarr")
    assert open_volume(tmp_path / "g.zarr", dataset="raw/a").shape == (3, 4, 5)


def test_several_images_in_one_group(group: zarr.Group, path: Path) -> None:
    array = values(3, 16, 16)
    image(group, array, steps=(1,))
    group.create_array("other", data=array[::-1].copy(), chunks=(1, 16, 16))
    ome = group.attrs["ome"] if group.metadata.zarr_format == 3 else group.attrs.asdict()
    second = {**ome["multiscales"][0], "name": "second"}
    second["datasets"] = [{"path": "other", "coordinateTransformations": [scale(3.0, 0.5, 0.5)]}]
    set_ome(group, {"multiscales": [ome["multiscales"][0] | {"name": ""}, second]})
    with pytest.raises(DatasetChoice, match=r"2 images: image 0 \(3 × 16 × 16 \w+, 4 × 0.5 × 0.5 µm\), second \("):
        open_volume(path)
    first = open_volume(path, dataset="image 0")
    assert first.voxel_size == (4, 0.5, 0.5)
    np.testing.assert_array_equal(first.read_raw(), array)
    second = open_volume(path, dataset="second")
    assert second.voxel_size == (3, 0.5, 0.5)
    np.testing.assert_array_equal(second.read_raw(), array[::-1])
    with pytest.raises(VolumeError, match="'third'"):
        open_volume(path, dataset="third")


def test_of_a_large_plate_it_is_asked_for_the_well_first(group: zarr.Group, path: Path) -> None:
    wells = [f"A/{i}" for i in range(104)]
    set_ome(group, {"plate": {"wells": [{"path": well, "rowIndex": 0, "columnIndex": 0} for well in wells]}})
    for well in wells:
        set_ome(group.create_group(well), {"well": {"images": [{"path": "0"}, {"path": "1"}]}})
    for field in (0, 1):
        image(group.create_group(f"A/103/{field}"), values(3, 16, 16) + field, steps=(1,))
    with pytest.raises(DatasetChoice) as several:
        open_volume(path)
    assert several.value.datasets[198:] == ("A/99/0", "A/99/1", "A/100", "A/101", "A/102", "A/103")
    with pytest.raises(DatasetChoice, match="A/103/1"):
        open_volume(path, dataset="A/103")
    np.testing.assert_array_equal(open_volume(path, dataset="A/103/1").read_raw(), values(3, 16, 16) + 1)


@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
def test_arrays_that_tensorstore_wrote(tmp_path: Path, driver: str) -> None:
    array = values(4, 30, 40)
    if driver == "zarr":
        metadata: dict[str, Any] = {"chunks": [2, 16, 16], "compressor": {"id": "blosc", "cname": "lz4"}}
    else:
        inner = {"chunk_shape": [2, 8, 8], "codecs": [{"name": "zstd", "configuration": {"level": 3}}]}
        metadata = {
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 16, 16]}},
            "codecs": [{"name": "sharding_indexed", "configuration": inner}],
        }
    store = tensorstore.open(
        {"driver": driver, "kvstore": (tmp_path / "t.zarr").as_uri(), "metadata": metadata},
        create=True,
        dtype="uint16",
        shape=array.shape,
    ).result()
    store.write(array).result()
    volume = open_volume(tmp_path / "t.zarr")
    assert volume.array.chunks == ((2, 16, 16) if driver == "zarr" else (2, 8, 8))
    np.testing.assert_array_equal(volume.read_raw(), array)


BAD = {
    "no JSON": lambda path, name: (path / name).write_bytes(b"{"),
    "empty JSON": lambda path, name: (path / name).write_bytes(b""),
    "another JSON": lambda path, name: (path / name).write_text("[1, 2]"),
}


@pytest.mark.parametrize("bad", BAD)
def test_damaged_metadata(group: zarr.Group, path: Path, bad: str) -> None:
    image(group, values(3, 16, 16))
    BAD[bad](path, "zarr.json" if group.metadata.zarr_format == 3 else ".zgroup")
    with pytest.raises(VolumeError) as caught:
        open_volume(path)
    assert "\n" not in str(caught.value)
    assert "a.ome.zarr" in str(caught.value)


@pytest.mark.parametrize(
    "broken",
    [
        {"datasets": []},
        {"datasets": [{"path": 7}]},
        {"datasets": [{"path": "none"}]},
        {"axes": [axis("y"), axis("x")]},
        {"axes": [{"type": "space"}] * 3},
        {"axes": 5},
    ],
    ids=str,
)
def test_ome_metadata_that_make_no_sense(group: zarr.Group, path: Path, broken) -> None:
    image(group, values(3, 16, 16), **broken)
    with pytest.raises(VolumeError) as caught:
        open_volume(path)
    assert "\n" not in str(caught.value)
    assert "a.ome.zarr" in str(caught.value)


@pytest.mark.parametrize(
    ("factors", "problem"),
    [((0, 1, 1), "z step is 0"), ((-2, 1, 1), "z step is -2"), ((2, 0, 0), "pixel size")],
)
def test_absurd_scales(group: zarr.Group, path: Path, factors, problem: str) -> None:
    datasets = [{"path": "0", "coordinateTransformations": [scale(*factors)]}]
    image(group, values(3, 16, 16), steps=(1,), datasets=datasets)
    assert problem in open_volume(path).provenance.spacing_problem


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((8, 9), "u2", "no Z"),
        ((2, 2, 2, 2, 2, 2), "u2", "name its axes"),
        ((3, 4, 5), "c8", "convert it to integers or real numbers"),
        ((0, 4, 5), "u2", "empty"),
    ],
)
def test_what_is_no_volume(tmp_path: Path, shape, dtype: str, message: str) -> None:
    zarr.create_array(tmp_path / "p.zarr", data=np.ones(shape, dtype), chunks=[max(n, 1) for n in shape])
    with pytest.raises(VolumeError, match=message) as caught:
        open_volume(tmp_path / "p.zarr")
    assert "\n" not in str(caught.value)


def test_folders_that_are_no_zarr_and_datasets_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "e.zarr").mkdir()
    with pytest.raises(VolumeError, match=r"e\.zarr holds no zarr array or group; check its name"):
        open_volume(tmp_path / "e.zarr")
    zarr.create_array(tmp_path / "p.zarr", data=values(3, 4, 5))
    with pytest.raises(VolumeError, match="array or group 'raw'"):
        open_volume(tmp_path / "p.zarr", dataset="raw")
