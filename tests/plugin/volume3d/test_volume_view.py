"""The 3-D view: most of it needs no window."""

import copy
import gc
import threading

import numpy as np
import pytest
import torch

from tests.plugin.conftest import ramp
from tests.plugin.volume3d.conftest import NAME, SCALE, SHAPE, SLOPES, add_ramp, wait_done

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.utils._proxies import PublicOnlyProxy

from napari_niiv.geometry import Box, Span
from napari_niiv.plugin.common.layers import is_source
from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.plugin.manifest_names import PLUGIN, WIDGET
from napari_niiv.plugin.volume3d import volume_view as module
from napari_niiv.plugin.volume3d.progress import Progress
from napari_niiv.plugin.volume3d.volume_views import VolumeViews
from napari_niiv.reconstruction import region

ALL = 10**9


def assert_exact(view, slopes=SLOPES, offset=0.0, scale=1.0):
    """The layer's values are the ramp's at the same place in the world."""
    layer, source = view.layer, view.source
    data = np.asarray(layer.data)[(0,) * (layer.ndim - 3)]
    lead = (0,) * (layer.ndim - 3)
    inside = 0
    rng = np.random.default_rng(0)
    for index in rng.integers(0, data.shape, (60, 3)):
        world = layer.data_to_world((*lead, *index))
        voxel = np.array(source.world_to_data(world))[-3:]
        if np.all(voxel >= 1) and np.all(voxel <= np.array(source.data.shape[-3:]) - 2):
            inside += 1
            assert data[tuple(index)] == pytest.approx(scale * np.dot(voxel, slopes) + offset, abs=0.05)
    assert inside > 15


def test_it_grows_block_by_block_over_its_source(viewer, source, opened, qtbot):
    view = opened(source)
    assert not source.visible
    steps = []
    view.progress.connect(steps.append)
    last = wait_done(qtbot, view)
    assert [s.done for s in steps] == list(range(last.blocks + 1))
    assert last.blocks == 2 * 2 * 3
    assert steps[0].remaining is None
    assert steps[1].remaining > 0
    assert last.shape == view.layer.data.shape == (48, 32, 40)
    assert view.layer.name == NAME
    assert view.layer in viewer.layers
    assert not is_source(view.layer)
    assert view.layer.visible
    assert_exact(view)


def test_the_controls_of_the_selected_source_draw_the_volume_otherwise(viewer, source, opened, qtbot):
    view = opened(source)
    wait_done(qtbot, view)
    layer = view.layer
    source.rendering, source.attenuation, source.opacity = "attenuated_mip", 0.2, 0.5
    assert (layer.rendering, layer.attenuation, layer.opacity) == ("attenuated_mip", 0.2, 0.5)
    viewer.dims.ndisplay = 2
    source.opacity = 1
    assert layer.opacity == 0.5  # it is gone


def test_placeholder_then_blocks_reach_the_screen(viewer, source, opened, qtbot, interpolating_model, monkeypatch):
    """What napari was given last is what is there in the end."""
    with torch.no_grad():
        for weights in interpolating_model.parameters():
            weights.fill_(0.05)
    drawn = []
    view = opened(source)
    with qtbot.waitSignal(view.progress, timeout=10_000):
        pass
    assert view.layer is not None
    view.layer.events.set_data.connect(lambda e: drawn.append(np.array(view.layer.data)))
    wait_done(qtbot, view)
    qtbot.waitUntil(lambda: bool(drawn) and np.array_equal(drawn[-1], view.layer.data), timeout=5000)
    expected = region.reconstruct_region(module.layer_volume(source), interpolating_model, budget=ALL)
    next(expected)
    placeholder = next(expected).array
    result = placeholder.copy()
    for block in expected:
        result[block.place] = block.array
    np.testing.assert_allclose(view.layer.data, result, atol=1e-3)
    assert np.abs(result - placeholder).max() > 1


@pytest.mark.parametrize(
    "transform",
    [
        {"rotate": (20, 10, 30)},
        {"shear": (0.1, 0.2, 0.3)},
        {"affine": np.array([[0, 1, 0, 9], [1, 0.1, 0, -4], [0, 0.2, -1, 3], [0, 0, 0, 1.0]])},
        {"rotate": (20, 10, 30), "shear": (0.1, 0.2, 0.3), "affine": np.diag([1, 2, 2, 1.0])},
    ],
    ids=["rotate", "shear", "affine", "all"],
)
def test_it_lies_on_its_source_under_any_transform(viewer, opened, qtbot, transform):
    source = viewer.add_image(
        ramp(SHAPE, SLOPES), scale=SCALE, translate=(3, 4, 5), name="ramp", units=("um",) * 3, **transform
    )
    view = opened(source, box=Box(Span(2, 11), Span(3, 30), Span(5, 33)))
    last = wait_done(qtbot, view)
    assert_exact(view)
    edges = [view.layer.data_to_world(p) for p in ([-0.5] * 3, np.array(last.shape) - 0.5)]
    lo, hi = (np.array(source.world_to_data(e)) for e in edges)
    assert (lo <= np.array([1.5, 2.5, 4.5]) + 1e-4).all()
    assert (hi >= np.array([10.5, 29.5, 32.5]) - 1e-4).all()
    assert (hi - lo < np.array([9, 27, 28]) + 4).all()
    assert view.layer.units == source.units


def test_back_to_2d_drops_it_and_restores(viewer, source, opened, qtbot):
    camera, ranges = viewer.scene.camera.zoom, viewer.dims.range
    view = opened(source)
    wait_done(qtbot, view)
    assert viewer.dims.range == ranges
    with qtbot.waitSignal(view.closed, timeout=5000):
        viewer.dims.ndisplay = 2
    assert list(viewer.layers) == [source]
    assert source.visible
    assert (viewer.scene.camera.zoom, viewer.dims.range) == (camera, ranges)
    assert viewer.layers.selection.active is source
    qtbot.waitUntil(lambda: not view.alive, timeout=5000)


def test_a_source_hidden_by_hand_stays_hidden(viewer, source, opened, qtbot):
    source.visible = False
    view = opened(source)
    wait_done(qtbot, view)
    viewer.dims.ndisplay = 2
    assert not source.visible


def test_contrast_is_shared(viewer, source, opened, qtbot):
    view = opened(source)
    wait_done(qtbot, view)
    source.contrast_limits, source.colormap = (10, 100), "magma"
    assert tuple(view.layer.contrast_limits) == (10, 100)
    view.layer.gamma = 0.5
    assert (source.gamma, view.layer.colormap.name) == (0.5, "magma")


def counts(viewer, source):
    emitters = [viewer.dims.events.point, viewer.dims.events.ndisplay, viewer.dims.events.order]
    emitters += [source.events.data, source.events.scale, source.events.contrast_limits, source.events.gamma]
    return [len(e.callbacks) for e in (*emitters, viewer.layers.events.removed, viewer.scene.camera.events.zoom)]


def test_closing_in_the_middle_leaves_nothing(viewer, source, opened, qtbot, monkeypatch, interpolating_model):
    """A thread that works is stopped between two layers of the network."""
    entered, go_on = threading.Event(), threading.Event()
    encode = interpolating_model.encode

    def slow(*args):
        entered.set()
        assert go_on.wait(20)
        return encode(*args)

    monkeypatch.setattr(interpolating_model, "encode", slow)
    before, threads = counts(viewer, source), threading.active_count()
    view = opened(source)
    steps = []
    view.progress.connect(steps.append)
    qtbot.waitUntil(lambda: entered.is_set() and bool(steps), timeout=10_000)
    view.close()
    view.close()
    qtbot.waitUntil(lambda: list(viewer.layers) == [source] and source.visible, timeout=5000)
    go_on.set()
    qtbot.waitUntil(lambda: "napari-niiv volume" not in [t.name for t in threading.enumerate()], timeout=5000)
    assert [s.done for s in steps] == [0]
    del view
    gc.collect()
    assert counts(viewer, source) == before
    assert threading.active_count() <= threads


@pytest.mark.parametrize("which", ["source", "layer"])
def test_deleting_either_layer_ends_it(viewer, source, opened, qtbot, which):
    view = opened(source)
    wait_done(qtbot, view)
    layer = view.layer
    with qtbot.waitSignal(view.closed, timeout=5000):
        viewer.layers.remove(getattr(view, which))
    qtbot.waitUntil(lambda: list(viewer.layers) == ([] if which == "source" else [source]))
    assert layer not in viewer.layers
    qtbot.waitUntil(lambda: not view.alive, timeout=5000)
    viewer.dims.ndisplay = 2  # nothing listens any more


def test_time_points_and_channels(viewer, opened, qtbot):
    times = np.stack([ramp(SHAPE, SLOPES), 100 + 2 * ramp(SHAPE, SLOPES)])
    source = viewer.add_image(times, scale=(1, *SCALE), units=("second", "nm", "nm", "nm"), contrast_limits=(0, 400))
    viewer.dims.order = (0, 2, 1, 3)
    viewer.dims.set_current_step(0, 0)
    view = opened(source)
    wait_done(qtbot, view)
    assert view.layer.data.shape == (2, 48, 32, 40)
    assert viewer.dims.nsteps[0] == 2
    assert_exact(view)
    layer = view.layer
    wait_done(qtbot, view, lambda: viewer.dims.set_current_step(0, 1))
    assert view.layer is layer
    assert_exact(view, scale=2, offset=100)
    with qtbot.assertNotEmitted(view.progress, wait=50):
        viewer.dims.set_current_step(2, 20)  # no other volume
    # time as an axis of the picture is nothing to reconstruct
    viewer.dims.order = (1, 0, 2, 3)
    assert list(viewer.layers) == [source]
    assert source.visible
    wait_done(qtbot, view, lambda: setattr(viewer.dims, "order", (0, 2, 1, 3)))
    assert_exact(view, scale=2, offset=100)
    assert not source.visible


def test_a_source_that_changes_is_reconstructed_anew(viewer, source, opened, qtbot, interpolating_model):
    view = opened(source, box=Box(Span(0, 12), Span(20, 32), Span(0, 40)))
    wait_done(qtbot, view)
    wait_done(qtbot, view, lambda: setattr(source, "scale", (8, 1, 1)))
    assert view.layer.data.shape == (96, 12, 40)
    assert_exact(view)
    smaller = ramp((10, 16, 24), SLOPES)
    wait_done(qtbot, view, lambda: setattr(source, "data", smaller))
    assert view.layer.data.shape == (80, 16, 24)
    assert_exact(view)
    wait_done(qtbot, view, lambda: setattr(source, "data", smaller.astype(np.uint16)))
    assert view.layer.data.dtype == np.uint16
    other = copy.deepcopy(interpolating_model)
    wait_done(qtbot, view, lambda: view.apply(LiveSettings(other)))
    wait_done(qtbot, view, lambda: view.apply(LiveSettings(other, finest=2)))
    assert view.layer.data.shape == (40, 8, 12)


@pytest.mark.parametrize("dtype", ["u1", "i2", "?", "f8"])
def test_any_type_is_drawn(viewer, opened, qtbot, dtype):
    data = (ramp(SHAPE, SLOPES) > 60) if dtype == "?" else ramp(SHAPE, (1, 1, 1)).astype(dtype)
    view = opened(viewer.add_image(data, scale=SCALE, contrast_limits=(0, 1)))
    wait_done(qtbot, view)
    assert view.layer.data.dtype in (np.uint8, np.float32)
    assert np.ptp(np.asarray(view.layer.data)) > 0


def test_a_multiscale_source_is_read_at_full_resolution(viewer, opened, qtbot):
    data = ramp(SHAPE, SLOPES)
    source = viewer.add_image(
        [data, data[:, ::2, ::2]], scale=SCALE, name="ramp", multiscale=True, contrast_limits=(0, 150)
    )
    view = opened(source)
    wait_done(qtbot, view)
    assert view.layer.data.shape == (48, 32, 40)
    values, indices = np.asarray(view.layer.data), np.array([20, 10, 10])
    voxel = source.world_to_data(view.layer.data_to_world(indices))
    assert values[tuple(indices)] == pytest.approx(np.dot(voxel, SLOPES), abs=0.05)


class Failing:
    """An array whose file went away."""

    shape, dtype, ndim = SHAPE, np.dtype(np.float32), 3

    def __init__(self):
        self.gone = False

    def __getitem__(self, key):
        if self.gone:
            raise OSError("no such file")
        return ramp(SHAPE, SLOPES)[key]


def test_a_source_that_cannot_be_read_is_one_sentence(viewer, opened, qtbot):
    array = Failing()
    source = viewer.add_image(array, scale=SCALE, name="ramp", contrast_limits=(0, 150))
    array.gone = True
    sentences = []
    view = opened(source)
    view.failed.connect(sentences.append)
    qtbot.waitUntil(lambda: bool(sentences), timeout=10_000)
    assert len(sentences) == 1
    assert "'ramp' cannot be read (no such file)" in sentences[0]
    assert list(viewer.layers) == [source]
    array.gone = False
    wait_done(qtbot, view, lambda: setattr(source, "scale", (3, 1, 1)))
    assert_exact(view)
    viewer.dims.ndisplay = 2
    assert list(viewer.layers) == [source]
    assert source.visible


def test_the_line_for_the_user():
    about = {"shape": (9, 9, 9), "pixel_size": 4.0, "unit": "nm"}
    assert Progress(0, 48, None, **about).text == "3-D · pixel 4 nm · restoring… 0 %"
    assert Progress(12, 48, 19.8, **about).text == "3-D · pixel 4 nm · restoring… 25 % · 20 s left"
    assert "restoring… 99 %" in Progress(999, 1000, 0, **about).text
    assert Progress(48, 48, 0, **about).text.endswith(" · refined from both planes")
    assert "interpolated" in Progress(0, 0, None, **about).text


# with the widget, in a real (virtual) window


@pytest.fixture
def viewer_and_dock(lent_viewer, qtbot):
    viewer = lent_viewer
    viewer.window.resize(700, 500)
    source = add_ramp(viewer)
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    qtbot.waitUntil(lambda: "refined" in widget.status.value, timeout=30_000)
    return viewer, dock, widget, source


def test_the_widget_follows_the_viewer(viewer_and_dock, qtbot):
    viewer, _, widget, source = viewer_and_dock
    live = widget.live.layer
    viewer.dims.ndisplay = 3
    assert not source.visible
    qtbot.waitUntil(lambda: widget.status.value.startswith("3-D · pixel 1 voxel units · refined"), timeout=30_000)
    assert [layer.name for layer in viewer.layers if layer.visible] == [NAME]
    viewer.dims.ndisplay = 2
    assert widget.volume_views.get(source) is None
    qtbot.waitUntil(lambda: live.visible and "refined" in widget.status.value, timeout=20_000)
    qtbot.waitUntil(lambda: list(viewer.layers) == [source, live], timeout=5000)
    assert source.visible
    viewer.dims.ndisplay = 3
    widget.anisotropy.value = 6  # begins anew
    qtbot.waitUntil(lambda: widget.volume_views.get(source).layer is not None, timeout=20_000)
    qtbot.waitUntil(lambda: widget.volume_views.get(source).layer.data.shape == (72, 32, 40), timeout=20_000)
    widget.on.value = False
    assert widget.volume_views.get(source) is None
    qtbot.waitUntil(lambda: list(viewer.layers) == [source] and source.visible, timeout=5000)
    widget.on.value = True
    qtbot.waitUntil(lambda: "3-D" in widget.status.value and "refined" in widget.status.value, timeout=20_000)
    other = viewer.add_image(ramp(SHAPE, SLOPES), scale=SCALE, name="other", contrast_limits=(0, 150))
    widget.layer.value = other
    qtbot.waitUntil(lambda: "other (isotropic, 3-D)" in viewer.layers, timeout=20_000)
    assert NAME in viewer.layers  # several may be live at once
    assert (source.visible, other.visible) == (False, False)
    qtbot.waitUntil(lambda: "3-D" in widget.status.value and "refined" in widget.status.value, timeout=20_000)
    assert widget.indicator.state == "refined"
    widget.output_scale.value = 0.5
    widget.match_zoom.value = False
    qtbot.waitUntil(lambda: widget.volume_views.get(other).layer.data.shape == (24, 16, 20), timeout=20_000)
    viewer.layers.remove(other)
    assert widget.volume_views.get(other) is None
    viewer.dims.ndisplay = 2
    qtbot.waitUntil(lambda: list(viewer.layers) == [source, widget.live_layers.get(source).layer], timeout=5000)


def test_another_volume_that_comes_in_3d_is_shown_whole_and_not_cut(viewer_and_dock, qtbot, monkeypatch):
    """Where the camera was in 2-D concerns the one before."""
    viewer, _, widget, source = viewer_and_dock
    viewer.scene.camera.zoom = 400  # a corner of it
    viewer.dims.ndisplay = 3
    widget.volume_views.cut.share.value = 40
    viewer.layers.remove(source)
    monkeypatch.setattr(module, "default_budget", lambda model: 4000)
    other = viewer.add_image(ramp(SHAPE, SLOPES), scale=SCALE, name="other", contrast_limits=(0, 150))
    qtbot.waitUntil(lambda: widget.volume_views.get(other) is not None, timeout=20_000)
    view = widget.volume_views.get(other)
    assert view.box is None
    wait_done(qtbot, view)
    assert view.layer.data.size <= 4000
    np.testing.assert_allclose(view.layer.extent.world, other.extent.world, atol=8)
    assert widget.volume_views.cut.share.value == 0


@pytest.mark.parametrize("eye", ["source", "picture"])
def test_a_volume_that_is_hidden_comes_when_its_eye_is_opened(viewer_and_dock, qtbot, eye):
    viewer, _, widget, source = viewer_and_dock
    picture = widget.live.layer
    source.visible = picture.visible = False
    for _ in range(2):
        viewer.dims.ndisplay = 3
        assert widget.volume_views.get(source) is None
        assert not any(layer.visible for layer in viewer.layers)
        viewer.dims.ndisplay = 2
    viewer.dims.ndisplay = 3
    (source if eye == "source" else picture).visible = True
    qtbot.waitUntil(lambda: "3-D" in widget.status.value and "refined" in widget.status.value, timeout=20_000)
    assert [layer.name for layer in viewer.layers if layer.visible] == [NAME]
    viewer.layers.remove(NAME)  # which is no opening of an eye
    qtbot.waitUntil(lambda: NAME not in viewer.layers and source.visible is (eye == "source"), timeout=5000)
    assert widget.volume_views.get(source) is None
    viewer.dims.ndisplay = 2
    picture.visible = True
    source.visible = False
    viewer.dims.ndisplay = 3  # the picture was to be seen
    assert widget.volume_views.get(source) is not None


def test_without_a_live_reconstruction_3d_is_napari_s_own(viewer_and_dock):
    viewer, _, widget, source = viewer_and_dock
    widget.on.value = False
    viewer.dims.ndisplay = 3
    assert widget.volume_views.get(source) is None
    assert source.visible
    assert list(viewer.layers) == [source]


def test_closing_the_dock_in_3d_stops_everything(viewer_and_dock, qtbot):
    viewer, dock, widget, source = viewer_and_dock
    viewer.dims.ndisplay = 3
    view = widget.volume_views.get(source)
    with qtbot.waitSignal(view.closed, timeout=5000):
        viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: not view.alive and source.visible, timeout=5000)
    assert list(viewer.layers) == [source]
    viewer.dims.ndisplay = 2
    viewer.dims.ndisplay = 3  # nothing listens any more
    assert source.visible


def test_closing_the_window_in_3d_reads_nothing_more(viewer_and_dock, qtbot):
    """Napari would show the source, and for that read all of it, which may be more than there is time for."""
    viewer, _, widget, source = viewer_and_dock
    viewer.dims.ndisplay = 3
    view = widget.volume_views.get(source)
    qtbot.waitUntil(lambda: view.layer is not None, timeout=10_000)
    with qtbot.waitSignal(view.closed, timeout=5000):
        viewer.close()
    qtbot.waitUntil(lambda: not view.alive, timeout=5000)
    assert not source.visible


def test_what_goes_after_the_widget_is_deleted_in_the_viewers_own_context():
    """The callbacks that see to it stay, and do not become more."""
    viewer = ViewerModel()
    emitters = viewer.layers.events.removed, viewer.layers.events.end_batch
    before = [len(emitter.callbacks) for emitter in emitters]
    for _ in range(2):
        proxy = PublicOnlyProxy(viewer)  # as napari gives it to plugins
        VolumeViews(proxy, LiveLayers(proxy)).close()
        assert [len(emitter.callbacks) for emitter in emitters] == [n + 1 for n in before]
