"""The live view from a script or a notebook, without the dock widget."""

from __future__ import annotations

import weakref
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Image

from napari_niiv.errors import NiivError, VolumeError
from napari_niiv.models.checkpoint import load_model
from napari_niiv.models.niiv import Niiv
from napari_niiv.plugin.common.connections import when_destroyed
from napari_niiv.plugin.common.layers import ISOTROPIC, LIVE, is_source, layer_volume, sources
from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.reconstruction.denoise import AUTO, Denoise, check_denoise
from napari_niiv.sections.repair import repair_sections

_KEPT: set[LiveReconstruction] = set()  # a script need not hold on to what it began


def isotropic_view(
    viewer: ViewerModel,
    layer: Image | str | None = None,
    model: str | Path | Niiv = "em",
    device: str = "auto",
    denoise: Denoise = AUTO,
    *,
    bridge: bool = True,
    align: bool = False,
    even_brightness: bool = False,
) -> LiveReconstruction:
    """Show a volume of a viewer isotropically, live, as the widget *Isotropic reconstruct* does.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : Image or str, optional
        The layer or its name; without it the selected one, or the only one that is anisotropic.
    model : str, path or Niiv
        A bundled checkpoint's name, a checkpoint's path, or a model that is loaded already.
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps"; where a checkpoint is loaded.
    denoise : float or "auto"
        The noise level that the model is told; "auto" estimates it from the volume, 0 is off.
    bridge, align, even_brightness : bool
        What is done about damaged sections, as `repair_sections` has it; they are looked for at once.

    Returns
    -------
    LiveReconstruction
        Lives until it is closed, or until its layers or the viewer are.

    Raises
    ------
    NiivError
        In one sentence: the layer is no anisotropic volume or is live already, several would do, or the checkpoint,
        the device or the noise level cannot be used.
    """
    if not isinstance(viewer, ViewerModel):
        raise NiivError(f"{viewer!r} is no napari viewer; give the one that napari.Viewer() made.")
    source = _selected_layer(viewer) if layer is None else _named_layer(viewer, layer)
    if any(getattr(each, "source_layer", None) is source for each in viewer.layers if LIVE in each.metadata):
        raise VolumeError(f"{source.name!r} is live already; close that view, or switch Reconstruct off in the widget.")
    if layer_volume(source).anisotropy <= ISOTROPIC:
        raise VolumeError(
            f"{source.name!r} says that its voxels are isotropic; set its scale to the voxel size (z, y, x) first."
        )
    loaded = model if isinstance(model, Niiv) else load_model(str(model), device)
    check_denoise(loaded, denoise)
    volume = repair_sections(layer_volume(source), bridge=bridge, align=align, even_brightness=even_brightness)
    live = LiveReconstruction(viewer, source, LiveSettings(loaded, denoise=denoise, repairs=volume.repairs))
    _keep(live)
    return live


def _named_layer(viewer: ViewerModel, layer: Image | str) -> Image:
    """The layer itself, if the viewer has it and it is an image."""
    for each in viewer.layers:
        if each == layer or each.name == layer:
            if not is_source(each):
                raise VolumeError(f"{each.name!r} is no image of a volume; name an image layer.")
            return each
    raise VolumeError(f"The viewer has no layer {getattr(layer, 'name', layer)!r}; add it first.")


def _selected_layer(viewer: ViewerModel) -> Image:
    """The selected layer that can be reconstructed, or the only one."""
    suitable = [each for _, each in sources(viewer) if _anisotropic(each)]
    selected = [each for each in suitable if each in viewer.layers.selection]
    for candidates in (selected, suitable):
        if len(candidates) == 1:
            return candidates[0]
    if not suitable:
        raise VolumeError("The viewer has no anisotropic volume; add an image with its voxel size (z, y, x) as scale.")
    names = ", ".join(repr(each.name) for each in suitable)
    raise VolumeError(f"Several layers could be reconstructed ({names}); say which by layer=.")


def _anisotropic(layer: Image) -> bool:
    try:
        return layer_volume(layer).anisotropy > ISOTROPIC
    except NiivError:
        return False


def _keep(live: LiveReconstruction) -> None:
    """Hold on to it until it is closed, and close it with the viewer's window."""
    _KEPT.add(live)
    live.closed.connect(lambda: _KEPT.discard(live))
    window = getattr(live.viewer, "window", None)
    if window is None:
        return
    reference = weakref.ref(live)

    def close() -> None:
        if (alive := reference()) is not None:
            alive.close(remove=False)

    when_destroyed(window.main_menu, close)
