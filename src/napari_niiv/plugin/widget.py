"""The dock widget "Isotropic reconstruct"."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSpinBox
from napari import Viewer
from napari.layers import Image

from napari_niiv.errors import NiivError
from napari_niiv.models.catalog import SUFFIX
from napari_niiv.plugin.arrangement import grouped, on_top
from napari_niiv.plugin.common.channels import channels_of
from napari_niiv.plugin.common.connections import Connections, when_destroyed
from napari_niiv.plugin.common.docks import Tabbed, is_shown
from napari_niiv.plugin.common.elided import elided
from napari_niiv.plugin.common.folding import Scrolled
from napari_niiv.plugin.common.forms import Drops, Leaving
from napari_niiv.plugin.common.host import Host
from napari_niiv.plugin.common.layers import ISOTROPIC, is_source, layer_volume, sources
from napari_niiv.plugin.common.removal import once_after_removals
from napari_niiv.plugin.common.selected_volume import SelectedVolume, restorable
from napari_niiv.plugin.common.typed_numbers import typed
from napari_niiv.plugin.controls.compare import Compare
from napari_niiv.plugin.controls.denoise import DenoiseControl
from napari_niiv.plugin.controls.empty_voxels import EmptyVoxelsControl
from napari_niiv.plugin.controls.fitted_offer import FittedOffer
from napari_niiv.plugin.controls.help import Help
from napari_niiv.plugin.controls.model_choice import ModelChoice
from napari_niiv.plugin.controls.only_in_2d import OnlyIn2D
from napari_niiv.plugin.controls.output_scale import OutputScale
from napari_niiv.plugin.controls.plane_buttons import PlaneButtons
from napari_niiv.plugin.controls.sections import SectionsControl
from napari_niiv.plugin.controls.status import Status
from napari_niiv.plugin.controls.suitability import SuitabilityControl
from napari_niiv.plugin.controls.trust import TrustControls
from napari_niiv.plugin.export.panel import ExportControls
from napari_niiv.plugin.files.channel_offer import ChannelOffer
from napari_niiv.plugin.files.copy_offer import CopyOffer
from napari_niiv.plugin.files.opener import Opener
from napari_niiv.plugin.files.voxel_size import VoxelSizeControl
from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.plugin.ortho.button import OrthoButton
from napari_niiv.plugin.training.button import TrainingButton
from napari_niiv.plugin.volume3d.volume_views import VolumeViews
from napari_niiv.volume import MAX_ANISOTROPY

if TYPE_CHECKING:
    from napari_niiv.models.niiv import Niiv
    from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
    from napari_niiv.plugin.ortho.ortho_views import OrthoViews


class IsotropicReconstruct(Container):  # type: ignore[type-arg]
    """Choose a layer and a checkpoint; its side views become sharp.

    Parameters
    ----------
    napari_viewer : Viewer
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        self.viewer = napari_viewer
        self.live_layers = LiveLayers(napari_viewer)
        self.volume_views = VolumeViews(napari_viewer, self.live_layers)
        self._off: weakref.WeakSet[Image] = weakref.WeakSet()  # layers switched off by hand
        self.layer = ComboBox(label="Layer", choices=self._sources, nullable=True, tooltip="the volume to restore")
        elided(self.layer)
        self._status = Status(self.layer, self.live_layers, napari_viewer)
        self.status, self.indicator = self._status.label, self._status.indicator
        self.shown_row = self._status.shown
        self._host = host = Host(napari_viewer, self._status, self.status.native)
        self._opener = Opener(host, self.layer, self._choose_layer)
        self.datasets = self._opener.datasets
        self.models = ModelChoice(host, self._adopt_model)
        self.checkpoint, self.browse, self.device = self.models.checkpoint, self.models.browse, self.models.device
        self.anisotropy = FloatSpinBox(
            label="Anisotropy", min=1, max=MAX_ANISOTROPY, step=0.1, value=1, tooltip="z step ÷ pixel size"
        )
        typed(self.anisotropy, "anisotropy")
        self.scale = OutputScale(self.layer, self.live_layers)
        self.match_zoom, self.output_scale = self.scale.match_zoom, self.scale.samples
        self._ortho = OrthoButton(host, self.live_layers, self.layer)
        self.ortho_button = self._ortho.button
        self.planes = PlaneButtons(napari_viewer, self.layer, self.ortho_button)
        self.on = CheckBox(text="Reconstruct", value=True, tooltip="shows the restored picture over the chosen layer")
        self.suitability = SuitabilityControl(host, self.live_layers, self.layer, self.models)
        self.compare, self.trust = Compare(napari_viewer, self.live_layers), TrustControls(self.live_layers, self.layer)
        self.fitted = FittedOffer(host, self.live_layers, self.models, self._show_settings)
        self.denoise = DenoiseControl(host, self.live_layers, self.layer)
        self.empty_voxels = EmptyVoxelsControl(host, self.live_layers, self.layer)
        self.spacings = VoxelSizeControl(host, self._close_live_of, self._layer_ready)
        self.channels = ChannelOffer(host, self._adopt_copy)
        self.copying = CopyOffer(host, self._adopt_copy)
        self.sections = SectionsControl(host, self.live_layers, self.layer)
        self._training = TrainingButton(host, self.live_layers, self.layer, self.models)
        self.train = self._training.button
        self.help = Help()
        self.export = ExportControls(napari_viewer, self.live_layers, self.layer)
        self.top, self.groups = on_top(self), grouped(self)
        groups = Scrolled(self.groups.values())
        super().__init__(widgets=[self.on, self.top, self.status, groups, self.train, *self.export.rows], labels=False)
        self.native.layout().addWidget(self.help.row.native)
        self._ended_sources: list[Image] = []
        self._endings = once_after_removals(self.native, self._switch_off_ended)
        self._joining = once_after_removals(self.native, self.live_layers.join)
        self._choosing = once_after_removals(self.native, self._choose_layer)
        self._size_connections = Connections()
        self._window: weakref.ref[Any] | None = None  # the viewer's
        self._connect()
        self._drops, self._leaving = Drops(self.native, self.open_files), Leaving(self.native)
        self._tabbed = Tabbed(self.native)
        self._selected = SelectedVolume(
            self.native, napari_viewer, lambda: self.layer.value, lambda layer: setattr(self.layer, "value", layer)
        )
        self._adopt_selected()
        self._in_2d = OnlyIn2D(self.native, napari_viewer, (*self.compare.pictures, *self.trust.switches))
        self.models.set_layer(self.layer.value)

    # what the user does

    def open_files(self, paths: list[Path]) -> None:
        """Open what was dropped: checkpoints are selected, volumes become layers, slices a stack."""
        checkpoints = [path for path in paths if path.name.lower().endswith((SUFFIX, ".pth", ".pt", ".ckpt"))]
        for path in checkpoints:
            self.models.choose(path)
        self._opener.open_all([path for path in paths if path not in checkpoints])

    def open_file(self, path: Path, dataset: str | None = None) -> None:
        """Open a volume as a layer; ask which, if its file holds several."""
        self._opener.open(path, dataset)

    def select_checkpoint(self, path: Path | str) -> None:
        """Add a checkpoint to the choices and use it; if it is in use, its file is read anew."""
        self.models.select(path)

    def use_checkpoint(self, layer: Image | None, path: Path | str) -> None:
        """The same for a layer, which need not be chosen, and the other channels of its volume."""
        if layer is not None and layer not in channels_of(self.viewer, self.layer.value):
            self.models.assign(layer, str(path))
        else:
            self.select_checkpoint(path)

    def open_training(self) -> None:
        """Open the dock widget that trains, on the layer chosen here, from the checkpoint in use."""
        self._training.open()

    def show_side(self, plane: str) -> None:
        """Look at the xy, xz or yz plane."""
        self.planes.show(plane)

    def freeze(self) -> None:
        """Keep the picture of the chosen layer as a layer of its own, hidden."""
        if (live := self.live) is None:
            self._status.fail("Nothing is live to be frozen; choose a layer and switch Reconstruct on.")
            return
        try:
            self._status.inform(f"Kept as {live.freeze().name}: open its eye to see it over what is live.")
        except NiivError as error:
            self._status.fail(str(error))

    def show_ortho(self, on: bool = True) -> None:
        """Show the three planes beside each other, or one of them alone again."""
        self.ortho_button.value = on
        if not on:
            self._ortho.close()
            return
        self.on.value = True
        self._refresh()
        if self.live is None and self.model is not None:
            self.ortho_button.value = False  # the status says why

    @property
    def ortho(self) -> OrthoViews | None:
        """The ortho views while they are open, else None."""
        return self._ortho.views

    @property
    def live(self) -> LiveReconstruction | None:
        """The live reconstruction of the chosen layer, if it is live; others may be live beside it."""
        return self.live_layers.get(self.layer.value)

    @property
    def model(self) -> Niiv | None:
        """The model of the chosen layer, None as long as it is not loaded."""
        return self.live_layers.settings_of(self.layer.value).model

    def close_live(self) -> None:
        """Stop the live reconstruction of the chosen layer."""
        self._ortho.close()
        self.live_layers.close(self.layer.value)

    # reactions

    def _connect(self) -> None:
        self.live_layers.opened.connect(self._listen_to)
        self.live_layers.ended.connect(self._note_ended)
        self.volume_views.waiting.connect(self._status.wait_for)
        self.volume_views.progress.connect(self._status.report_volume)
        self.volume_views.progress.connect(self.scale.show_volume)
        self.volume_views.failed.connect(self._status.fail_for)
        self.on.changed.connect(self._switch)
        self.layer.changed.connect(self._choose_layer)
        self.anisotropy.changed.connect(self.spacings.set_anisotropy)
        self.compare.freeze.changed.connect(lambda _=None: self.freeze())
        self.ortho_button.changed.connect(self.show_ortho)
        events = self.viewer.layers.events
        events.inserted.connect(self._layers_changed)
        events.removed.connect(self._layers_changed)

        def release_viewer() -> None:  # must not touch the widget, whose Qt part no longer exists
            events.inserted.disconnect(self._layers_changed)
            events.removed.disconnect(self._layers_changed)
            self._watch(None)
            self.compare.close()
            self._ortho.close()
            # in 3-D, napari cannot remove layers when its canvas is gone already
            remove = self.viewer.dims.ndisplay == 2 or is_shown(self._window)
            self.volume_views.close(remove)
            self.live_layers.close_all(remove)

        when_destroyed(self.native, release_viewer)

    def reset_choices(self, *args: Any, **kwargs: Any) -> None:
        """Offer the layers anew, as napari asks when one comes, goes or is renamed; the choice stays."""
        chosen = self.layer.value
        with self.layer.changed.blocked():
            super().reset_choices(*args, **kwargs)
            sources = [layer for _, layer in self._sources()]
            self.layer.value = chosen if chosen in sources else next(reversed(restorable(sources)), None)
        if self.layer.value is chosen:
            return
        if chosen is None and not any(getattr(arg, "type", "") == "removed" for arg in args):
            self._choose_layer()
        else:
            self._watch(self.layer.value)
            self._ortho.close()  # they open again for the next
            self._choosing.throttle()  # one went, others may follow: nothing goes live among them

    def _sources(self, widget: Any = None) -> list[tuple[str, Image]]:
        return sources(self.viewer)

    def _layers_changed(self, event: Any) -> None:
        if is_source(event.value):
            self.reset_choices(event)
            self._joining.throttle()

    def _adopt_selected(self) -> None:
        self.layer.reset_choices()
        if sources := [layer for _, layer in self._sources()]:
            active = self.viewer.layers.selection.active
            best = restorable(sources)
            self.layer.value = active if active in best else best[-1]

    def _choose_layer(self, value: Any = None) -> None:
        with self._host.questions.anew():
            self._attend_to(self.layer.value)

    def _attend_to(self, layer: Image | None) -> None:
        if layer not in self._ortho.sources:
            self._ortho.close()  # they open again for the layer if it is live
        self._watch(layer)
        self.anisotropy.enabled = layer is not None
        self.models.set_layer(layer)
        self._show_settings(layer)
        self.copying.set_layer(layer)
        self.fitted.set_layer(layer)
        waiting = self.spacings.set_layer(layer)
        self.channels.set_layer(None if waiting else layer)  # its axes may be put in order before
        if layer is None:
            self._status.tell("Choose a layer, or drop a volume here.", "off")
            return
        if waiting:
            return
        self._refresh()
        if (live := self.live) is not None:  # it was live before it was chosen
            self._status.show(live)

    def _show_settings(self, layer: Image | None) -> None:
        """Show the layer's own settings; those of the layer chosen before stay as they are."""
        with self.on.changed.blocked():
            self.on.value = layer not in self._off
        self.scale.show(self.live_layers.settings_of(layer).finest)
        self.scale.show_used(self.live)
        self.denoise.show()
        for control in (self.empty_voxels, self.sections, self.suitability):
            control.show()

    def _switch(self, value: Any = None) -> None:
        """Switch the chosen layer on or off."""
        layer = self.layer.value
        if layer is not None:
            change = self._off.difference_update if self.on.value else self._off.update
            change(channels_of(self.viewer, layer))
        self._refresh()
        self.scale.show_used(self.live)

    def _watch(self, layer: Image | None) -> None:
        """Follow the scale of the chosen layer, wherever it is changed."""
        self._size_connections.disconnect()
        if layer is not None:
            of = layer.events
            self._size_connections.connect(self._refresh, of.scale, of.affine, of.units)

    def _close_live_of(self, layer: Image) -> None:
        """Before the data of a layer are turned, or it goes."""
        self._ortho.close_of(layer)
        self.live_layers.close(layer)

    def _layer_ready(self, layer: Image) -> None:
        if layer is self.layer.value:
            self.empty_voxels.show()
            self.channels.set_layer(layer)
            self._refresh()

    def _adopt_copy(self, source: Image, copy: Image) -> None:
        self._close_live_of(source)
        if source in self._off:
            self._off.add(copy)
        if (checkpoint := self.models.checkpoint_of(source)) != self.models.checkpoint_of(copy) and checkpoint:
            self.models.assign(copy, checkpoint)
        self.live_layers.adopt(source, copy)
        if self.layer.value is source:
            self.layer.value = copy

    def _adopt_model(self, model: Any, layer: Image | None) -> None:
        self.live_layers.set_own(layer, model=model)
        self._refresh()

    def _refresh(self, value: Any = None) -> None:
        """Make what runs agree with what is chosen."""
        layer = self.layer.value
        if layer is None:
            return
        try:
            volume = layer_volume(layer)
        except NiivError as error:
            self.close_live()
            self._status.fail(str(error))
            return
        with self.anisotropy.changed.blocked():
            self.anisotropy.value = min(max(volume.anisotropy, 1), MAX_ANISOTROPY)
        if volume.anisotropy <= ISOTROPIC or self.spacings.asks_of(layer):
            self.close_live()
            self._status.tell(self.spacings.why_not(layer), "off")
        elif not self.on.value:
            self.close_live()
            self._status.tell("Off.", "off")
        elif self.model is None:
            self._status.tell("Loading the model…", "waiting")
        else:
            self._go_live(layer)

    def _go_live(self, layer: Image) -> None:
        before = self.live
        try:
            self.live_layers.open(layer)  # and its other channels
        except NiivError as error:
            self._status.fail(str(error))
            return
        if before is None:
            self._status.tell("Reconstructing…", "waiting")
        self._ortho.open(self.live)

    def _listen_to(self, live: LiveReconstruction) -> None:
        """Listen to a new live reconstruction; the status speaks of the chosen layer alone."""
        live.pixel_ratio = self.native.devicePixelRatioF()
        status = self._status
        live.waiting.connect(lambda sentence: status.wait_for(live.source, sentence))
        live.shown.connect(lambda shown: status.report(live.source, shown))
        live.layer.events.visible.connect(lambda e: None if self.volume_views.get(live.source) else status.show(live))
        live.shown.connect(lambda shown: self.scale.show_used(self.live))
        live.failed.connect(lambda sentence: self._fail_for(live, sentence))
        window = self.native.window()  # of a dock that floats, the dock
        self._window = weakref.ref(window.parentWidget() or window)

    def _fail_for(self, live: LiveReconstruction, sentence: str) -> None:
        """Say what went wrong; without one of its channels nothing is shown of a volume."""
        together = self.live is not None and self.live.channels is not None and self.live.channels is live.channels
        self._status.fail_for(self.layer.value if together else live.source, sentence)

    def _note_ended(self, live: LiveReconstruction) -> None:
        """A live layer went, by the user's hand or with its source."""
        self._ended_sources.append(live.source)
        self._endings.throttle()

    def _switch_off_ended(self) -> None:
        """Switch Reconstruct off for the sources whose live layer alone was deleted."""
        ended, self._ended_sources = self._ended_sources, []
        for source in ended:
            if source not in self.viewer.layers or self.live_layers.get(source) is not None:
                continue
            channels = channels_of(self.viewer, source)
            self._off.update(channels)
            self.live_layers.close(next((each for each in channels if self.live_layers.get(each)), None))
            if self.layer.value in channels:
                self.on.value = False
