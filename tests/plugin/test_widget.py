"""The dock widget as its users meet it."""

import re

import numpy as np
import pytest
import tifffile

from tests.plugin.conftest import ramp

pytest.importorskip("napari")

from qtpy.QtCore import QMimeData, QPoint, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication

from napari_niiv.models.card import Card
from napari_niiv.models.catalog import bundled_models
from napari_niiv.models.checkpoint import save_model
from napari_niiv.plugin.controls.model_choice import ModelLoader
from napari_niiv.plugin.controls.status import COMPARED
from napari_niiv.plugin.manifest_names import PLUGIN, WIDGET

SHAPE = (12, 48, 64)
DATA = (ramp(SHAPE, (5.0, 1.0, 2.0)) + 7).astype(np.uint16)


@pytest.fixture
def viewer(dock_viewer):
    dock_viewer.window.resize(1000, 700)
    return dock_viewer


def open_widget(viewer):
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    return widget


def wait_status(qtbot, widget, text, timeout=30_000):
    qtbot.waitUntil(lambda: text in widget.status.value, timeout=timeout)


def drop(widget, *paths):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(p)) for p in paths])
    args = (Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    enter = QDragEnterEvent(QPoint(5, 5), *args)
    QApplication.sendEvent(widget.native, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(widget.native, QDropEvent(QPoint(5, 5).toPointF(), *args))


def test_it_goes_live_by_itself_on_an_anisotropic_layer(in_napari, viewer, qtbot, messages):
    viewer.add_image(DATA, scale=(4, 1, 1), name="stack", units=("um",) * 3)
    widget = open_widget(viewer)
    assert widget.anisotropy.value == pytest.approx(4)
    widget.show_side("xz")
    wait_status(qtbot, widget, "refined")
    assert [layer.name for layer in viewer.layers] == ["stack", "stack (isotropic)"]
    assert "xz · pixel" in widget.status.value
    assert "ms" not in widget.status.value
    assert re.fullmatch(r"computed in \d+ ms \((cpu|cuda.*)\)", widget.status.tooltip)
    assert "cpu" in widget.device.choices
    assert viewer.layers["stack (isotropic)"] not in [value for _, value in widget._sources()]
    widget.show_side("xy")
    wait_status(qtbot, widget, "as measured")
    viewer.scene.camera.zoom *= 10
    qtbot.waitUntil(lambda: widget.live.last.pixel_size < 1, timeout=20_000)
    wait_status(qtbot, widget, "xy · pixel 1 µm · as measured")  # no finer than the voxels
    widget.on.value = False
    assert [layer.name for layer in viewer.layers] == ["stack"]
    widget.on.value = True
    wait_status(qtbot, widget, "· pixel")
    assert not messages


def test_it_asks_when_the_scale_says_isotropic_and_the_answer_is_the_layers_scale(viewer, qtbot, messages):
    layer = viewer.add_image(DATA, name="stack")
    widget = open_widget(viewer)
    wait_status(qtbot, widget, "type the anisotropy")
    assert widget.live is None
    widget.anisotropy.value = 6
    wait_status(qtbot, widget, "· pixel")
    np.testing.assert_allclose(layer.scale, (6, 1, 1))


def test_a_voxel_size_that_napari_lost_is_read_from_the_file(viewer, qtbot, messages, tmp_path):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(
        path,
        DATA,
        imagej=True,
        resolution=(1 / 0.2, 1 / 0.2),
        metadata={"axes": "ZYX", "spacing": 0.9, "unit": "um"},
    )
    widget = open_widget(viewer)
    viewer.open(path, plugin="napari")
    layer = viewer.layers[0]
    wait_status(qtbot, widget, "· pixel")
    np.testing.assert_allclose(layer.scale, (0.9, 0.2, 0.2), rtol=1e-5)
    assert str(layer.units[-1]) == "micrometer"
    assert any("taken from the file" in m for m in messages)
    assert widget.anisotropy.value == pytest.approx(4.5, rel=1e-4)


def test_files_dropped_on_it_open(in_napari, viewer, qtbot, messages, tmp_path, interpolating_model):
    path, checkpoint = tmp_path / "stack.tif", tmp_path / "mine.safetensors"
    tifffile.imwrite(path, DATA, imagej=True, metadata={"axes": "ZYX", "spacing": 3.0, "unit": "um"})
    save_model(interpolating_model, Card(architecture=interpolating_model.architecture), checkpoint)
    widget = open_widget(viewer)
    drop(widget, path, checkpoint)
    wait_status(qtbot, widget, "· pixel")
    assert widget.checkpoint.value == str(checkpoint)
    np.testing.assert_allclose(viewer.layers["stack"].scale, (3, 1, 1))
    assert not messages


@pytest.mark.parametrize("content", [b"not a tiff", b""])
def test_a_broken_file_is_one_sentence_and_the_widget_lives(viewer, qtbot, messages, tmp_path, content):
    path = tmp_path / "broken.tif"
    path.write_bytes(content)
    widget = open_widget(viewer)
    drop(widget, path)
    wait_status(qtbot, widget, "broken.tif is not a readable TIFF")
    assert len(messages) == 1
    viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    wait_status(qtbot, widget, "· pixel")


def test_a_pickled_checkpoint_is_refused_and_the_old_one_stays_in_use(viewer, qtbot, messages, tmp_path):
    path = tmp_path / "evil.pth"
    path.write_bytes(b"PK\x03\x04 whatever")
    viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    widget = open_widget(viewer)
    wait_status(qtbot, widget, "· pixel")
    drop(widget, path)
    qtbot.waitUntil(lambda: any("is a pickle" in m for m in messages), timeout=10_000)
    assert len(messages) == 1
    assert widget.checkpoint.value == bundled_models()[0]
    assert str(path) not in widget.checkpoint.choices
    assert widget.live is not None


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (np.zeros((40, 50), np.uint8), "needs three"),
        (np.zeros((4, 40, 50, 3), np.uint8), "RGB"),
        (np.full(SHAPE, 3, np.uint8), "constant"),
        (np.full(SHAPE, np.nan, np.float32), "NaN"),
    ],
    ids=["2-D", "RGB", "constant", "NaN"],
)
def test_unusable_layers_are_one_sentence(viewer, qtbot, messages, data, sentence):
    scale = (1,) * (data.ndim - 3) + (4, 1, 1) if data.shape[-1] != 3 and data.ndim >= 3 else None
    viewer.add_image(data, scale=scale, name="bad", contrast_limits=(0, 1))
    widget = open_widget(viewer)
    wait_status(qtbot, widget, sentence)
    assert len(messages) == 1
    viewer.add_image(DATA, scale=(4, 1, 1), name="good")
    widget.layer.value = viewer.layers["good"]
    wait_status(qtbot, widget, "· pixel")


def test_the_status_tells_what_is_seen_instead(viewer, qtbot, messages):
    stack = viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    widget = open_widget(viewer)
    widget.show_side("xz")
    wait_status(qtbot, widget, "refined")
    said = widget.status.value
    widget.compare.hold.native.pressed.emit()
    assert (widget.status.value, widget.indicator.state) == (COMPARED, "source")
    widget.compare.hold.native.released.emit()
    assert (widget.status.value, widget.indicator.state) == (said, "refined")
    shape = (4 * SHAPE[0], *SHAPE[1:])
    result = viewer.add_image(np.zeros(shape, np.uint8), translate=(-1.5, 0, 0), name="result")
    assert widget.status.value.startswith("result lies over it: close its eye")
    assert widget.indicator.state == "covered"
    widget.live_layers.change(comparing=True)
    assert widget.indicator.state == "covered"  # nor is the source seen
    widget.live_layers.change(comparing=False)
    for name, seen, unseen in (("visible", False, True), ("opacity", 0.5, 1.0), ("blending", "additive", "opaque")):
        setattr(result, name, seen)
        assert widget.status.value == said
        setattr(result, name, unseen)
        assert widget.indicator.state == "covered"
    viewer.layers.move(viewer.layers.index(result), 0)
    assert widget.status.value == said
    viewer.layers.move(0, 3)
    assert widget.indicator.state == "covered"
    viewer.layers.remove(result)
    assert widget.status.value == said
    small = viewer.add_image(np.zeros((8, SHAPE[1], 8), np.uint8), name="small")  # beside most of it
    assert widget.status.value == said
    viewer.scene.camera.center, viewer.scene.camera.zoom = (4, 4), 1000  # all that is in view
    qtbot.waitUntil(lambda: widget.status.value.startswith("small lies over it"), timeout=20_000)
    viewer.layers.remove(small)
    assert widget.layer.value is stack


def test_opened_on_a_result_that_is_selected_it_chooses_what_can_be_restored(viewer, qtbot, messages):
    stack = viewer.add_image(DATA, scale=(4, 1, 1), name="stack", units=("um",) * 3)
    result = viewer.add_image(np.repeat(DATA, 4, 0), name="result", units=("um",) * 3, visible=False)
    viewer.layers.selection = {result}
    widget = open_widget(viewer)
    assert widget.layer.value is stack
    wait_status(qtbot, widget, "· pixel")


def test_the_output_scale_sets_the_finest_pixel(viewer, qtbot, messages):
    viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    widget = open_widget(viewer)
    widget.show_side("xz")
    wait_status(qtbot, widget, "refined")
    used = 1 / widget.live.last.pixel_size
    assert widget.match_zoom.text == f"auto ({used:.2g}×)"
    assert widget.output_scale.value == pytest.approx(min(used, 16), abs=0.05)
    widget.match_zoom.value = False
    assert widget.match_zoom.text == "auto"
    widget.output_scale.value = 14  # whose picture is there already
    assert ", the screen's" in widget.status.value
    widget.output_scale.value = 0.5
    wait_status(qtbot, widget, "pixel 2 voxel")
    assert "the screen's" not in widget.status.value
    widget.output_scale.value = 16
    wait_status(qtbot, widget, ", the screen's")
    widget.output_scale.value = 0.5
    wait_status(qtbot, widget, "pixel 2 voxel")
    assert widget.live.layer.data.shape[2] <= SHAPE[2] // 2
    widget.match_zoom.value = True
    qtbot.waitUntil(lambda: widget.match_zoom.text == f"auto ({used:.2g}×)", timeout=20_000)
    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: "3-D · pixel 1 voxel" in widget.status.value, timeout=20_000)
    assert widget.match_zoom.text == "auto (1×)"
    viewer.dims.ndisplay = 2
    viewer.camera.zoom = 123
    qtbot.waitUntil(lambda: widget.match_zoom.text == "auto (123×)", timeout=20_000)


def test_steps_between_slices_end_on_the_nearest_slice(in_napari, viewer, qtbot, messages):
    viewer.add_image(DATA, scale=(80, 20, 20), units="nm", name="stack")
    widget = open_widget(viewer)
    wait_status(qtbot, widget, "· pixel")
    viewer.dims.set_current_step(0, 5)
    widget.compare.steps.value = True
    assert viewer.dims.current_step[0] == 20
    viewer.dims.set_current_step(0, 23)
    widget.compare.steps.value = False
    assert (viewer.dims.current_step[0], viewer.dims.nsteps[0]) == (6, SHAPE[0])


def test_auto_tells_its_scale_also_where_the_picture_is_there_already(viewer, qtbot, messages):
    viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    widget = open_widget(viewer)
    widget.show_side("xz")
    wait_status(qtbot, widget, "refined")
    before, text = widget.output_scale.value, widget.match_zoom.text
    assert "×" in text
    widget.output_scale.value = 16
    widget.match_zoom.value = True
    assert (widget.output_scale.value, widget.match_zoom.text) == (before, text)


def test_a_frozen_picture_that_is_seen_is_told(in_napari, viewer, qtbot, messages):
    viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    widget = open_widget(viewer)
    widget.show_side("xz")
    wait_status(qtbot, widget, "refined")
    widget.freeze()
    frozen = next(layer for layer in viewer.layers if "frozen" in layer.name)
    frozen.visible = True
    qtbot.waitUntil(lambda: widget.status.value.startswith(f"{frozen.name} lies over it"), timeout=20_000)
    widget.live_layers.change(comparing=True)
    assert widget.indicator.state == "covered"
    widget.live_layers.change(comparing=False)
    viewer.dims.set_current_step(1, viewer.dims.current_step[1] + 5)  # it is of another slice
    wait_status(qtbot, widget, "refined")


def test_where_the_chosen_layer_goes_one_that_can_be_restored_is_chosen(viewer, qtbot, messages):
    viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    widget = open_widget(viewer)
    other = viewer.add_image(DATA, scale=(4, 1, 1), name="other")
    viewer.add_image(np.repeat(DATA, 4, 0), name="result", units=("um",) * 3)
    widget.layer.value = other
    viewer.layers.remove(other)
    assert widget.layer.value is viewer.layers["stack"]


def test_deleting_layers_keeps_switch_and_choices_true(in_napari, viewer, qtbot, messages):
    viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    widget = open_widget(viewer)
    wait_status(qtbot, widget, "· pixel")
    viewer.layers.remove(widget.live.layer)
    qtbot.waitUntil(lambda: widget.on.value is False)
    widget.on.value = True
    wait_status(qtbot, widget, "· pixel")
    viewer.layers.remove(viewer.layers["stack"])
    assert widget.live is None
    assert widget.layer.value is None
    qtbot.waitUntil(lambda: len(viewer.layers) == 0)
    viewer.add_image(DATA, scale=(4, 1, 1), name="next")
    wait_status(qtbot, widget, "· pixel")
    viewer.layers.clear()
    qtbot.waitUntil(lambda: widget.status.value.startswith("Choose a layer"))
    viewer.add_image(DATA, scale=(4, 1, 1), name="after all were removed")
    wait_status(qtbot, widget, "· pixel")


def test_closing_the_dock_stops_everything(in_napari, viewer, qtbot, messages):
    viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    wait_status(qtbot, widget, "· pixel")
    live = widget.live
    with qtbot.waitSignal(live.closed, timeout=5000):
        viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: not live._scheduler.alive, timeout=5000)
    assert [layer.name for layer in viewer.layers] == ["stack"]


def test_a_scale_changed_elsewhere_shows_in_the_widget(viewer, qtbot, messages):
    layer = viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    widget = open_widget(viewer)
    wait_status(qtbot, widget, "· pixel")
    layer.scale = (7, 1, 1)
    assert widget.anisotropy.value == pytest.approx(7)
    layer.scale = (1, 1, 1)
    wait_status(qtbot, widget, "type the anisotropy")
    assert widget.live is None
    layer.scale = (3, 1, 1)
    wait_status(qtbot, widget, "· pixel")


def test_a_picture_from_a_file_is_no_volume(viewer, qtbot, messages, tmp_path):
    path = tmp_path / "flat.tif"
    tifffile.imwrite(path, DATA[0], imagej=True, resolution=(2, 2), metadata={"unit": "um", "spacing": 3.0})
    open_widget(viewer)
    viewer.open(path, plugin="napari")
    qtbot.waitUntil(lambda: any("needs three" in m for m in messages), timeout=10_000)


def test_a_dropped_file_with_channels_between_the_slices(viewer, qtbot, messages, tmp_path):
    path = tmp_path / "channels.tif"
    data = np.stack([DATA, DATA], axis=1)
    tifffile.imwrite(
        path, data, imagej=True, resolution=(5, 5), metadata={"axes": "ZCYX", "spacing": 0.9, "unit": "um"}
    )
    widget = open_widget(viewer)
    drop(widget, path)
    wait_status(qtbot, widget, "· pixel")
    for number in range(2):
        np.testing.assert_allclose(viewer.layers[f"channels C{number}"].scale, (0.9, 0.2, 0.2), rtol=1e-5)


def test_a_renamed_source_stays_chosen_and_live(viewer, qtbot, messages):
    layer = viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    viewer.add_image(DATA, scale=(4, 1, 1), name="other", opacity=0.5)
    widget = open_widget(viewer)
    widget.layer.value = layer
    wait_status(qtbot, widget, "· pixel")
    layer.name = "renamed"
    assert widget.layer.value is layer
    assert widget.live.source is layer
    viewer.layers.remove(layer)
    assert widget.layer.value is viewer.layers["other"]


def test_a_decimal_anisotropy_can_be_typed(in_napari, viewer, qtbot, messages):
    layer = viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    widget = open_widget(viewer)
    wait_status(qtbot, widget, "· pixel")
    box = widget.anisotropy.native
    box.selectAll()
    qtbot.keyClicks(box, "6.5")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    np.testing.assert_allclose(layer.scale, (6.5, 1, 1))


def test_a_scale_out_of_range_shows_nothing_until_it_is_mended(viewer, qtbot, messages):
    layer = viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    widget = open_widget(viewer)
    wait_status(qtbot, widget, "· pixel")
    layer.scale = (40, 1, 1)
    wait_status(qtbot, widget, "outside 1 to 16")
    with qtbot.assertNotEmitted(widget.live.shown, wait=200):
        viewer.reset_view()
    assert not widget.live.layer.visible
    layer.scale = (5, 1, 1)
    wait_status(qtbot, widget, "· pixel")


def test_a_default_checkpoint_that_cannot_be_loaded_is_tried_once(viewer, qtbot, messages, monkeypatch):
    from napari_niiv.models import checkpoint

    tries = []

    def broken(*args):
        tries.append(args)
        raise OSError("no torch here")

    monkeypatch.setattr(checkpoint, "load_model", broken)
    widget = open_widget(viewer)
    wait_status(qtbot, widget, "no torch here")
    with qtbot.assertNotEmitted(widget._host.background._finished, wait=300):
        pass
    assert len(tries) == 1


def test_a_model_is_loaded_once_for_a_volume_that_is_there(dock_viewer, qtbot, monkeypatch):
    loads = []
    load = ModelLoader.load
    monkeypatch.setattr(ModelLoader, "load", lambda self, wanted: loads.append(wanted) or load(self, wanted))
    dock_viewer.add_image(np.zeros((4, 8, 8), np.float32), scale=(4, 1, 1))
    _, widget = dock_viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    qtbot.waitUntil(lambda: widget.models.loaded is not None, timeout=30_000)
    assert loads == [("em", "auto")]
