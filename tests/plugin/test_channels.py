"""The channels of a volume in the widget: live together, added up over their sources, by one switch."""

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from tests.plugin.conftest import ramp
from tests.plugin.test_widget import drop, open_widget

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_niiv.plugin.common.layers import BLENDED, COVER, LIVE, SHARED, empty_values, layer_volume
from napari_niiv.plugin.controls.model_choice import ModelChoice
from napari_niiv.plugin.export.result import add_result
from napari_niiv.plugin.files.layer_file import layer_file

SHAPE = (12, 48, 64)
FIRST = (ramp(SHAPE, (5.0, 1.0, 2.0)) + 7).astype(np.uint16)
SECOND = (ramp(SHAPE, (9.0, 2.0, 1.0)) + 50)[:, ::-1].astype(np.uint16)
BOTH = np.stack([FIRST, SECOND], axis=1)
NAMES = ["cells C0", "cells C1", "cover (no data)", "cells C0 (isotropic)", "cells C1 (isotropic)"]


@pytest.fixture
def viewer(dock_viewer):
    dock_viewer.window.resize(900, 600)
    return dock_viewer


@pytest.fixture(autouse=True)
def _interpolates(interpolating_model, monkeypatch):
    monkeypatch.setattr(ModelChoice, "load", lambda self, value=None: self._adopt(interpolating_model, None))


@pytest.fixture
def imagej(tmp_path):
    metadata = {"axes": "ZCYX", "spacing": 0.8, "unit": "um"}
    tifffile.imwrite(tmp_path / "cells.tif", BOTH, imagej=True, resolution=(5, 5), metadata=metadata)
    return tmp_path / "cells.tif"


@pytest.fixture
def opened(viewer, qtbot, imagej):
    """The widget, and the two channels of a file that was dropped on it, live in a side view."""
    widget = open_widget(viewer)
    drop(widget, imagej)
    qtbot.waitUntil(lambda: len(widget.live_layers) == 2, timeout=20_000)
    widget.show_side("xz")
    wait_shown(qtbot, widget)
    return widget, *viewer.layers[:2]


def pictures(viewer):
    return [layer for layer in viewer.layers if LIVE in layer.metadata]


def cover(viewer):
    return next(layer for layer in viewer.layers if COVER in layer.metadata)


def wait_shown(qtbot, widget, plane="xz"):
    def settled():
        for live in widget.live_layers:
            assert live.last is not None
            assert live.last.final
            assert live.last.response.request.plane == plane
            assert live.layer.visible or not live.source.visible

    qtbot.waitUntil(settled, timeout=20_000)


def redraws(viewer):
    """Filled with napari's batches of changes to the layers."""
    batches = []
    viewer.layers.events.end_batch.connect(batches.append)
    return batches


def colours(viewer):
    return viewer.screenshot(flash=False)[..., :3].astype(float)


def test_channels_that_napari_opened_behind_a_slider_are_shown_together_when_the_user_wants_it(
    in_napari, viewer, qtbot, imagej
):
    widget = open_widget(viewer)
    viewer.open(imagej, plugin="napari")
    qtbot.waitUntil(lambda: widget.channels.sentence.native.isVisible(), timeout=20_000)
    assert widget.channels.sentence.value == "cells holds 2 channels, and shows one at a time."
    widget.show_side("xz")
    wait_shown(qtbot, widget)
    widget.channels.together.native.click()
    qtbot.waitUntil(lambda: len(widget.live_layers) == 2, timeout=20_000)
    wait_shown(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == NAMES
    assert [layer.colormap.name for layer in viewer.layers[:2]] == ["magenta", "green"]
    assert widget.layer.value is viewer.layers[0]
    assert list(viewer.layers.selection) == [viewer.layers[0]]  # the list and the widget speak of the same
    for source, data in zip(viewer.layers[:2], (FIRST, SECOND), strict=True):
        np.testing.assert_array_equal(layer_volume(source).array, data)
        assert layer_volume(source).voxel_size == pytest.approx((0.8, 0.2, 0.2))
        assert layer_file(source).path == str(imagej)
    assert not widget.channels.sentence.native.isVisible()


def test_channels_stay_behind_their_slider_when_the_user_wants_that(viewer, qtbot):
    widget = open_widget(viewer)
    layer = viewer.add_image(
        np.moveaxis(BOTH, 1, 0), axis_labels=("c", "z", "y", "x"), scale=(1, 4, 1, 1), name="cells"
    )
    qtbot.waitUntil(lambda: widget.channels.sentence.native.isVisible(), timeout=20_000)
    widget.channels.later.native.click()
    assert not widget.channels.sentence.native.isVisible()
    widget.spacings.set_anisotropy(5.0)
    other = viewer.add_image(FIRST, scale=(4, 1, 1), name="one")
    for each in (other, layer):  # it is not asked again
        widget.layer.value = each
        assert not widget.channels._question.waiting


def test_a_dropped_file_opens_as_channels_that_are_live_together(viewer, opened, imagej, messages):
    assert [layer.name for layer in viewer.layers] == NAMES
    assert [layer.colormap.name for layer in viewer.layers[:2]] == ["magenta", "green"]
    for source, live, data in zip(viewer.layers[:2], pictures(viewer), (FIRST, SECOND), strict=True):
        volume = layer_volume(source)
        np.testing.assert_array_equal(volume.array, data)  # what exports and trainings take
        assert volume.voxel_size == pytest.approx((0.8, 0.2, 0.2))
        assert layer_file(source).path == str(imagej)
        assert (source.blending, live.blending) == ("additive", "additive")
        assert live.source_layer is source
    assert all(layer.visible for layer in viewer.layers)
    assert not messages


def test_the_colours_are_those_of_the_sources_and_no_brighter(in_napari, viewer, opened):
    """The data are ramps, which the model restores as they are: only the bars of the sources make a difference."""
    widget, _, second = opened
    second.opacity = 0.7
    live = colours(viewer)
    widget.live_layers.change(comparing=True)
    source = colours(viewer)
    assert not cover(viewer).visible
    assert source.max() > 150
    np.testing.assert_allclose(live.mean((0, 1)), source.mean((0, 1)), rtol=0.03)
    assert np.abs(live - source).mean() < 6
    widget.live_layers.change(comparing=False)
    np.testing.assert_array_equal(colours(viewer), live)
    widget.live_layers.change(split=0.5)
    split, middle = colours(viewer), live.shape[1] // 2
    np.testing.assert_array_equal(split[:, : middle - 9], source[:, : middle - 9])
    np.testing.assert_array_equal(split[:, middle + 9 :], live[:, middle + 9 :])


def test_looks_follow_both_ways(viewer, opened):
    _, source, _ = opened
    live = viewer.layers["cells C0 (isotropic)"]
    changes = {
        "blending": ("translucent", "additive"),
        "opacity": (0.5, 0.9),
        "colormap": ("red", "cyan"),
        "gamma": (0.7, 1.2),
        "contrast_limits": ([3, 90], [5, 70]),
    }
    assert set(changes) == {*SHARED, *BLENDED}
    for name, values in changes.items():
        for one, other, value in zip((source, live), (live, source), values, strict=True):
            setattr(one, name, value)
            seen = getattr(other, name)
            assert (seen.name if name == "colormap" else seen) == value


def test_a_hidden_channel_hides_its_picture_alone(in_napari, viewer, opened, qtbot):
    widget, first, second = opened
    both = colours(viewer)
    first.visible = False
    assert [layer.visible for layer in pictures(viewer)] == [False, True]
    alone = colours(viewer)
    np.testing.assert_array_equal(alone[..., 0], 0)  # magenta is gone, green as it was
    np.testing.assert_array_equal(alone[..., 1], both[..., 1])
    viewer.dims.set_point(1, 4)
    first.visible = True
    wait_shown(qtbot, widget)
    assert all(layer.visible for layer in viewer.layers)
    seen = colours(viewer)
    cover(viewer).visible = False  # light would add up
    assert cover(viewer).visible
    np.testing.assert_array_equal(colours(viewer), seen)
    for layer in pictures(viewer):  # by the user: the sources are seen
        layer.visible = False
    assert not cover(viewer).visible
    assert first.visible
    assert second.visible


def test_a_channel_whose_picture_is_hidden_stays_away_everywhere(in_napari, viewer, opened, qtbot):
    """In comparison, split, ortho views and 3-D."""
    widget, first, second = opened
    one, other = pictures(viewer)
    both = colours(viewer)
    one.visible = False
    alone = colours(viewer)
    np.testing.assert_array_equal(alone[..., 0], 0)
    np.testing.assert_array_equal(alone[..., 1], both[..., 1])
    for change in ({"comparing": True}, {"comparing": False, "split": 0.5}):
        widget.live_layers.change(**change)
        seen = colours(viewer)
        np.testing.assert_array_equal(seen[..., 0], 0)
        assert seen[..., 1].any()
        widget.layer.value = first
        if "split" not in change:
            assert widget.status.value == "The source, as long as you compare. cells C0 is hidden."
    widget.live_layers.change(split=None)
    assert [layer.visible for layer in (first, second, one, other)] == [False, True, False, True]
    widget.layer.value = second
    widget.show_ortho()
    for panel in widget.ortho.panels:
        qtbot.waitUntil(lambda panel=panel: panel.lives[1].last is not None, timeout=20_000)
        assert [copy.visible for copy in panel.copies] == [False, True]
        assert not panel.lives[0].layer.visible
    widget.show_ortho(False)
    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: len(viewer.layers) == 7, timeout=20_000)
    shown = [layer.name for layer in viewer.layers if layer.visible]
    assert shown == ["cells C1 (isotropic, 3-D)"]
    viewer.dims.ndisplay = 2
    qtbot.waitUntil(lambda: other.visible, timeout=20_000)
    assert [layer.visible for layer in (first, second, one, other)] == [False, True, False, True]


@pytest.mark.parametrize("eye", ["source", "picture"])
def test_either_eye_shows_a_channel_again(in_napari, viewer, opened, qtbot, eye):
    widget, first, _ = opened
    one, other = pictures(viewer)
    both = colours(viewer)
    one.visible = False
    assert not first.visible
    (first if eye == "source" else one).visible = True
    wait_shown(qtbot, widget)
    assert all(layer.visible for layer in viewer.layers)
    np.testing.assert_array_equal(colours(viewer), both)
    one.visible = False
    other.visible = False  # the sources are what is to be seen
    assert [layer.visible for layer in viewer.layers] == [True, True, False, False, False]
    other.visible = True
    assert [layer.visible for layer in (first, one, other)] == [False, False, True]
    widget.on.value = False
    assert [layer.visible for layer in viewer.layers] == [True, True]


def test_frozen_pictures_look_the_same(in_napari, viewer, opened):
    widget, *_ = opened
    live = colours(viewer)
    widget.freeze()
    assert [layer.name for layer in viewer.layers] == [*NAMES, "cells C0 xz 23 (frozen)", "cells C1 xz 23 (frozen)"]
    np.testing.assert_array_equal(colours(viewer), live)


def test_one_switch_for_all(viewer, opened, qtbot):
    widget, first, second = opened
    lives = list(widget.live_layers)
    widget.layer.value = second
    assert list(widget.live_layers) == lives
    assert widget.live.source is second
    assert "xz" in widget.status.value
    widget.on.value = False
    assert list(viewer.layers) == [first, second]
    widget.layer.value = first
    assert not widget.on.value
    widget.on.value = True
    assert [layer.name for layer in viewer.layers] == NAMES
    wait_shown(qtbot, widget)
    viewer.layers.remove(pictures(viewer)[1])
    qtbot.waitUntil(lambda: list(viewer.layers) == [first, second], timeout=5_000)
    assert not widget.on.value


def test_a_deleted_channel_ends_its_own_picture_alone(viewer, opened, qtbot):
    widget, first, second = opened
    viewer.layers.remove(cover(viewer))  # which comes back
    viewer.layers.remove(first)
    left = [NAMES[1], NAMES[2], NAMES[4]]
    qtbot.waitUntil(lambda: [layer.name for layer in viewer.layers] == left, timeout=5_000)
    assert widget.layer.value is second
    assert [live.source for live in widget.live_layers] == [second]
    assert all(layer.visible for layer in viewer.layers)
    viewer.layers.remove(second)
    qtbot.waitUntil(lambda: not viewer.layers, timeout=5_000)


def test_what_is_told_of_the_file_holds_for_all_channels(viewer, opened, qtbot):
    widget, first, second = opened
    widget.anisotropy.value = 6
    np.testing.assert_allclose([first.scale, second.scale], [(1.2, 0.2, 0.2)] * 2, rtol=1e-6)
    wait_shown(qtbot, widget)
    widget.layer.value = second
    assert widget.anisotropy.value == pytest.approx(6)
    widget.spacings.open()
    widget.spacings.form.sizes["z"].value = "2"
    widget.spacings.form.apply.native.click()
    np.testing.assert_allclose([first.scale, second.scale], [(2, 0.2, 0.2)] * 2, rtol=1e-6)
    assert len(widget.live_layers) == 2
    widget.empty_voxels.choice.value = "none"
    assert empty_values(first) == empty_values(second) == ()


def test_channels_that_napari_splits(in_napari, viewer, qtbot):
    """They come one by one, and the first, which is not additive, is live when the second comes."""
    widget = open_widget(viewer)
    viewer.add_image(BOTH, channel_axis=1, scale=(4, 1, 1), name=["a", "b"])
    qtbot.waitUntil(lambda: len(widget.live_layers) == 2, timeout=20_000)
    widget.show_side("xz")
    wait_shown(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["a", "b", NAMES[2], "a (isotropic)", "b (isotropic)"]
    assert [layer.blending for layer in pictures(viewer)] == ["translucent_no_depth", "additive"]
    live = colours(viewer)
    widget.live_layers.change(comparing=True)
    np.testing.assert_allclose(live.mean((0, 1)), colours(viewer).mean((0, 1)), rtol=0.03)


def test_where_one_channel_cannot_be_shown_the_sources_are(viewer, opened, messages):
    widget, _, second = opened
    widget.live_layers.get(second)._fail("It is broken.")
    assert [layer.visible for layer in viewer.layers] == [True, True, False, False, False]
    assert messages == ["It is broken."]
    assert widget.status.value == "It is broken."  # though the first is chosen
    widget.layer.value = second
    assert widget.indicator.state == "failed"


def test_in_3d_each_channel_is_a_volume(in_napari, viewer, opened, qtbot):
    widget, _, second = opened
    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: sum(layer.visible for layer in viewer.layers) == 2, timeout=20_000)
    shown = [layer for layer in viewer.layers if layer.visible]
    assert [layer.name for layer in shown] == ["cells C0 (isotropic, 3-D)", "cells C1 (isotropic, 3-D)"]
    second.blending = "translucent"
    assert [layer.blending for layer in shown] == ["additive", "translucent"]
    batches = redraws(viewer)
    viewer.dims.ndisplay = 2
    assert len(batches) == 1
    wait_shown(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == NAMES
    assert all(layer.visible for layer in viewer.layers)


def test_what_goes_of_all_channels_goes_at_once(viewer, opened, qtbot):
    """Napari collects all garbage whenever a layer goes, but once where several go together."""
    widget, *sources = opened
    batches = redraws(viewer)
    widget.trust.misfit.native.click()
    assert len(pictures(viewer)) == 4
    assert not batches
    widget.trust.misfit.native.click()
    assert len(pictures(viewer)) == 2
    assert len(batches) == 1
    viewer.layers.selection = set(sources)
    viewer.layers.remove_selected()  # a batch of napari's
    qtbot.waitUntil(lambda: not viewer.layers)
    assert len(batches) == 3


def test_the_result_of_an_export_takes_the_channels_place():
    viewer = ViewerModel()
    first, second = viewer.add_image(BOTH, channel_axis=1, scale=(4, 1, 1))
    job = SimpleNamespace(volume=SimpleNamespace(shape=()))
    result = add_result(viewer, job, second, SECOND, {"scale": (1, 1, 1)})
    assert (result.blending, result.colormap.name) == ("additive", "green")
    assert [layer.visible for layer in (first, second, result)] == [True, False, True]
