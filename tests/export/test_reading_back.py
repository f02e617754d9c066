"""What others read of an export: the specification's models, neuroglancer's reader, tifffile; in the source's place."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tensorstore
import tifffile
import zarr
from ome_zarr_models import open_ome_zarr
from ome_zarr_models.v05.image import Image

from napari_niiv.export import export
from napari_niiv.export import plan as plan_module
from napari_niiv.io.open import open_volume
from napari_niiv.models.card import Card
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.volume import Volume
from tests.export.conftest import make


@pytest.fixture(autouse=True)
def several_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "COARSEST", 16)


def run(volume: Volume, model, target: Path, settings) -> None:
    for _ in export(volume, model, target, settings):
        pass


def by_neuroglancers_reader(path: Path, level: int) -> np.ndarray:
    spec = {"driver": "zarr3", "kvstore": f"{(path / str(level)).as_uri()}/"}
    return np.asarray(tensorstore.open(spec, open=True, read=True).result().read().result())


def datasets(path: Path) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Number, scale and translation (z, y, x) of each level, by the specification's own models."""
    image = open_ome_zarr(zarr.open_group(path, mode="r"))
    assert isinstance(image, Image)
    found = []
    for dataset in image.attributes.ome.multiscales[0].datasets:
        scale, translation = dataset.coordinateTransformations
        found.append((int(dataset.path), np.array(scale.scale)[-3:], np.array(translation.translation)[-3:]))
    return found


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "bool"])
def test_the_voxels(small_model, texture, config, tmp_path, dtype: str) -> None:
    array = texture((13, 37, 45))
    volume = make(array > 0.5 if dtype == "bool" else array, dtype)
    run(volume, small_model(), tmp_path / "out.zarr", config())
    levels = datasets(tmp_path / "out.zarr")
    assert len(levels) == 3
    fine = reconstruct(volume, small_model(), block=(8, 16)).array.compute()
    for level, scale, _ in levels:
        stored = by_neuroglancers_reader(tmp_path / "out.zarr", level)
        if level:  # means over the whole voxels
            step = np.rint(scale / levels[0][1]).astype(int)
            assert stored.shape == tuple(-(-n // s) for n, s in zip(fine.shape, step, strict=True))
            whole = fine[tuple(slice(n // s * s) for n, s in zip(fine.shape, step, strict=True))]
            parts = whole.reshape([v for n, s in zip(whole.shape, step, strict=True) for v in (n // s, s)])
            means = parts.mean((1, 3, 5), dtype=float)
            inside = stored[tuple(slice(n) for n in means.shape)].astype(float)
            slack = 1e-3 if dtype == "float32" else 1  # integers are rounded at each level
            assert np.abs(inside - means).max() <= slack
        else:
            np.testing.assert_array_equal(stored, fine)
        assert stored.dtype == dtype


def ramp(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return 3.0 * z[:, None, None] - 2.0 * y[None, :, None] + 5.0 * x


def centres(shape, scale, translation) -> list[np.ndarray]:
    return [t + s * np.arange(n) for n, s, t in zip(shape, scale, translation, strict=True)]


@pytest.mark.parametrize("suffix", [".zarr", ".tif", ".ome.tif"])
@pytest.mark.parametrize("box", [None, ((2, 10), (5, 30), (3, 45))])
@pytest.mark.parametrize(("anisotropy", "output_scale"), [(4, 1.0), (3.7, 1.0), (4, 1.3), (2.9, 0.7)])
def test_every_level_lies_where_the_source_does(
    linear_model, config, tmp_path, suffix: str, box, anisotropy: float, output_scale: float
) -> None:
    """A ramp in the world is the same ramp whichever level is looked at, beside the borders.

    Coarser samples than voxels are means over uneven numbers of them: three hundredths of a sample off at most.
    """
    size, origin, shape = np.array([0.3 * anisotropy, 0.3, 0.3]), np.array([5.0, -2.0, 7.0]), (13, 37, 45)
    array = ramp(*centres(shape, size, origin)).astype(np.float32)
    volume = Volume(array, voxel_size=tuple(size), unit="micrometer", origin=tuple(origin))
    path = tmp_path / f"out{suffix}"
    run(volume, linear_model, path, config(box=box, output_scale=output_scale))
    again = open_volume(path)
    assert again.unit == "micrometer"
    levels = [(again.array, np.array(again.voxel_size), np.array(again.origin))]
    if suffix == ".zarr":
        levels = [(by_neuroglancers_reader(path, n), scale, at) for n, scale, at in datasets(path)]
        assert len(levels) >= 2
        np.testing.assert_allclose(again.voxel_size, levels[0][1])
        np.testing.assert_allclose(again.origin, levels[0][2])
    low = origin + size * ([lo for lo, _ in box] if box else 0) - size / 2
    high = origin + size * ([hi for _, hi in box] if box else shape) - size / 2
    for number, (stored, scale, translation) in enumerate(levels):
        if number == 0:  # the box in whole samples
            np.testing.assert_array_less(np.abs(translation - scale / 2 - low), scale + 1e-6)
            np.testing.assert_array_less(
                np.abs(translation + scale * (np.array(stored.shape) - 0.5) - high), scale + 1e-6
            )
        expected = ramp(*centres(stored.shape, scale, translation))
        border = [int(np.ceil(a / b)) + 1 for a, b in zip(size, scale, strict=True)]
        inside = tuple(slice(b, n - b) for b, n in zip(border, stored.shape, strict=True))
        assert stored[inside].size
        slack = 2e-3 if output_scale >= 1 else 0.03 * 5 * scale[2]
        np.testing.assert_allclose(stored[inside], expected[inside], atol=slack)


def test_what_the_attributes_say(small_model, texture, config, tmp_path) -> None:
    model = small_model()
    model.card = Card(name="tiny", architecture=model.architecture)
    tags = {"channel_names": ["DAPI", "GFP"], "note": "slow", "strange": object()}
    volume = make(texture((2, 2, 9, 20, 18)), axes="tczyx", name="cells", metadata=tags)
    run(volume, model, tmp_path / "out.zarr", config())
    image = open_ome_zarr(zarr.open_group(tmp_path / "out.zarr", mode="r")).attributes.ome
    axes = [(axis.name, axis.type, axis.unit) for axis in image.multiscales[0].axes]
    assert axes[:2] == [("t", "time", None), ("c", "channel", None)]
    assert axes[2:] == [(name, "space", "micrometer") for name in "zyx"]
    assert [channel["label"] for channel in image.omero["channels"]] == ["DAPI", "GFP"]
    assert image.multiscales[0].name == "cells"
    ours = zarr.open_group(tmp_path / "out.zarr", mode="r").attrs["napari_niiv"]
    assert Card.model_validate(ours["model"]["card"]) == model.card
    assert ours["metadata"] == {"channel_names": ["DAPI", "GFP"], "note": "slow"}
    assert ours["source"]["name"] == "cells"
    array = zarr.open_array(tmp_path / "out.zarr" / "0", mode="r")
    assert array.shards is not None
    assert array.metadata.dimension_names == ("t", "c", "z", "y", "x")
    again = open_volume(tmp_path / "out.zarr")
    assert again.metadata["channel_names"] == ["DAPI", "GFP"]
    assert again.axes == "tczyx"


@pytest.mark.parametrize("axes", ["zyx", "czyx", "tczyx"])
def test_an_ome_tiff(small_model, texture, config, tmp_path, axes: str) -> None:
    shape = (2, 3, 9, 20, 18)[-len(axes) :]
    names = {"channel_names": ["a", "b", "c"]} if "c" in axes else {}
    volume = make(texture(shape), axes=axes, metadata=names)
    run(volume, small_model(), tmp_path / "out.ome.tif", config(box=((2, 7), (0, 20), (4, 18))))
    run(volume, small_model(), tmp_path / "out.zarr", config(box=((2, 7), (0, 20), (4, 18))))
    expected = open_volume(tmp_path / "out.zarr")
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as file:
        assert file.series[0].axes == axes.upper()
        np.testing.assert_array_equal(file.asarray(), np.asarray(expected.array[...]))
        root = ElementTree.fromstring(file.ome_metadata)
    assert "whole.tif" not in ElementTree.tostring(root, "unicode")  # its name while it is written
    pixels = next(e for e in root.iter() if e.tag.endswith("}Pixels"))
    assert [float(pixels.get(f"PhysicalSize{a}")) for a in "ZYX"] == pytest.approx(expected.voxel_size)
    assert {pixels.get(f"PhysicalSize{a}Unit") for a in "ZYX"} == {"µm"}
    planes = [e for e in pixels if e.tag.endswith("}Plane")]
    assert len(planes) == np.prod(expected.shape[:-2])
    for plane in planes:
        z, y, x = expected.origin
        at = (z + int(plane.get("TheZ")) * expected.voxel_size[0], y, x)
        assert [float(plane.get(f"Position{a}")) for a in "ZYX"] == pytest.approx(at)
    again = open_volume(tmp_path / "out.ome.tif")
    assert again.voxel_size == pytest.approx(expected.voxel_size)
    assert again.origin == pytest.approx(expected.origin)
    assert again.metadata.get("channel_names") == names.get("channel_names")


def test_positions_of_a_microscopes_stage_are_no_origin(texture, tmp_path) -> None:
    places = {f"Position{a}": [100.0] * 4 for a in "ZYX"} | {f"Position{a}Unit": ["µm"] * 4 for a in "ZYX"}
    tags = {"axes": "ZYX", "PhysicalSizeZ": 2.0, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.5, "Plane": places}
    tifffile.imwrite(tmp_path / "a.ome.tif", texture((4, 9, 9)), ome=True, metadata=tags)
    assert open_volume(tmp_path / "a.ome.tif").origin == (0, 0, 0)


def test_the_origin_as_imagej_has_it(texture, tmp_path) -> None:
    tags = {"axes": "ZYX", "spacing": 2.0, "unit": "um", "xorigin": -3.0, "yorigin": 4.0, "zorigin": "?"}
    tifffile.imwrite(tmp_path / "a.tif", texture((4, 9, 9)), imagej=True, resolution=(2, 2), metadata=tags)
    assert open_volume(tmp_path / "a.tif").origin == pytest.approx((0, -2.0, 1.5))


def test_napari_shows_it_where_the_source_is(small_model, volume, config, tmp_path) -> None:
    layers = pytest.importorskip("napari.layers")
    from napari_niiv.plugin.common.layers import layer_data

    run(volume, small_model(), tmp_path / "out.zarr", config())
    run(volume, small_model(), tmp_path / "out.tif", config())
    shown = []
    for one in (volume, open_volume(tmp_path / "out.zarr"), open_volume(tmp_path / "out.tif")):
        data, keywords = layer_data(one)
        shown.append(layers.Image(data, **keywords))
    assert shown[1].multiscale
    for layer in shown[1:]:
        assert layer.units == shown[0].units
        edges = []
        for extent in (layer.extent, shown[0].extent):
            edges.append(np.stack([extent.world[0] - extent.step / 2, extent.world[1] + extent.step / 2]))
        np.testing.assert_allclose(edges[0], edges[1], atol=1e-6)
