"""The controls that set source and reconstruction against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from magicgui.widgets import CheckBox, PushButton, Slider
from napari.components import ViewerModel

from napari_niiv.plugin.common.forms import Row
from napari_niiv.plugin.common.typed_numbers import typed
from napari_niiv.plugin.live.live_layers import LiveLayers

KEY = "K"  # free in napari 0.9, whatever layer is active


class HoldKey:
    """A key of the viewer that does something as long as it is pressed; a binding of the user's is left alone.

    Parameters
    ----------
    viewer : ViewerModel
    key : str
        In napari's spelling, such as "K".
    hold : callable
        Gets True when the key goes down and False when it comes up.

    Attributes
    ----------
    bound : bool
        Whether the key does this.
    """

    def __init__(self, viewer: ViewerModel, key: str, hold: Callable[[bool], None]) -> None:
        def press(viewer: Any) -> Iterator[None]:
            hold(True)
            yield
            hold(False)

        self._viewer, self._key, self._press = viewer, key, press
        try:
            viewer.bind_key(key, press)
            self.bound = True
        except ValueError:  # the user's own
            self.bound = False

    def close(self) -> None:
        """Unbind the key, if it is still bound to this."""
        if self.bound:
            binding = self._viewer.bind_key(self._key, None)
            if binding is not None and binding is not self._press:
                self._viewer.bind_key(self._key, binding)
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
    pictures : tuple of Widget
        Those of them that are about pictures of slices.
    """

    def __init__(self, viewer: ViewerModel, live_layers: LiveLayers) -> None:
        self._live_layers = live_layers
        self._key = HoldKey(viewer, KEY, self._compare)
        hint = f", or hold the key {KEY} over the picture" if self._key.bound else ""
        self.hold = PushButton(text="Hold to compare", tooltip=f"shows the source as long as it is pressed{hint}")
        self.split = CheckBox(
            text="",
            tooltip="source left, reconstruction right; drag the line in the picture (of ortho views, the large)",
        )
        self.position = Slider(
            min=0, max=100, value=50, tooltip="per cent that show the source; moved, it splits the window"
        )
        typed(self.position, "split")
        self.freeze = PushButton(
            text="Freeze", tooltip="keeps the picture of now as a layer of its own, whose eye is closed at first"
        )
        self.steps = CheckBox(
            text="steps between z slices", tooltip="the z slider of the xy view moves by about a pixel's size"
        )
        self.rows = [
            Row("Compare", self.hold, self.freeze),
            Row("Split", self.split, self.position),
            self.steps,
        ]
        self.pictures = (self.hold, self.split, self.position, self.freeze, self.steps)
        self.hold.native.pressed.connect(lambda: self._compare(True))
        self.hold.native.released.connect(lambda: self._compare(False))
        self.split.changed.connect(self._apply)
        self.position.changed.connect(self._split_there)
        self.steps.changed.connect(lambda value: live_layers.change(steps=value))
        live_layers.changed.connect(self._show)

    def close(self) -> None:
        """Unbind the key, at the end of the widget."""
        self._key.close()

    def _compare(self, on: bool) -> None:
        self._live_layers.change(comparing=on)

    def _split_there(self, value: Any = None) -> None:
        with self.split.changed.blocked():
            self.split.value = True
        self._apply()

    def _apply(self, value: Any = None) -> None:
        self._live_layers.change(split=self.position.value / 100 if self.split.value else None)

    def _show(self) -> None:
        """Show what is set now, by these controls or by the mouse in a picture."""
        settings = self._live_layers.settings
        with self.split.changed.blocked(), self.position.changed.blocked(), self.steps.changed.blocked():
            self.split.value, self.steps.value = settings.split is not None, settings.steps
            if settings.split is not None:
                self.position.value = round(100 * settings.split)
