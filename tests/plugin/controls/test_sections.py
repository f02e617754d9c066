"""Damaged sections are said in the widget, and repaired in every view as it is switched; that is remembered."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

pytest.importorskip("napari")

from magicgui.widgets import ComboBox

from napari_niiv.io.remembered import recall_sections, remember_sections
from napari_niiv.plugin.common.forms import Form
from napari_niiv.plugin.common.host import Host
from napari_niiv.plugin.common.layers import layer_volume, repairs_of
from napari_niiv.plugin.controls.sections import SectionsControl
from napari_niiv.plugin.controls.status import Status
from napari_niiv.plugin.export.form import ExportForm
from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.sections.repair import repair_sections
from napari_niiv.volume import Volume


@pytest.fixture
def damaged(texture):
    array = (200 * texture((12, 48, 64))).astype(np.uint8)
    array[5] = 0
    return array


@pytest.fixture
def file(tmp_path, damaged):
    path = tmp_path / "tissue.tif"
    tifffile.imwrite(path, damaged, imagej=True, metadata={"axes": "ZYX", "spacing": 4.0, "unit": "um"})
    return path


@pytest.fixture
def viewer(dock_viewer):
    viewer = dock_viewer
    viewer.window.resize(900, 700)
    return viewer


@pytest.fixture
def opened(viewer, interpolating_model):
    """Opens data, or a file, as a live layer of a form that has nothing but the control."""

    def add(data) -> SimpleNamespace:
        if isinstance(data, np.ndarray):
            layer = viewer.add_image(data, scale=(4, 1, 1), contrast_limits=(0, 200))
        else:
            (layer,) = viewer.open(data, plugin="napari")
            layer.scale = (4, 1, 1)
        viewer.dims.order = (1, 0, 2)
        viewer.reset_view()
        layers = LiveLayers(viewer)
        layers.change(model=interpolating_model)
        choice = ComboBox(choices=[layer], value=layer)
        status = Status(choice, layers, viewer)
        control = SectionsControl(Host(viewer, status, status.label.native), layers, choice)
        form = SimpleNamespace(layer=layer, layers=layers, control=control, status=status, choice=choice)
        form.live = layers.open(layer)
        made.append(layers)
        return form

    made: list[LiveLayers] = []
    yield add
    for layers in made:
        layers.close_all()


def wait_found(qtbot, form) -> None:
    qtbot.waitUntil(lambda: form.layer in form.control._found, timeout=20_000)


def wait_picture(qtbot, form, repaired: bool):
    """The best picture of the volume, repaired or not."""

    def there() -> bool:
        live = form.live
        return live.last is not None and live.last.final and bool(live._volume().repairs) == repaired

    qtbot.waitUntil(there, timeout=20_000)
    with qtbot.waitSignal(form.live.shown, timeout=20_000, check_params_cb=lambda shown: shown.final) as waited:
        form.live._rebuild()
    return waited.args[0].response


def test_a_blank_section_is_bridged_by_default(in_napari, opened, damaged, qtbot) -> None:
    form = opened(damaged)
    wait_found(qtbot, form)
    control = form.control
    assert control.sentence.value == "Section 5 is blank."
    assert [name for name, switch in control.switches.items() if switch.visible] == ["bridge"]
    bridged = wait_picture(qtbot, form, repaired=True)
    rows = bridged.request.rows
    height = rows.start + rows.step * np.arange(rows.count)
    inside = np.abs(height - 5) < 0.3
    y = int(bridged.request.index)
    mean = (damaged[4, y].astype(float) + damaged[6, y]).mean() / 2
    assert bridged.image[inside].mean() == pytest.approx(mean, abs=2)
    control.switches["bridge"].value = False
    blank = wait_picture(qtbot, form, repaired=False)
    assert blank.image[inside].mean() < 0.4 * mean
    assert control.sentence.visible  # it is blank all the same
    control.seen.native.click()
    assert not control.sentence.visible
    assert not control.seen.visible
    assert control.switches["bridge"].visible
    assert control.switches["bridge"].tooltip.endswith("\nSection 5 is blank.")
    control.show()
    assert not control.sentence.visible


def test_nothing_is_shown_of_a_sound_volume(opened, texture, qtbot) -> None:
    form = opened((200 * texture((12, 48, 64))).astype(np.uint8))
    wait_found(qtbot, form)
    assert not any(row.shown for row in form.control.rows)
    assert repairs_of(form.layer) is not None
    assert not repairs_of(form.layer)


def test_it_is_marked_in_the_maps_of_trust(opened, damaged, viewer, qtbot) -> None:
    form = opened(damaged)
    wait_found(qtbot, form)
    form.layers.change(trust=("disagreement",))
    response = wait_picture(qtbot, form, repaired=True)
    assert form.live.settings.maps == ("disagreement", "bridged")
    rows = response.request.rows
    height = rows.start + rows.step * np.arange(rows.count)
    expected = ((height >= 4.5) & (height < 5.5))[:, None]
    np.testing.assert_array_equal(response.trust["bridged"], np.tile(expected, response.image.shape[1]))
    marked = [layer for layer in viewer.layers if "bridged sections" in layer.name]
    assert len(marked) == 1
    form.control.switches["bridge"].value = False
    assert not [layer for layer in viewer.layers if "bridged sections" in layer.name]


def test_what_is_switched_is_remembered_for_the_file(opened, file, qtbot) -> None:
    form = opened(file)
    wait_found(qtbot, form)
    form.control.switches["bridge"].value = False
    qtbot.waitUntil(lambda: recall_sections(file).get("bridge") is False, timeout=5000)
    again = opened(file)
    wait_found(qtbot, again)
    assert again.control.switches["bridge"].value is False
    assert not repairs_of(again.layer)


def test_a_damaged_memory_is_no_obstacle(opened, file, qtbot) -> None:
    remember_sections(file, {"bridge": "perhaps", "more": 1})
    form = opened(file)
    wait_found(qtbot, form)
    assert form.control.switches["bridge"].value is True


def test_exports_get_what_is_seen(opened, damaged, viewer, qtbot) -> None:
    form = opened(damaged)
    wait_found(qtbot, form)
    export = ExportForm(viewer)
    export.choose_layer(form.layer)
    assert export.settings().volume.repairs == repair_sections(Volume(damaged)).repairs
    assert layer_volume(form.layer).repairs is None  # a copy is of what was measured
    form.control.switches["bridge"].value = False
    assert export.settings().volume.array is form.layer.data


def test_other_data_are_looked_at_anew(opened, damaged, texture, qtbot) -> None:
    form = opened(damaged)
    wait_found(qtbot, form)
    other = (200 * texture((9, 48, 64))).astype(np.uint8)
    other[3] = 255
    form.layer.data = other
    assert not form.control.sentence.visible
    wait_found(qtbot, form)
    assert form.control.sentence.value == "Section 3 is blank."
    assert form.live.settings.repairs[()].bridged == (3,)


def test_displacement_is_offered(opened, texture, qtbot) -> None:
    array = (200 * texture((14, 96, 112))).astype(np.uint8)
    array[6] = np.roll(array[6], (9, -4), (0, 1))
    form = opened(array)
    wait_found(qtbot, form)
    assert form.control.sentence.value == (
        "Sections look displaced by up to 9 pixels: align, and keep it if the side view becomes smoother."
    )
    assert form.control.switches["align"].visible
    assert form.control.switches["align"].value is False
    assert not form.live._volume().repairs
    form.control.switches["align"].value = True
    assert form.live._volume().repairs[()].shifts[6] == (-9, 4)


def test_where_none_is_displaced_for_sure_aligning_is_a_setting_of_the_volume(opened, texture, qtbot) -> None:
    array = (200 * texture((14, 96, 112))).astype(np.uint8)
    array[6:] = np.roll(array[6:], (9, -4), (1, 2))  # once, and all behind it: the specimen may be so
    form = opened(array)
    group = Form([*form.control.rows, *form.control.settings])
    group.show()
    wait_found(qtbot, form)
    control = form.control
    assert form.control._found[form.layer][0].alignable
    assert control.anyway.visible
    assert not control.switches["align"].visible
    assert not control.sentence.visible
    control.anyway.value = True
    assert form.live._volume().repairs[()].shifts[6] != (0, 0)
    assert control.anyway.value
    control.anyway.value = False
    assert not form.live._volume().repairs
    group.close()


def test_channels_are_aligned_together(opened, viewer, texture, qtbot) -> None:
    """Their own displacements would tear them apart; what is blank in one is bridged in that one."""
    array = (200 * texture((14, 96, 112))).astype(np.uint8)
    array[6] = np.roll(array[6], (9, -4), (0, 1))
    other = 200 - array
    other[3] = 0
    below = viewer.add_image(other, scale=(4, 1, 1), contrast_limits=(0, 200), blending="additive")
    form = opened(array)
    form.layer.blending = "additive"
    form.live = form.layers.open(form.layer)
    assert len(form.layers) == 2
    wait_found(qtbot, form)
    form.control.switches["align"].value = True
    ours, theirs = repairs_of(form.layer)[()], repairs_of(below)[()]
    assert ours.shifts == theirs.shifts
    assert ours.shifts[6] == (-9, 4)
    assert (ours.bridged, theirs.bridged) == ((), (3,))
