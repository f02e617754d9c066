"""A file that reads slowly is copied to a zarr, which takes its place."""

import os
import threading

import numpy as np
import pytest
import tifffile
import zarr

from tests.plugin.test_widget import DATA, drop, open_widget, wait_status

pytest.importorskip("napari")

from napari_niiv.io import copy
from napari_niiv.plugin.common.layers import provenance_of
from napari_niiv.plugin.files import copy_offer as module
from napari_niiv.plugin.files.reader import PLUGIN, WIDGET


@pytest.fixture
def slow(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_niiv.io.open.IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(copy, "_CHUNK", (4, 16, 16))
    path = tmp_path / "slow.tif"
    metadata = {"axes": "ZYX", "PhysicalSizeZ": 4.0, "PhysicalSizeY": 1.0, "PhysicalSizeX": 1.0}
    tifffile.imwrite(path, DATA, ome=True, compression="zlib", metadata=metadata)
    return path


@pytest.fixture
def gate(monkeypatch):
    """Copies wait after their first piece until it is set."""
    opened, copied = threading.Event(), copy._copied

    def gated(*arguments):
        for number, voxels in enumerate(copied(*arguments)):
            yield voxels
            if number == 0:
                opened.wait(20)

    monkeypatch.setattr(copy, "_copied", gated)
    yield opened
    opened.set()


def offered(qtbot, widget):
    qtbot.waitUntil(lambda: widget.copying.make.native.isVisible(), timeout=20_000)
    return widget.copying


def begun(qtbot, offer):
    offer.make.native.click()
    qtbot.waitUntil(lambda: offer.bar.isVisible() and offer.bar.value() > 0, timeout=20_000)


def test_the_copy_takes_the_layers_place(in_napari, viewer, qtbot, messages, slow):
    widget = open_widget(viewer)
    drop(widget, slow)
    offer = offered(qtbot, widget)
    assert "slow reads slowly" in offer.sentence.value
    viewer.add_image(DATA, scale=(4, 1, 1), name="above", opacity=0.5)
    old = viewer.layers["slow"]
    widget.layer.value = old
    old.contrast_limits, old.colormap, old.opacity = (10, 90), "green", 0.5
    old.scale = (6, 1, 1)
    viewer.layers.selection = {old}
    wait_status(qtbot, widget, "· pixel")
    widget.live.denoise, widget.output_scale.value = 0.0, 0.5
    order = [layer.name for layer in viewer.layers]
    offer.make.native.click()
    qtbot.waitUntil(lambda: old not in viewer.layers, timeout=30_000)
    new = viewer.layers["slow"]
    assert provenance_of(new).path == str(slow.with_suffix(".zarr"))
    assert not provenance_of(new).slow
    np.testing.assert_array_equal(new.data, DATA)
    np.testing.assert_allclose(new.scale, (6, 1, 1))
    assert [str(unit) for unit in new.units] == ["micrometer"] * 3
    assert (list(new.contrast_limits), new.colormap.name, new.opacity) == ([10, 90], "green", 0.5)
    assert viewer.layers.selection == {new}
    wait_status(qtbot, widget, "· pixel")
    qtbot.waitUntil(lambda: [layer.name for layer in viewer.layers] == order, timeout=20_000)
    assert widget.layer.value is new
    assert (widget.output_scale.value, widget.live.denoise) == (0.5, 0)
    assert not offer.make.native.isVisible()
    assert not offer.bar.isVisible()
    assert any("is read from its zarr copy now" in m for m in messages)
    np.testing.assert_array_equal(zarr.open_array(slow.with_suffix(".zarr") / "0", mode="r")[...], DATA)


def test_it_can_be_cancelled_and_made_again(viewer, qtbot, messages, slow, gate):
    widget = open_widget(viewer)
    drop(widget, slow)
    offer = offered(qtbot, widget)
    begun(qtbot, offer)
    assert "left" in offer.bar.format()
    other = viewer.add_image(DATA, scale=(4, 1, 1), name="other")
    qtbot.waitUntil(lambda: widget.layer.value is other)
    assert offer.bar.isVisible()  # it goes on
    widget.layer.value = viewer.layers["slow"]
    offer.cancel.native.click()
    gate.set()
    qtbot.waitUntil(lambda: any("given up" in m for m in messages), timeout=20_000)
    assert os.listdir(slow.parent) == ["slow.tif"]
    assert provenance_of(viewer.layers["slow"]).slow
    slow.with_suffix(".zarr").mkdir()  # somebody's
    offer.make.native.click()
    qtbot.waitUntil(lambda: any("slow-2.zarr" in m for m in messages), timeout=30_000)
    assert os.listdir(slow.with_suffix(".zarr")) == []


def test_a_copy_that_fails_is_one_sentence(viewer, qtbot, messages, slow, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")
        yield

    monkeypatch.setattr(copy, "_copied", full)
    widget = open_widget(viewer)
    drop(widget, slow)
    offered(qtbot, widget).make.native.click()
    qtbot.waitUntil(lambda: any("The disk is full" in m for m in messages), timeout=20_000)
    assert os.listdir(slow.parent) == ["slow.tif"]
    assert widget.copying.make.native.isVisible()


def test_a_folder_is_asked_for_where_that_of_the_file_is_read_only(
    viewer, qtbot, messages, slow, tmp_path_factory, monkeypatch
):
    other, asked = tmp_path_factory.mktemp("other"), []
    writable = os.access
    monkeypatch.setattr(copy.os, "access", lambda path, mode: path != slow.parent and writable(path, mode))
    answers = ["", str(other)]
    monkeypatch.setattr(module.QFileDialog, "getExistingDirectory", lambda *a: (asked.append(a[1]), answers.pop(0))[1])
    widget = open_widget(viewer)
    drop(widget, slow)
    offer = offered(qtbot, widget)
    offer.make.native.click()
    qtbot.waitUntil(lambda: len(asked) == 1 and offer.make.enabled, timeout=20_000)
    assert "cannot be written to" in asked[0]
    offer.make.native.click()
    qtbot.waitUntil(lambda: any("is read from its zarr copy" in m for m in messages), timeout=30_000)
    assert os.listdir(other) == ["slow.zarr"]


@pytest.mark.parametrize("what", ["layer", "dock"])
def test_what_goes_meanwhile(in_napari, viewer, qtbot, messages, slow, gate, what):
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    drop(widget, slow)
    offer = offered(qtbot, widget)
    begun(qtbot, offer)
    worker = offer._worker
    if what == "layer":
        viewer.layers.remove(viewer.layers["slow"])
        gate.set()
        qtbot.waitUntil(lambda: any("copy is complete" in m for m in messages), timeout=20_000)
        assert sorted(os.listdir(slow.parent)) == ["slow.tif", "slow.zarr"]
        assert len(viewer.layers) == 0
    else:
        thread = worker._thread
        viewer.window.remove_dock_widget(dock)
        qtbot.waitUntil(lambda: worker._stop_flag.stopping, timeout=20_000)
        gate.set()
        qtbot.waitUntil(lambda: not thread.is_alive(), timeout=20_000)
        assert os.listdir(slow.parent) == ["slow.tif"]


def test_a_layer_turned_meanwhile_keeps_its_place(viewer, qtbot, messages, slow, gate):
    widget = open_widget(viewer)
    drop(widget, slow)
    offer = offered(qtbot, widget)
    begun(qtbot, offer)
    widget.spacings.button.native.click()
    widget.spacings.form.axes[1].value = "z"
    widget.spacings.form.apply.native.click()
    gate.set()
    qtbot.waitUntil(lambda: any("a layer of its own" in m for m in messages), timeout=20_000)
    assert viewer.layers["slow"].data.shape == (48, 12, 64)
    assert any(str(provenance_of(layer).path).endswith("slow.zarr") for layer in viewer.layers)


def test_it_can_be_declined_and_other_questions_follow(viewer, qtbot, messages, slow):
    widget = open_widget(viewer)
    drop(widget, slow)
    offer = offered(qtbot, widget)
    layer = viewer.layers["slow"]
    widget.suitability._offers[layer] = ("lm suits this volume better than em.", "lm")
    widget.suitability.show()
    assert not widget.suitability.sentence.native.isVisible()
    offer.later.native.click()
    assert not offer.sentence.native.isVisible()
    assert not offer.make.native.isVisible()
    assert widget.suitability.sentence.native.isVisible()
    assert widget.suitability.use.native.isVisible()
    other = viewer.add_image(DATA, scale=(4, 1, 1), name="other")
    widget.layer.value = other
    assert not widget.suitability.sentence.native.isVisible()
    widget.layer.value = layer
    assert not offer.sentence.native.isVisible()
    assert widget.suitability.sentence.native.isVisible()  # it comes back with its layer
    viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: widget.layer.value is other, timeout=5000)
    qtbot.waitUntil(lambda: not widget.suitability.sentence.native.isVisible(), timeout=5000)


def test_all_channels_of_a_file_are_copied_and_take_their_places(viewer, qtbot, messages, tmp_path, slow):
    both = np.stack([DATA, DATA[::-1]], axis=1)
    metadata = {"axes": "ZCYX", "PhysicalSizeZ": 4.0, "PhysicalSizeY": 1.0, "PhysicalSizeX": 1.0}
    tifffile.imwrite(tmp_path / "two.tif", both, ome=True, compression="zlib", metadata=metadata)
    widget = open_widget(viewer)
    drop(widget, tmp_path / "two.tif")
    offer = offered(qtbot, widget)
    qtbot.waitUntil(lambda: len(widget.live_layers) == 2, timeout=20_000)
    first, second = old = [live.source for live in widget.live_layers]
    widget.layer.value = second
    offer.make.native.click()
    qtbot.waitUntil(lambda: not {first, second} & set(viewer.layers), timeout=30_000)
    qtbot.waitUntil(lambda: len(widget.live_layers) == 2, timeout=20_000)
    new = [viewer.layers[name] for name in ("two C0", "two C1")]
    for layer, data, former in zip(new, (DATA, DATA[::-1]), old, strict=True):
        np.testing.assert_array_equal(layer.data, data)
        assert provenance_of(layer).path == str(tmp_path / "two.zarr")
        assert (layer.colormap.name, layer.blending) == (former.colormap.name, "additive")
    assert widget.layer.value is new[1]
    assert [live.source for live in widget.live_layers] in (new, new[::-1])
