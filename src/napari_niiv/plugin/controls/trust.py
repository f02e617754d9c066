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
    lives : LiveLayers

    Attributes
    ----------
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, lives: LiveLayers) -> None:
        self._lives = lives
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
        self.project.changed.connect(lambda value: setattr(lives, "project", value))
        lives.trust_changed.connect(self._follow)

    def _apply(self, value: Any = None) -> None:
        kinds: dict[Trust, bool] = {"disagreement": self.disagreement.value, "misfit": self.misfit.value}
        self._lives.trust = tuple(kind for kind, on in kinds.items() if on)
        self._explain()

    def _follow(self, kinds: tuple[str, ...]) -> None:
        """A map was deleted by hand."""
        with self.disagreement.changed.blocked(), self.misfit.changed.blocked():
            self.disagreement.value, self.misfit.value = "disagreement" in kinds, "misfit" in kinds
        self._explain()

    def _explain(self) -> None:
        if self._lives.trust:
            from napari_niiv.plugin.live.trust_overlay import LOOKS  # with torch

            self.legend.value = "\n".join(LOOKS[kind].meaning for kind in self._lives.trust)
        self.legend.visible = bool(self._lives.trust)
