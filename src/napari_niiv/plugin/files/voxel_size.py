"""Voxel size and axes of the chosen layer: rescued from its file, remembered, or asked for once."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from magicgui.widgets import PushButton
from napari.layers import Image
from superqt.utils import QSignalDebouncer

from napari_niiv.empty_voxels import Values
from napari_niiv.errors import NiivError, VolumeError
from napari_niiv.io.open import read_spacing
from napari_niiv.io.remembered import Correction, empty_phrase, recall, recall_empty, remember
from napari_niiv.io.spacing import Spacing, as_factor
from napari_niiv.io.stored_volume import unsorted_axes
from napari_niiv.plugin.common.channels import channels_of
from napari_niiv.plugin.common.host import Host
from napari_niiv.plugin.common.layers import (
    empty_values,
    finest_data,
    provenance_of,
    set_empty_values,
    voxel_size,
)
from napari_niiv.plugin.common.words import WINDOW_WORDS
from napari_niiv.plugin.files.layer_file import LayerFile, Size, axis_names, layer_file, rename_axes, set_voxel_size
from napari_niiv.plugin.files.reader import HOW_TO_CHANGE
from napari_niiv.plugin.files.same_place import same_place
from napari_niiv.plugin.files.voxel_size_form import Answer, SpacingForm
from napari_niiv.volume import MAX_ANISOTROPY


@dataclass(frozen=True)
class _FileFacts:
    """What there is to know of a layer's file.

    Attributes
    ----------
    correction : Correction or None
        What is remembered of it.
    given : Spacing or None
        The voxel size in it, where the layer lacks one.
    empty : tuple of float or None
        Values of empty voxels that are remembered of it.
    """

    correction: Correction | None
    given: Spacing | None
    empty: Values | None = None


_SETTLED = 500  # ms without a change until an anisotropy is remembered


class VoxelSizeControl:
    """Sees to it that the chosen layer has its voxel size; the channels of a volume get it together.

    Parameters
    ----------
    host : Host
    changing : callable
        Called before a layer's data are exchanged.
    ready : callable
        Gets a layer when what was not known at once is known, and after every change.

    Attributes
    ----------
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, host: Host, changing: Callable[[Image], None], ready: Callable[[Image], None]) -> None:
        self._viewer, self._run, self._changing, self._ready = host.viewer, host.run, changing, ready
        self._tell, self._warn, self._fail = host.inform, host.warn, host.fail
        self._layer: Image | None = None
        self._seen: weakref.WeakSet[Image] = weakref.WeakSet()
        self._questions: weakref.WeakKeyDictionary[Image, Spacing] = weakref.WeakKeyDictionary()
        # voxel sizes as they were before the user set others
        self._given: weakref.WeakKeyDictionary[Image, Spacing] = weakref.WeakKeyDictionary()
        self.button = PushButton(text="Voxel size and axes…", tooltip="correct what the file says, or does not say")
        self._problems: weakref.WeakKeyDictionary[Image, str] = weakref.WeakKeyDictionary()
        self.form = SpacingForm(host.questions, self._apply, self._dismiss, self._never_ask)
        self.rows = [self.button, *self.form.rows]
        self.button.enabled = False
        self.button.changed.connect(lambda _=None: self.open())
        self._typed: weakref.ref[Image] | None = None  # its anisotropy was, and is not remembered yet
        self._settling = QSignalDebouncer(parent=self.button.native)
        self._settling.setTimeout(_SETTLED)
        self._settling.triggered.connect(self._remember_typed)

    def set_layer(self, layer: Image | None) -> bool:
        """Attend to another layer; True if its voxel size is still being looked up, and `ready` will be called."""
        self._remember_typed()
        self._layer = layer
        has_voxels = layer is not None and layer.ndim >= 3 and not layer.rgb
        self.button.enabled = has_voxels
        self._ask()
        if layer is None or not has_voxels or layer in self._seen:
            return False
        self._seen.update(channels_of(self._viewer, layer))
        file = layer_file(layer)
        if file is None:
            return False
        provenance = provenance_of(layer)
        if file.ours and not provenance.spacing_problem:
            # of a layer with a source the reader has told
            if provenance.remembered and layer.source.path is None:
                self._tell(f"{layer.name}: {provenance.remembered}; {HOW_TO_CHANGE}.")
            return False
        unscaled = not file.ours and all(s == 1 for s in layer.scale)
        self._run(lambda: _look_up(file, unscaled), lambda facts: self._use(layer, file, facts))
        return True

    def open(self) -> None:
        """Show the form for the chosen layer, or hide it."""
        if self._layer is None or self.form.shown:
            self._dismiss()
            return
        if layer_file(self._layer):
            sentence = "What you set here is remembered for this file."
        else:
            sentence = "The layer has no file for which it could be remembered."
        if before := self._before(self._layer):
            sentence = f"{sentence[:-1]}{before}."
        self.refill()
        self.form.ask(sentence, axis_names(self._layer), finest_data(self._layer).shape, by_hand=True)

    def asks_of(self, layer: Image) -> bool:
        """Whether the voxel size of a layer is being asked for."""
        return layer in self._questions

    def why_not(self, layer: Image) -> str:
        """Why a layer is not reconstructed whose z step is not known to be coarser than its pixels.

        One sentence, which agrees with what is asked: a file without a voxel size does not say that it is isotropic.
        """
        name, typing = layer.name, "type the anisotropy (z step ÷ pixel size) below"
        if self.asks_of(layer):
            return f"Waiting for the voxel size of {name}: answer the question above, or {typing}."
        if problem := self._problems.get(layer, ""):
            return f"{name} has no voxel size to go by, as its file {problem}; {typing}."
        spacing = _spacing(layer)
        words, finer = spacing.short_words, spacing.anisotropy < 0.99
        if before := self._before(layer):
            kind = "finer along z" if finer else "isotropic"
            return f"{name} is {kind}, as you have set it ({words}{before}); if the z step is coarser, {typing}."
        if finer:
            return f"{name} says that its z step is finer than its pixels; if it is coarser, {typing}."
        if spacing.is_default:
            return f"{name} has no voxel size; if its z step is coarser than its pixels, {typing}."
        return f"{name} says that its voxels are isotropic ({words}); if the z step is coarser, {typing}."

    def _before(self, layer: Image) -> str:
        """What a layer's voxel size was before the user set another, as "; it was …"; empty if they have not."""
        given = self._given.get(layer) or provenance_of(layer).spacing or _spacing(layer)
        size = Spacing(given.voxel_size, given.unit)
        if size.is_default or size.short_words == _spacing(layer).short_words:
            return ""
        return f"; it was {size.short_words} before, an anisotropy of {size.anisotropy:.3g}"

    def refill(self) -> None:
        """Write the layer's voxel size into the form."""
        if (layer := self._layer) is not None:
            self.form.fill(_spacing(layer))

    def set_anisotropy(self, anisotropy: float) -> None:
        """Give the chosen layer another z step, of so many pixels: there is one truth, and no picture is squeezed."""
        layer = self._layer
        if layer is None or layer.ndim < 3:
            return
        z, y, x = voxel_size(layer)
        factor = anisotropy * (y * x) ** 0.5 / z
        if abs(factor - 1) > 1e-6:
            self._keep_given(layer)
            with same_place(self._viewer, layer):
                for each in self._channels(layer):
                    each.scale = (*each.scale[:-3], each.scale[-3] * factor, *each.scale[-2:])
            self._problems.pop(layer, None)
            if self.asks_of(layer):  # that was the answer
                self._dismiss()
            if self.form.shown:
                self.refill()
            self._typed = weakref.ref(layer)
            self._settling.throttle()

    def _ask(self) -> None:
        """Show the question about the chosen layer, if one is open."""
        layer = self._layer
        spacing = None if layer is None else self._questions.get(layer)
        if layer is None or spacing is None:
            self.form.hide()
            return
        # where nothing was measured, the factor will do
        if spacing.unit == "inch" or not any(spacing.sizes):
            self.form.fill(Spacing((None, 1.0, 1.0)))
        else:
            self.form.fill(spacing)
        sentence = f"The file of {layer.name} {spacing.problem}. What is the size of a voxel?"
        self.form.ask(sentence, axis_names(layer), finest_data(layer).shape, by_hand=False)

    def _use(self, layer: Image, file: LayerFile, facts: _FileFacts) -> None:
        """Correct a layer by what is known of its file, or ask."""
        if layer not in self._viewer.layers:
            return
        correction = facts.correction or Correction()
        if facts.empty is not None and empty_values(layer) is None:
            set_empty_values(layer, facts.empty)
            self._tell(f"{layer.name}: {empty_phrase(facts.empty)} as you have set it for this file.")
        found = None if correction.words else facts.given
        spacing = found or provenance_of(layer).spacing
        if spacing is None:
            spacing = _spacing(layer)
        in_order = not spacing.unsorted or self._sort(layer, file, spacing.unsorted)
        if correction.words:
            self._restore(layer, file, correction, facts.given)
        elif in_order and not spacing.problem and found is not None:
            self._resize(layer, spacing.voxel_size, spacing.unit)
            size, note = f"voxel size {spacing.short_words} (z × y × x)", spacing.note and f"; {spacing.note}"
            self._tell(f"{layer.name}: {size} taken from the file{note}.")
        elif in_order and spacing.problem and not correction.silent:
            self._questions[layer] = spacing
        if in_order and not correction.words and spacing.problem:
            self._problems[layer] = spacing.problem
        if layer is self._layer:
            self._ask()
        self._ready(layer)

    def _sort(self, layer: Image, file: LayerFile, axes: str) -> bool:
        """Put axes in order that napari's reader left as they are stored; whether it is done."""
        self._changing(layer)
        # another reader may have turned them in its own way
        if file.stored_axes is not None and len(axes) == layer.ndim:
            with suppress(NiivError):
                self._rename(layer, axes)
                self._tell(f"{layer.name}: its axes, which the file stores as {axes.upper()}, are put in order.")
                return True
        self._problems[layer] = f"stores its axes as {axes.upper()}"
        self._fail(unsorted_axes(Path(file.path).name, axes).in_words(WINDOW_WORDS))
        return False

    def _restore(self, layer: Image, file: LayerFile, correction: Correction, given: Spacing | None) -> None:
        """Give a layer what is remembered of its file, in which another voxel size may be given."""
        done = correction
        if correction.axes is not None:
            names = correction.axes.replace("?", "")
            # the reader may have sorted the axes, or the file be something else by now
            if file.stored_axes is None or len(names) != layer.ndim:
                done = Correction(correction.voxel_size, correction.unit)
            else:
                self._changing(layer)
                try:
                    self._rename(layer, names)
                except NiivError as error:
                    self._fail(error.in_words(WINDOW_WORDS))
                    return
        if correction.voxel_size is not None:
            self._keep_given(layer, given)
            self._resize(layer, correction.voxel_size, correction.unit)
        if done.words:
            self._tell(f"{layer.name}: {done.words} as you have set it for this file; {HOW_TO_CHANGE}.")

    def _apply(self) -> None:
        layer = self._layer
        if layer is None or layer not in self._viewer.layers:
            self._dismiss()
            return
        try:
            answer = self.form.answer()
            _check_step(answer)
            if answer.axes != axis_names(layer):
                self._changing(layer)
                self._rename(layer, answer.axes)
        except NiivError as error:
            self._warn(error.in_words(WINDOW_WORDS))  # the status is of the picture, and the form may be left
            self._ready(layer)
            return
        self._keep_given(layer)
        self._resize(layer, answer.voxel_size, answer.unit)
        self._questions.pop(layer, None)
        self._problems.pop(layer, None)
        self.form.hide()
        self._remember_size(layer)
        self._ready(layer)

    def _keep_given(self, layer: Image, given: Spacing | None = None) -> None:
        """Before the user's voxel size takes the place of what was given: in the file, or else by the layer."""
        if given is not None and given.problem:
            given = None
        for each in self._channels(layer):
            self._given.setdefault(each, given or _spacing(each))

    def _resize(self, layer: Image, size: Size, unit: str) -> None:
        with same_place(self._viewer, layer):
            for each in self._channels(layer):
                set_voxel_size(each, size, unit)

    def _rename(self, layer: Image, names: str) -> None:
        with same_place(self._viewer, layer, names):
            for each in self._channels(layer):
                rename_axes(each, names)

    def _channels(self, layer: Image) -> list[Image]:
        """All channels of a layer's volume; itself the last, as others follow its changes."""
        return sorted(channels_of(self._viewer, layer), key=lambda each: each is layer)

    def _dismiss(self) -> None:
        """Ask no more; the status may have waited for an answer."""
        self.form.hide()
        if self._layer is not None and self._questions.pop(self._layer, None) is not None:
            self._ready(self._layer)

    def _never_ask(self) -> None:
        if (file := layer_file(self._layer)) is not None:
            self._remember(file, Correction(silent=True))
        self._dismiss()

    def _remember_typed(self) -> None:
        layer, self._typed = None if self._typed is None else self._typed(), None
        if layer is not None:
            self._remember_size(layer)
            if before := self._before(layer):
                kept = "; that is remembered for its file" if layer_file(layer) else ""
                factor = f"{_spacing(layer).anisotropy:.3g}"
                self._tell(f"{layer.name} has an anisotropy of {factor}, as you have set it{before}{kept}.")

    def _remember_size(self, layer: Image) -> None:
        if (file := layer_file(layer)) is not None:
            axes = file.stored_axes if provenance_of(layer).axes_corrected else None
            self._remember(file, Correction(voxel_size(layer), str(layer.units[-1]), axes))

    def _remember(self, file: LayerFile, correction: Correction) -> None:
        self._run(lambda: remember(file.path, correction, file.dataset), lambda _: None)


def _spacing(layer: Image) -> Spacing:
    """The voxel size that a layer has now."""
    return Spacing(voxel_size(layer), str(layer.units[-1]))


def _check_step(answer: Answer) -> None:
    """Refuse a z step that nothing can be made of; a fine one is left to who says so.

    Raises
    ------
    VolumeError
        If it is more than `MAX_ANISOTROPY` times the pixel size.
    """
    if (factor := Spacing(answer.voxel_size, answer.unit).anisotropy) > 1.001 * MAX_ANISOTROPY:
        raise VolumeError(
            f"The z step would be {as_factor(factor)} times the pixel size, and at most {MAX_ANISOTROPY:g} times can "
            "be restored; correct the sizes, whose unit is one and the same."
        )


def _look_up(file: LayerFile, unscaled: bool) -> _FileFacts:
    """What is remembered of a file, and where its layer has no scale, the voxel size in it; called on a thread."""
    correction = recall(file.path, file.dataset)
    given = read_spacing(file.path) if unscaled else None
    return _FileFacts(correction, given, recall_empty(file.path, file.dataset))
