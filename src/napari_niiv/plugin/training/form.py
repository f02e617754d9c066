"""The form of a training: what is asked for, only where it applies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSpinBox, LineEdit, PushButton, SpinBox
from napari import Viewer
from napari.layers import Image
from qtpy.QtWidgets import QFileDialog

from napari_niiv.errors import TrainingError
from napari_niiv.models.catalog import SUFFIX, bundled_models
from napari_niiv.plugin.common.forms import row, short_names
from napari_niiv.plugin.common.layers import layer_volume, sources
from napari_niiv.plugin.common.output_names import (
    StatePath,
    default_output,
    free_output,
    interrupted_output,
    named_output,
)
from napari_niiv.plugin.training.settings import TrainingSettings

NOTHING = "nothing"
DEGRADATIONS = [
    ("average over the z step", "average"),
    ("Gaussian blur", "gaussian"),
    ("thin sections with gaps", "skip"),
    ("measured PSF", "measured"),
]
LOSSES = [("MAE", "mae"), ("DISTS + 30·MAE", "dists")]
_AUTOMATIC = "automatic"


class TrainingForm(Container):  # type: ignore[type-arg]
    """Everything a training can be told; what is not touched has sensible values.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.state_path: StatePath | None = None  # imported with torch, off the GUI thread
        self._own_checkpoints: list[str] = []
        self._devices = ["auto"]
        self._wanted: Path | None = None  # the output as the layer or the user names it, before any number
        self.layer = ComboBox(label="Layer", choices=lambda widget: sources(viewer), nullable=True)
        self.init = ComboBox(
            value="em" if "em" in bundled_models() else NOTHING,
            choices=lambda widget: short_names([*bundled_models(), *self._own_checkpoints, NOTHING]),
            tooltip="checkpoint to go on from; from nothing takes much longer to become good",
        )
        self.browse_init = PushButton(text="Browse…", tooltip="choose a checkpoint file")
        self.minutes = FloatSpinBox(
            label="Minutes", min=0, max=1e5, step=1, value=5, tooltip="the training ends after this time"
        )
        self.degradation = ComboBox(
            label="Z blur",
            choices=lambda widget: DEGRADATIONS,
            tooltip="what the coarse z step did to the data, which the model learns to undo",
        )
        self.fwhm = FloatSpinBox(
            label="FWHM",
            min=0,
            max=16,
            step=0.1,
            value=2,
            tooltip="of the blur that z has beyond x and y, in z steps",
        )
        self.thickness = FloatSpinBox(
            label="Section", min=0, max=1, step=0.05, value=0.5, tooltip="thickness of a section, in z steps"
        )
        self.psf = LineEdit(tooltip="TIFF of a single bead, z × y × x")
        self.browse_psf = PushButton(text="Browse…", tooltip="choose the image of a bead")
        self.psf_row = row("PSF file", self.psf, self.browse_psf)
        self.psf_spacing = FloatSpinBox(label="PSF z step", min=0, max=1e6, step=0.001, value=0)
        self.loss = ComboBox(
            label="Loss",
            choices=lambda widget: LOSSES,
            tooltip="MAE is fast; DISTS looks crisper and needs the weights of VGG16",
        )
        self.vgg = LineEdit(tooltip="file of VGG16's weights")
        self.browse_vgg = PushButton(text="Browse…", tooltip="choose the file of VGG16's weights")
        self.vgg_row = row("VGG16", self.vgg, self.browse_vgg)
        self.resume = CheckBox(text="Resume the interrupted training")
        self.advanced = CheckBox(text="Advanced settings", value=False)
        self.steps = _whole("Steps", 10**9, "no limit", "the training also ends after this many steps")
        self.batch = _whole("Batch", 4096, _AUTOMATIC, "patches in a step")
        self.lateral = _whole("Patch size", 1024, _AUTOMATIC, "pixels across a patch, from 16 on")
        self.learning_rate = LineEdit(label="Learning rate", tooltip="at its highest, such as 4e-4")
        self.learning_rate.native.setPlaceholderText(_AUTOMATIC)
        self.seed = SpinBox(label="Seed", min=0, max=2**31 - 1, value=0)
        self.device = ComboBox(label="Device", choices=lambda widget: self._devices)
        self.output = LineEdit(tooltip="the checkpoint; a number is appended rather than a file replaced")
        self.browse_output = PushButton(text="Browse…", tooltip="choose where to save the checkpoint")
        self.output_row = row("Save to", self.output, self.browse_output)
        self._fine = (
            *(self.steps, self.batch, self.lateral, self.learning_rate),
            *(self.seed, self.device, self.output_row),
        )
        super().__init__(
            widgets=[
                *(self.layer, row("Start from", self.init, self.browse_init), self.minutes),
                *(self.degradation, self.fwhm, self.thickness, self.psf_row, self.psf_spacing),
                *(self.loss, self.vgg_row, self.advanced, *self._fine, self.resume),
            ]
        )
        self.margins = (0, 0, 0, 0)
        for box in (self.minutes, self.fwhm, self.thickness, self.psf_spacing):
            box.native.setKeyboardTracking(False)  # half a number is not meant
        self.psf_spacing.native.setSpecialValueText("from the file")
        self._connect()
        self._adopt_selected()
        self._layer_changed()
        self._show_what_applies()

    def settings(self) -> TrainingSettings:
        """What is filled in.

        Raises
        ------
        NiivError
            If there is no layer, no volume in it, or a number cannot be read.
        """
        if self.layer.value is None:
            raise TrainingError("Choose a layer to train on; open a volume if there is none.")
        volume = layer_volume(self.layer.value)
        output = self.chosen_output()
        assert output is not None  # there is a layer
        return TrainingSettings(
            volume=volume,
            output=output,
            init=None if self.init.value == NOTHING else self.init.value,
            minutes=self.minutes.value,
            degradation=self.degradation.value,
            fwhm=self.fwhm.value,
            thickness=self.thickness.value,
            psf=_path(self.psf.value),
            psf_spacing=self.psf_spacing.value or None,
            loss=self.loss.value,
            vgg_weights=_path(self.vgg.value),
            steps=self.steps.value or None,
            batch=self.batch.value or None,
            lateral=self.lateral.value or None,
            learning_rate=_number(self.learning_rate.value, "learning rate"),
            seed=self.seed.value,
            device=self.device.value,
            resume=self.resuming,
        )

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
        self.resume.tooltip = (
            f"go on with {interrupted}, with the settings that it had" if interrupted else ""
        )
        output = self.chosen_output()
        with self.output.changed.blocked():
            self.output.value = str(output or "")
        self.output.native.setCursorPosition(len(self.output.value))

    def reset_choices(self, *args: Any, **kwargs: Any) -> None:
        """Offer the layers anew, as napari asks when one comes, goes or is renamed; the choice stays."""
        chosen = self.layer.value
        with self.layer.changed.blocked():
            super().reset_choices(*args, **kwargs)
            layers = [layer for _, layer in sources(self.viewer)]
            self.layer.value = chosen if chosen in layers else layers[-1] if layers else None
        if self.layer.value is not chosen:
            self._layer_changed()

    def choose_layer(self, layer: Image | None) -> None:
        """Train on this one."""
        if layer is not None and layer in [source for _, source in sources(self.viewer)]:
            self.layer.value = layer

    def choose_init(self, path: str) -> None:
        """Start from a checkpoint of one's own."""
        if path not in self.init.choices:
            self._own_checkpoints.append(path)
            self.init.reset_choices()
        self.init.value = path

    # reactions

    def _connect(self) -> None:
        self.layer.changed.connect(self._layer_changed)
        self.resume.changed.connect(self.update_output)
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

    def _adopt_selected(self) -> None:
        self.layer.reset_choices()
        self.choose_layer(self.viewer.layers.selection.active)

    def _layer_changed(self, value: Any = None) -> None:
        layer = self.layer.value
        self._wanted = None if layer is None else default_output(layer, f"-niiv{SUFFIX}")
        with self.resume.changed.blocked():
            self.resume.value = False
        unit = "" if layer is None else str(layer.units[-1])
        self.psf_spacing.tooltip = f"distance of its slices, in the layer's unit ({unit})" if unit else ""
        self.update_output()

    def _show_what_applies(self, value: Any = None) -> None:
        self.fwhm.visible = self.degradation.value == "gaussian"
        self.thickness.visible = self.degradation.value == "skip"
        self.psf_row.visible = self.psf_spacing.visible = self.degradation.value == "measured"
        self.vgg_row.visible = self.loss.value == "dists"
        for widget in self._fine:
            widget.visible = self.advanced.value

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
        path, _ = QFileDialog.getOpenFileName(
            self.native, "Start from a checkpoint", "", f"Checkpoints (*{SUFFIX})"
        )
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


def _whole(label: str, most: int, none: str, tooltip: str) -> SpinBox:
    """A whole number; 0 leaves the choice to the training."""
    box = SpinBox(label=label, min=0, max=most, value=0, tooltip=tooltip)
    box.native.setSpecialValueText(none)
    return box


def _path(text: str) -> Path | None:
    return Path(text.strip()).expanduser() if text.strip() else None


def _number(text: str, name: str) -> float | None:
    if not text.strip():
        return None
    try:
        return float(text)
    except ValueError as error:
        raise TrainingError(f"The {name} {text!r} is not a number; correct it.") from error
