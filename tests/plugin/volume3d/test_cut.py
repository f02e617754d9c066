"""A volume cut open in 3-D: where the plane is, against the layer's own transforms and against pixels."""

import time

import numpy as np
import pytest

from tests.plugin.conftest import ramp
from tests.plugin.volume3d.conftest import SCALE, SHAPE, SLOPES, wait_done

pytest.importorskip("napari")

from napari.layers.utils.plane import ClippingPlane

from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.plugin.manifest_names import PLUGIN, WIDGET
from napari_niiv.plugin.volume3d.cut import Displayed, cut_position
from napari_niiv.plugin.volume3d.look import look_of
from napari_niiv.plugin.volume3d.volume_layer import overlay

TRANSFORMS = {
    "scaled": {"scale": (4, 1, 1), "translate": (30, -4, 5)},
    "rotated": {"scale": (4, 1, 2), "rotate": (20, 10, 30)},
    "sheared": {"shear": (0.1, 0.2, 0.3), "translate": (3, 4, 5)},
    "mirrored": {"affine": np.array([[0, 1, 0, 9], [1, 0.1, 0, -4], [0, 0.2, -1, 3], [0, 0, 0, 1.0]])},
    "all": {"scale": (4, 1, 1), "rotate": (20, 10, 30), "shear": (0.1, 0.2, 0.3), "affine": np.diag([1, 2, 2, 1.0])},
}


def planes(layer):
    """Those that are on, as arrays of position and normal."""
    return [p.as_array() for p in layer.experimental_clipping_planes if p.enabled]


def stays(viewer, layer, voxels):
    """Which voxels napari draws: those whose place in the displayed world is on the side of the normal of all planes.

    What vispy takes for the place of a voxel is half a voxel further along each axis; `test_pixels` is the witness.
    """
    displayed = list(viewer.dims.displayed)
    world = np.array([layer.data_to_world(voxel + 0.5) for voxel in voxels])[:, displayed]
    return np.all([(world - position) @ normal >= 0 for position, normal in planes(layer)], axis=0)


def test_where_an_axis_is_cut():
    assert [cut_position(10, share, True) for share in (0, 0.5, 1)] == [-0.5, 3.5, 7.5]
    assert [cut_position(10, share, False) for share in (0, 0.5, 1)] == [9.5, 5.5, 1.5]
    assert cut_position(1, 1.0, True) == -0.5  # what is one voxel thick stays


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)], ids=str)
@pytest.mark.parametrize("transform", list(TRANSFORMS))
def test_the_voxels_that_stay(viewer, transform, order):
    """Whatever the transforms: those beyond the same index along the axis."""
    shape = (20, 12, 16)
    source = viewer.add_image(np.zeros(shape, np.uint8), **TRANSFORMS[transform])
    layer = overlay(source, np.zeros(shape, np.uint8), TRANSFORMS[transform], look_of(source, True))
    viewer.layers.append(layer)
    viewer.dims.order = order
    viewer.dims.ndisplay = 3
    voxels = np.random.default_rng(0).integers(0, shape, (300, 3)).astype(float)
    for number, axis in enumerate("zyx"):
        for share in (0.3, 1.0):
            for from_start in (True, False):
                layer.cut_at(Displayed.of(viewer, layer).plane(axis, share, from_start))
                kept = 2 + (1 - share) * (shape[number] - 2)
                index = voxels[:, number] if from_start else shape[number] - 1 - voxels[:, number]
                expected = index >= shape[number] - kept - 0.5
                np.testing.assert_array_equal(stays(viewer, layer, voxels), expected)
    assert len(layer.experimental_clipping_planes) == 1


@pytest.mark.parametrize("transform", list(TRANSFORMS))
def test_the_side_that_faces_the_camera_goes(viewer, transform):
    """Of two opposite faces one is nearer to the camera: where the angles are right, so it is with any two corners."""
    layer = viewer.add_image(np.zeros((8, 8, 8), np.uint8), **TRANSFORMS[transform])
    viewer.dims.ndisplay = 3
    camera, rng = viewer.scene.camera, np.random.default_rng(1)
    for _ in range(20):
        camera.angles = tuple(rng.uniform(-80, 80, 3))
        view = np.array(camera.view_direction)
        for number, axis in enumerate("zyx"):
            across = [np.asarray(layer.data_to_world(e)) - layer.data_to_world((0, 0, 0)) for e in np.eye(3)]
            beside = [v for k, v in enumerate(across) if k != number]
            outwards = np.cross(*beside)  # of the face at the end
            outwards *= np.sign(outwards @ across[number])
            assert Displayed.of(viewer, layer).starts_towards(axis, view) == (outwards @ view > 0)


def test_it_follows_settings_camera_and_axes(viewer, source, opened, qtbot, interpolating_model):
    def set_cut(**cut):
        view.apply(LiveSettings(interpolating_model, **cut))

    view = opened(source)
    wait_done(qtbot, view)
    layer = view.layer
    with qtbot.assertNotEmitted(view.progress, wait=50):  # nothing is reconstructed for a cut
        set_cut(cut=0.5, cut_axis="z")
        assert len(planes(layer)) == 1
        voxels = np.argwhere(np.ones((48, 32, 40)))[::97].astype(float)
        side = stays(viewer, layer, voxels)
        np.testing.assert_array_equal(side, voxels[:, 0] >= 22.5)  # seen edge-on, where it could be either side
        viewer.dims.order = (0, 1, 2)
        np.testing.assert_array_equal(stays(viewer, layer, voxels), side)
        viewer.scene.camera.angles = (170, 10, 5)
        np.testing.assert_array_equal(stays(viewer, layer, voxels), side)  # it stays while the camera turns
        away = np.array(viewer.scene.camera.view_direction)[viewer.dims.displayed.index(0)]
        set_cut(cut=0.25, cut_axis="z")
        kept = voxels[:, 0] >= 0.25 * 46 - 0.5 if away > 0 else voxels[:, 0] <= 47 - 0.25 * 46 + 0.5
        np.testing.assert_array_equal(stays(viewer, layer, voxels), kept)
        set_cut(cut=0.0)
        assert planes(layer) == []
    set_cut(cut=0.5, cut_axis="x")
    wait_done(qtbot, view, lambda: setattr(source, "scale", (8, 1, 1)))
    assert view.layer.data.shape == (96, 32, 40)
    assert [bool(s) for s in stays(viewer, view.layer, np.array([(0, 0, 0), (95, 31, 39)]))].count(True) == 1


def test_planes_of_the_user_stay(viewer, source, opened, qtbot, interpolating_model):
    view = opened(source)
    wait_done(qtbot, view)
    theirs = ClippingPlane(position=(1, 2, 3), normal=(1, 0, 0))
    view.layer.experimental_clipping_planes.append(theirs)
    for cut in (0.1, 0.2, 0.0):
        view.apply(LiveSettings(interpolating_model, cut=cut))
    assert [p for p in view.layer.experimental_clipping_planes if p.enabled] == [theirs]
    view.layer.experimental_clipping_planes.clear()
    view.apply(LiveSettings(interpolating_model, cut=0.3))
    assert len(planes(view.layer)) == 1


def test_volumes_with_time_are_cut_along_their_own_axes(viewer, opened, qtbot, interpolating_model):
    source = viewer.add_image(np.stack([ramp(SHAPE, SLOPES)] * 2), scale=(1, *SCALE), contrast_limits=(0, 150))
    view = opened(source)
    wait_done(qtbot, view)
    view.apply(LiveSettings(interpolating_model, cut=0.5, cut_axis="y"))
    ((position, normal),) = planes(view.layer)
    np.testing.assert_allclose(np.abs(normal), (0, 1, 0), atol=1e-12)
    assert position[1] == pytest.approx(15 if normal[1] > 0 else 17)  # voxel 14.5 or 16.5, where vispy has them


# in a real (virtual) window


@pytest.mark.parametrize(("axis", "from_start"), [("y", True), ("y", False), ("x", True)])
def test_pixels(lent_viewer, axis, from_start):
    """A block of ten voxels, looked at straight ahead: six are left of those along the axis, to a fifth of a voxel."""
    viewer = lent_viewer
    viewer.window.resize(700, 500)
    place = {"scale": (3, 2, 2), "translate": (50, -20, 7)}
    source = viewer.add_image(np.full((10, 10, 10), 200, np.uint8), contrast_limits=(0, 200), visible=False, **place)
    layer = overlay(source, source.data, place, look_of(source, True))
    viewer.layers.append(layer)
    viewer.dims.ndisplay = 3
    viewer.reset_view()
    picture = viewer.screenshot(flash=False)[..., 0] > 100
    rows, columns = picture.any(1).sum(), picture.any(0).sum()
    layer.cut_at(Displayed.of(viewer, layer).plane(axis, 0.5, from_start))
    picture = viewer.screenshot(flash=False)[..., 0] > 100
    left = picture.any(1).sum() / rows, picture.any(0).sum() / columns
    assert left == pytest.approx((0.6, 1) if axis == "y" else (1, 0.6), abs=0.02)


@pytest.fixture
def widget(lent_viewer, qtbot):
    viewer = lent_viewer
    viewer.window.resize(700, 500)
    viewer.add_image(ramp(SHAPE, SLOPES), scale=SCALE, name="ramp", contrast_limits=(0, 150))
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    qtbot.waitUntil(lambda: "refined" in widget.status.value or "measured" in widget.status.value, timeout=30_000)
    return widget


def test_the_slider(widget, qtbot):
    """It is there in 3-D only, moves the plane, and follows what a program sets; layers may go meanwhile."""
    viewer, control, source = widget.viewer, widget.volume_views.cut, widget.layer.value
    (line,) = control.rows
    assert not line.shown
    viewer.dims.ndisplay = 3
    assert line.shown
    assert control.share.visible
    assert "reading" in widget.status.value
    assert widget.indicator.state == "waiting"
    control.share.value = 20  # before there is a volume
    qtbot.waitUntil(lambda: "refined" in widget.status.value, timeout=30_000)
    view = widget.volume_views.get(source)
    assert len(planes(view.layer)) == 1
    before = planes(view.layer)[0]
    control.share.value, control.axis.value = 70, "y"
    assert (widget.live_layers.settings.cut, widget.live_layers.settings.cut_axis) == (0.7, "y")
    assert not np.allclose(planes(view.layer)[0], before)
    seconds = []
    for value in range(1, 12):
        began = time.perf_counter()
        control.share.value = value
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.02  # on this thread, before the window is drawn anew
    widget.live_layers.change(cut=0.0)
    assert control.share.value == 0
    assert planes(view.layer) == []
    widget.live_layers.change(finest=2.0)
    assert "reading" in widget.status.value  # begins anew
    viewer.dims.ndisplay = 2
    assert not line.shown
    for ndisplay in (3, 2, 3):  # in a hurry
        viewer.dims.ndisplay = ndisplay
    control.share.value = 50
    qtbot.waitUntil(lambda: widget.volume_views.get(source).layer is not None, timeout=20_000)
    layer = widget.volume_views.get(source).layer
    assert len(planes(layer)) == 1
    viewer.layers.remove(layer)
    control.share.value = 60
    assert widget.volume_views.get(source) is None
    assert not line.shown
    viewer.dims.ndisplay = 2
    viewer.dims.ndisplay = 3
    viewer.layers.remove(source)
    control.share.value = 10
    assert not line.shown
