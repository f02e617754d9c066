"""Checkpoints and volumes dropped on the canvas, and folders, which are dropped on the widget."""

import json

import numpy as np
import pytest

pytest.importorskip("napari")

import napari
import npe2
import tifffile
from napari.components import ViewerModel

from napari_niiv.errors import VolumeError
from napari_niiv.io.open import open_volume
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import save_model
from napari_niiv.plugin.common.channels import channels_of
from napari_niiv.plugin.common.layers import along_world, layer_data, layer_volume
from napari_niiv.plugin.files.reader import PLUGIN, WIDGET, get_reader
from napari_niiv.volume import Provenance, Volume


def values(*shape, dtype="u2"):
    return np.random.default_rng(0).integers(1, 200, shape).astype(dtype)


def test_what_is_read():
    for path in ("a.tif", "a.npy", "a.zarr", ["a.safetensors", "b.tif"], ["a.safetensors", "b.h5"], "a.n5/"):
        assert get_reader(path) is None
    for path in ("A.SAFETENSORS", "a.H5", ["a.mrc", "b.nii.gz"], "a.ims"):
        assert get_reader(path) is not None


def test_a_checkpoint_is_selected_in_the_widget(lent_viewer, tmp_path, interpolating_model):
    path = tmp_path / "mine.safetensors"
    save_model(interpolating_model, Card(architecture=interpolating_model.architecture), path)
    viewer = lent_viewer
    assert viewer.open(path, plugin="napari-niiv") == []
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    assert widget.checkpoint.value == str(path)


def write_hdf5(path, array):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["raw"] = array
        file["raw"].attrs["element_size_um"] = [4.0, 0.5, 0.6]


def write_mrc(path, array):
    mrcfile = pytest.importorskip("mrcfile")
    with mrcfile.new(path, array) as file:
        file.voxel_size = (0.6, 0.5, 4.0)


def write_nifti(path, array):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(array.T, np.diag([0.6, 0.5, 4.0, 1]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def write_n5(path, array):
    tensorstore = pytest.importorskip("tensorstore")
    specification = {"driver": "n5", "kvstore": (path / "raw").as_uri()}
    tensorstore.open(specification, create=True, dtype="uint16", shape=array.T.shape).result().write(array.T).result()
    attributes = path / "raw/attributes.json"
    more = {"pixelResolution": {"unit": "nm", "dimensions": [0.6, 0.5, 4.0]}}
    attributes.write_text(json.dumps(json.loads(attributes.read_text()) | more))
    (path / "attributes.json").write_text('{"n5": "2.0.0"}')


KINDS = {
    "a.h5": (write_hdf5, "micrometer"),
    "a.hdf5": (write_hdf5, "micrometer"),
    "a.mrc": (write_mrc, "angstrom"),
    "a.nii": (write_nifti, "millimeter"),
    "a.nii.gz": (write_nifti, "millimeter"),
}


@pytest.mark.parametrize("name", KINDS)
def test_volumes_through_npe2(tmp_path, name):
    """As napari finds the reader: by the manifest."""
    write, unit = KINDS[name]
    array = values(3, 16, 20)
    write(tmp_path / name, array)
    ((data, keywords, kind),) = npe2.read([str(tmp_path / name)], stack=False, plugin_name="napari-niiv")
    assert kind == "image"
    np.testing.assert_allclose(keywords["scale"], (4, 0.5, 0.6), rtol=1e-6)
    assert keywords["units"] == (unit,) * 3
    np.testing.assert_array_equal(data, array)
    layer = napari.layers.Image(data, **keywords)
    assert layer_volume(layer).anisotropy == pytest.approx(4 / np.sqrt(0.3))


@pytest.mark.parametrize("name", ["a.zarr", "a.n5", "a.h5", "slices"])
def test_folders_are_not_asked_for(tmp_path, name):
    """A plugin that accepts folders is offered all of them, and napari then asks which one is to be used."""
    (tmp_path / name).mkdir()
    offered = npe2.PluginManager.instance().iter_compatible_readers([str(tmp_path / name)])
    assert not any("niiv" in reader.command for reader in offered)


def test_an_n5_is_opened_by_the_widget(lent_viewer, qtbot, messages, tmp_path):
    array = values(3, 16, 20)
    write_n5(tmp_path / "a.n5", array)
    viewer = lent_viewer
    widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]
    widget.open_files([tmp_path / "a.n5"])
    qtbot.waitUntil(lambda: len(viewer.layers) > 0, timeout=20_000)
    layer = viewer.layers[0]
    np.testing.assert_allclose(layer.scale, (4, 0.5, 0.6), rtol=1e-6)
    assert [str(unit) for unit in layer.units] == ["nanometer"] * 3
    np.testing.assert_array_equal(layer.data, array)


def test_a_damaged_n5_is_one_sentence(lent_viewer, qtbot, messages, tmp_path):
    (tmp_path / "a.n5").mkdir()
    (tmp_path / "a.n5" / "attributes.json").write_bytes(b"{")
    viewer = lent_viewer
    widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[1]
    widget.open_files([tmp_path / "a.n5"])
    qtbot.waitUntil(lambda: bool(messages), timeout=20_000)
    assert len(messages) == 1
    assert "\n" not in messages[0]
    assert "a.n5" in messages[0]


def test_volumes_on_the_canvas(lent_viewer, tmp_path):
    write_hdf5(tmp_path / "a.h5", values(3, 16, 20))
    viewer = lent_viewer
    (layer,) = viewer.open(tmp_path / "a.h5", plugin="napari-niiv")  # napari lists .h5 too, and fails
    np.testing.assert_allclose(layer.scale, (4, 0.5, 0.6))
    assert str(layer.units[-1]) == "micrometer"
    assert layer.axis_labels == ("z", "y", "x")
    np.testing.assert_array_equal(layer.data, values(3, 16, 20))


def test_channels_on_the_canvas(tmp_path):
    from tests.io.readers.test_hdf5 import imaris

    array = values(1, 2, 3, 16, 20)
    viewer = ViewerModel()
    reader = get_reader(str(imaris(tmp_path / "cells.ims", array)))
    for data, keywords, _ in reader(str(tmp_path / "cells.ims")):
        viewer.add_image(data, **keywords)
    assert [layer.name for layer in viewer.layers] == ["cells DAPI", "cells GFP"]
    brightest = [layer.colormap.map(1.0).ravel()[:3] for layer in viewer.layers]
    np.testing.assert_allclose(brightest, [(0, 1, 0), (0.5, 1, 0)], atol=0.01)
    assert channels_of(viewer, viewer.layers[0]) == list(viewer.layers)


@pytest.mark.parametrize("name", KINDS)
def test_what_cannot_be_read_is_one_sentence(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(VolumeError) as caught:
        get_reader(str(tmp_path / name))(str(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("axes", ["zyx", "czyx", "tczyx"])
def test_a_volume_as_a_layer_and_back(axes):
    array = values(*(2, 3, 4, 16, 20)[-len(axes) :])
    coarse = array[..., ::2, ::2]
    volume = Volume(
        array,
        axes,
        (4.0, 0.5, 0.5),
        "nanometer",
        "stack",
        (10.0, 20.0, 30.0),
        {"channel_names": ["a", "b", "c"]},
        (coarse,),
        Provenance("/x"),
    )
    data, keywords = layer_data(volume)
    layer = napari.layers.Image(data, **keywords)
    assert layer.multiscale
    assert layer.axis_labels == tuple(axes)
    np.testing.assert_allclose(layer.translate[-3:], volume.origin)
    again = layer_volume(layer)
    assert (again.axes, dict(again.metadata)) == (axes, dict(volume.metadata))
    assert again.provenance == volume.provenance
    assert again.origin == pytest.approx(volume.origin)
    assert (again.voxel_size, again.unit, again.name) == (volume.voxel_size, "nanometer", "stack")
    np.testing.assert_array_equal(again.pyramid[0], coarse)


def test_the_file_of_a_layer_is_known(lent_viewer, tmp_path):
    viewer = lent_viewer
    tifffile.imwrite(tmp_path / "cells.tif", values(5, 16, 20), photometric="minisblack")
    viewer.open(tmp_path / "cells.tif", plugin="napari")
    data, keywords = layer_data(open_volume(tmp_path / "cells.tif"))
    dropped = viewer.add_image(data, **keywords)
    for layer in (viewer.layers[0], dropped):
        assert layer_volume(layer).provenance.path == str(tmp_path / "cells.tif")


def test_the_origin_is_in_the_unit_of_x():
    layer = napari.layers.Image(
        values(4, 16, 20), scale=(2000, 0.5, 0.5), translate=(3000, 1, 2), units=("nm", "um", "um")
    )
    volume = layer_volume(layer)
    assert (volume.voxel_size, volume.unit) == ((2, 0.5, 0.5), "micrometer")
    assert volume.origin == pytest.approx((3, 1, 2))
    assert not volume.metadata
    assert volume.provenance == Provenance()


@pytest.mark.parametrize(
    ("labels", "axes"),
    [
        (("c", "z", "y", "x"), "czyx"),
        (("channel", "-3", "-2", "-1"), "czyx"),
        (("-4", "-3", "-2", "-1"), "tzyx"),
        (("c", "t", "z", "y", "x"), "tczyx"),  # not in the order that files need
    ],
)
def test_axes_are_what_the_layer_calls_them(labels, axes):
    layer = napari.layers.Image(values(*(2, 3, 4, 16, 20)[-len(labels) :]), axis_labels=labels)
    assert layer_volume(layer).axes == axes


@pytest.mark.parametrize(
    ("transform", "along"),
    [
        ({"scale": (1, 4, 1, 1), "translate": (9, 8, 7, 6)}, True),
        ({"rotate": 20}, False),
        ({"shear": (0, 0, 0, 0, 0, 0.1)}, False),
        ({"affine": np.diag([1, 4, 2, 1, 1])}, True),
        ({"scale": (1, 4, -1, 1)}, False),
    ],
)
def test_whether_a_layer_lies_along_the_world(transform, along):
    assert along_world(napari.layers.Image(values(2, 4, 16, 20), **transform)) == along


def test_narrow_volumes_are_no_colours():
    data, keywords = layer_data(Volume(values(4, 16, 3, dtype="u1")))
    assert not napari.layers.Image(data, **keywords).rgb


def test_slices_dropped_together_are_a_stack(lent_viewer, qtbot, tmp_path, messages):
    viewer = lent_viewer
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    array = np.random.default_rng(0).integers(0, 200, (5, 16, 20), np.uint8)
    for number in (0, 1, 2, 4):
        tifffile.imwrite(tmp_path / f"s{number}.tif", array[number], photometric="minisblack")
    widget.open_files(sorted(tmp_path.iterdir(), reverse=True))
    qtbot.waitUntil(lambda: bool(messages), timeout=20_000)
    assert messages == ["s4: the folder lacks the slices 3."]
    np.testing.assert_array_equal(widget.layer.value.data, array[[0, 1, 2, 4]])


def test_stacks_dropped_together_are_layers_each(lent_viewer, qtbot, tmp_path):
    viewer = lent_viewer
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    for name in ("a1", "a2"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.ones((3, 16, 20), np.uint8), photometric="minisblack")
    widget.open_files(sorted(tmp_path.iterdir()))
    qtbot.waitUntil(lambda: {"a1", "a2"} <= {layer.name for layer in viewer.layers}, timeout=20_000)
