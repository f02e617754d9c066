"""What the user sets of a live view: one frozen value, replaced as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_niiv.reconstruction.denoise import AUTO, Denoise, within

if TYPE_CHECKING:
    from napari_niiv.models.niiv import Niiv
    from napari_niiv.reconstruction.views.request import Trust
    from napari_niiv.sections.repairs import Repairs


@dataclass(frozen=True)
class LiveSettings:
    """How a source is reconstructed live, and how its picture is shown.

    Attributes
    ----------
    model : Niiv or None
        The network; None while none is loaded, when nothing can be live.
    finest : float
        No pixel is smaller than this, in lateral voxels of the source; 0 follows the zoom.
    split : float or None
        The part of the window, 0 … 1, that shows the source, left of a line; None shows it nowhere.
    trust : tuple of {"disagreement", "misfit"}
        The maps that lie over the picture, each a layer; `maps` has what goes with them.
    project : bool
        Whether the pictures are corrected so that, degraded again, they are what was measured.
    denoise : float or "auto"
        The noise level that is asked for; `told` is what the model knows of it.
    steps : bool
        Whether the z slider of an xy view stops between the slices, in steps of about a pixel's size.
    comparing : bool
        Whether the source shows in place of the reconstruction.
    repairs : Repairs or None
        What is done to the sections of the source before they are reconstructed; None as long as it is not known.
    cut : float
        The part of a volume in 3-D, 0 … 1, that is cut away, from the side that faces the camera.
    cut_axis : {"z", "y", "x"}
        The axis along which it is.
    """

    model: Niiv | None = None
    finest: float = 0.0
    split: float | None = None
    trust: tuple[Trust, ...] = ()
    project: bool = False
    denoise: Denoise = AUTO
    steps: bool = False
    comparing: bool = False
    repairs: Repairs | None = None
    cut: float = 0.0
    cut_axis: str = "z"

    @property
    def content(self) -> tuple[object, ...]:
        """What the pictures themselves depend on; the rest is how they are shown."""
        return self.model, self.finest, self.project, self.maps, self.told

    @property
    def maps(self) -> tuple[Trust, ...]:
        """The maps of trust, and with any of them that of the sections that are bridged, if there are such."""
        bridges = self.trust and self.repairs is not None and self.repairs.bridges
        return (*self.trust, "bridged") if bridges else self.trust

    @property
    def told(self) -> Denoise:
        """The noise level as pictures and exports are told it: no higher than the model knows."""
        return self.denoise if self.model is None else within(self.model, self.denoise)

    @property
    def output_scale(self) -> float:
        """Samples per isotropic voxel where no screen sets them, as in 3-D."""
        return 1 / self.finest if self.finest else 1.0
