"""The dock widget "Isotropic reconstruct"."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSlider, FloatSpinBox, Label, PushButton
from napari import Viewer
from napari.layers import Image
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog

from napari_niiv.errors import NiivError
from napari_niiv.io.open import open_volume, read_spacing
from napari_niiv.models.catalog import SUFFIX, bundled_models
from napari_niiv.plugin.background import Background
from napari_niiv.plugin.compare import Compare
from napari_niiv.plugin.export_controls import ExportControls
from napari_niiv.plugin.forms import Drops, Leaving, row, short_names
from napari_niiv.plugin.indicator import PassIndicator, pass_of
from napari_niiv.plugin.layers import (
    ISOTROPIC,
    VIEWS,
    is_source,
    layer_data,
    layer_volume,
    sources,
    voxel_size,
)
from napari_niiv.plugin.lives import LiveLayers
from napari_niiv.plugin.loading import ModelLoader, Wanted
from napari_niiv.plugin.reader import PLUGIN, TRAINING
from napari_niiv.plugin.trust_controls import TrustControls
from napari_niiv.plugin.volumes import VolumeViews
from napari_niiv.volume import MAX_ANISOTROPY, Volume

if TYPE_CHECKING:
    from napari_niiv.plugin.live_layer import LiveReconstruction, Shown
    from napari_niiv.plugin.volume_view import Progress

QUALITY = {
    "placeholder": "interpolated, restoring…",
    "fast": "restored in one plane, refining…",
    "refined": "refined from both planes",
}


class IsotropicReconstruct(Container):  # type: ignore[type-arg]
    """Choose a layer and a checkpoint; its side views become sharp.

    Parameters
    ----------
    napari_viewer : Viewer
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        self.viewer = napari_viewer
        self.lives = LiveLayers(napari_viewer)
        self.volumes = VolumeViews(napari_viewer, self.lives)
        self.ortho: Any = None  # OrthoViews
        self._off: weakref.WeakSet[Image] = weakref.WeakSet()  # layers switched off by hand
        self._rescued: weakref.WeakSet[Image] = weakref.WeakSet()
        self._own_checkpoints: list[str] = []
        self._devices = ["auto"]
        self._loaded: tuple[str, str] | None = None  # checkpoint and device of the model in use
        self.layer = ComboBox(label="Layer", choices=self._sources, nullable=True)
        # choices are functions, as napari asks for them anew whenever a layer comes or goes
        self.checkpoint = ComboBox(
            choices=lambda widget: short_names([*bundled_models(), *self._own_checkpoints]),
            tooltip="or drop a file here",
        )
        self.browse = PushButton(text="Browse…", tooltip="choose a checkpoint file")
        self.anisotropy = FloatSpinBox(
            label="Anisotropy", min=1, max=MAX_ANISOTROPY, step=0.1, value=1, tooltip="z step ÷ pixel size"
        )
        self.match_zoom = CheckBox(
            text="auto", value=True, tooltip="match the zoom: one sample per screen pixel"
        )
        self.output_scale = FloatSlider(
            min=0.25,
            max=4,
            step=0.05,
            value=1,
            tooltip="samples per isotropic voxel, never finer than the screen",
        )
        self.output_scale.enabled = False
        self.device = ComboBox(label="Device", choices=lambda widget: self._devices)
        self.three = PushButton(
            text="Ortho views", tooltip="xy, xz and yz beside each other, linked by a cross-hair"
        )
        self.three.native.setCheckable(True)
        self.side = row(
            "View",
            *(PushButton(text=name, tooltip=f"look at the {name} plane") for name in VIEWS),
            self.three,
        )
        self.on = CheckBox(text="Reconstruct", value=True)
        self.compare = Compare(napari_viewer, self.lives)
        self.trust = TrustControls(self.lives)
        self.train = PushButton(text="Train on this volume…", tooltip="fit the checkpoint to your own volume")
        self.export = ExportControls(napari_viewer, self.lives, self.layer)
        self.indicator = PassIndicator()
        shown = row("Shown")
        shown.native.layout().addWidget(self.indicator)
        self.status = Label(value="Choose a layer, or drop a volume here.")
        self.status.native.setWordWrap(True)
        self.anisotropy.native.setKeyboardTracking(False)  # half a number is not meant
        super().__init__(
            widgets=[
                *(self.on, self.layer, self.anisotropy, self.side),
                row("Output scale", self.match_zoom, self.output_scale),
                row("Checkpoint", self.checkpoint, self.browse),
                *(self.device, *self.compare.rows, *self.trust.rows, self.train),
                *(*self.export.rows, shown, self.status),
            ]
        )
        self._background = Background(self.native, self._fail)
        self._loader = ModelLoader(self._background, self._adopt_model, self._refuse_model)
        self._judgement = QTimer(self.native)
        self._judgement.setSingleShot(True)
        self._judgement.timeout.connect(self._judge)
        self._bereft: list[Image] = []
        self._watched: Image | None = None
        self._window: weakref.ref[Any] | None = None  # the viewer's
        self._connect()
        self._drops, self._leaving = Drops(self.native, self.open_files), Leaving(self.native)
        self._adopt_selected()
        self._load_model()

    # what the user does

    def open_files(self, paths: list[Path]) -> None:
        """Open what was dropped: checkpoints are selected, volumes become layers."""
        for path in paths:
            if path.name.lower().endswith((SUFFIX, ".pth", ".pt", ".ckpt")):
                self.select_checkpoint(path)
            else:
                self.status.value = f"Opening {path.name}…"
                self._background.run(lambda p=path: open_volume(p), self._add_volume)  # type: ignore[misc]

    def select_checkpoint(self, path: Path | str) -> None:
        """Add a checkpoint to the choices and use it; if it is in use, its file is read anew."""
        name = str(path)
        if name not in self.checkpoint.choices:
            self._own_checkpoints.append(name)
            self.checkpoint.reset_choices()
        if name == self.checkpoint.value:
            self._load_model()
        self.checkpoint.value = name

    def open_training(self) -> None:
        """Open the dock widget that trains, on the layer chosen here."""
        _, training = self.viewer.window.add_plugin_dock_widget(PLUGIN, TRAINING)
        training.choose_layer(self.layer.value)

    def show_side(self, plane: str) -> None:
        """Look at the xy, xz or yz plane."""
        dims = self.viewer.dims
        if dims.ndim < 3:
            return
        dims.ndisplay = 2
        last = tuple(axis % dims.ndim for axis in VIEWS[plane])
        dims.order = (*range(dims.ndim - 3), *last)
        self.viewer.reset_view()

    def freeze(self) -> None:
        """Keep the picture of the chosen layer as a layer of its own."""
        if (live := self.live) is None:
            self._fail("Nothing is live to be frozen; choose a layer and switch Reconstruct on.")
            return
        try:
            live.freeze()
        except NiivError as error:
            self._fail(str(error))

    def show_ortho(self, on: bool = True) -> None:
        """Show the three planes beside each other, or one of them alone again."""
        self.three.value = on
        if not on:
            self._close_ortho()
            return
        self.on.value = True
        self._refresh()
        if self.live is None and self.lives.model is not None:
            self.three.value = False  # the status says why

    @property
    def live(self) -> LiveReconstruction | None:
        """The live reconstruction of the chosen layer, if it is live; others may be live beside it."""
        return self.lives.get(self.layer.value)

    def close_live(self) -> None:
        """Stop the live reconstruction of the chosen layer."""
        self._close_ortho()
        self.lives.close(self.layer.value)

    # reactions

    def _connect(self) -> None:
        self.lives.opened.connect(self._follow)
        self.lives.ended.connect(self._ended)
        self.volumes.progress.connect(self._report_volume)
        self.volumes.failed.connect(self._fail_for)
        self.on.changed.connect(self._switch)
        self.layer.changed.connect(self._choose_layer)
        self.anisotropy.changed.connect(self._apply_anisotropy)
        self.match_zoom.changed.connect(self._apply_scale)
        self.output_scale.changed.connect(self._apply_scale)
        self.checkpoint.changed.connect(self._load_model)
        self.device.changed.connect(self._load_model)
        self.browse.changed.connect(self._browse)
        self.train.changed.connect(lambda _=None: self.open_training())
        self.compare.freeze.changed.connect(lambda _=None: self.freeze())
        for button in self.side:
            if button is not self.three:
                button.changed.connect(lambda _=None, name=button.text: self.show_side(name))
        self.three.changed.connect(self.show_ortho)
        events = self.viewer.layers.events
        events.inserted.connect(self._layers_changed)
        events.removed.connect(self._layers_changed)

        def gone() -> None:  # must not touch the widget, whose Qt part no longer exists
            events.inserted.disconnect(self._layers_changed)
            events.removed.disconnect(self._layers_changed)
            self._watch(None)
            self.compare.let_go()
            self._close_ortho()
            # in 3-D, napari cannot remove layers when its canvas is gone already
            remove = self.viewer.dims.ndisplay == 2 or _is_shown(self._window)
            self.volumes.let_go(remove)
            self.lives.close_all(remove)

        self.native.destroyed.connect(gone)

    def reset_choices(self, *args: Any, **kwargs: Any) -> None:
        """Offer the layers anew, as napari asks when one comes, goes or is renamed; the choice stays."""
        chosen = self.layer.value
        with self.layer.changed.blocked():
            super().reset_choices(*args, **kwargs)
            sources = [layer for _, layer in self._sources()]
            self.layer.value = chosen if chosen in sources else sources[-1] if sources else None
        if self.layer.value is not chosen:
            self._choose_layer()

    def _sources(self, widget: Any = None) -> list[tuple[str, Image]]:
        return sources(self.viewer)

    def _layers_changed(self, event: Any) -> None:
        if not is_source(event.value):
            return
        self.reset_choices()

    def _adopt_selected(self) -> None:
        self.layer.reset_choices()
        active = self.viewer.layers.selection.active
        sources = [layer for _, layer in self._sources()]
        if sources:
            self.layer.value = active if active in sources else sources[-1]

    def _choose_layer(self, value: Any = None) -> None:
        layer = self.layer.value
        if self.ortho is not None and self.ortho.source is not layer:
            self._close_ortho()  # they open again for the layer if it is live
        self._watch(layer)
        self._show_settings(layer)
        if layer is None:
            self._tell("Choose a layer, or drop a volume here.", "off")
            return
        path = layer.source.path
        unscaled = layer.ndim >= 3 and all(s == 1 for s in layer.scale)
        if path and unscaled and layer not in self._rescued:
            self._rescued.add(layer)
            self._background.run(lambda: read_spacing(path), lambda spacing: self._rescue(layer, spacing))
            return
        self._refresh()
        if (live := self.live) is not None:  # it was live before it was chosen
            if live.failure:
                self._tell(live.failure, "failed")
            elif live.last is not None:
                self._describe(live.last)
                self._show_visibility()

    def _show_settings(self, layer: Image | None) -> None:
        """Show the layer's own settings; those of the layer chosen before stay as they are."""
        with (
            self.on.changed.blocked(),
            self.match_zoom.changed.blocked(),
            self.output_scale.changed.blocked(),
        ):
            self.on.value = layer not in self._off
            finest = self.lives.finest(layer)
            self.match_zoom.value = finest == 0
            if finest:
                self.output_scale.value = 1 / finest
        self.output_scale.enabled = finest > 0

    def _switch(self, value: Any = None) -> None:
        """Switch the chosen layer on or off."""
        layer = self.layer.value
        if layer is not None:
            (self._off.discard if self.on.value else self._off.add)(layer)
        self._refresh()

    def _watch(self, layer: Image | None) -> None:
        """Follow the scale of the chosen layer, wherever it is changed."""
        for event in _size_events(self._watched):
            event.disconnect(self._refresh)
        self._watched = layer
        for event in _size_events(layer):
            event.connect(self._refresh)

    def _rescue(self, layer: Image, spacing: Any) -> None:
        """Give a layer the voxel size that napari's reader dropped."""
        if not spacing.problem and layer in self.viewer.layers:
            size = spacing.voxel_size
            layer.units = (*(str(u) for u in layer.units[:-3]), *[spacing.unit] * 3)
            layer.scale = (*layer.scale[:-3], *size)
            self.viewer.reset_view()
            text = " × ".join(f"{v:.4g}" for v in size)
            show_info(f"{layer.name}: voxel size {text} {spacing.unit} (z × y × x) taken from the file.")
        if layer is self.layer.value:
            self._refresh()

    def _add_volume(self, volume: Volume) -> None:
        data, keywords = layer_data(volume)
        self.layer.value = self.viewer.add_image(data, **keywords)

    def _apply_anisotropy(self, value: float) -> None:
        """The anisotropy is the layer's scale: there is one truth, and the picture is not squeezed."""
        layer = self.layer.value
        if layer is None or layer.ndim < 3:
            return
        z, y, x = voxel_size(layer)
        factor = value * (y * x) ** 0.5 / z
        if abs(factor - 1) > 1e-6:
            scale = list(layer.scale)
            scale[-3] *= factor
            layer.scale = scale

    def _apply_scale(self, value: Any = None) -> None:
        self.output_scale.enabled = not self.match_zoom.value
        if self.layer.value is not None:
            finest = 0.0 if self.match_zoom.value else 1 / self.output_scale.value
            self.lives.set_finest(self.layer.value, finest)
            self.volumes.set_finest(self.layer.value)
            if self.ortho is not None:
                self.ortho.finest = finest

    def _load_model(self, value: Any = None) -> None:
        if self.checkpoint.value is None:
            self.status.value = "No checkpoint is there; browse for one."
            return
        self._loader.load(self._wanted)

    @property
    def _wanted(self) -> Wanted:
        return self.checkpoint.value, self.device.value

    def _adopt_model(self, wanted: Wanted, model: Any, devices: list[str]) -> None:
        self._devices = ["auto", *devices]
        self.device.reset_choices()
        if wanted == self._wanted:
            self.lives.model, self._loaded = model, wanted
            self.volumes.set_model(model)
            self._refresh()

    def _refuse_model(self, wanted: Wanted, sentence: str) -> None:
        self._fail(sentence)
        if wanted == self._wanted:
            self._choose_again(wanted)

    def _choose_again(self, failed: tuple[str, str]) -> None:
        """Go back to the checkpoint and device that work: the widget tells what is in use."""
        unusable = self.checkpoint.value
        checkpoint, device = self._loaded or (bundled_models()[0], "auto")
        with self.checkpoint.changed.blocked(), self.device.changed.blocked():
            self.checkpoint.value, self.device.value = checkpoint, device
            if unusable in self._own_checkpoints and unusable != checkpoint:
                self._own_checkpoints.remove(unusable)
                self.checkpoint.reset_choices()
        if self._loaded is None and (checkpoint, device) != failed:
            self._load_model()

    def _browse(self, value: Any = None) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self.native, "Choose a checkpoint", "", f"Checkpoints (*{SUFFIX})"
        )
        if path:
            self.select_checkpoint(path)

    def _refresh(self, value: Any = None) -> None:
        """Make what runs agree with what is chosen."""
        layer = self.layer.value
        if layer is None:
            return
        try:
            volume = layer_volume(layer)
        except NiivError as error:
            self.close_live()
            self._fail(str(error))
            return
        with self.anisotropy.changed.blocked():
            self.anisotropy.value = min(max(volume.anisotropy, 1), MAX_ANISOTROPY)
        if volume.anisotropy <= ISOTROPIC:
            self.close_live()
            self._tell(
                f"{layer.name} says that its voxels are isotropic. If the z step is coarser, "
                "type the anisotropy (z step ÷ pixel size) above.",
                "off",
            )
        elif not self.on.value:
            self.close_live()
            self._tell("Off.", "off")
        elif self.lives.model is None:
            self._tell("Loading the model…", "waiting")
        else:
            self._go_live(layer)

    def _go_live(self, layer: Image) -> None:
        if self.lives.get(layer) is not None:
            if self.ortho is not None and self.ortho.model is not self.lives.model:
                self.ortho.model = self.lives.model
            self._open_ortho()
            return
        try:
            self.lives.open(layer)
        except NiivError as error:
            self._fail(str(error))
            return
        self._tell("Reconstructing…", "waiting")
        self._open_ortho()

    def _open_ortho(self) -> None:
        """Open the ortho views of what is live, if they are wanted."""
        live = self.live
        if self.ortho is not None or live is None or not self.three.value:
            return
        from napari_niiv.plugin.ortho import OrthoViews

        try:
            self.ortho = OrthoViews(
                self.viewer, live.source, live.model, finest=live.finest, memory=self.lives.memory
            )
        except NiivError as error:
            self.three.value = False
            self._fail(str(error))
            return
        self.ortho.failed.connect(self._fail)
        self.ortho.closed.connect(self._ortho_closed)

    def _close_ortho(self) -> None:
        if self.ortho is not None:
            ortho, self.ortho = self.ortho, None
            ortho.close()

    def _ortho_closed(self) -> None:
        """Their dock was closed, or their source went."""
        if self.ortho is not None:
            self.ortho, self.three.value = None, False

    def _follow(self, live: LiveReconstruction) -> None:
        """Listen to a new live reconstruction; the status speaks of the chosen layer alone."""
        live.pixel_ratio = self.native.devicePixelRatioF()
        live.waiting.connect(lambda sentence: self._tell(sentence, "waiting") if live is self.live else None)
        live.layer.events.visible.connect(self._show_visibility)
        live.shown.connect(lambda shown: self._report(shown) if live is self.live else None)
        live.failed.connect(lambda sentence: self._fail_for(live.source, sentence))
        window = self.native.window()  # of a dock that floats, the dock
        self._window = weakref.ref(window.parentWidget() or window)

    def _show_visibility(self, event: Any = None) -> None:
        """Say so if the user, or a view in 3-D, hides the picture; the next one says that it is back."""
        live = self.live
        if live is not None and not live.failure and live.last is not None:
            self.indicator.show_state(pass_of(live.last.response) if live.layer.visible else "hidden")

    def _ended(self, live: LiveReconstruction) -> None:
        """A live layer went, by the user's hand or with its source."""
        self._bereft.append(live.source)
        self._judgement.start()  # all layers may be on their way out: judge when that is over

    def _judge(self) -> None:
        bereft, self._bereft = self._bereft, []
        for source in bereft:
            if source not in self.viewer.layers or self.lives.get(source) is not None:
                continue
            self._off.add(source)  # only the live layer was deleted
            if source is self.layer.value:
                self.on.value = False

    def _report(self, shown: Shown) -> None:
        self._describe(shown)
        if shown.response.notice:
            show_warning(shown.response.notice)

    def _describe(self, shown: Shown) -> None:
        response = shown.response
        quality = QUALITY[response.quality]
        if not response.inferred and response.quality != "placeholder":
            quality = "interpolated (nothing to infer in this view)"
        self._tell(
            f"{response.request.plane} · pixel {shown.pixel_size:.3g} {shown.unit} · {quality} · "
            f"{1e3 * response.seconds:.0f} ms · {response.device}",
            pass_of(response),
        )

    def _report_volume(self, source: Image, progress: Progress) -> None:
        if source is self.layer.value:
            self._tell(progress.text, "refined" if 0 < progress.done == progress.blocks else "interpolated")
        if progress.notice:
            show_warning(progress.notice)

    def _fail_for(self, source: Image, sentence: str) -> None:
        """Say what went wrong; the status speaks of the chosen layer alone."""
        if source is self.layer.value:
            self._fail(sentence)
        else:
            show_error(sentence)

    def _fail(self, sentence: str) -> None:
        if sentence != self.status.value:  # once is enough
            self._tell(sentence, "failed")
            show_error(sentence)

    def _tell(self, sentence: str, state: str) -> None:
        self.status.value = sentence
        self.indicator.show_state(state)


def _size_events(layer: Image | None) -> tuple[Any, ...]:
    """What tells that a layer's voxel size may have changed."""
    return () if layer is None else (layer.events.scale, layer.events.affine, layer.events.units)


def _is_shown(window: weakref.ref[Any] | None) -> bool:
    held = None if window is None else window()
    try:
        return held is not None and bool(held.isVisible())
    except RuntimeError:  # its Qt part is gone
        return False
