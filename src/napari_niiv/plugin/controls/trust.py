"""The controls that tell how far to trust a reconstruction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox

from napari_niiv.plugin.common.forms import paragraph, row
from napari_niiv.plugin.live.live_layers import LiveLayers

if TYPE_CHECKING:
    from napari_niiv.reconstruction.views.request import Trust


class TrustControls:
    """Switches of the maps of trust, with their legend, and of the projection onto what was measured.

    Parameters
    ----------
    live_layers : LiveLayers

    Attributes
    ----------
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, live_layers: LiveLayers) -> None:
        self._live_layers = live_layers
        self._explained: tuple[Trust, ...] = ()
        self.disagreement = CheckBox(text="xz ≠ yz", tooltip="where the two reconstructions differ")
        self.misfit = CheckBox(
            text="≠ measured", tooltip="where the reconstruction, made coarse again, is not what was measured"
        )
        self.project = CheckBox(
            text="keep measured averages",
            tooltip="corrects the reconstruction so that, made coarse again, it is what was measured",
        )
        self.legend = paragraph()
        self.rows = [row("Trust", self.disagreement, self.misfit), self.project, self.legend]
        for box in (self.disagreement, self.misfit, self.project):
            box.changed.connect(self._apply)
        live_layers.changed.connect(self._show)

    def _apply(self, value: Any = None) -> None:
        kinds: dict[Trust, bool] = {"disagreement": self.disagreement.value, "misfit": self.misfit.value}
        trust = tuple(kind for kind, on in kinds.items() if on)
        self._live_layers.change(trust=trust, project=self.project.value)

    def _show(self) -> None:
        """Show what is set now, by these controls or by a map that was deleted by hand."""
        settings = self._live_layers.settings
        boxes = (self.disagreement, self.misfit, self.project)
        on = ("disagreement" in settings.trust, "misfit" in settings.trust, settings.project)
        for box, value in zip(boxes, on, strict=True):
            with box.changed.blocked():
                box.value = value
        maps = settings.trust + (
            ("bridged",) if any("bridged" in live.settings.maps for live in self._live_layers) else ()
        )
        if maps != self._explained:
            self._explained = maps
            self._explain()

    def _explain(self) -> None:
        """Show the legend of the maps, which changes the layout of the form."""
        if self._explained:
            from napari_niiv.plugin.live.trust_overlay import APPEARANCES  # with torch

            self.legend.value = "\n".join(APPEARANCES[kind].meaning for kind in self._explained)
        self.legend.visible = bool(self._explained)
