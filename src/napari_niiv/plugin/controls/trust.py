"""The controls that tell how far to trust a reconstruction."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox

from napari_niiv.plugin.common.forms import Row
from napari_niiv.plugin.common.scrolling import scroll_to
from napari_niiv.plugin.controls.trust_legend import HIDDEN, WAITING, MapLegend, judgement
from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.plugin.live.trust_appearance import APPEARANCES

if TYPE_CHECKING:
    from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
    from napari_niiv.reconstruction.views.request import Trust

_PROJECT_MEANS = (
    "Shifts the restored values so that their average over each z step is exactly what the microscope measured there.\n"
    "Switch it on before intensities are measured, such as the total brightness of a cell.\n"
    "It costs little time, but brings back the noise that was taken away, and no finer detail."
)


class TrustControls:
    """Switches of the maps of trust, with their legends, and of the projection onto what was measured.

    Parameters
    ----------
    live_layers : LiveLayers
    layer : ComboBox
        Where the layer is chosen, whose pictures the legends speak of.

    Attributes
    ----------
    legends : dict of str to MapLegend
        One for each map; of those that are on, the rows are visible.
    rows : list of Widget
        To be put into a form.
    switches : tuple of CheckBox
    """

    def __init__(self, live_layers: LiveLayers, layer: ComboBox) -> None:
        self._live_layers, self._layer = live_layers, layer
        self.legends: dict[Trust, MapLegend] = {kind: MapLegend(kind) for kind in APPEARANCES}
        self._explained: tuple[Trust, ...] = ()
        self._place: object = None  # that the sentences speak of
        self.disagreement = CheckBox(text="xz ≠ yz", tooltip="where the two reconstructions differ: the model guesses")
        self.misfit = CheckBox(
            text="≠ measured", tooltip="where the reconstruction, averaged over a z step, is not what was measured"
        )
        self.project = CheckBox(text="keep measured averages", tooltip=_PROJECT_MEANS)
        legends = [legend.row for legend in self.legends.values()]
        self.rows: list[Any] = [Row("Trust", self.disagreement, self.misfit), *legends, self.project]
        self.switches = (self.disagreement, self.misfit, self.project)
        for box in self.switches:
            box.changed.connect(self._apply)
        live_layers.changed.connect(self._show)
        live_layers.opened.connect(self._listen_to)
        layer.changed.connect(self._show)

    def _apply(self, value: Any = None) -> None:
        kinds: dict[Trust, bool] = {"disagreement": self.disagreement.value, "misfit": self.misfit.value}
        trust = tuple(kind for kind, on in kinds.items() if on)
        before = set(self._explained)
        self._live_layers.set_own(self._layer.value, project=self.project.value)
        self._live_layers.change(trust=trust)
        for kind in self._explained:
            if kind not in before:
                scroll_to(self.legends[kind])

    def _show(self, value: Any = None) -> None:
        """Show what is set now, by these controls or by a map that was deleted by hand."""
        settings = self._live_layers.settings_of(self._layer.value)
        on = ("disagreement" in settings.trust, "misfit" in settings.trust, settings.project)
        for box, value in zip(self.switches, on, strict=True):
            with box.changed.blocked():
                box.value = value
        maps = settings.maps
        for kind in set(maps) ^ set(self._explained):  # no other, as it changes the layout of the form
            self.legends[kind].show_sentence(WAITING)
            self.legends[kind].row.show(kind in maps)
        self._explained = maps
        self._judge()

    def _listen_to(self, live: LiveReconstruction) -> None:
        live.shown.connect(lambda shown: self._judge() if live.source is self._layer.value else None)
        live.layer.events.visible.connect(self._note_eye)
        live.closed.connect(self._note_closed)

    def _note_eye(self, event: Any = None) -> None:
        live = self._live_layers.get(self._layer.value)
        if live is not None and (not live.wanted or self._place is None):
            self._judge()

    def _note_closed(self) -> None:
        with contextlib.suppress(RuntimeError):  # the dock went first, and its Qt parts with it
            self._judge()

    def _judge(self) -> None:
        """Say what the maps tell of the picture of the chosen layer; of another window of a slice, what is known."""
        layer = self._layer.value
        live = self._live_layers.get(layer)
        if live is not None and not live.wanted:  # nothing is computed of it
            for legend in self.legends.values():
                legend.show_sentence(HIDDEN)
                if legend.scale is not None:
                    legend.scale.show_limits(None)
            self._place = None
            return
        response = None if live is None or live.last is None else live.last.response
        place = None if response is None else (id(layer), response.request.place)
        for kind, legend in self.legends.items():
            sentence = None if response is None else judgement(kind, response)
            if sentence is not None:
                legend.show_sentence(sentence)
            elif place != self._place:
                legend.show_sentence("" if live is None else WAITING)
        self._place = place
        self._show_scales()

    def _show_scales(self, event: Any = None) -> None:
        """Show the grey levels of the maps' layers, as they are set or the user changes them."""
        live = self._live_layers.get(self._layer.value)
        for kind, layer in ({} if live is None else live.map_layers).items():
            scale = self.legends[kind].scale
            if scale is not None and layer.visible:
                low, high = layer.contrast_limits
                scale.show_limits((float(low), float(high)))
                layer.events.contrast_limits.connect(self._show_scales)  # once, however often it is connected
