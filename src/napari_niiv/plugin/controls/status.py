"""The status: one sentence for the user, and the mark of the pass that is on the screen."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, Label
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Qt

from napari_niiv.plugin.common.connections import Connections, when_destroyed
from napari_niiv.plugin.common.forms import Row, wrapped, write
from napari_niiv.plugin.common.layers import voxel_size
from napari_niiv.plugin.common.words import length_words
from napari_niiv.plugin.controls.covering import adds_light, covering, images_above, seen_beside
from napari_niiv.plugin.controls.pass_indicator import PassIndicator, pass_of
from napari_niiv.plugin.live.live_layers import LiveLayers

if TYPE_CHECKING:
    from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
    from napari_niiv.plugin.live.shown import Shown
    from napari_niiv.plugin.volume3d.progress import Progress

QUALITY = {
    "placeholder": "interpolated, restoring…",
    "fast": "restored in one plane, refining…",
    "refined": "refined from both planes",
}


_COARSER = 0.95  # of a pixel: what is set by hand is finer than the screen shows
COMPARED = "The source, as long as you compare."
HIDDEN = "The reconstruction of {} is hidden: show its layer, or that of its source, in the layer list."


class Status:
    """Tells what is on the screen, or why nothing is; it speaks of the chosen layer alone.

    Parameters
    ----------
    layer : ComboBox
        Where the layer is chosen.
    live_layers : LiveLayers
    viewer : ViewerModel

    Attributes
    ----------
    label : Label
        The sentence.
    indicator : PassIndicator
    sentence : str
        What was said last, whole.
    shown : Row
        Holds the indicator, to be put into a form.
    """

    def __init__(self, layer: ComboBox, live_layers: LiveLayers, viewer: ViewerModel) -> None:
        self._layer, self._live_layers, self._viewer = layer, live_layers, viewer
        self._comparing, self._finest, self._above = False, 0.0, Connections()
        self._progress: tuple[weakref.ref[Image], Progress] | None = None  # of the volume that was told of last
        self.sentence = ""
        self.indicator = PassIndicator()
        self.shown = Row("Shown", self.indicator)
        self.label = Label(value="Choose a layer, or drop a volume here.")
        wrapped(self.label.native)
        self.label.native.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        # two lines, lest what is below move with every other sentence
        self.label.native.setMinimumHeight(2 * self.label.native.fontMetrics().lineSpacing())
        live_layers.changed.connect(self._follow_settings)
        order = Connections()
        of = viewer.layers.events
        order.connect(self._reordered, of.inserted, of.removed, of.reordered)

        def gone() -> None:  # a function, as Qt would not keep what a method belongs to
            order.disconnect()
            self._above.disconnect()

        when_destroyed(self.label.native, gone)

    def tell(self, sentence: str, state: str | None = None) -> None:
        """Say a sentence; without a state the mark stays as it is."""
        self.sentence = sentence
        write(self.label, sentence)
        if state is not None:
            self.indicator.show_state(state)

    def inform(self, sentence: str) -> None:
        """Say what is worth knowing beside what is on the screen."""
        show_info(sentence)

    def warn(self, sentence: str) -> None:
        """Say what is not as it should be."""
        show_warning(sentence)

    def fail(self, sentence: str) -> None:
        """Say what went wrong."""
        if sentence != self.sentence:  # once is enough
            self.tell(sentence, "failed")
            show_error(sentence)

    def wait_for(self, source: Image, sentence: str) -> None:
        """Say what a picture of a layer waits for."""
        if self._speaks_of(source):
            self.tell(sentence, "waiting")

    def fail_for(self, source: Image, sentence: str) -> None:
        """Say what went wrong with a layer; where it is not the chosen one, in a notification alone."""
        if self._speaks_of(source):
            self.fail(sentence)
        else:
            show_error(sentence)

    def report(self, source: Image, shown: Shown) -> None:
        """Tell of a picture of a layer that has just appeared."""
        if self._speaks_of(source):
            self.describe(shown)
            if shown.response.notice:
                show_warning(shown.response.notice)

    def report_volume(self, source: Image, progress: Progress) -> None:
        """Tell how far the 3-D view of a layer is."""
        if self._speaks_of(source):
            self._progress = weakref.ref(source), progress
            self._describe_volume(source, progress)
        if progress.notice:
            show_warning(progress.notice)

    def _describe_volume(self, source: Image, progress: Progress) -> None:
        if (result := self._over_it(seen_beside)) is not None:
            self.tell(
                f"{result.name} is seen here, and is not cut: hide it in the layer list to see what is live.", "covered"
            )
        else:
            self.tell(progress.text, "refined" if 0 < progress.done == progress.blocks else "interpolated")

    def show(self, live: LiveReconstruction) -> None:
        """Say how the live picture of the chosen layer is now."""
        if not self._speaks_of(live.source):
            return
        if live.failure:
            self.tell(live.failure, "failed")
        elif self._comparing and live.left_out:
            self.tell(f"{COMPARED} {live.source.name} is hidden.", "source")
        elif not live.wanted:
            self.tell(HIDDEN.format(live.source.name), "hidden")
        elif live.absence:
            self.tell(live.absence, "waiting")
        elif live.last is not None:
            self.describe(live.last)

    def describe(self, shown: Shown) -> None:
        """Say which picture of the chosen layer is on the screen."""
        if (above := self._over_it(covering)) is not None:  # the source too, when that is compared
            how = "adds its light to it" if adds_light(above) else "lies over it"
            self.tell(f"{above.name} {how}: close its eye in the layer list to see what is live.", "covered")
            return
        if self._comparing:
            self.tell(COMPARED, "source")
            return
        response = shown.response
        quality = QUALITY[response.quality]
        plane = response.request.plane
        state, size = pass_of(response), shown.pixel_size
        if response.quality != "placeholder" and not response.inferred:
            quality = "as measured" if state == "measured" else "interpolated (nothing to infer in this view)"
        if state == "measured":
            size = max(size, voxel_size(self._layer.value)[-1])  # what is magnified is measured no finer
        words = length_words(size, shown.unit)
        if 0 < self._finest_wanted() < _COARSER * shown.pixel_size and state != "measured":
            words += ", the screen's"
        self.tell(f"{plane} · pixel {words} · {quality}", state)
        self.label.tooltip = f"computed in {1e3 * response.seconds:.0f} ms ({response.device})"

    def _finest_wanted(self) -> float:
        """The size of a pixel that is set by hand for the chosen layer, in its units; 0 where none is."""
        source = self._layer.value
        _, y, x = voxel_size(source)
        return self._live_layers.settings_of(source).finest * math.sqrt(y * x)

    def _follow_settings(self) -> None:
        """Say when the source is seen instead and when no more, or that no finer picture is to be had."""
        before, settings = (self._comparing, self._finest), self._live_layers.settings_of(self._layer.value)
        self._comparing, self._finest = settings.comparing, settings.finest
        if (self._comparing, self._finest) != before and self._viewer.dims.ndisplay == 2:
            self._again()

    def _over_it(self, find: Callable[[ViewerModel, Image, Image], Image | None]) -> Image | None:
        """The layer that hides the picture or volume of the chosen one; when that changes, it is told again.

        Parameters
        ----------
        find : callable
            `covering`, or in 3-D `seen_beside`.
        """
        live = self._live_layers.get(self._layer.value)
        self._above.disconnect()
        if live is None:
            return None
        for each in images_above(self._viewer, live.layer):
            self._above.connect(self._uncovered, each.events.visible, each.events.opacity, each.events.blending)
        return find(self._viewer, live.layer, live.source)

    def _reordered(self, event: Any = None) -> None:
        """Other layers are there, or in another order."""
        self._above.disconnect()  # of what may be gone
        self._uncovered()

    def _uncovered(self, event: Any = None) -> None:
        """Something may lie over the picture, or no more."""
        if self.indicator.state in ("covered", "fast", "refined", "interpolated", "measured"):
            self._again()

    def _again(self) -> None:
        """Tell of the chosen layer again."""
        live = self._live_layers.get(self._layer.value)
        if live is None or live.source not in self._viewer.layers:
            return
        if self._viewer.dims.ndisplay == 2:
            self.show(live)
        elif self._progress is not None and self._progress[0]() is live.source:
            self._describe_volume(live.source, self._progress[1])

    def _speaks_of(self, source: Image) -> bool:
        return source is self._layer.value
