"""Exports from napari's window by clicks: what is said before, a box, stopping and going on, closing in the middle."""

import os

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt

from napari_niiv.export.kept import kept_parts
from napari_niiv.plugin.common.closing import KEEP, STOP
from napari_niiv.plugin.export import settings as settings_module
from napari_niiv.plugin.export.estimate import MEASURING
from napari_niiv.plugin.export.form import BOX
from napari_niiv.plugin.files.reader import PLUGIN, WIDGET
from napari_niiv.reconstruction.whole import reconstruct
from tests.plugin.conftest import click_answer, closing_question
from tests.plugin.export.conftest import SMALL, begin, name, shown, wait_ended, wait_preview, written


def click(qtbot, button):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture
def opened(window, qtbot):
    """The viewer, and the export's window, opened by its button."""
    viewer, widget = window
    chosen = (widget.checkpoint.value, "auto")  # before it, the one that the widget begins with may be in use
    qtbot.waitUntil(lambda: widget.models.loaded == chosen and widget.live is not None, timeout=30_000)
    click(qtbot, widget.export.button.native)
    panel = widget.export.panel
    wait_preview(qtbot, panel)
    return viewer, panel


def click_begin(qtbot, panel, gate, blocks):
    click(qtbot, panel.start)
    qtbot.waitUntil(lambda: panel.worker is not None, timeout=5000)
    gate.allow(blocks)
    qtbot.waitUntil(lambda: kept_parts(panel.job.target)[0] > 0, timeout=20_000)


def test_a_box_stopped_and_gone_on_with_is_as_if_never_stopped(in_napari, opened, gate, qtbot, tmp_path, messages):
    viewer, panel = opened
    viewer.dims.order = (1, 0, 2)
    viewer.reset_view()
    viewer.scene.camera.zoom *= 2
    panel.form.part.value = BOX
    qtbot.waitUntil(lambda: panel.preview is not None and panel.preview.job.config.box is not None)
    click_begin(qtbot, panel, gate, 4)
    box = panel.job.config.box
    click(qtbot, panel.cancel)
    wait_ended(qtbot, panel)
    finished, number = kept_parts(panel.job.target)
    assert 0 < finished < number
    words = f"{finished} of {number} parts {'is' if finished == 1 else 'are'} kept"
    assert messages == [f"Stopped: {words}; choose Resume to go on."] == [panel.status.text()]
    qtbot.waitUntil(lambda: shown(panel) == ["Resume", "Start anew", "Discard"])
    assert f"was interrupted: {words}." in panel.question.text()
    gate.allow()
    click(qtbot, panel.start)
    qtbot.waitUntil(lambda: panel.worker is not None, timeout=5000)
    wait_ended(qtbot, panel)
    assert panel._log.started.resumed > 0
    target = tmp_path / "my-stack-isotropic.zarr"
    assert os.listdir(tmp_path) == [target.name] or target.exists()
    result = written(target)
    # never stopped
    anew = panel.job.config.model_copy(update={"resume": False})
    other = settings_module.dataclasses.replace(panel.job, target=tmp_path / "other.zarr", config=anew)
    list(other.start(panel._settings.model))
    np.testing.assert_array_equal(result, written(other.target))
    whole = reconstruct(panel.job.volume, panel._settings.model, block=SMALL["block"]).array.compute()
    (z0, z1), (y0, y1), (x0, x1) = box
    assert result.shape == (4 * (z1 - z0), y1 - y0, x1 - x0)
    assert np.abs(result - whole[4 * z0 : 4 * z1, y0:y1, x0:x1].astype(int)).max() <= 1


def test_stopped_before_any_part_is_complete(opened, gate, qtbot, tmp_path, messages):
    _, panel = opened
    click(qtbot, panel.start)
    qtbot.waitUntil(lambda: panel.worker is not None and panel._log.started is not None, timeout=5000)
    click(qtbot, panel.cancel)
    wait_ended(qtbot, panel)
    assert messages == ["Stopped: nothing was kept, as no part was complete."]
    qtbot.waitUntil(lambda: shown(panel) == ["Export"])
    assert not list(tmp_path.glob("*.unfinished"))


@pytest.mark.parametrize("answer", [KEEP, STOP])
def test_closing_napari_in_the_middle_asks(make_napari_viewer, opened, gate, hold_open, qtbot, tmp_path, answer):
    _, panel = opened
    window = panel.parent().window()
    closings = hold_open(window)
    click_begin(qtbot, panel, gate, 4)
    worker = panel.worker
    window.close()
    box = closing_question(window)
    assert box.text() == "An export is running."
    assert "Resume goes on" in box.informativeText()
    click_answer(qtbot, window, answer)
    if answer == KEEP:
        assert panel.worker is worker
        gate.allow()
        wait_ended(qtbot, panel)
        assert panel._log.finished is not None
        assert closings.count == 0
    else:
        qtbot.waitUntil(lambda: closings.count == 1, timeout=10_000)
        assert panel.worker is None
        finished, number = kept_parts(tmp_path / "my-stack-isotropic.zarr")
        assert 0 < finished < number


def test_what_it_takes_is_said_before_it_begins(measured, opened, small_blocks, qtbot):
    _, panel = opened
    lines = lambda: panel.estimate.text().splitlines()  # noqa: E731
    qtbot.waitUntil(lambda: "on the disk" in panel.estimate.text(), timeout=20_000)
    assert panel.estimate.isVisible()
    assert lines()[0] == "Checkpoint tiny, on cpu; it was trained without noise."
    assert lines()[1].startswith("It takes about 1 s; about ")
    said = []
    panel._estimate.changed.connect(said.append)
    panel.form.planes.value = "xz"
    qtbot.waitUntil(lambda: bool(said) and "on the disk" in said[-1], timeout=20_000)
    assert said[0].splitlines()[1] == MEASURING
    known = len(said)
    panel.form.output.value = "elsewhere.zarr"
    panel.form.output.native.editingFinished.emit()  # the same voxels elsewhere
    qtbot.waitUntil(lambda: len(said) > known, timeout=20_000)
    assert set(said[known:]) == {said[known - 1]}
    click(qtbot, panel.start)
    qtbot.waitUntil(lambda: panel.worker is not None, timeout=5000)
    assert not panel.estimate.isVisible()
    wait_ended(qtbot, panel)


def test_a_block_that_is_measured_is_given_up(measured, opened, gate, qtbot):
    """When the settings change, the window hides, or the export begins."""
    _, panel = opened
    running = panel._estimate._running
    qtbot.waitUntil(lambda: panel.estimate.text().endswith(MEASURING) and not running[0].stopping)
    for give_up, go_on in (
        (lambda: setattr(panel.form.planes, "value", "xz"), lambda: None),
        (panel.hide, panel.show),
        (lambda: click(qtbot, panel.start), None),
    ):
        flag = running[0]
        give_up()
        qtbot.waitUntil(lambda flag=flag: flag.stopping)
        if go_on is not None:
            go_on()
            qtbot.waitUntil(lambda flag=flag: running[0] is not flag)
    gate.allow()
    wait_ended(qtbot, panel)
    assert panel._log.finished is not None


# what happens meanwhile


def test_a_dock_that_is_closed_in_the_middle_and_opened_again_goes_on(in_napari, window, opened, gate, qtbot, tmp_path):
    viewer, panel = opened
    click_begin(qtbot, panel, gate, 4)
    worker, job = panel.worker, panel.job
    viewer.window.remove_dock_widget(viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)[0])
    qtbot.waitUntil(lambda: not worker.alive, timeout=10_000)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    widget.select_checkpoint(tmp_path / "tiny.safetensors")
    qtbot.waitUntil(lambda: widget.models.loaded == (str(tmp_path / "tiny.safetensors"), "auto"), timeout=30_000)
    click(qtbot, widget.export.button.native)
    again = widget.export.panel
    wait_preview(qtbot, again)
    assert shown(again) == ["Resume", "Start anew", "Discard"]
    gate.allow()
    click(qtbot, again.start)
    qtbot.waitUntil(lambda: again.worker is not None, timeout=5000)
    wait_ended(qtbot, again)
    assert again._log.started.resumed > 0
    expected = reconstruct(job.volume, widget.model, block=SMALL["block"]).array.compute()
    np.testing.assert_array_equal(written(job.target), expected)


def test_a_layer_that_is_renamed_and_two_viewers(source, viewer, make_panel, gate, qtbot, tmp_path, messages):
    """What is being written is neither offered to be gone on with nor overwritten."""
    panel = make_panel()
    begin(qtbot, panel, gate)
    other = make_panel()  # of another window of napari, as it were
    assert other.preview.job.target == tmp_path / "my-stack-isotropic-2.zarr"
    assert shown(other) == ["Export"]
    name(other, panel.job.target)
    qtbot.waitUntil(lambda: "is writing" in other.summary.text())
    other.press()
    qtbot.waitUntil(lambda: bool(messages))
    assert other.worker is None
    assert "is writing" in messages[0]
    source.name = "renamed"
    gate.allow()
    wait_ended(qtbot, panel)
    assert panel._log.finished is not None
    assert written(tmp_path / "my-stack-isotropic.zarr").shape == (52, 37, 45)
