"""Layers of ours that go: napari redraws, and collects all garbage, once for all of them, and not for none."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_niiv.plugin.common.removal import at_once, remove, remove_layers


@pytest.fixture
def viewer(qapp):
    return ViewerModel()


@pytest.fixture
def batches(viewer):
    found = []
    viewer.layers.events.begin_batch.connect(found.append)
    viewer.layers.events.end_batch.connect(found.append)
    return found


@pytest.fixture
def layers(viewer):
    return [viewer.add_image(np.zeros((4, 8, 8), np.uint8)) for _ in range(4)]


def kinds(batches):
    return [event.type for event in batches]


def test_several_are_one_batch_and_none_is_no_batch(viewer, layers, batches):
    with at_once(viewer.layers), at_once(viewer.layers):
        remove_layers(viewer, [], "now")
    remove_layers(viewer, layers[:1], "never")
    assert not batches
    with at_once(viewer.layers):
        remove_layers(viewer, layers[:2], "now")
        remove(viewer, layers[2])
        remove(viewer, layers[2])
        assert kinds(batches) == ["begin_batch"]
    assert kinds(batches) == ["begin_batch", "end_batch"]
    assert list(viewer.layers) == layers[3:]
    remove_layers(viewer, layers[3:], "now")
    assert len(batches) == 4


def test_the_batch_ends_whatever_happens(viewer, layers, batches):
    def fail():
        with at_once(viewer.layers):
            remove(viewer, layers[0])
            raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        fail()
    assert kinds(batches) == ["begin_batch", "end_batch"]
    remove_layers(viewer, layers[1:2], "now")
    assert len(batches) == 4


def test_those_that_go_later_go_together(viewer, layers, batches, qtbot):
    other = ViewerModel()
    beside = other.add_image(np.zeros((4, 8, 8), np.uint8))
    remove_layers(viewer, layers[:1], "later")
    remove_layers(other, [beside], "later")
    remove_layers(viewer, layers[1:3], "later")
    viewer.layers.remove(layers[2])  # napari was deleting that one
    assert len(viewer.layers) == 3
    qtbot.waitUntil(lambda: not other.layers)
    assert list(viewer.layers) == layers[3:]
    assert kinds(batches) == ["begin_batch", "end_batch"]
    remove_layers(viewer, layers[3:], "later")  # and again
    qtbot.waitUntil(lambda: not viewer.layers)
    assert len(batches) == 4


def test_those_that_went_meanwhile_are_no_batch(viewer, layers, batches, qtbot):
    remove_layers(viewer, layers, "later")
    viewer.layers.clear()
    assert len(batches) == 2  # napari's
    other = ViewerModel()
    remove_layers(other, [other.add_image(np.zeros((4, 8, 8), np.uint8))], "later")
    qtbot.waitUntil(lambda: not other.layers)
    assert len(batches) == 2
