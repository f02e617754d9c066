"""The voxel size is asked for once, and remembered for the file."""

import numpy as np
import pytest
import tifffile

from tests.plugin.test_widget import DATA, SHAPE, drop, open_widget, wait_status

pytest.importorskip("napari")

from napari_niiv.io.remembered import Correction, recall, remember


@pytest.fixture
def unsaid(tmp_path):
    path = tmp_path / "unsaid.tif"
    tifffile.imwrite(path, DATA, photometric="minisblack")
    return path


def asked(qtbot, widget):
    qtbot.waitUntil(lambda: widget.spacings.form.question.native.isVisible(), timeout=20_000)
    return widget.spacings.form


def settled(qtbot, widget, layer):
    """What is to be found out of a layer's file is."""
    qtbot.waitUntil(lambda: layer in widget.spacings._seen, timeout=20_000)
    wait_status(qtbot, widget, "type the anisotropy")


def say(form, sizes, unit):
    for edit, size in zip(form.sizes.values(), sizes, strict=True):
        edit.value = size
    form.unit.value = unit


@pytest.mark.parametrize("opened", ["by napari", "dropped"])
def test_asked_once_and_remembered(in_napari, viewer, qtbot, messages, unsaid, opened):
    def open_file():
        if opened == "dropped":
            drop(widget, unsaid)
            qtbot.waitUntil(lambda: len(viewer.layers) > 0, timeout=20_000)
        else:
            viewer.open(unsaid, plugin="napari")
        return viewer.layers[0]

    widget = open_widget(viewer)
    layer = open_file()
    form = asked(qtbot, widget)
    assert "does not say its z step" in form.question.value
    assert [edit.value for edit in form.sizes.values()] == ["", "1", "1"]
    assert not form.never.native.isHidden()
    viewer.dims.order = (1, 0, 2)
    viewer.dims.point = (4, 33, 20)
    say(form, ("0,9", "0.2", ".3"), "micrometer")
    form.apply.native.click()
    assert not form.question.native.isVisible()
    assert viewer.dims.current_step[:3] == (4, 33, 20)  # the slices that were in view
    wait_status(qtbot, widget, "· pixel")
    np.testing.assert_allclose(layer.scale, (0.9, 0.2, 0.3))
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    qtbot.waitUntil(lambda: recall(unsaid) == Correction((0.9, 0.2, 0.3), "micrometer"))
    assert messages == []

    viewer.layers.clear()
    layer = open_file()
    qtbot.waitUntil(lambda: bool(messages), timeout=20_000)
    wait_status(qtbot, widget, "· pixel")
    assert not form.question.native.isVisible()
    np.testing.assert_allclose(layer.scale, (0.9, 0.2, 0.3))
    (message,) = messages
    assert "voxel size 0.9 × 0.2 × 0.3 µm" in message
    assert "as you have set it" in message
    assert "Voxel size and axes…" in message


def test_the_question_does_not_widen_the_dock(in_napari, viewer, qtbot, messages, unsaid):
    widget = open_widget(viewer)
    width = widget.native.minimumSizeHint().width()
    qtbot.waitUntil(lambda: widget.native.width() == width)
    viewer.open(unsaid, plugin="napari")
    form = asked(qtbot, widget)
    qtbot.waitUntil(lambda: form.apply.native.isVisible())
    assert [box.native.isVisible() for box in form.axes] == [True] * 3 + [False] * 3
    assert (widget.native.width(), widget.native.minimumSizeHint().width()) == (width, width)
    form.later.native.click()
    widget.spacings.button.native.click()  # by hand
    assert [box.native.isVisible() for box in form.axes] == [True] * 3 + [False] * 3
    assert not form.never.native.isVisible()
    assert (widget.native.width(), widget.native.minimumSizeHint().width()) == (width, width)


def test_the_question_waits_with_its_layer(viewer, qtbot, messages, unsaid):
    widget = open_widget(viewer)
    viewer.open(unsaid, plugin="napari")
    form = asked(qtbot, widget)
    other = viewer.add_image(DATA, scale=(4, 1, 1), name="other")
    widget.layer.value = other
    assert not form.question.native.isVisible()
    widget.layer.value = viewer.layers["unsaid"]
    assert form.question.native.isVisible()
    form.later.native.click()
    widget.layer.value = other
    widget.layer.value = viewer.layers["unsaid"]
    assert not form.question.native.isVisible()
    assert recall(unsaid) is None


def test_never_is_never(viewer, qtbot, messages, unsaid):
    widget = open_widget(viewer)
    viewer.open(unsaid, plugin="napari")
    form = asked(qtbot, widget)
    form.never.native.click()
    assert not form.question.native.isVisible()
    qtbot.waitUntil(lambda: recall(unsaid) == Correction(silent=True))
    viewer.layers.clear()
    (layer,) = viewer.open(unsaid, plugin="napari")
    settled(qtbot, widget, layer)
    assert not form.question.native.isVisible()
    widget.spacings.button.native.click()  # by hand it opens all the same
    assert form.question.native.isVisible()
    assert form.never.native.isHidden()


@pytest.mark.parametrize(
    ("resolution", "metadata", "problem", "filled"),
    [
        ((5, 5), {"unit": "um", "spacing": 8.0}, "40 times its pixel size", ["8", "0.2", "0.2"]),
        ((5, 5), {"unit": "um"}, "does not say its z step", ["", "0.2", "0.2"]),
        ((72, 72), {"unit": "inch", "spacing": 1 / 72}, "in inches", ["", "1", "1"]),
        ((5, 5), {"unit": "um", "spacing": -1.0}, "z step is -1", ["", "0.2", "0.2"]),
    ],
)
@pytest.mark.parametrize("opened", ["by napari", "dropped"])
def test_absurd_sizes(viewer, qtbot, messages, tmp_path, resolution, metadata, problem, filled, opened):
    path = tmp_path / "absurd.tif"
    tifffile.imwrite(path, DATA, imagej=True, resolution=resolution, metadata={"axes": "ZYX", **metadata})
    widget = open_widget(viewer)
    if opened == "dropped":
        drop(widget, path)
    else:
        viewer.open(path, plugin="napari")
    form = asked(qtbot, widget)
    assert problem in form.question.value
    assert [edit.value for edit in form.sizes.values()] == filled


@pytest.mark.parametrize("bad", ["", "0", "-1", "nan", "inf", "four"])
def test_what_is_no_size_is_one_sentence_and_the_form_stays(viewer, qtbot, messages, unsaid, bad):
    widget = open_widget(viewer)
    viewer.open(unsaid, plugin="napari")
    form = asked(qtbot, widget)
    say(form, (bad, "1", "1"), "pixel")
    form.apply.native.click()
    assert any("size along z must be a positive number" in m for m in messages)
    assert form.question.native.isVisible()
    np.testing.assert_allclose(viewer.layers[0].scale, 1)
    form.sizes["z"].value = "500"
    form.apply.native.click()
    assert "The z step would be 500 times the pixel size, and at most 16 times can be restored" in messages[-1]
    np.testing.assert_allclose(viewer.layers[0].scale, 1)
    form.sizes["z"].value = "5"
    form.apply.native.click()
    np.testing.assert_allclose(viewer.layers[0].scale, (5, 1, 1))
    wait_status(qtbot, widget, "as measured")
    said = widget.status.value
    widget.spacings.open()
    form.sizes["z"].value = "500"
    form.apply.native.click()
    assert "The z step would be 500 times" in messages[-1]
    form.later.native.click()
    assert (widget.status.value, widget.indicator.state) == (said, "measured")


def test_axes_are_corrected_and_remembered(viewer, qtbot, messages, tmp_path):
    path = tmp_path / "xyz.npy"
    np.save(path, DATA.T)
    widget = open_widget(viewer)
    viewer.open(path, plugin="napari")
    form = asked(qtbot, widget)
    say(form, ("1", "2", "8"), "nanometer")  # as if the file had said so of its third axis
    form.axes[0].value = "x"
    assert [box.value for box in form.axes[:3]] == ["x", "y", "z"]
    assert [edit.value for edit in form.sizes.values()] == ["8", "2", "1"]
    form.apply.native.click()
    layer = viewer.layers["xyz"]
    assert layer.data.shape == SHAPE
    np.testing.assert_array_equal(layer.data, DATA)
    np.testing.assert_allclose(layer.scale, (8, 2, 1))
    wait_status(qtbot, widget, "· pixel")
    qtbot.waitUntil(lambda: recall(path) == Correction((8, 2, 1), "nanometer", "xyz"))

    for opened in ("by napari", "dropped"):
        viewer.layers.clear()
        wait_status(qtbot, widget, "Choose a layer")
        messages.clear()
        if opened == "dropped":
            drop(widget, path)
        else:
            viewer.open(path, plugin="napari")
        wait_status(qtbot, widget, "· pixel")
        layer = next(layer for layer in viewer.layers if layer.name == "xyz")
        assert layer.data.shape == SHAPE
        np.testing.assert_array_equal(layer.data, DATA)
        np.testing.assert_allclose(layer.scale, (8, 2, 1))
        assert any("axes XYZ" in m for m in messages)


def test_a_correction_of_a_correction(viewer, qtbot, messages, tmp_path):
    """A live layer, four axes, turned twice: what is remembered are the axes of the file."""
    path = tmp_path / "stack.tif"
    data = np.stack([DATA, DATA + 1])
    metadata = {"axes": "TZYX", "PhysicalSizeZ": 4.0, "PhysicalSizeY": 1.0, "PhysicalSizeX": 1.0}
    tifffile.imwrite(path, data, ome=True, metadata=metadata)
    widget = open_widget(viewer)
    drop(widget, path)
    wait_status(qtbot, widget, "· pixel")
    form = widget.spacings.form
    for number, letter in ((0, "c"), (1, "x")):
        widget.spacings.button.native.click()
        assert [box.native.isHidden() for box in form.axes] == [False] * 4 + [True] * 2
        form.axes[number].value = letter
        form.apply.native.click()
        wait_status(qtbot, widget, "ixel")
    layer = viewer.layers["stack"]
    assert layer.axis_labels == ("c", "z", "y", "x")
    np.testing.assert_array_equal(layer.data, data.transpose(0, 3, 2, 1))
    np.testing.assert_allclose(layer.scale, (1, 1, 1, 4))
    qtbot.waitUntil(lambda: (recall(path) or Correction()).axes == "cxyz")
    assert widget.live is None  # its z step is finer than its pixels now


def test_by_hand_without_a_file(viewer, qtbot, messages):
    layer = viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    widget = open_widget(viewer)
    wait_status(qtbot, widget, "· pixel")
    form = widget.spacings.form
    widget.spacings.button.native.click()
    assert "no file" in form.question.value
    assert [edit.value for edit in form.sizes.values()] == ["4", "1", "1"]
    widget.anisotropy.value = 5
    assert form.sizes["z"].value == "5"
    form.sizes["z"].value = "7"
    form.apply.native.click()
    np.testing.assert_allclose(layer.scale, (7, 1, 1))
    widget.spacings.button.native.click()
    widget.spacings.button.native.click()
    assert not form.question.native.isVisible()
    assert messages == []


def test_small_voxels_are_shown_in_nanometres_as_elsewhere(viewer, qtbot, messages):
    """The layer keeps its unit, as other layers of the scene have it; unless another is chosen."""
    layer = viewer.add_image(DATA, scale=(0.032, 0.008, 0.008), name="stack", units="micrometer")
    widget = open_widget(viewer)
    wait_status(qtbot, widget, "8 nm")
    form = widget.spacings.form
    widget.spacings.button.native.click()
    assert [edit.value for edit in form.sizes.values()] == ["32", "8", "8"]
    assert form.unit.value == "nanometer"
    form.sizes["z"].value = "40"
    form.apply.native.click()
    np.testing.assert_allclose(layer.scale, (0.04, 0.008, 0.008))
    assert str(layer.units[-1]) == "micrometer"
    widget.spacings.button.native.click()
    form.unit.value = "micrometer"  # the numbers were right, and their unit was not
    form.apply.native.click()
    np.testing.assert_allclose(layer.scale, (40, 8, 8))
    assert messages == []


def test_an_anisotropy_that_is_typed_is_remembered(viewer, qtbot, messages, unsaid):
    widget = open_widget(viewer)
    viewer.open(unsaid, plugin="napari")
    asked(qtbot, widget)
    for factor in (3, 4, 5):  # as by the arrows
        widget.anisotropy.value = factor
    qtbot.waitUntil(lambda: recall(unsaid) == Correction((5.0, 1.0, 1.0), "pixel"), timeout=10_000)
    assert messages == []  # of a file without a voxel size there is none to be told
    widget.anisotropy.value = 6
    viewer.add_image(DATA, scale=(4, 1, 1), name="another")  # at once
    widget.layer.value = viewer.layers["another"]
    qtbot.waitUntil(lambda: recall(unsaid) == Correction((6.0, 1.0, 1.0), "pixel"), timeout=10_000)


def test_what_cannot_be_remembered_is_told_and_holds_for_now(viewer, qtbot, messages, unsaid, monkeypatch):
    (unsaid.parent / "taken").touch()
    monkeypatch.setenv("NAPARI_NIIV_STATE", str(unsaid.parent / "taken"))
    widget = open_widget(viewer)
    viewer.open(unsaid, plugin="napari")
    form = asked(qtbot, widget)
    form.sizes["z"].value = "5"
    form.apply.native.click()
    qtbot.waitUntil(lambda: any("cannot be remembered" in m for m in messages), timeout=10_000)
    np.testing.assert_allclose(viewer.layers[0].scale, (5, 1, 1))


def test_remembered_axes_that_no_longer_fit_are_left_out(viewer, qtbot, messages, unsaid):
    remember(unsaid, Correction((5.0, 1.0, 1.0), "pixel", "czyx"))
    widget = open_widget(viewer)
    viewer.open(unsaid, plugin="napari")
    wait_status(qtbot, widget, "· pixel")
    assert viewer.layers["unsaid"].data.shape == SHAPE
    np.testing.assert_allclose(viewer.layers["unsaid"].scale, (5, 1, 1))
    assert any("voxel size" in m and "axes C" not in m for m in messages)


@pytest.mark.parametrize("axes", ["ZCYX", "TZCYX"])
def test_axes_in_the_order_of_fiji_are_put_in_order(viewer, qtbot, messages, tmp_path, axes):
    stack = np.stack([DATA, 2 * DATA], axis=1)
    stack = stack if axes == "ZCYX" else np.stack([stack, stack + 1, stack + 2])
    path = tmp_path / "fiji.tif"
    spacing = {"axes": axes, "spacing": 0.8, "unit": "um"}
    tifffile.imwrite(path, stack, imagej=True, metadata=spacing, resolution=(1 / 0.2, 1 / 0.2))
    viewer.open(path, plugin="napari")
    layer = viewer.layers[0]
    assert layer.data.shape == stack.shape
    viewer.dims.set_current_step(axes.index("Z"), 5)
    widget = open_widget(viewer)
    wait_status(qtbot, widget, "· pixel")
    assert layer.data.shape[-3:] == SHAPE
    np.testing.assert_array_equal(np.asarray(layer.data)[(0,) * (len(axes) - 4) + (1,)], 2 * DATA)
    np.testing.assert_allclose(layer.scale[-3:], (0.8, 0.2, 0.2), rtol=1e-3)
    assert viewer.dims.current_step[-3] == 5  # the slice that was in view
    assert messages[0] == f"fiji: its axes, which the file stores as {axes}, are put in order."
