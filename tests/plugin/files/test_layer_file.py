"""Axes and voxel sizes of layers, corrected without reading them."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Image

from napari_niiv.errors import VolumeError
from napari_niiv.io.lazy_arrays import LazyArray
from napari_niiv.plugin.common.layers import layer_data, voxel_size
from napari_niiv.plugin.files.layer_file import (
    axis_names,
    layer_file,
    rename_axes,
    renamed_axes,
    set_voxel_size,
)
from napari_niiv.volume import Provenance, Volume


class Unread(LazyArray):
    """Tells what is read of it."""

    def __init__(self, array):
        super().__init__(array.shape, array.dtype, (1, *array.shape[1:]))
        self.array, self.read = array, 0

    def _read(self, key):
        values = self.array[key]
        self.read = max(self.read, values.size)
        return values


def values(*shape):
    return np.random.default_rng(0).integers(0, 200, shape).astype("u1")


def test_xyz_becomes_zyx_lazily():
    source = Unread(values(3, 4, 5))
    layer = Image(source, scale=(0.3, 0.4, 5.0), translate=(1, 2, 3), units=("nm", "um", "mm"), rgb=False)
    source.read = 0
    rename_axes(layer, "xyz")
    assert layer.data.shape == (5, 4, 3)
    assert source.read <= 12  # the slice on display
    np.testing.assert_array_equal(np.asarray(layer.data), source.array.T)
    np.testing.assert_allclose(layer.scale, (5.0, 0.4, 0.3))
    np.testing.assert_allclose(layer.translate, (3, 2, 1))
    assert [str(unit) for unit in layer.units] == ["millimeter", "micrometer", "nanometer"]
    assert layer.axis_labels == ("z", "y", "x")
    assert layer.visible


@pytest.mark.parametrize(
    ("names", "labels", "order"),
    [
        ("tzyx", "tzyx", (0, 1, 2, 3)),  # CZYX read as TZYX, or the other way round
        ("czyx", "czyx", (0, 1, 2, 3)),
        ("zcyx", "czyx", (1, 0, 2, 3)),
        ("xyzc", "czyx", (3, 2, 1, 0)),
    ],
)
def test_four_axes(names, labels, order):
    array = values(2, 3, 4, 5)
    layer = Image(array, scale=(1, 2, 3, 4), rgb=False)
    rename_axes(layer, names)
    assert axis_names(layer) == labels
    np.testing.assert_array_equal(layer.data, array.transpose(order))
    np.testing.assert_allclose(layer.scale, np.array((1, 2, 3, 4))[list(order)])


def test_multiscale():
    array = values(8, 64, 64)
    layer = Image([array, array[:, ::2, ::2]], multiscale=True)
    rename_axes(layer, "yxz")
    assert layer.multiscale
    assert [level.shape for level in layer.data] == [(64, 8, 64), (32, 8, 32)]
    np.testing.assert_array_equal(layer.data[0], array.transpose(2, 0, 1))


@pytest.mark.parametrize("names", ["zy", "zzyx", "abc", "zyxt", "tyx"])
def test_what_are_no_names(names):
    with pytest.raises(VolumeError, match="no names"):
        rename_axes(Image(values(3, 4, 5)), names)


@pytest.mark.parametrize("turned", [{"rotate": (0, 0, 20)}, {"affine": np.diag([1, 2, 1, 1])}])
def test_turned_layers_are_refused_whole(turned):
    layer = Image(values(3, 4, 5), **turned)
    with pytest.raises(VolumeError, match="reset its transforms"):
        rename_axes(layer, "xyz")
    assert layer.data.shape == (3, 4, 5)
    rename_axes(layer, "zyx")  # nothing to do


def test_a_voxel_size_whatever_the_transforms():
    layer = Image(values(3, 4, 5), affine=np.diag([1, 2, 1, 1]))
    set_voxel_size(layer, (4.0, 0.5, 0.25), "micrometer")
    assert voxel_size(layer) == pytest.approx((4.0, 0.5, 0.25))
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3


def test_names_of_the_files_axes_follow():
    assert renamed_axes("?czyx", "czyx", "tzyx") == "?tzyx"
    assert renamed_axes("zcyx", "czyx", "cxyz") == "xcyz"
    provenance = Provenance("/a.npy", "raw", "zcyx")
    data, keywords = layer_data(Volume(values(2, 3, 4, 5), "czyx", provenance=provenance))
    layer = Image(data, **keywords)
    file = layer_file(layer)
    assert (file.path, file.dataset, file.stored_axes, file.ours) == ("/a.npy", "raw", "zcyx", True)
    rename_axes(layer, "cxyz")
    assert layer_file(layer).stored_axes == "xcyz"
    rename_axes(layer, "tzyx")
    assert layer_file(layer).stored_axes == "xtyz"


def test_layers_without_a_file():
    assert layer_file(None) is None
    assert layer_file(Image(values(3, 4, 5))) is None
