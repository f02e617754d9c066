"""Where each control of the dock widget "Isotropic reconstruct" is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_niiv.plugin.common.folding import FoldingGroup
from napari_niiv.plugin.common.forms import Form

if TYPE_CHECKING:
    from napari_niiv.plugin.widget import IsotropicReconstruct


def on_top(widget: IsotropicReconstruct) -> Form:
    """What a first look needs, and what asks something: it must not be missed in a group that is folded."""
    return Form(
        [
            widget.layer,
            *widget.datasets.rows,
            *widget.spacings.form.rows,
            *widget.channels.rows,
            *widget.copying.rows,
            *widget.sections.rows,
            *widget.fitted.rows,
            *widget.suitability.rows,
            *widget.planes.rows,
            *widget.volume_views.rows,
            widget.shown_row,
        ],
        widest="Sections",
    )


def grouped(widget: IsotropicReconstruct) -> dict[str, FoldingGroup]:
    """The settings, by the titles of their groups."""
    groups = (
        FoldingGroup(
            "Volume",
            (widget.anisotropy, widget.spacings.button, *widget.empty_voxels.rows, *widget.sections.settings),
            "what the file holds: voxel sizes, axes, empty voxels",
        ),
        FoldingGroup(
            "Picture",
            (*widget.models.rows, *widget.denoise.rows, *widget.scale.rows),
            "how the picture is made: checkpoint, denoising, resolution",
        ),
        FoldingGroup("Compare", widget.compare.rows, "the picture beside the source"),
        FoldingGroup("Trust", widget.trust.rows, "where the picture can be relied on", is_open=False),
    )
    return {group.title: group for group in groups}
