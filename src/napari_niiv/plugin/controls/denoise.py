"""The control of the noise level that a checkpoint is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSlider
from qtpy.QtWidgets import QDoubleSpinBox

from napari_niiv.plugin.common.forms import Row, paragraph
from napari_niiv.plugin.common.host import Host
from napari_niiv.plugin.common.typed_numbers import typed
from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.reconstruction.denoise import AUTO, DIGITS, WITHOUT_NOISE, Denoise, lowered

_AUTO_MEANS = "estimates the noise from the volume itself"
_LEVEL_MEANS = (
    "the noise that the network is told of, as a share of the range of intensities: 0 is off, the right end the "
    "strongest that the checkpoint knows; moved, the slider takes the place of auto"
)


class DenoiseField:
    """Automatic, or a slider from off to the highest noise level that the checkpoint knows.

    Parameters
    ----------
    changed : callable, optional
        Gets the noise level that the user has set.

    Attributes
    ----------
    value : float or "auto"
        The noise level that is set.
    widget : Container
        To be put into a form.
    """

    def __init__(self, changed: Callable[[Denoise], Any] = lambda denoise: None) -> None:
        self._changed, self._highest = changed, 0.0
        self.value: Denoise = AUTO
        self.auto = CheckBox(text=AUTO, value=True)
        self.slider = FloatSlider(min=0, step=10**-DIGITS, value=0)
        self._number = typed(self.slider, "noise level").native.findChild(QDoubleSpinBox)
        self._number.setDecimals(DIGITS)
        self.reason = paragraph()
        self.reason.value = WITHOUT_NOISE
        self.widget = Container(widgets=[self.reason], label="Denoise", labels=False)
        self.widget.native.layout().insertWidget(0, Row("", self.auto, self.slider).native)
        self.widget.margins = (0, 0, 0, 0)
        self.auto.changed.connect(self._apply)
        self.slider.changed.connect(self._take_over)
        self.show(LiveSettings())

    def show(self, settings: LiveSettings) -> None:
        """Show the noise level that the model is told, if it can be told one, and why not if it cannot."""
        model, told = settings.model, settings.told
        self.value = told  # to the last digit: the slider rounds
        self._highest = 0.0 if model is None else model.architecture.noise
        with self.auto.changed.blocked(), self.slider.changed.blocked():
            self.slider.value = 0  # within any range
            self.slider.max = self._highest or 1.0
            if told != AUTO:
                self.slider.value = told
            self.auto.value = told == AUTO
        self.reason.visible = model is not None and not model.knows_noise
        self.auto.tooltip = WITHOUT_NOISE if self.reason.visible else _AUTO_MEANS
        self.slider.tooltip = WITHOUT_NOISE if self.reason.visible else _LEVEL_MEANS
        self._number.setToolTip(self.slider.tooltip)
        self._enable()

    def show_estimate(self, level: float | None) -> None:
        """Show what "auto" comes to; None as long as it is not known."""
        known = level is not None and self.auto.value and self._highest > 0
        self.auto.text = f"{AUTO} (noise {level:g})" if known else AUTO
        if level is not None and known:
            with self.slider.changed.blocked():
                self.slider.value = min(level, self._highest)

    def _take_over(self, value: Any = None) -> None:
        """The slider was moved: it counts now."""
        with self.auto.changed.blocked():
            self.auto.value = False
        self._apply()

    def _apply(self, value: Any = None) -> None:
        self.value = AUTO if self.auto.value else min(round(self.slider.value, DIGITS), self._highest)
        self._enable()
        self._changed(self.value)

    def _enable(self) -> None:
        self.auto.enabled = self._highest > 0
        self.slider.enabled = self.auto.enabled
        # else "auto" tells it, or nothing is known
        self._number.setVisible(self.slider.enabled and not self.auto.value)


class DenoiseControl:
    """Sets the noise level of the chosen layer's volume, and shows what "auto" comes to for it.

    Parameters
    ----------
    host : Host
    live_layers : LiveLayers
    layer : ComboBox
        Where the layer is chosen.

    Attributes
    ----------
    field : DenoiseField
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, host: Host, live_layers: LiveLayers, layer: ComboBox) -> None:
        self._host, self._live_layers, self._layer = host, live_layers, layer
        self._model: Any = None
        self.field = DenoiseField(lambda denoise: live_layers.set_own(layer.value, denoise=denoise))
        self.rows = [self.field.widget]
        live_layers.changed.connect(self.show)
        live_layers.opened.connect(lambda live: live.shown.connect(lambda shown: self.show_estimate()))

    def show_estimate(self) -> None:
        """Show what "auto" comes to for the layer that is chosen now, as far as it is known."""
        self.field.show_estimate(self._live_layers.estimate_of(self._layer.value))

    def show(self) -> None:
        """Show what is set for the chosen layer, and say if another checkpoint knows less of it."""
        settings = self._live_layers.settings_of(self._layer.value)
        model, self._model = self._model, settings.model
        self.field.show(settings)
        self.show_estimate()
        if settings.model is None or settings.model is model or settings.told == settings.denoise:
            return
        if sentence := lowered(settings.model):
            self._host.inform(sentence)
