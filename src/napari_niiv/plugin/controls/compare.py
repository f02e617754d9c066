"""The controls that set source and reconstruction against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from magicgui.widgets import CheckBox, PushButton, Slider
from napari.components import ViewerModel

from napari_niiv.plugin.common.forms import row
from napari_niiv.plugin.live.live_layers import LiveLayers

KEY = "K"  # free in napari 0.9, whatever layer is active


class HeldKey:
    """A key of the viewer that does something as long as it is held; a binding of the user's is left alone.

    Parameters
    ----------
    viewer : ViewerModel
    key : str
    hold : callable
        Gets True when the key goes down and False when it comes up.
    """

    def __init__(self, viewer: ViewerModel, key: str, hold: Callable[[bool], None]) -> None:
        def held(viewer: Any) -> Iterator[None]:
            hold(True)
            yield
            hold(False)

        self._viewer, self._key, self._held = viewer, key, held
        try:
            viewer.bind_key(key, held)
            self.bound = True
        except ValueError:  # the user's own
            self.bound = False

    def close(self) -> None:
        """Unbind the key, if it is still bound to this."""
        if self.bound:
            found = self._viewer.bind_key(self._key, None)
            if found is not None and found is not self._held:
                self._viewer.bind_key(self._key, found)
        self.bound = False


class Compare:
    """Hold to see the sources, or split the window between them and the reconstructions, or freeze a picture.

    Parameters
    ----------
    viewer : ViewerModel
    live_layers : LiveLayers

    Attributes
    ----------
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, viewer: ViewerModel, live_layers: LiveLayers) -> None:
        self._live_layers = live_layers
        self._key = HeldKey(viewer, KEY, live_layers.compare)
        hint = f", or hold the key {KEY} over the picture" if self._key.bound else ""
        self.hold = PushButton(
            text="Hold to compare", tooltip=f"shows the source as long as it is pressed{hint}"
        )
        self.split = CheckBox(
            text="",
            tooltip="source on the left, reconstruction on the right; drag the line in the picture",
        )
        self.position = Slider(
            min=0, max=100, value=50, tooltip="per cent of the window that show the source"
        )
        self.position.enabled = False
        self.freeze = PushButton(text="Freeze", tooltip="keeps the picture of now as a layer of its own")
        self.steps = CheckBox(
            text="steps between z slices", tooltip="the z slider of the xy view moves by about a pixel's size"
        )
        self.rows = [
            row("Compare", self.hold, self.freeze),
            row("Split", self.split, self.position),
            self.steps,
        ]
        self.hold.native.pressed.connect(lambda: live_layers.compare(True))
        self.hold.native.released.connect(lambda: live_layers.compare(False))
        self.split.changed.connect(self._apply)
        self.position.changed.connect(self._apply)
        self.steps.changed.connect(lambda value: setattr(live_layers, "steps", value))
        live_layers.split_moved.connect(self._follow)

    def let_go(self) -> None:
        """Unbind the key."""
        self._key.close()

    def _apply(self, value: Any = None) -> None:
        self.position.enabled = self.split.value
        self._live_layers.split = self.position.value / 100 if self.split.value else None

    def _follow(self, fraction: float) -> None:
        """Show where the line was dragged to."""
        with self.position.changed.blocked():
            self.position.value = round(100 * fraction)
