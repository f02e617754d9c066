"""The export's window as its users meet it; the values are those of `reconstruct`."""

import errno
import functools
import os
import subprocess
import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

pytest.importorskip("napari")

from napari.layers import Image, Shapes
from qtpy.QtWidgets import QFileDialog

from napari_niiv.export import ExportConfig
from napari_niiv.export import shards as shards_module
from napari_niiv.export.kept import kept_words
from napari_niiv.export.store import Unfinished
from napari_niiv.plugin.common.event_worker import EventWorker
from napari_niiv.plugin.common.layers import layer_volume
from napari_niiv.plugin.export.form import BOX
from napari_niiv.plugin.export.log import ExportLog
from napari_niiv.plugin.files.reader import PLUGIN, WIDGET
from napari_niiv.reconstruction.whole import reconstruct
from tests.plugin.export.conftest import (
    SHAPE,
    SMALL,
    begin,
    name,
    open_file,
    run,
    shown,
    wait_ended,
    wait_preview,
    wait_target,
    written,
)

# before it starts


def test_the_window_does_not_wait_for_torch():
    code = "import sys, napari_niiv.plugin.export.panel; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_untouched_it_writes_the_whole_beside_the_file(viewer, make_panel, texture, tmp_path, qtbot, messages):
    folder = tmp_path / "data"
    folder.mkdir()
    tifffile.imwrite(folder / "cells.tif", (200 * texture(SHAPE)).astype(np.uint8))
    open_file(viewer, folder / "cells.tif")
    panel = make_panel()
    settings, target = panel.form.settings(), folder / "cells-isotropic.zarr"
    assert panel.preview.job.config == ExportConfig()
    assert panel.preview.job.target == target == Path(panel.form.output.value)
    assert settings.volume.provenance.path == str(folder / "cells.tif")
    assert "52 × 37 × 45 voxels (z × y × x) of 1 × 1 × 1 voxel units" in panel.summary.text()
    assert "86.6 kB before compression" in panel.summary.text()
    assert f"free in {folder}" in panel.summary.text()
    assert shown(panel) == ["Export"]
    target.mkdir()
    panel.refresh_preview()
    wait_target(qtbot, panel, folder / "cells-isotropic-2.zarr")
    assert not messages


def test_the_form_says_the_rest(panel, qtbot, tmp_path, monkeypatch):
    form = panel.form
    assert not form.output_scale.visible
    form.advanced.value = True
    assert form.output_scale.visible
    form.output_scale.value, form.planes.value, form.dtype.value = 0.5, "xz", "float32"
    form.project.value = True
    form.format.value = ".tif"
    wait_target(qtbot, panel, tmp_path / "my-stack-isotropic.tif")
    assert panel.preview.job.config == ExportConfig(output_scale=0.5, planes="xz", dtype="float32", project=True)
    assert "26 × 18 × 22" in panel.summary.text()
    for typed, target, suffix in (
        (tmp_path / "a.zarr", tmp_path / "a.zarr", ".zarr"),
        ("b", tmp_path / "b.zarr", ".zarr"),
        ("c.TIFF", tmp_path / "c.TIFF", ".tif"),
    ):
        name(panel, typed)
        wait_target(qtbot, panel, target)
        assert form.format.value == suffix
    form.format.value = ".zarr"
    wait_target(qtbot, panel, tmp_path / "c.zarr")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args, **kwargs: (str(tmp_path / "d.tif"), ""))
    form.browse.changed.emit(True)
    wait_target(qtbot, panel, tmp_path / "d.tif")


def test_keep_measured_is_as_the_widgets_switch(source, make_panel, qtbot):
    panel = make_panel()
    panel.hide()
    panel.live_layers.change(project=True)
    panel.show()
    qtbot.waitUntil(lambda: panel.preview is not None and panel.preview.job.config.project)


def test_it_follows_the_layer_and_the_view(panel, viewer, source, qtbot, tmp_path):
    panel.form.part.value = BOX
    viewer.canvas.size = (300, 400)
    viewer.dims.order = (1, 0, 2)
    viewer.reset_view()
    qtbot.waitUntil(lambda: panel.preview.job.config.box is not None)
    before = panel.preview.job.config.box
    viewer.scene.camera.zoom *= 5
    qtbot.waitUntil(lambda: panel.preview.job.config.box != before)
    z0, z1 = panel.preview.job.config.box[0]
    assert z1 - z0 < 13
    assert f"z {z0} to {z1 - 1}" in panel.summary.text()
    assert "draw a rectangle in a side view" in panel.summary.text()
    viewer.layers.insert(0, Image(np.arange(5 * 9 * 9).reshape(5, 9, 9), scale=(3, 1, 1), name="other"))
    qtbot.waitUntil(lambda: panel.title.text() == "other")
    assert "The window shows nothing of other; bring it into view" in panel.summary.text()
    assert not panel.form.output.value
    viewer.scene.camera.center = (0, 7, 4)
    qtbot.waitUntil(lambda: "other-isotropic.zarr" in panel.form.output.value)


def test_a_rotated_layer_is_noticed(panel, source, qtbot):
    assert "own axes" not in panel.summary.text()
    source.rotate = 30
    qtbot.waitUntil(lambda: "written along the layer's own axes" in panel.summary.text())


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("nowhere/x.zarr", "does not exist; create it first"),
        ("folder.zarr", "is a folder and no zarr"),
        ("file.zarr", "is a file and no zarr"),
    ],
)
def test_what_cannot_be_is_one_sentence(panel, qtbot, tmp_path, messages, target, sentence):
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.zarr" / "thesis.txt").touch()
    (tmp_path / "file.zarr").touch()
    name(panel, tmp_path / target)
    qtbot.waitUntil(lambda: sentence in panel.summary.text())
    assert not messages
    panel.press()
    qtbot.waitUntil(lambda: bool(messages))
    assert sentence in messages[0]
    assert panel.status.text() == messages[0]
    assert panel.worker is None
    name(panel, tmp_path / "good.zarr")
    wait_target(qtbot, panel, tmp_path / "good.zarr")
    assert not panel.status.text()


def test_an_isotropic_layer_and_no_layer(panel, source, viewer, qtbot):
    source.scale = (1, 1, 1)
    qtbot.waitUntil(lambda: "isotropic already" in panel.summary.text())
    viewer.layers.clear()
    qtbot.waitUntil(lambda: "Choose a layer" in panel.summary.text())


# what is written


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr", "multiscale"])
def test_it_is_the_reconstruction(viewer, source, make_panel, kind, qtbot, tmp_path, messages):
    data = source.data
    if kind == "multiscale":
        keywords = {name: getattr(source, name) for name in ("scale", "translate", "units")}
        viewer.layers.clear()
        viewer.add_image([data, data[:, ::2, ::2]], multiscale=True, name="my stack", **keywords)
    elif kind != "numpy":
        stored = zarr.create_array(tmp_path / "s.zarr", shape=SHAPE, chunks=(8, 16, 16), dtype="u1")
        stored[...] = data
        source.data = stored if kind == "zarr" else da.from_array(data, chunks=(5, 20, 20))
    panel = make_panel()
    run(qtbot, panel)
    target = tmp_path / "my-stack-isotropic.zarr"
    expected = reconstruct(layer_volume(viewer.layers[0]), panel.live_layers.model)
    np.testing.assert_array_equal(written(target), expected.array.compute())
    assert messages == [f"Saved in {target}: 52 × 37 × 45 voxels (z × y × x) of 0.3 × 0.3 × 0.3 µm."]
    assert panel.status.text() == messages[0]
    assert shown(panel)[-1] == "Open in napari"
    wait_target(qtbot, panel, tmp_path / "my-stack-isotropic-2.zarr")
    assert shown(panel) == ["Export", "Open in napari"]
    assert panel.status.text() == messages[0]


def test_the_output_that_is_suggested_can_be_typed_again(panel, qtbot, tmp_path):
    """After one that is refused."""
    target = tmp_path / "my-stack-isotropic.zarr"
    wait_target(qtbot, panel, target)
    name(panel, tmp_path / "nowhere" / "x.zarr")
    qtbot.waitUntil(lambda: "does not exist" in panel.summary.text())
    name(panel, target)
    wait_target(qtbot, panel, target)
    assert "does not exist" not in panel.summary.text()


def test_a_drawn_rectangle(panel, viewer, source, qtbot, tmp_path):
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_current_step(1, 20)
    corners = [(z * 1.2 + 5, 0, x * 0.3 + 7) for z, x in ((2.6, 9.6), (2.6, 29.4), (8.4, 29.4), (8.4, 9.6))]
    shapes = Shapes([np.array(corners)], shape_type="rectangle", units=("um",) * 3)
    viewer.layers.append(shapes)
    viewer.layers.selection = {shapes}
    panel.form.part.value = BOX
    qtbot.waitUntil(lambda: panel.preview is not None and panel.preview.job.config.box is not None)
    box = panel.preview.job.config.box
    assert (box[0], box[2]) == ((3, 9), (10, 30))
    assert "That is the rectangle that is selected" in panel.summary.text()
    run(qtbot, panel)
    whole = reconstruct(layer_volume(source), panel.live_layers.model).array.compute().astype(int)
    (y0, y1) = box[1]
    result = written(tmp_path / "my-stack-isotropic.zarr")
    assert np.abs(result - whole[12:36, y0:y1, 10:30]).max() <= 1  # blocks begin elsewhere: a rounding apart
    panel.open_in_napari()
    qtbot.waitUntil(lambda: len(viewer.layers) == 3)
    opened = viewer.layers[-1]
    np.testing.assert_allclose(
        opened.data_to_world((-0.5, -0.5, -0.5)), source.data_to_world((2.5, y0 - 0.5, 9.5)), atol=1e-6
    )


def test_time_and_channels_with_their_names(viewer, make_panel, texture, qtbot, tmp_path):
    data = (200 * texture((2, 3, 9, 20, 18))).astype(np.uint8)
    layer = viewer.add_image(
        data,
        channel_axis=None,
        name="cells",
        scale=(2, 1, 4, 1, 1),
        translate=(0, 0, 3, 2, 1),
        axis_labels=("t", "c", "z", "y", "x"),
        metadata={"channel_names": ["red", "green", "blue"]},
    )
    panel = make_panel()
    run(qtbot, panel)
    target = tmp_path / "cells-isotropic.zarr"
    volume = layer_volume(layer)
    for t, c in np.ndindex(2, 3):
        expected = reconstruct(volume.at(t, c), panel.live_layers.model).array.compute()
        np.testing.assert_array_equal(written(target)[t, c], expected)
    ome = zarr.open_group(target, mode="r").attrs["ome"]
    assert [axis["name"] for axis in ome["multiscales"][0]["axes"]] == list("tczyx")
    assert [channel["label"] for channel in ome["omero"]["channels"]] == ["red", "green", "blue"]
    panel.open_in_napari()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2)
    opened = viewer.layers[-1]
    assert opened.ndim == 5
    np.testing.assert_allclose(opened.scale, (2, 1, 1, 1, 1))
    for end in (0, 1):
        ends = end * np.array([2, 3, 9, 20, 18])
        ours = opened.data_to_world(ends * (1, 1, 4, 1, 1) - 0.5)
        np.testing.assert_allclose(ours, layer.data_to_world(ends - 0.5))


@pytest.mark.parametrize("suffix", [".zarr", ".tif"])
@pytest.mark.parametrize("turned", [{}, {"rotate": 30}, {"affine": np.diag([2, 2, 2, 1])}])
def test_the_result_lies_over_its_source(panel, viewer, source, qtbot, tmp_path, suffix, turned):
    for key, value in turned.items():
        setattr(source, key, value)
    source.contrast_limits, source.colormap = (20, 150), "magma"
    panel.form.format.value = suffix
    wait_target(qtbot, panel, tmp_path / f"my-stack-isotropic{suffix}")
    run(qtbot, panel)
    panel.open_in_napari()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2)
    opened = viewer.layers[-1]
    assert opened.name == "my stack (isotropic, exported)"
    assert (opened.contrast_limits, opened.colormap.name) == ([20, 150], "magma")
    for corner in np.ndindex(2, 2, 2):
        ends = np.array(corner)
        ours = opened.data_to_world(ends * np.array([52, 37, 45]) - 0.5)
        np.testing.assert_allclose(ours, source.data_to_world(ends * np.array(SHAPE) - 0.5), atol=1e-5)
    data = opened.data[0] if opened.multiscale else opened.data
    expected = reconstruct(layer_volume(source), panel.live_layers.model).array.compute()
    np.testing.assert_array_equal(np.asarray(data), expected)


def test_after_a_change_the_button_names_what_it_opens(panel, viewer, qtbot, tmp_path):
    wait_target(qtbot, panel, tmp_path / "my-stack-isotropic.zarr")
    run(qtbot, panel)
    assert panel.open_result.text() == "Open in napari"
    assert "my-stack-isotropic.zarr" in panel.status.text()
    panel.form.format.value = ".tif"
    assert panel.status.text() == ""
    assert panel.open_result.text() == "Open my-stack-isotropic.zarr in napari"
    panel.open_in_napari()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2)
    wait_target(qtbot, panel, tmp_path / "my-stack-isotropic.tif")
    run(qtbot, panel)
    assert panel.open_result.text() == "Open in napari"


def test_a_result_that_is_gone_is_one_sentence(panel, qtbot, tmp_path, messages):
    panel.form.format.value = ".tif"
    wait_target(qtbot, panel, tmp_path / "my-stack-isotropic.tif")
    run(qtbot, panel)
    (tmp_path / "my-stack-isotropic.tif").unlink()
    panel.open_in_napari()
    qtbot.waitUntil(lambda: len(messages) == 2)
    assert "my-stack-isotropic.tif" in messages[1]
    assert panel.open_result.isEnabled()


# in the middle


def test_cancel_and_resume(panel, gate, qtbot, tmp_path, messages):
    target = tmp_path / "my-stack-isotropic.zarr"
    panel._changed()
    begin(qtbot, panel, gate)
    assert shown(panel) == ["Cancel"]
    assert not panel.form.visible
    assert "Restoring · " in panel.status.text()
    assert "left" in panel.progress.format()
    panel.stop()
    assert panel.cancel.text() == "Cancelling…"
    wait_ended(qtbot, panel)
    kept = kept_words(target)
    assert "of 12 parts" in kept
    assert messages == [f"Stopped: {kept}; choose Resume to go on."]
    qtbot.waitUntil(lambda: shown(panel) == ["Resume", "Start anew", "Discard"])
    assert f"was interrupted: {kept}. Resume goes on" in panel.question.text()
    assert not target.exists()
    panel.form.planes.value = "yz"  # of no concern to what goes on
    wait_preview(qtbot, panel)
    gate.allow()
    run(qtbot, panel)
    assert panel._log.started.resumed > 0
    expected = reconstruct(panel.job.volume, panel.live_layers.model, block=SMALL["block"])
    np.testing.assert_array_equal(written(target), expected.array.compute())
    assert os.listdir(tmp_path) == [target.name]


@pytest.mark.parametrize("action", ["resume", "discard"])
def test_an_interrupted_export_is_offered_again(viewer, make_panel, texture, gate, qtbot, tmp_path, action):
    """In another session of napari, with settings that are the defaults again."""
    tifffile.imwrite(tmp_path / "cells.tif", (200 * texture(SHAPE)).astype(np.uint8))
    open_file(viewer, tmp_path / "cells.tif")
    panel = make_panel()
    panel.form.planes.value = "xz"
    qtbot.waitUntil(lambda: panel.preview.job.config.planes == "xz")
    begin(qtbot, panel, gate)
    panel.stop()
    wait_ended(qtbot, panel)
    panel.close()
    viewer.layers.clear()
    open_file(viewer, tmp_path / "cells.tif")
    again = make_panel()
    assert shown(again) == ["Resume", "Start anew", "Discard"]
    if action == "discard":
        again.discard_unfinished()
        qtbot.waitUntil(lambda: shown(again) == ["Export"])
        assert os.listdir(tmp_path) == ["cells.tif"]
        assert again.status.text() == "The interrupted export to cells-isotropic.zarr is deleted."
        return
    gate.allow()
    run(qtbot, again)
    assert again._log.started.resumed > 0
    expected = reconstruct(again.job.volume, again.live_layers.model, planes="xz", block=SMALL["block"])
    np.testing.assert_array_equal(written(tmp_path / "cells-isotropic.zarr"), expected.array.compute())


def test_start_anew_forgets_what_was_done(panel, gate, qtbot, tmp_path):
    begin(qtbot, panel, gate)
    panel.stop()
    wait_ended(qtbot, panel)
    qtbot.waitUntil(lambda: "Start anew" in shown(panel))
    panel.form.planes.value = "yz"
    qtbot.waitUntil(lambda: panel.preview is not None and panel.preview.job.config.planes == "yz")
    gate.allow()
    panel.start_anew()
    qtbot.waitUntil(lambda: panel.worker is not None)
    wait_ended(qtbot, panel)
    assert panel._log.started.resumed == 0
    expected = reconstruct(panel.job.volume, panel.live_layers.model, planes="yz", block=SMALL["block"])
    np.testing.assert_array_equal(written(panel.job.target), expected.array.compute())


def test_nothing_is_replaced_unasked(panel, qtbot, tmp_path):
    target = tmp_path / "mine.tif"
    target.write_bytes(b"precious")
    name(panel, target)
    qtbot.waitUntil(lambda: shown(panel) == ["Replace it"])
    assert "mine.tif exists already" in panel.question.text()
    name(panel, tmp_path / "other.tif")
    qtbot.waitUntil(lambda: shown(panel) == ["Export"])
    (tmp_path / "other.tif").write_bytes(b"just come")
    panel.press()
    qtbot.waitUntil(lambda: shown(panel) == ["Replace it"])
    assert panel.worker is None
    assert (tmp_path / "other.tif").read_bytes() == b"just come"
    run(qtbot, panel)
    assert panel._log.finished is not None
    assert tifffile.imread(tmp_path / "other.tif").shape == (52, 37, 45)
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left"), "The disk is full; free space and go on with Resume."),
        (OSError(errno.EACCES, "Permission denied"), "could not be written (Permission denied)"),
        (RuntimeError("odd"), "The export failed unexpectedly (RuntimeError('odd')); please report it."),
    ],
    ids=["full", "read-only", "a defect"],
)
def test_a_failure_is_one_sentence_and_goes_on(panel, gate, qtbot, tmp_path, messages, monkeypatch, error, sentence):
    real, calls = shards_module.write_shard, []

    def failing(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise error
        return real(*arguments)

    monkeypatch.setattr("napari_niiv.export.work.write_shard", failing)
    gate.allow()
    run(qtbot, panel)
    assert len(messages) == 1
    assert sentence in messages[0]
    assert "--" not in messages[0]
    assert "\n" not in messages[0]
    assert panel.status.text() == messages[0]
    qtbot.waitUntil(lambda: shown(panel) == ["Resume", "Start anew", "Discard"])
    assert panel.form.visible
    run(qtbot, panel)
    assert panel._log.started.resumed > 0
    assert panel._log.finished is not None


def test_the_source_may_be_deleted_meanwhile(panel, viewer, source, gate, qtbot, tmp_path, messages):
    volume = layer_volume(source)
    begin(qtbot, panel, gate)
    viewer.layers.clear()
    gate.allow()
    wait_ended(qtbot, panel)
    expected = reconstruct(volume, panel.live_layers.model, block=SMALL["block"])
    np.testing.assert_array_equal(written(panel.job.target), expected.array.compute())
    assert len(messages) == 1
    assert panel.status.text() == messages[0]
    assert panel.open_result.text() == "Open my-stack-isotropic.zarr in napari"
    panel.open_in_napari()
    qtbot.waitUntil(lambda: len(viewer.layers) == 1)
    opened = viewer.layers[0]
    np.testing.assert_allclose(opened.translate, np.array(volume.origin) - (0.6 - 0.15, 0, 0))
    np.testing.assert_allclose(opened.scale, 0.3)


def test_a_file_that_goes_meanwhile_is_one_sentence(viewer, make_panel, gate, texture, qtbot, tmp_path, messages):
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, (200 * texture(SHAPE)).astype(np.uint8))
    open_file(viewer, path)
    panel = make_panel()
    begin(qtbot, panel, gate, 1, 0.05)
    path.unlink()
    gate.allow()
    wait_ended(qtbot, panel)
    assert messages == [f"'cells' is gone ({path}: No such file or directory); put it back and go on with Resume."]


def test_it_only_hides_when_its_window_is_closed(panel, gate, qtbot, messages):
    words = []
    panel.progress_text.connect(words.append)
    begin(qtbot, panel, gate)
    panel.close()
    assert panel.worker is not None
    gate.allow()
    wait_ended(qtbot, panel)
    assert panel._log.finished is not None
    assert words[0].startswith("Exporting… ")
    assert words[-1] == ""
    panel.show()
    assert panel.status.text() == messages[0]


# the widget


def test_the_live_view_goes_on_meanwhile(in_napari, window, gate, qtbot, tmp_path):
    viewer, widget = window
    qtbot.waitUntil(lambda: widget.models.loaded == (str(tmp_path / "tiny.safetensors"), "auto"), timeout=30_000)
    widget.show_side("xz")
    qtbot.waitUntil(lambda: "refined" in widget.status.value, timeout=30_000)
    widget.export.button.changed.emit(True)
    panel = widget.export.panel
    wait_preview(qtbot, panel)
    begin(qtbot, panel, gate)
    assert widget.export.button.text.startswith("Exporting… ")
    for index in (5, 20):
        done = functools.partial(live_at, widget, index)
        viewer.dims.set_current_step(1, index)
        gate.allow(1)
        qtbot.waitUntil(done, timeout=20_000)
    gate.allow()
    wait_ended(qtbot, panel)
    assert widget.export.button.text == "Export isotropic volume…"
    expected = reconstruct(panel.job.volume, widget.model, block=SMALL["block"])
    np.testing.assert_array_equal(written(panel.job.target), expected.array.compute())
    panel.open_in_napari()
    qtbot.waitUntil(lambda: viewer.layers[-1].name == "my stack (isotropic, exported)")
    assert widget.layer.value is viewer.layers["my stack"]
    assert widget.live is not None


def live_at(widget, index):
    last = widget.live.last
    return last is not None and last.final and last.response.request.index == index


@pytest.mark.parametrize("what", ["dock", "viewer"])
def test_what_goes_in_the_middle_keeps_what_is_finished(in_napari, window, gate, qtbot, tmp_path, what):
    viewer, widget = window
    qtbot.waitUntil(lambda: widget.models.loaded == (widget.checkpoint.value, "auto"), timeout=30_000)
    panel = widget.export.open()
    wait_preview(qtbot, panel)
    begin(qtbot, panel, gate, 8)
    worker: EventWorker = panel.worker
    if what == "dock":
        viewer.window.remove_dock_widget(viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[0])
    else:
        viewer.close()
    qtbot.waitUntil(lambda: not worker.alive, timeout=10_000)
    unfinished = tmp_path / "my-stack-isotropic.zarr.unfinished"
    assert Unfinished(unfinished.with_suffix("")).begun
    assert (unfinished / "journal").read_text()


def test_stages_are_put_into_words():
    from napari_niiv.export import ExportProgress, ExportStarted

    started = ExportStarted(Path("a"), Path("a.unfinished"), (10, 10, 10), "zyx", (1, 1, 1), "nm", "uint8", 3, 250)
    log = ExportLog()
    assert log.message == "Looking at the volume…"
    log.add(started)
    assert (log.message, log.fraction) == ("Going on where it stopped…", 0.25)
    log.add(ExportProgress("restore", 500, 1000, 2.14e6, 83))
    assert (log.message, log.remaining) == ("Step 1 of 2, restoring · 2.14 million voxels/s", "1:23 left")
    log.add(ExportProgress("pyramid", 5, 125, 0, None))
    assert (log.message, log.remaining) == ("Step 2 of 2, averaging for zooming out", "")
    tiff = ExportLog(tiff=True)
    tiff.add(ExportProgress("tiff", 500, 1000, 1e9, 1))
    assert tiff.message == "Step 2 of 2, writing the TIFF file · 1 billion voxels/s"
