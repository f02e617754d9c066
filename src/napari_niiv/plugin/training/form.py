"""The form of a training: what is asked for, only where it applies."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from magicgui.widgets import CheckBox, ComboBox, LineEdit, PushButton
from napari import Viewer
from napari.layers import Image
from pydantic import BaseModel, ValidationError
from qtpy.QtWidgets import QFileDialog

from napari_niiv.configuration import setting_of
from napari_niiv.degradation import Gaussian, Skip
from napari_niiv.errors import TrainingError
from napari_niiv.models.catalog import SUFFIX, bundled_description, bundled_models
from napari_niiv.plugin.common.elided import elided
from napari_niiv.plugin.common.forms import Form, Row, short_names
from napari_niiv.plugin.common.layers import layer_volume, repairs_of, sources
from napari_niiv.plugin.common.output_names import (
    StatePath,
    default_output,
    free_output,
    interrupted_output,
    named_output,
)
from napari_niiv.plugin.common.setting_widgets import field_value, refuse, setting_widget
from napari_niiv.plugin.training.settings import TrainingSettings
from napari_niiv.training.config import DEFAULT_MINUTES, PsfFile, TrainingConfig

if TYPE_CHECKING:
    from napari_niiv.training.starting_point import StartingPoint

NOTHING = "nothing"
ADVANCED = "what seldom needs to be set: its values suit most data"
M = TypeVar("M", bound=BaseModel)


class TrainingForm(Form):
    """Everything a training can be told; what is not touched has sensible values.

    Parameters
    ----------
    viewer : Viewer

    Attributes
    ----------
    init_by_hand : bool
        Whether the user has chosen here where to start from.
    """

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.init_by_hand = self._blur_by_hand = False
        self.state_path: StatePath | None = None  # imported with torch, off the GUI thread
        self._own_checkpoints: list[str] = []
        self._devices = ["auto"]
        self._wanted: Path | None = None  # the output as the layer or the user names it, before any number
        field = partial(setting_widget, TrainingConfig)
        self.layer = ComboBox(
            label="Layer", choices=lambda widget: sources(viewer), nullable=True, tooltip="the volume to learn from"
        )
        elided(self.layer)
        self.init = ComboBox(
            value="em" if "em" in bundled_models() else NOTHING,
            choices=lambda widget: short_names([*bundled_models(), *self._own_checkpoints, NOTHING]),
            tooltip=setting_of(TrainingConfig, "init").help,
        )
        elided(self.init, lambda name, text: "\n".join(filter(None, (bundled_description(name), name))))
        self.minutes = field("minutes", value=DEFAULT_MINUTES, max=1e5, step=1)
        self.degradation = field("degradation")
        self.fwhm = setting_widget(Gaussian, "fwhm", value=2, step=0.1)
        self.thickness = setting_widget(Skip, "thickness", value=0.5)
        self.psf = setting_widget(PsfFile, "psf")
        self.psf_spacing = setting_widget(PsfFile, "psf_spacing", max=1e6, step=0.001)
        self.loss = field("loss")
        self.vgg = field("vgg_weights")
        self.resume = field("resume")
        self.advanced = CheckBox(text="Advanced settings", value=False, tooltip=ADVANCED)
        self.steps = field("steps")
        self.batch = field("batch")
        self.lateral = field("lateral", min=0)
        self.learning_rate = field("learning_rate", as_text=True)
        self.seed = field("seed", max=2**31 - 1)
        self.device = ComboBox(
            label="Device", choices=lambda widget: self._devices, tooltip=setting_of(TrainingConfig, "device").help
        )
        self.output = LineEdit(tooltip="the checkpoint; a number is appended rather than a file replaced")
        self._lay_out()
        self._connect()
        self._adopt_selected()
        self._layer_changed()
        self._show_what_applies()

    def _lay_out(self) -> None:
        self.browse_init, init_row = _row(TrainingConfig, "init", self.init, "choose a checkpoint file")
        self.browse_psf, self.psf_row = _row(PsfFile, "psf", self.psf, "choose the image of a bead")
        self.browse_vgg, self.vgg_row = _row(
            TrainingConfig, "vgg_weights", self.vgg, "choose the file of VGG16's weights"
        )
        self.browse_output, self.output_row = _row(
            TrainingConfig, "output", self.output, "choose where to save the checkpoint"
        )
        self._fine = (
            *(self.loss, self.vgg_row, self.steps, self.batch, self.lateral, self.learning_rate),
            *(self.seed, self.device, self.output_row),
        )
        # what an interrupted training had and keeps
        self._had = (
            *(init_row, self.degradation, self.fwhm, self.thickness, self.psf_row, self.psf_spacing),
            *(self.loss, self.lateral, self.learning_rate, self.seed),
        )
        super().__init__(
            [
                *(self.layer, init_row, self.minutes),
                *(self.degradation, self.fwhm, self.thickness, self.psf_row, self.psf_spacing),
                *(self.advanced, *self._fine, self.resume),
            ]
        )

    def settings(self) -> TrainingSettings:
        """What is filled in.

        Raises
        ------
        NiivError
            If there is no layer, no volume in it, or a setting is out of its range.
        """
        if self.layer.value is None:
            raise TrainingError("Choose a layer to train on; open a volume if there is none.")
        if not self.minutes.value and not self.steps.value:
            raise TrainingError("Give a budget of more than 0 minutes.")
        volume = layer_volume(self.layer.value, repairs_of(self.layer.value))
        names = ("minutes", "loss", "steps", "batch", "lateral", "seed", "device")
        values = {name: field_value(TrainingConfig, name, getattr(self, name)) for name in names}
        if self.loss.value == "dists":
            values["vgg_weights"] = field_value(TrainingConfig, "vgg_weights", self.vgg)
        if self.degradation.value == "gaussian":
            values["degradation"] = _checked(Gaussian, fwhm=self.fwhm.value)
        elif self.degradation.value == "skip":
            values["degradation"] = _checked(Skip, thickness=self.thickness.value)
        config = _checked(
            TrainingConfig,
            **values,
            output=self.chosen_output(),
            init=None if self.init.value == NOTHING else self.init.value,
            learning_rate=_number(self.learning_rate.value, "learning rate"),
            resume=self.resuming,
        )
        return TrainingSettings(volume, config, None if config.resume else self._psf_file())

    def _psf_file(self) -> PsfFile | None:
        if self.degradation.value != "measured":
            return None
        psf = field_value(PsfFile, "psf", self.psf)
        if not psf:
            raise TrainingError("Choose the TIFF file of the measured PSF, the image of a single bead.")
        return PsfFile(psf=psf, psf_spacing=field_value(PsfFile, "psf_spacing", self.psf_spacing))

    def know(self, devices: list[str], state_path: StatePath) -> None:
        """Take in what only torch can tell."""
        self._devices = ["auto", *devices]
        self.device.reset_choices()
        self.state_path = state_path
        self.update_output()

    @property
    def resuming(self) -> bool:
        """Whether an interrupted training is there and to be resumed."""
        return bool(self.resume.value) and self._interrupted() is not None

    def chosen_output(self) -> Path | None:
        """Where the checkpoint will be written."""
        if self._wanted is None:
            return None
        if self.resuming:
            return self._interrupted()
        return free_output(self._wanted, self.state_path or (lambda path: path))

    def update_output(self, value: Any = None) -> None:
        """Show where the checkpoint will be written, and whether a training can be resumed."""
        interrupted = self._interrupted()
        self.resume.visible = interrupted is not None
        which = interrupted or "a training that was interrupted"
        self.resume.tooltip = f"go on with {which}, with the settings that it had"
        output = self.chosen_output()
        with self.output.changed.blocked():
            self.output.value = str(output or "")
        self.output.native.setCursorPosition(len(self.output.value))
        for widget in self._had:
            widget.native.setEnabled(not self.resuming)

    def reset_choices(self, *args: Any, **kwargs: Any) -> None:
        """Offer the layers anew, as napari asks when one comes, goes or is renamed; the choice stays."""
        chosen = self.layer.value
        with self.layer.changed.blocked():
            super().reset_choices(*args, **kwargs)
            layers = [layer for _, layer in sources(self.viewer)]
            self.layer.value = chosen if chosen in layers else layers[-1] if layers else None
        if self.layer.value is not chosen:
            self.layer.changed.emit(self.layer.value)

    def choose_layer(self, layer: Image | None) -> None:
        """Train on this one."""
        if layer is not None and layer in [source for _, source in sources(self.viewer)]:
            self.layer.value = layer

    def choose_init(self, path: str) -> None:
        """Start from a checkpoint of one's own."""
        self._offer_init(path)
        self.init.value = path

    def adopt(self, start: StartingPoint) -> None:
        """Start from this; the blur along z that suits it is taken unless the user has chosen one."""
        name = start.init or NOTHING
        with self.init.changed.blocked():
            self._offer_init(name)
            self.init.value = name
        if self._blur_by_hand:
            return
        blur, chosen = start.blur, (self.degradation, self.fwhm, self.thickness)
        with ExitStack() as blocked:
            for widget in chosen:
                blocked.enter_context(widget.changed.blocked())
            self.degradation.value = blur.kind
            if isinstance(blur, Gaussian):
                self.fwhm.value = blur.fwhm
            elif isinstance(blur, Skip):
                self.thickness.value = blur.thickness
        self.degradation.tooltip = f"{setting_of(TrainingConfig, 'degradation').help}; chosen as {start.why}"
        self._show_what_applies()

    def _offer_init(self, path: str) -> None:
        if path not in self.init.choices:
            self._own_checkpoints.append(path)
            self.init.reset_choices()

    # reactions

    def _connect(self) -> None:
        self.layer.changed.connect(self._layer_changed)
        self.resume.changed.connect(self.update_output)
        self.init.changed.connect(self._note_init)
        for field in (self.degradation, self.fwhm, self.thickness):
            field.changed.connect(self._note_blur)
        for choice in (self.degradation, self.loss, self.advanced):
            choice.changed.connect(self._show_what_applies)
        self.output.native.editingFinished.connect(self._output_typed)
        self.browse_init.changed.connect(self._browse_init)
        self.browse_output.changed.connect(self._browse_output)
        for button, line, what in (
            (self.browse_psf, self.psf, "TIFF files (*.tif *.tiff)"),
            (self.browse_vgg, self.vgg, "Weights (*.pth *.pt *.safetensors)"),
        ):
            button.changed.connect(lambda _=None, line=line, what=what: self._browse_into(line, what))

    def _note_init(self, value: Any = None) -> None:
        self.init_by_hand = True

    def _note_blur(self, value: Any = None) -> None:
        self._blur_by_hand = True

    def _adopt_selected(self) -> None:
        self.layer.reset_choices()
        self.choose_layer(self.viewer.layers.selection.active)

    def _layer_changed(self, value: Any = None) -> None:
        layer = self.layer.value
        self._wanted = None if layer is None else default_output(layer, f"-niiv{SUFFIX}")
        with self.resume.changed.blocked():
            self.resume.value = False
        unit = "" if layer is None else str(layer.units[-1])
        self.psf_spacing.tooltip = f"distance of its slices, in the layer's unit{unit and f' ({unit})'}"
        self.update_output()

    def _show_what_applies(self, value: Any = None) -> None:
        self.fwhm.visible = self.degradation.value == "gaussian"
        self.thickness.visible = self.degradation.value == "skip"
        self.psf_row.visible = self.psf_spacing.visible = self.degradation.value == "measured"
        for widget in self._fine:
            widget.visible = self.advanced.value
        self.vgg_row.visible = self.advanced.value and self.loss.value == "dists"

    def _interrupted(self) -> Path | None:
        if self._wanted is None or self.state_path is None:
            return None
        return interrupted_output(self._wanted, self.state_path)

    def _output_typed(self) -> None:
        text = self.output.value.strip()
        if text and Path(text) != self.chosen_output():
            self._wanted = named_output(text, (SUFFIX,))
        self.update_output()

    def _browse_init(self, value: Any = None) -> None:
        path, _ = QFileDialog.getOpenFileName(self.native, "Start from a checkpoint", "", f"Checkpoints (*{SUFFIX})")
        if path:
            self.choose_init(path)

    def _browse_output(self, value: Any = None) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self.native,
            "Save the checkpoint",
            self.output.value,
            f"Checkpoints (*{SUFFIX})",
            options=QFileDialog.Option.DontConfirmOverwrite,  # nothing is ever replaced
        )
        if path:
            self._wanted = named_output(path, (SUFFIX,))
            self.update_output()

    def _browse_into(self, line: LineEdit, what: str) -> None:
        path, _ = QFileDialog.getOpenFileName(self.native, "Choose a file", "", what)
        if path:
            line.value = path


def _row(configuration: type[BaseModel], name: str, widget: Any, tooltip: str) -> tuple[PushButton, Row]:
    """A field beside a button that opens a file dialog: the button, and the row of both."""
    button = PushButton(text="Browse…", tooltip=tooltip)
    return button, Row(setting_of(configuration, name).label, widget, button)


def _checked(configuration: type[M], **values: Any) -> M:
    """A configuration of some values; what it refuses is said in the words of the form."""
    try:
        return configuration(**values)
    except ValidationError as error:
        refuse(configuration, error, TrainingError)


def _number(text: str, name: str) -> float | None:
    if not text.strip():
        return None
    try:
        return float(text)
    except ValueError as error:
        raise TrainingError(f"The {name} {text!r} is not a number; correct it.") from error
