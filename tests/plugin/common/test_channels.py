"""Channels as layers: made of a volume without reading it, and found among the layers of a viewer."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image

from napari_niiv.plugin.common.channels import MOST_CHANNELS, channel_data, channels_of, repaired_volume, whole_volume
from napari_niiv.plugin.common.layers import REPAIRS, layer_volume, provenance_of
from napari_niiv.sections.repairs import Repairs, SectionRepairs
from napari_niiv.volume import Provenance, Volume

SHAPE = (2, 5, 6, 7)


class Unread:
    """An array of which nothing may be read."""

    def __init__(self, *shape):
        self.shape, self.dtype, self.ndim = shape, np.dtype(np.uint16), len(shape)


def values(*shape):
    return np.random.default_rng(0).integers(0, 200, shape, np.uint16)


def volume(array, axes="czyx", **metadata):
    provenance = Provenance("/data/cells.tif", stored_axes="zcyx")
    return Volume(array, axes, (4.0, 0.5, 0.5), "micrometer", "cells", (3, 2, 1), metadata, provenance=provenance)


def test_each_channel_is_a_layer_by_its_name_in_its_colour_and_unread():
    whole = volume(Unread(2, 3, 5, 6, 7), "tczyx", channel_names=["DAPI", "", "Actin"], channel_colours=["#0000ff"] * 3)
    made = [keywords for _, keywords in channel_data(whole)]
    assert [keywords["name"] for keywords in made] == ["cells DAPI", "cells C1", "cells Actin"]
    assert [keywords["colormap"] for keywords in made] == ["cyan", "magenta", "yellow"]  # one colour for all is none
    assert {keywords["blending"] for keywords in made} == {"additive"}
    assert {keywords["axis_labels"] for keywords in made} == {("t", "z", "y", "x")}
    assert made[2]["scale"] == (1, 4, 0.5, 0.5)
    assert made[2]["translate"] == (0, 3, 2, 1)
    own = volume(Unread(2, 5, 6, 7), channel_colours=["#0000ff", "#ff8000"])
    assert [keywords["colormap"] for _, keywords in channel_data(own)] == ["#0000ff", "#ff8000"]


@pytest.mark.parametrize(("axes", "axis"), [("czyx", 0), ("tczyx", 1)])
def test_a_channels_layer_is_that_channel_as_a_volume(axes, axis):
    array = values(*SHAPE) if axis == 0 else values(3, *SHAPE)
    viewer = ViewerModel()
    for data, keywords in channel_data(volume(array, axes, channel_names=["a", "b"])):
        viewer.add_layer(Image(data, **keywords))
    for number, layer in enumerate(viewer.layers):
        again = layer_volume(layer)
        np.testing.assert_array_equal(again.array, array.take(number, axis))
        assert (again.axes, again.voxel_size) == (axes.replace("c", ""), (4.0, 0.5, 0.5))
        assert again.metadata["channel_names"] == ["ab"[number]]
        assert provenance_of(layer).path == "/data/cells.tif"
        assert channels_of(viewer, layer) == list(viewer.layers)


@pytest.mark.parametrize("shape", [(5, 6, 7), (MOST_CHANNELS + 1, 5, 6, 7)])
def test_one_channel_or_a_spectrum_is_one_layer(shape):
    ((data, keywords),) = channel_data(volume(values(*shape), "czyx"[-len(shape) :]))
    assert data.shape == shape
    assert "blending" not in keywords


def test_a_file_that_is_opened_twice_has_two_sets_of_channels_and_a_copy_is_in_none():
    viewer, array = ViewerModel(), values(*SHAPE)
    for _ in range(2):
        for data, keywords in channel_data(volume(array)):
            viewer.add_layer(Image(data, **keywords))
    first, second, third, fourth = viewer.layers
    copy = viewer.add_layer(Image(array[0], **channel_data(volume(array))[0][1] | {"metadata": dict(first.metadata)}))
    assert channels_of(viewer, first) == [first, second]
    assert channels_of(viewer, fourth) == [third, fourth]
    assert channels_of(viewer, copy) == [second, copy]


def test_napari_splits_channels_too():
    viewer = ViewerModel()
    layers = viewer.add_image(values(3, 5, 6, 7), channel_axis=0, scale=(4, 1, 1))
    below = viewer.add_image(values(5, 6, 7), scale=(4, 1, 1), name="other")
    viewer.layers.move(3, 0)
    moved = viewer.add_image(values(5, 6, 7), scale=(4, 1, 1), translate=(1, 0, 0), blending="additive")
    longer = viewer.add_image(values(6, 6, 7), scale=(4, 1, 1), blending="additive")
    assert [channels_of(viewer, each) for each in layers] == [layers] * 3
    for each in (below, moved, longer):
        assert channels_of(viewer, each) == [each]


def test_copies_of_a_layer_that_cover_each_other_are_no_channels():
    viewer = ViewerModel()
    layers = [viewer.add_image(values(5, 6, 7), scale=(4, 1, 1)) for _ in range(2)]
    assert [channels_of(viewer, each) for each in layers] == [[each] for each in layers]


@pytest.mark.parametrize(("axes", "axis"), [("czyx", 0), ("tczyx", 1)])
def test_channels_are_one_volume_again(axes, axis):
    array = values(*SHAPE) if axis == 0 else values(3, *SHAPE)
    layers = [Image(data, **keywords) for data, keywords in channel_data(volume(array, axes))]
    whole = whole_volume(layers)
    assert (whole.axes, whole.name, whole.voxel_size) == (axes, "cells", (4.0, 0.5, 0.5))
    np.testing.assert_array_equal(whole.array, array)
    np.testing.assert_array_equal(whole.array[..., 1:3, 0, ::2], array[..., 1:3, 0, ::2])
    for index in np.ndindex(array.shape[:-3]):
        np.testing.assert_array_equal(whole.at(*index).read_raw(), array[index])


def test_what_the_channels_are_called():
    def names(*layers):
        whole = whole_volume(layers)
        return whole.name, whole.metadata["channel_names"]

    def made(**metadata):
        return [Image(data, **keywords) for data, keywords in channel_data(volume(values(*SHAPE), **metadata))]

    assert names(*made()) == ("cells", ["C0", "C1"])
    assert names(*made(channel_names=["Alexa 488", "Alexa 568"])) == ("cells", ["Alexa 488", "Alexa 568"])
    first, second = made()
    first.name = "nuclei"
    assert names(first, second) == ("cells", ["nuclei", "C1"])
    others = [Image(values(5, 6, 7), name=name) for name in ("a.b nuclei", "membranes")]
    assert names(*others) == ("a.b nuclei", ["a.b nuclei", "membranes"])


@pytest.mark.parametrize(("axes", "axis"), [("czyx", 0), ("tczyx", 1)])
def test_repairs_and_looks_come_with_the_channels(axes, axis):
    array = values(*SHAPE) if axis == 0 else values(3, *SHAPE)
    layers = [Image(data, **keywords) for data, keywords in channel_data(volume(array, axes))]
    layers[1].contrast_limits, layers[1].colormap = (10, 90), "cyan"
    index = (2,) * axis
    for number, layer in enumerate(layers):
        assert repaired_volume(layers).repairs is None  # one of them was not looked at yet
        layer.metadata[REPAIRS] = Repairs.of({index: SectionRepairs(bridged=(1 + number,))})
    whole = repaired_volume(layers)
    assert whole.metadata["channel_colours"] == ["#ff00ff", "#00ffff"]
    assert whole.metadata["channel_limits"][1] == (10, 90)
    for number, layer in enumerate(layers):
        assert whole.at(*index, number).repairs.parts == (((), SectionRepairs(bridged=(1 + number,))),)
        alone = repaired_volume([layer])
        np.testing.assert_array_equal(whole.at(*index, number).read_raw(), alone.at(*index).read_raw())
        assert "channel_colours" not in alone.metadata
