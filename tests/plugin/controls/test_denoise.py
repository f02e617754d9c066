"""The noise level on the screen: chosen by itself, by the slider, or by a script; and the same in the file."""

import numpy as np
import pytest
import zarr

from tests.plugin.conftest import ramp, wait_final

pytest.importorskip("napari")

from napari.components import ViewerModel
from qtpy.QtWidgets import QDoubleSpinBox

from napari_niiv.errors import ReconstructionError
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import save_model
from napari_niiv.normalization import Normalization
from napari_niiv.plugin import isotropic_view
from napari_niiv.plugin.common.layers import layer_volume
from napari_niiv.plugin.controls.denoise import DenoiseField
from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.plugin.manifest_names import PLUGIN, WIDGET
from napari_niiv.reconstruction.denoise import WITHOUT_NOISE, level_of
from napari_niiv.reconstruction.single_slice import reconstruct_slice
from napari_niiv.reconstruction.whole import reconstruct

SHAPE = (8, 40, 48)


def noisy(sigma, seed=1):
    values = ramp(SHAPE, (5.0, 1.0, 2.0))
    return values + sigma * np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


DATA = noisy(2.0)


@pytest.fixture
def model(small_model):
    return small_model(noise=0.1)


@pytest.fixture
def viewer(qapp):
    viewer = ViewerModel()
    viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    viewer.dims.order = (1, 0, 2)
    viewer.reset_view()
    return viewer


@pytest.fixture
def live(viewer, model, qtbot):
    live = LiveReconstruction(viewer, viewer.layers["stack"], LiveSettings(model))
    wait_final(qtbot, live)
    yield live
    live.close()


def automatic(layer, model):
    volume = layer_volume(layer)
    return level_of(volume, Normalization.of(volume), model, "auto")


# the live view


def test_it_is_automatic_and_a_number_makes_another_picture_at_once(viewer, live, model, qtbot):
    level = automatic(live.source, model)
    assert 0 < level < 0.1
    assert (live.denoise, live.estimate, live.last.response.denoise) == ("auto", level, level)
    first = live.last.response
    wait_final(qtbot, live, lambda: setattr(live, "denoise", 0.09), denoise=0.09)
    assert np.abs(live.last.response.image - first.image).max() > 0.1
    assert (live.last.response.denoise, live.estimate) == (0.09, None)
    wait_final(qtbot, live, lambda: setattr(live, "denoise", level), denoise=level)
    np.testing.assert_array_equal(live.last.response.image, first.image)


def test_the_screen_is_what_a_script_makes(viewer, live, model, qtbot):
    index, volume = int(live.last.response.request.index), layer_volume(live.source)
    wait_final(qtbot, live, lambda: setattr(live, "finest", 1.0))
    request = live.last.response.request
    assert (request.rows.count, request.columns.count) == (32, 48)
    np.testing.assert_array_equal(live.last.response.image, reconstruct_slice(volume, model, "xz", index))
    whole = reconstruct(volume, model).array.compute()
    np.testing.assert_allclose(live.last.response.image, whole[:, index], atol=2e-2)


def test_settings_are_told_what_the_model_knows(small_model):
    for noise, expected in ((0.1, 0.08), (0.05, 0.05), (0.0, 0.0)):
        assert LiveSettings(small_model(noise=noise), denoise=0.08).told == expected
        assert LiveSettings(small_model(noise=noise)).told == "auto"
    weaker = small_model(noise=0.05)
    before, after = (LiveSettings(weaker, denoise=level) for level in (0.08, 0.09))
    assert before.content == after.content != LiveSettings(weaker, denoise=0.04).content


def test_a_weaker_model_takes_the_level_down(viewer, live, small_model, qtbot):
    live.denoise = 0.09
    weaker = small_model(noise=0.05)
    wait_final(qtbot, live, lambda: setattr(live, "model", weaker), denoise=0.05)
    assert live.denoise == 0.05
    assert not live.failure


@pytest.mark.parametrize("level", [-1, float("nan"), 0.11, "strong"])
def test_a_script_is_told_what_makes_no_sense(viewer, live, model, level):
    with pytest.raises(ReconstructionError, match=r"should be auto|up to 0\.1, not 0\.11"):
        live.denoise = level
    before = list(viewer.layers)
    live.close()
    with pytest.raises(ReconstructionError, match=r"should be auto|up to 0\.1, not 0\.11"):
        isotropic_view(viewer, model=model, denoise=level)
    assert list(viewer.layers) == before[:1]


def test_a_script_begins_with_a_level(viewer, model, qtbot):
    live = isotropic_view(viewer, model=model, denoise=0.04)
    assert wait_final(qtbot, live).response.denoise == 0.04
    for name, value in (("trust", ("misfit",)), ("project", True)):
        setattr(live, name, value)
        assert getattr(live.settings, name) == getattr(live, name) == value
    live.close()


# the field


@pytest.fixture
def field(qapp):
    heard = []
    field = DenoiseField(heard.append)
    field.heard = heard
    return field


def test_the_field_is_automatic_until_it_is_not(field, model):
    field.show(LiveSettings(model))
    assert (field.value, field.auto.enabled, field.slider.enabled) == ("auto", True, True)
    assert not field.reason.visible
    assert field.slider.max == pytest.approx(0.1)
    field.show_estimate(0.022)
    assert field.auto.text == "auto (noise 0.022)"
    assert field._number.isHidden()  # it would say the same again, or a number that is not in use
    assert not field.heard
    field.auto.value = False  # stays where it is
    assert field.heard == [field.value] == [0.022]
    assert not field._number.isHidden()
    field.slider.value = 0.0567
    assert field.heard[-1] == 0.057
    field.slider.value = field.slider.max
    assert field.heard[-1] == 0.1
    field.show_estimate(None)
    assert field.auto.text == "auto"
    field.auto.value = True
    assert field.heard[-1] == "auto"


def test_the_field_shows_and_types_three_digits(field, model):
    field.show(LiveSettings(model, denoise=0.043))
    box = field.slider.native.findChild(QDoubleSpinBox)
    assert box.value() == pytest.approx(0.043)
    box.setValue(0.021)
    box.editingFinished.emit()
    assert field.heard == [0.021]


def test_the_field_is_within_what_the_model_knows(field, small_model, model):
    field.show(LiveSettings(model, denoise=0.09))
    assert field.value == 0.09
    field.show(LiveSettings(small_model(noise=0.0625), denoise=0.09))
    assert field.value == 0.0625
    field.show_estimate(0.09)  # of the model before
    assert field.slider.value <= 0.0625
    assert field.value == 0.0625
    field.show(LiveSettings(model, denoise=0.09))
    assert field.value == 0.09
    assert not field.heard


def test_the_slider_takes_over_when_it_is_moved(field, model):
    field.show(LiveSettings(model))
    field.show_estimate(0.022)
    field.slider.value = 0.05
    assert not field.auto.value
    assert field.heard == [field.value] == [0.05]


@pytest.mark.parametrize("denoise", ["auto", 0.05])
def test_without_noise_the_field_says_so(field, small_model, model, denoise):
    field.widget.show()
    field.show(LiveSettings(small_model(), denoise=denoise))
    assert not field.auto.enabled
    assert not field.slider.enabled
    assert field.reason.visible
    assert field.reason.value == field.auto.tooltip == field.slider.tooltip == WITHOUT_NOISE
    assert field.value == ("auto" if denoise == "auto" else 0)
    field.show_estimate(0.0)
    assert field.auto.text == "auto"
    field.show(LiveSettings(model, denoise=denoise))
    assert not field.reason.visible
    assert field.auto.enabled
    assert WITHOUT_NOISE not in (field.auto.tooltip, field.slider.tooltip)
    assert field.value == denoise
    field.widget.hide()


# the dock widget


@pytest.fixture
def checkpoints(small_model, tmp_path):
    """Paths of checkpoints by the highest noise level that they know."""

    def save(noise):
        model, path = small_model(noise=noise), tmp_path / f"knows {noise}.safetensors"
        save_model(model, Card(name="tiny", architecture=model.architecture), path)
        return path

    return {noise: save(noise) for noise in (0.1, 0.05, 0.0)}


def knowing(widget, noise):
    """Whether a checkpoint that knows so much is in use, and a picture of it on the screen."""
    model = widget.model
    done = widget.live is not None and widget.live.last is not None and widget.live.last.final
    return model is not None and model.architecture.noise == noise and done


@pytest.fixture
def widget(dock_viewer, checkpoints, qtbot, messages):
    viewer = dock_viewer
    viewer.window.resize(1000, 700)
    viewer.add_image(DATA, scale=(4, 1, 1), name="stack")
    viewer.dims.order = (1, 0, 2)
    viewer.reset_view()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    widget.select_checkpoint(checkpoints[0.1])
    qtbot.waitUntil(lambda: knowing(widget, 0.1), timeout=30_000)
    return widget


def test_what_is_chosen_by_itself_is_shown(widget, qtbot):
    field = widget.denoise.field
    level = automatic(widget.layer.value, widget.model)
    qtbot.waitUntil(lambda: field.auto.text == f"auto (noise {level:g})", timeout=20_000)
    assert field.slider.value == pytest.approx(level, abs=1e-4)
    worse = widget.viewer.add_image(noisy(4.0), scale=(4, 1, 1), name="worse")
    widget.layer.value = worse
    qtbot.waitUntil(lambda: field.auto.text == f"auto (noise {automatic(worse, widget.model):g})", timeout=20_000)
    widget.layer.value = widget.viewer.layers["stack"]
    assert field.auto.text == f"auto (noise {level:g})"


def test_the_slider_changes_the_picture(in_napari, widget, qtbot):
    field = widget.denoise.field
    field.auto.value = False
    wait_final(qtbot, widget.live, lambda: setattr(field.slider, "value", 0.07), denoise=0.07)
    assert field.auto.text == "auto"
    wait_final(qtbot, widget.live, lambda: setattr(field.auto, "value", True), denoise="auto")
    assert field.auto.text.startswith("auto (noise ")
    widget.live.denoise = 0.03  # by a script
    assert (field.auto.value, field.value) == (False, 0.03)


def test_what_is_set_for_one_volume_is_not_used_for_another(widget, qtbot):
    first, field = widget.layer.value, widget.denoise.field
    field.slider.value = 0.07
    second = widget.viewer.add_image(noisy(4.0), scale=(4, 1, 1), name="second")
    widget.layer.value = second
    assert field.auto.value
    qtbot.waitUntil(lambda: field.auto.text == f"auto (noise {automatic(second, widget.model):g})", timeout=20_000)
    assert widget.live_layers.get(first).denoise == 0.07
    widget.layer.value = first
    assert (field.auto.value, field.value) == (False, 0.07)


def test_another_checkpoint_may_know_less(widget, checkpoints, messages, qtbot):
    field = widget.denoise.field
    field.auto.value = False
    field.slider.value = 0.09
    widget.select_checkpoint(checkpoints[0.05])
    qtbot.waitUntil(lambda: knowing(widget, 0.05), timeout=20_000)
    assert messages == ["This checkpoint was trained with noise levels up to 0.05: Denoise is 0.05 now."]
    qtbot.waitUntil(lambda: widget.live.last.response.denoise == 0.05, timeout=20_000)
    widget.select_checkpoint(checkpoints[0.0])
    qtbot.waitUntil(lambda: knowing(widget, 0.0), timeout=20_000)
    assert field.reason.visible
    assert not field.slider.enabled
    qtbot.waitUntil(lambda: widget.live.last.response.denoise == 0, timeout=20_000)
    assert not widget.live.failure
    widget.select_checkpoint(checkpoints[0.1])
    qtbot.waitUntil(lambda: knowing(widget, 0.1), timeout=20_000)
    assert field.value == 0.09
    assert len(messages) == 1


def test_ortho_views_and_space_are_told_the_same(in_napari, widget, qtbot):
    widget.show_ortho()
    field, panels = widget.denoise.field, widget.ortho.panels
    (side,) = (panel.lives[0] for panel in panels if panel.plane == "yz")  # in xy there is nothing to infer
    qtbot.waitUntil(lambda: side.estimate is not None, timeout=20_000)
    assert side.estimate == automatic(widget.layer.value, widget.model)
    field.auto.value = False
    field.slider.value = 0.08
    qtbot.waitUntil(lambda: side.last.response.denoise == 0.08, timeout=20_000)
    widget.show_ortho(False)
    source = widget.layer.value
    with qtbot.waitSignal(
        widget.volume_views.progress, timeout=60_000, check_params_cb=lambda _, each: 0 < each.blocks == each.done
    ):
        widget.viewer.dims.ndisplay = 3
    shown = np.array(widget.volume_views.get(source).layer.data)
    expected = reconstruct(layer_volume(source), widget.model, denoise=0.08).array.compute()
    np.testing.assert_allclose(shown, expected, atol=2e-2)
    with qtbot.waitSignal(
        widget.volume_views.progress, timeout=60_000, check_params_cb=lambda _, each: 0 < each.blocks == each.done
    ):
        field.auto.value = True
    assert np.abs(widget.volume_views.get(source).layer.data - shown).max() > 0.1


# the export


def test_the_export_takes_the_screens_level(widget, qtbot, tmp_path):
    panel = widget.export.open()
    form = panel.form
    level = automatic(widget.layer.value, widget.model)
    assert form.settings().config.denoise == "auto"
    assert form.denoise.auto.text == f"auto (noise {level:g})"
    widget.denoise.field.auto.value = False
    widget.denoise.field.slider.value = 0.06
    assert form.denoise.value == form.settings().config.denoise == 0.06
    form.denoise.slider.value = 0.04  # of this export alone
    widget.live_layers.change(split=0.5)
    assert form.settings().config.denoise == 0.04
    assert widget.live.denoise == 0.06
    form.denoise.auto.value = True
    form.named = tmp_path / "out.zarr"
    panel.refresh_preview()
    qtbot.waitUntil(lambda: panel.preview is not None and panel.preview.job.target.name == "out.zarr", timeout=20_000)
    panel.press()
    qtbot.waitUntil(lambda: (tmp_path / "out.zarr").exists() and panel.worker is None, timeout=60_000)
    record = zarr.open_group(tmp_path / "out.zarr", mode="r").attrs["napari_niiv"]
    assert record["settings"]["denoise"] == "auto"
    assert record["noise"] == {"levels": [level]}
    result = zarr.open_array(tmp_path / "out.zarr" / "0", mode="r")[...]
    expected = reconstruct(layer_volume(widget.layer.value), widget.model, denoise=level)
    np.testing.assert_array_equal(result, expected.array.compute())
    panel.close()
