"""A volume that was exported, opened over its source."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.layers import Image

from napari_niiv.io.open import open_volume
from napari_niiv.plugin.common.channels import channels_of
from napari_niiv.plugin.common.layers import BLENDED, SHARED, finest_data, layer_data
from napari_niiv.plugin.export.settings import ExportJob
from napari_niiv.plugin.volume3d.volume_layer import placement


def open_result(job: ExportJob) -> tuple[Any, dict[str, Any]]:
    """Data and keywords of a layer that shows the output of an export, where its source lies.

    TIFF files do not say where they lie.

    Raises
    ------
    NiivError
        If the file is gone.
    """
    plan = job.plan()
    data, keywords = layer_data(open_volume(job.target))
    leading = len(keywords["scale"]) - 3
    keywords["scale"] = (*keywords["scale"][:leading], *plan.voxel_size)
    keywords["translate"] = (*keywords["translate"][:leading], *plan.origin)
    keywords["units"] = (*keywords["units"][:leading], *[plan.unit] * 3)
    return data, keywords


def over_source(job: ExportJob, source: Image, ndim: int) -> dict[str, Any]:
    """Keywords that put the output of an export over its source, however that is turned, and let it look the same."""
    appearance = {name: getattr(source, name) for name in SHARED}
    # axes of length 1 are not kept in the file
    if tuple(finest_data(source).shape) != job.volume.shape or ndim != source.ndim:
        return appearance
    plan = job.plan()
    return appearance | placement(source, plan.grid.parts(plan.samples))


def add_result(viewer: ViewerModel, job: ExportJob, source: Image | None, data: Any, keywords: dict[str, Any]) -> Image:
    """Add the output of an export on top, over its source if that is still there; of a channel it takes the place."""
    if source is None or source not in viewer.layers:
        return viewer.add_image(data, **keywords)
    keywords = keywords | over_source(job, source, len(keywords["scale"]))
    keywords["name"] = f"{source.name} (isotropic, exported)"
    if len(channels_of(viewer, source)) > 1:  # light adds up, so a source would shine through
        keywords |= {name: getattr(source, name) for name in BLENDED}
        source.visible = False
    return viewer.add_image(data, **keywords)
