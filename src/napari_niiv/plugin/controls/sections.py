"""What is wrong with the sections of the chosen layer, and the switches of what is done about it."""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, Label, PushButton
from napari.layers import Image

from napari_niiv.configuration import setting_of
from napari_niiv.errors import NiivError
from napari_niiv.interrupt import Interrupted, StopFlag
from napari_niiv.io.remembered import recall_sections, remember_sections
from napari_niiv.plugin.common.channels import channels_of, whole_volume
from napari_niiv.plugin.common.connections import when_destroyed
from napari_niiv.plugin.common.forms import LateRows, Row, button, paragraph, write
from napari_niiv.plugin.common.host import Host
from napari_niiv.plugin.common.questions import Urgency
from napari_niiv.plugin.common.setting_widgets import setting_widget
from napari_niiv.plugin.files.layer_file import layer_file
from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.sections.config import SectionsConfig
from napari_niiv.sections.find import find_sections
from napari_niiv.sections.report import SectionReport
from napari_niiv.volume import Volume

if TYPE_CHECKING:
    from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction


class SectionsControl:
    """Sentences about the sections of the chosen layer, and switches for what can be done; nothing where all is well.

    A layer's sections are looked at behind its first refined picture, and again when its data are others; the channels
    of a volume together, so that they stay upon each other. What the user switches is remembered for the layer's file.

    Parameters
    ----------
    host : Host
    live_layers : LiveLayers
    layer : ComboBox
        Where the layer is chosen.

    Attributes
    ----------
    rows : list of LateRows
        To be put into a form: what was found, and its switches.
    settings : list of LateRows
        The same for *align* where sections jump in a way that may be the specimen's: what is not found is not on top.
    """

    def __init__(self, host: Host, live_layers: LiveLayers, layer: ComboBox) -> None:
        self._host, self._live_layers, self._layer = host, live_layers, layer
        self._looked_at: weakref.WeakSet[Image] = weakref.WeakSet()
        self._found: weakref.WeakKeyDictionary[Image, tuple[SectionReport, SectionsConfig]] = (
            weakref.WeakKeyDictionary()
        )
        self._stop = StopFlag()
        self._question = host.questions.add(Urgency.SECTIONS, lambda: (self.sentence, Row("", self.seen)))
        self._gaps, self._places = LateRows(lambda: (self._lines[0],)), LateRows(lambda: (self._lines[1],))
        self.rows = [self._question, self._gaps, self._places]
        self.settings = [LateRows(lambda: (self.anyway,))]
        self._told: weakref.WeakSet[Image] = weakref.WeakSet()  # and taken note of
        live_layers.opened.connect(self._follow_data)
        live_layers.seen.connect(self._look)
        layer.changed.connect(self.show)
        when_destroyed(layer.native, self._stop.stop)

    @functools.cached_property
    def sentence(self) -> Label:
        """What was found."""
        return paragraph()

    @functools.cached_property
    def seen(self) -> PushButton:
        """Hides the sentence."""
        return button("Dismiss", "hides the sentence; the switches below stay, and tell it again", self._take_note)

    @functools.cached_property
    def switches(self) -> dict[str, CheckBox]:
        """Of what is done, by the names of the settings."""
        switches = {name: setting_widget(SectionsConfig, name) for name in SectionsConfig.model_fields}
        for switch in switches.values():
            switch.changed.connect(self._switched)
        return switches

    @functools.cached_property
    def anyway(self) -> CheckBox:
        """Aligns sections of which none is displaced for sure."""
        words = f"{setting_of(SectionsConfig, 'align').help}; here none is clearly displaced"
        switch = CheckBox(text="align sections", tooltip=words)
        switch.changed.connect(self._align_anyway)
        return switch

    @functools.cached_property
    def _lines(self) -> tuple[Row, Row]:
        """The switches about gaps, and those about places and brightness."""
        first, second, *others = self.switches.values()
        return Row("Sections", first, second), Row("Sections", *others)

    def _follow_data(self, live: LiveReconstruction) -> None:
        source = live.source
        forget = functools.partial(self._forget, weakref.ref(source))
        source.events.data.connect(forget)
        live.closed.connect(lambda: source.events.data.disconnect(forget))

    def _look(self, layer: Image, final: bool) -> None:
        """Look at the sections of a layer, if that was not done yet, and nothing else is waited for."""
        if layer in self._looked_at or not final:
            return
        channels = channels_of(self._host.viewer, layer)
        self._looked_at.update(channels)
        try:
            volume = whole_volume(channels)
        except NiivError:
            return  # said where the layer is opened
        file, waiting = layer_file(layer), [(weakref.ref(each), id(each.data)) for each in channels]
        place = None if file is None else (file.path, file.dataset)

        def done(found: tuple[SectionReport, SectionsConfig] | None) -> None:
            if found is None:
                return
            report, config = found
            known = None
            for number, (channel, data) in enumerate(waiting):
                if (alive := channel()) is not None and id(alive.data) == data:
                    self._found[alive] = (report.of_channel(number) if len(waiting) > 1 else report), config
                    self._apply(alive)
                    known = known or alive
            if known is not None and config != SectionsConfig() and (report.sentences or report.alignable):
                self._host.inform(f"{known.name}: its sections are treated as you have set it for this file.")

        self._host.run(lambda: _find(volume, place, self._stop), done, lambda sentence: None)

    def _forget(self, waiting: weakref.ref[Image], event: Any = None) -> None:
        """The data of a layer are others: what was found is of no interest."""
        if (layer := waiting()) is not None:
            self._looked_at.discard(layer)
            self._told.discard(layer)
            self._found.pop(layer, None)
            self._live_layers.set_repairs(layer, None)
            self.show()

    def _take_note(self) -> None:
        if self._layer.value is not None:
            self._told.add(self._layer.value)
        self.show()

    def _switched(self, value: Any = None) -> None:
        layer = self._layer.value
        if layer is None or layer not in self._found:
            return
        config = SectionsConfig(**{name: switch.value for name, switch in self.switches.items()})
        channels = [each for each in channels_of(self._host.viewer, layer) if each in self._found]
        self._found.update({each: (self._found[each][0], config) for each in channels})
        if (file := layer_file(layer)) is not None:
            self._host.run(lambda: remember_sections(file.path, config.model_dump(), file.dataset), lambda _: None)
        for each in channels:
            self._apply(each)

    def _align_anyway(self, value: bool) -> None:
        self.switches["align"].value = value

    def _apply(self, layer: Image) -> None:
        report, config = self._found[layer]
        self._live_layers.set_repairs(layer, report.repairs(config))
        self.show()

    def show(self, value: Any = None) -> None:
        """Show what was found of the chosen layer, and only the switches that do something."""
        layer = self._layer.value
        nothing = SectionReport(), SectionsConfig()
        report, config = nothing if layer is None else self._found.get(layer, nothing)
        words = _words(report)
        displaced = report.largest_shift > 0
        useful = {
            "bridge": report.blank,
            "bridge_damaged": report.damaged,
            "align": displaced,
            "even_brightness": report.uneven,
        }
        gaps, places = report.blank or report.damaged, displaced or report.uneven
        unsure = report.alignable and not displaced
        self.settings[0].show(unsure)
        if unsure:
            with self.anyway.changed.blocked():
                self.anyway.value = config.align
        if gaps or places or unsure:
            self._gaps.prepare()
            self._places.prepare()
            for name, switch in self.switches.items():
                with switch.changed.blocked():
                    switch.value = getattr(config, name)
                switch.visible = useful[name]
                switch.tooltip = f"{setting_of(SectionsConfig, name).help}\n{words}".strip()
        self._gaps.show(gaps)
        self._places.show(places)
        if places:
            self._lines[1].title.setText("" if gaps else "Sections")
        if words:
            write(self.sentence, words)
        self._question.ask(bool(words) and layer not in self._told)


def _find(
    volume: Volume, place: tuple[str, str | None] | None, stop: StopFlag
) -> tuple[SectionReport, SectionsConfig] | None:
    """What is found, and what the user wants done about it; None if nobody waits any more."""
    config = SectionsConfig.recalled({} if place is None else recall_sections(*place))
    try:
        return find_sections(volume, stop), config
    except Interrupted:
        return None


def _words(report: SectionReport) -> str:
    """The sentences for the form."""
    sentences = [f"{sentence[:1].upper()}{sentence[1:]}" for sentence in report.sentences]
    if sentences and report.largest_shift:
        sentences[-1] += ": align, and keep it if the side view becomes smoother"
    return " ".join(f"{sentence}." for sentence in sentences)
