"""The status: one sentence for the user, and the mark of the pass that is on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magicgui.widgets import ComboBox, Label
from napari.layers import Image
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Qt

from napari_niiv.plugin.common.forms import Row, wrapped, write
from napari_niiv.plugin.common.layers import voxel_size
from napari_niiv.plugin.common.words import length_words
from napari_niiv.plugin.controls.pass_indicator import PassIndicator, pass_of

if TYPE_CHECKING:
    from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
    from napari_niiv.plugin.live.shown import Shown
    from napari_niiv.plugin.volume3d.progress import Progress

QUALITY = {
    "placeholder": "interpolated, restoring…",
    "fast": "restored in one plane, refining…",
    "refined": "refined from both planes",
}


HIDDEN = "The reconstruction is hidden: show its layer, or that of its source, in the layer list."


class Status:
    """Tells what is on the screen, or why nothing is; it speaks of the chosen layer alone.

    Parameters
    ----------
    layer : ComboBox
        Where the layer is chosen.

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

    def __init__(self, layer: ComboBox) -> None:
        self._layer = layer
        self.sentence = ""
        self.indicator = PassIndicator()
        self.shown = Row("Shown", self.indicator)
        self.label = Label(value="Choose a layer, or drop a volume here.")
        wrapped(self.label.native)
        self.label.native.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        # two lines, lest what is below move with every other sentence
        self.label.native.setMinimumHeight(2 * self.label.native.fontMetrics().lineSpacing())

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
            self.tell(progress.text, "refined" if 0 < progress.done == progress.blocks else "interpolated")
        if progress.notice:
            show_warning(progress.notice)

    def show(self, live: LiveReconstruction) -> None:
        """Say how the live picture of the chosen layer is now."""
        if not self._speaks_of(live.source):
            return
        if live.failure:
            self.tell(live.failure, "failed")
        elif not live.wanted:
            self.tell(HIDDEN, "hidden")
        elif live.absence:
            self.tell(live.absence, "waiting")
        elif live.last is not None:
            self.describe(live.last)

    def describe(self, shown: Shown) -> None:
        """Say which picture of the chosen layer is on the screen."""
        response = shown.response
        quality = QUALITY[response.quality]
        plane = response.request.plane
        state, size = pass_of(response), shown.pixel_size
        if response.quality != "placeholder" and not response.inferred:
            quality = "as measured" if state == "measured" else "interpolated (nothing to infer in this view)"
        if state == "measured":
            size = max(size, voxel_size(self._layer.value)[-1])  # what is magnified is measured no finer
        self.tell(f"{plane} · pixel {length_words(size, shown.unit)} · {quality}", state)
        self.label.tooltip = f"computed in {1e3 * response.seconds:.0f} ms ({response.device})"

    def _speaks_of(self, source: Image) -> bool:
        return source is self._layer.value
