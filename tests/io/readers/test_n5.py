"""N5 written by tensorstore, with the attributes that the field's tools add."""

from __future__ import annotations

import json
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.sample_files import spim_data
from napari_niiv.errors import DatasetChoice, VolumeError
from napari_niiv.io.open import open_volume, read_spacing
from napari_niiv.io.spacing import Spacing

tensorstore = pytest.importorskip("tensorstore")


def values(*shape: int, dtype="u2") -> np.ndarray:
    """In N5's order: x first."""
    return np.random.default_rng(0).integers(1, 100, shape).astype(dtype)


def write(root: Path, name: str, array: np.ndarray, compression: Any = "gzip", **attributes: Any) -> None:
    store = tensorstore.open(
        {
            "driver": "n5",
            "kvstore": (root / name).as_uri(),
            "metadata": {
                "blockSize": [8] * array.ndim,
                "compression": {"type": compression} if isinstance(compression, str) else compression,
            },
        },
        create=True,
        dtype=array.dtype.name,
        shape=array.shape,
    ).result()
    store.write(array).result()
    add(root / name, **attributes)


def add(folder: Path, **attributes: Any) -> None:
    path = folder / "attributes.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(stored | attributes))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a.n5").mkdir()
    add(tmp_path / "a.n5", n5="2.0.0")
    return tmp_path / "a.n5"


@pytest.mark.parametrize("compression", ["raw", "gzip", "blosc", "zstd"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_the_only_dataset(root: Path, compression: str, dtype: str) -> None:
    if compression == "blosc":
        pytest.importorskip("numcodecs")
    array = values(20, 18, 12, dtype=dtype)
    compressions = {"blosc": {"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}}
    store = tensorstore.open(
        {
            "driver": "n5",
            "kvstore": (root / "volumes/raw").as_uri(),
            "metadata": {
                "blockSize": [8, 8, 8],
                "compression": compressions.get(compression, {"type": compression}),
            },
        },
        create=True,
        dtype=array.dtype.name,
        shape=array.shape,
    ).result()
    store.write(array).result()
    add(root / "volumes/raw", resolution=[4.0, 5.0, 40.0], units=["nm"] * 3, offset=[8, 0, 80])
    volume = open_volume(root)
    assert (volume.axes, volume.unit, volume.name, volume.dtype) == ("zyx", "nanometer", "a", np.dtype(dtype))
    assert (volume.voxel_size, volume.origin) == ((40, 5, 4), (80, 0, 8))
    assert volume.array.chunks == (8, 8, 8)
    np.testing.assert_array_equal(volume.read_raw(slice(3, 5), slice(0, 9)), array.T[3:5, :9])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read_raw(), array.T)
    with ThreadPoolExecutor(8) as pool:
        for i, read in enumerate(pool.map(lambda i: volume.array[i % 12], range(30))):
            np.testing.assert_array_equal(read, array.T[i % 12])
    assert read_spacing(root) == Spacing((40, 5, 4), "nanometer")


@pytest.mark.parametrize(
    ("attributes", "size", "unit"),
    [
        ({"pixelResolution": {"unit": "um", "dimensions": [0.2, 0.3, 2]}}, (2, 0.3, 0.2), "micrometer"),
        ({"pixelResolution": [0.2, 0.3, 2.0]}, (2, 0.3, 0.2), "pixel"),
        (
            {
                "transform": {
                    "axes": ["z", "y", "x"],
                    "scale": [8, 4, 2],
                    "translate": [0, 0, 0],
                    "units": ["nm"] * 3,
                }
            },
            (8, 4, 2),
            "nanometer",
        ),
    ],
)
def test_a_pyramid_in_a_group(root: Path, attributes, size, unit: str) -> None:
    array = values(32, 24, 6)
    for level in range(3):
        step = 2**level
        write(root, f"setup/s{level}", array[::step, ::step], downsamplingFactors=[step, step, 1])
    add(root / "setup", **attributes) if "transform" not in attributes else add(root / "setup/s0", **attributes)
    volume = open_volume(root)
    assert (volume.voxel_size, volume.unit) == (size, unit)
    assert [(level.axial, level.lateral) for level in volume.levels()] == [(1, 1), (1, 2), (1, 4)]
    np.testing.assert_array_equal(volume.pyramid[1], array[::4, ::4].T)
    assert open_volume(root, dataset="setup").shape == (6, 24, 32)
    assert open_volume(root, dataset="setup/s1").shape == (6, 12, 16)


def test_several_datasets_must_be_told_apart(root: Path) -> None:
    write(root, "raw/s0", values(8, 8, 8))
    write(root, "raw/s1", values(4, 4, 8))
    write(root, "labels", values(8, 8, 8))
    write(root, "flat", values(8, 8))
    with pytest.raises(DatasetChoice, match=r"2 images: raw \(8 × 8 × 8 \w+\), labels \(8 × 8 × 8 \w+\); give one"):
        open_volume(root)
    assert open_volume(root, dataset="labels").shape == (8, 8, 8)
    with pytest.raises(VolumeError, match="no dataset 'none'"):
        open_volume(root, dataset="none")


def test_channels_and_named_axes(root: Path) -> None:
    array = values(8, 9, 4, 3)
    write(root, "a", array)
    volume = open_volume(root)
    assert volume.axes == "czyx"
    np.testing.assert_array_equal(volume.array, array.T)
    add(root / "a", axes=["x", "y", "c", "z"])
    assert open_volume(root).shape == (4, 3, 9, 8)


def test_only_what_is_needed_is_read(root: Path) -> None:
    array = values(16, 16, 16)
    write(root, "a", array)
    for block in (root / "a/1").rglob("*"):
        if block.is_file():
            block.write_bytes(b"garbage")
    volume = open_volume(root)
    np.testing.assert_array_equal(volume.read_raw(x=slice(0, 8)), array.T[..., :8])
    with pytest.raises(VolumeError, match="cannot be read") as caught:
        volume.read_raw()
    assert "\n" not in str(caught.value)


def test_blocks_of_blosc_that_claim_to_be_larger_than_a_block(root: Path) -> None:
    array = values(16, 16, 16)
    blosc = {"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}
    write(root, "a", array, blosc)
    volume = open_volume(root)
    block = root / "a/1/0/1"
    content = bytearray(block.read_bytes())
    at = 4 + 4 * 3 + 4  # after the header of N5, and Blosc's versions and type size
    assert int.from_bytes(content[at : at + 4], "little") == 8**3 * 2
    content[at : at + 4] = (0x7FC00000).to_bytes(4, "little")
    block.write_bytes(content)
    np.testing.assert_array_equal(volume.read_raw(x=slice(0, 8)), array.T[..., :8])
    with pytest.raises(VolumeError, match="block 1/0/1 claims to be larger than a block"):
        volume.read_raw(x=slice(8, 16))


def test_missing_blocks_are_zero(root: Path) -> None:
    write(root, "a", values(16, 16, 16))
    (root / "a/0/0/0").unlink()
    assert (open_volume(root).read_raw() == 0).sum() == 512


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a readable N5"),
        ('{"dimensions": [4, 4, 4]}', "is not a readable N5"),
        ('{"dimensions": 7}', "no dataset of three or more"),
        ("[]", "no dataset of three or more"),
    ],
)
def test_damaged_attributes(root: Path, content: str, message: str) -> None:
    write(root, "a", values(8, 8, 8))
    (root / "a/attributes.json").write_text(content)
    with pytest.raises(VolumeError, match=message) as caught:
        open_volume(root)
    assert "\n" not in str(caught.value)


def test_a_picture_is_no_volume(root: Path) -> None:
    write(root, "raw", values(20, 18))
    with pytest.raises(VolumeError):
        open_volume(root, dataset="raw")
    with pytest.raises(VolumeError):
        read_spacing(root / "raw")


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "e.n5").mkdir()
    with pytest.raises(VolumeError, match=r"e\.n5 holds no dataset"):
        open_volume(tmp_path / "e.n5")


def test_no_size(root: Path) -> None:
    write(root, "a", values(8, 8, 8))
    assert "does not say its z step" in open_volume(root).provenance.spacing_problem


def test_the_message_names_the_extra(root: Path, monkeypatch) -> None:
    write(root, "a", values(8, 8, 8))
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(VolumeError, match=r'pip install "napari-niiv\[n5\]"'):
        open_volume(root)


BASE = {"resolution": [10.0, 10.0, 80.0], "units": ["nm"] * 3}
FINE, COARSE = (80, 10, 10), (160, 20, 20)


def levels(root: Path, group: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    array = values(32, 24, 8)
    write(root, f"{group}/s0", array, **first)
    write(root, f"{group}/s1", array[::2, ::2, ::2], **second)


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_level_alone_is_as_much_coarser_as_its_factors_say(root: Path, depth: int) -> None:
    group = "a/b/c"
    levels(root, group, {}, {"downsamplingFactors": [2, 2, 2]})
    above = ["a/b/c", "a/b", "a", "."]
    add(root / above[depth], **BASE, offset=[100, 200, 300])
    fine, coarse = (open_volume(root, dataset=f"{group}/s{level}") for level in (0, 1))
    assert (fine.voxel_size, fine.unit, fine.origin) == (FINE, "nanometer", (300, 200, 100))
    assert (coarse.voxel_size, coarse.unit) == (COARSE, "nanometer")
    assert coarse.origin == (340, 205, 105)  # its first voxel covers 2 × 2 × 2
    assert open_volume(root).voxel_size == FINE


def test_factors_in_the_list_of_a_group(root: Path) -> None:
    levels(root, "setup0/timepoint0", {}, {})
    add(root / "setup0", downsamplingFactors=[[1, 1, 1], [2, 2, 2]])
    add(root / "setup0/timepoint0", **BASE)
    assert open_volume(root, dataset="setup0/timepoint0/s1").voxel_size == COARSE


def test_factors_as_neuroglancer_has_them(root: Path) -> None:
    levels(root, "a", {}, {})
    add(root / "a", **BASE, scales=[[1, 1, 1], [2, 2, 2]])
    assert open_volume(root, dataset="a/s1").voxel_size == COARSE


def test_factors_that_nobody_says_follow_from_the_shapes(root: Path) -> None:
    levels(root, "a", {}, {})
    add(root / "a", **BASE)
    assert open_volume(root, dataset="a/s1").voxel_size == COARSE


def test_a_level_that_cannot_be_placed_is_asked_for(root: Path) -> None:
    write(root, "a/s1", values(8, 8, 8))
    add(root / "a", **BASE)
    provenance = open_volume(root, dataset="a/s1").provenance
    assert provenance.spacing_problem == "does not say its z step"
    assert "how much coarser s1 is" in provenance.note


def test_levels_that_repeat_the_finest_size_and_levels_that_say_their_own(root: Path) -> None:
    levels(root, "repeated", BASE, BASE | {"downsamplingFactors": [2, 2, 2]})
    own = BASE | {"resolution": [20, 20, 160]}
    levels(root, "own", BASE, own | {"downsamplingFactors": [2, 2, 2]})
    transforms = [{"axes": ["z", "y", "x"], "scale": size, "units": ["nm"] * 3} for size in (FINE, COARSE)]
    factors = {"downsamplingFactors": [2, 2, 2]}
    levels(root, "cosem", {"transform": transforms[0]}, {"transform": transforms[1]} | factors)
    for group in ("repeated", "own", "cosem"):
        assert open_volume(root, dataset=f"{group}/s1").voxel_size == COARSE


def test_units_of_a_group_above(root: Path) -> None:
    write(root, "vol/raw", values(8, 8, 8), resolution=[0.1, 0.1, 0.8])
    add(root / "vol", units=["um"] * 3)
    volume = open_volume(root)
    assert (volume.voxel_size, volume.unit) == ((0.8, 0.1, 0.1), "micrometer")


def test_sizes_that_are_no_numbers_cost_no_voxels(root: Path) -> None:
    write(root, "a", values(8, 8, 8), resolution=["a", None, {}], downsamplingFactors="x", units="nm")
    volume = open_volume(root)
    assert volume.provenance.spacing_problem
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume)).read_raw(), values(8, 8, 8).T)


def test_a_unit_for_all_axes(root: Path) -> None:
    write(root, "a", values(8, 8, 8), resolution=[10, 10, 80], units="nm")
    volume = open_volume(root)
    assert (volume.voxel_size, volume.unit) == (FINE, "nanometer")


def test_the_xml_of_bigdataviewer_has_the_voxel_size(root: Path) -> None:
    for setup in range(2):
        write(root, f"setup{setup}/timepoint0/s0", values(20, 18, 12))
    xml = root.with_suffix(".xml")
    loader = '<ImageLoader format="bdv.n5"><n5 type="relative">a.n5</n5></ImageLoader>'
    xml.write_text(spim_data(loader, setups=2).replace("0.5 0.5 2.0", "1 1 3", 1))
    with pytest.raises(DatasetChoice):
        open_volume(xml)
    for setup, size in enumerate(((3, 1, 1), (2, 0.5, 0.5))):
        volume = open_volume(xml, dataset=f"setup{setup}/timepoint0")
        assert (volume.voxel_size, volume.unit) == (size, "micrometer")
    # where the N5 says otherwise
    add(root / "setup1/timepoint0/s0", resolution=[0.5, 0.5, 4.0], units=["um"] * 3)
    volume = open_volume(xml, dataset="setup1/timepoint0")
    assert volume.voxel_size == (2, 0.5, 0.5)
    assert "its XML says a voxel of 2 × 0.5 × 0.5 micrometer" in volume.provenance.note
