"""A volume that was exported, opened over its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image

from napari_niiv.io.open import open_volume
from napari_niiv.plugin.common.channels import channel_data, channels_of, one_channel
from napari_niiv.plugin.common.layers import BLENDED, EXPORTED, SHARED, finest_data, layer_data
from napari_niiv.plugin.export.settings import ExportJob
from napari_niiv.plugin.volume3d.volume_layer import placement
from napari_niiv.plugin.volume3d.volume_view import is_seen, put_away, put_away_volume

LayerData = tuple[Any, dict[str, Any]]
"""Data and keywords of a layer."""


def open_result(job: ExportJob, channels: int = 1) -> list[LayerData]:
    """Data and keywords of the layers that show the output of an export, where its source lies.

    TIFF files do not say where they lie.

    Parameters
    ----------
    job : ExportJob
    channels : int
        How many layers its volume was: as many are made.

    Raises
    ------
    NiivError
        If the file is gone.
    """
    plan = job.plan()
    volume = open_volume(job.target)
    layers = [layer_data(volume)] if channels == 1 else channel_data(volume, channels)
    for _, keywords in layers:
        leading = len(keywords["scale"]) - 3
        keywords["scale"] = (*keywords["scale"][:leading], *plan.voxel_size)
        keywords["translate"] = (*keywords["translate"][:leading], *plan.origin)
        keywords["units"] = (*keywords["units"][:leading], *[plan.unit] * 3)
    return layers


def over_source(job: ExportJob, source: Image, ndim: int) -> dict[str, Any]:
    """Keywords that put the output of an export over its source, however that is turned, and let it look the same."""
    appearance = {name: getattr(source, name) for name in SHARED}
    # axes of length 1 are not kept in the file
    if tuple(finest_data(source).shape) != job.volume.shape or ndim != source.ndim:
        return appearance
    plan = job.plan()
    return appearance | placement(source, plan.grid.parts(plan.samples))


def add_results(viewer: ViewerModel, job: ExportJob, sources: Sequence[Image], layers: Sequence[LayerData]) -> str:
    """Add what `open_result` gave on top, each over its source; which sources were hidden for it, as a sentence.

    Parameters
    ----------
    viewer : ViewerModel
    job : ExportJob
    sources : sequence of Image
        In the order of the channels.
    layers : sequence
        One for each source.
    """
    seen = [source for source in sources if is_seen(source)]
    if len(sources) == 1:
        add_result(viewer, job, sources[0], *layers[0])
        if viewer.dims.ndisplay == 3 and seen and not is_seen(sources[0]) and len(channels_of(viewer, sources[0])) == 1:
            return (
                f"The live volume of {sources[0].name} is hidden now, as the export is in its place; its eye shows it."
            )
    else:  # as they lie over each other: the lowest may be opaque
        order = {layer: place for place, layer in enumerate(viewer.layers)}
        for number in sorted(range(len(sources)), key=lambda number: order.get(sources[number], -1)):
            of_channel = replace(job, volume=one_channel(job.volume, number))
            add_result(viewer, of_channel, sources[number], *layers[number], is_channel=True)
    return _hidden_words([source.name for source in seen if not is_seen(source)])


def add_result(
    viewer: ViewerModel,
    job: ExportJob,
    source: Image | None,
    data: Any,
    keywords: dict[str, Any],
    *,
    is_channel: bool = False,
) -> Image:
    """Add the output of an export on top, over its source if that is still there; of a channel it takes the place.

    Parameters
    ----------
    viewer : ViewerModel
    job : ExportJob
        Of the source alone.
    source : Image or None
    data, keywords
        From `open_result`.
    is_channel : bool
        Whether the source was a channel, also where it is the last that is there.
    """
    if source is None or source not in viewer.layers:
        return viewer.add_image(data, **keywords)
    keywords = keywords | over_source(job, source, len(keywords["scale"]))
    keywords["name"] = f"{source.name} (isotropic, exported)"
    mark = str(source.unique_id)
    keywords["metadata"] = {**keywords.get("metadata", {}), EXPORTED: mark}
    if is_channel or len(channels_of(viewer, source)) > 1:  # light adds up, so a source would shine through
        keywords |= {name: getattr(source, name) for name in BLENDED}
        put_away(source)
        for earlier in viewer.layers:  # results of it would add to this one
            if earlier.metadata.get(EXPORTED) == mark:
                earlier.visible = False
    elif viewer.dims.ndisplay == 3:  # both would be seen at once, one of them cut
        put_away_volume(source)
    return viewer.add_image(data, **keywords)


def _hidden_words(names: Sequence[str]) -> str:
    if not names:
        return ""
    if len(names) == 1:
        return f"{names[0]} is hidden now, as its light would add to the export's; its eye shows it again."
    return (
        f"{', '.join(names[:-1])} and {names[-1]} are hidden now, as their light would add to the export's; "
        "their eyes show them again."
    )
