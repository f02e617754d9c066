"""The controls that tell how far to trust a reconstruction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, Label

from napari_niiv.plugin.common.forms import row
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
        self.disagreement = CheckBox(text="xz ≠ yz", tooltip="where the two reconstructions differ")
        self.misfit = CheckBox(
            text="≠ measured", tooltip="where the reconstruction, made coarse again, is not what was measured"
        )
        self.project = CheckBox(
            text="keep measured averages",
            tooltip="corrects the reconstruction so that, made coarse again, it is what was measured",
        )
        self.legend = Label(value="")
        self.legend.native.setWordWrap(True)
        self.legend.visible = False
        self.rows = [row("Trust", self.disagreement, self.misfit), self.project, self.legend]
        self.disagreement.changed.connect(self._apply)
        self.misfit.changed.connect(self._apply)
        self.project.changed.connect(lambda value: setattr(live_layers, "project", value))
        live_layers.trust_changed.connect(self._follow)

    def _apply(self, value: Any = None) -> None:
        kinds: dict[Trust, bool] = {"disagreement": self.disagreement.value, "misfit": self.misfit.value}
        self._live_layers.trust = tuple(kind for kind, on in kinds.items() if on)
        self._explain()

    def _follow(self, kinds: tuple[str, ...]) -> None:
        """A map was deleted by hand."""
        with self.disagreement.changed.blocked(), self.misfit.changed.blocked():
            self.disagreement.value, self.misfit.value = "disagreement" in kinds, "misfit" in kinds
        self._explain()

    def _explain(self) -> None:
        if self._live_layers.trust:
            from napari_niiv.plugin.live.trust_overlay import APPEARANCES  # with torch

            self.legend.value = "\n".join(APPEARANCES[kind].meaning for kind in self._live_layers.trust)
        self.legend.visible = bool(self._live_layers.trust)
