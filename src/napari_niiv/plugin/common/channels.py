"""The channels of a volume as layers: made of a file, and found among the layers of a viewer."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.colormaps import CMYBGR, MAGENTA_GREEN
from numpy.typing import NDArray

from napari_niiv.io.channel_facts import channel_facts, rgb_colour
from napari_niiv.io.lazy_arrays import Stacked, one_of
from napari_niiv.plugin.common.layers import (
    finest_data,
    is_source,
    layer_data,
    layer_volume,
    provenance_of,
    repairs_of,
    source_file,
)
from napari_niiv.sections.repair import repaired
from napari_niiv.sections.repairs import Index, Repairs, SectionRepairs
from napari_niiv.volume import Volume

MOST_CHANNELS = 8  # more are a spectrum, through which one slider goes
CHANNEL = "napari-niiv channel"  # metadata key under which a layer keeps which channel it is
_PLACE = ("scale", "translate", "rotate", "shear")


@dataclass(frozen=True)
class ChannelOf:
    """Which channel of which volume a layer shows.

    Attributes
    ----------
    volume : str
        Identifies one opening of a volume; other layers with it show its other channels.
    number : int
    """

    volume: str
    number: int


def channel_data(volume: Volume, most: int = MOST_CHANNELS) -> list[tuple[Any, dict[str, Any]]]:
    """Data and keywords of the image layers that show a volume, lazily: one of each channel, in its colour, added up.

    A volume of one channel, or of more than `most`, is one layer, whose slider goes through them.
    """
    axis = volume.axes.find("c")
    count = volume.shape[axis] if axis >= 0 else 1
    if not 2 <= count <= most:
        return [layer_data(volume)]
    identity = uuid.uuid4().hex
    layers = []
    for number, colour in enumerate(_colours(volume, count)):
        data, keywords = layer_data(one_channel(volume, number))
        keywords["metadata"][CHANNEL] = ChannelOf(identity, number)
        layers.append((data, {**keywords, "blending": "additive", "colormap": colour}))
    return layers


def add_channels(viewer: ViewerModel, volume: Volume) -> Image:
    """Add the image layers that show a volume to a viewer, and select the first, which is returned."""
    added = [viewer.add_image(data, **keywords) for data, keywords in channel_data(volume)]
    # napari gives plugins proxies of what it adds, which are equal and not the same
    first = next(layer for layer in viewer.layers if layer == added[0])
    viewer.layers.selection = {first}
    return first


def one_channel(volume: Volume, number: int) -> Volume:
    """One channel of a volume that has several, with its name; nothing is read."""
    axis = volume.axes.index("c")
    names = volume.metadata.get("channel_names") or ()
    name = str(names[number] or "") if len(names) == volume.shape[axis] else ""
    limits = volume.metadata.get("channel_limits") or ()
    facts = channel_facts([name], limits=limits[number : number + 1] if len(limits) == volume.shape[axis] else ())
    return replace(
        volume,
        array=one_of(volume.array, axis, number),
        axes=volume.axes.replace("c", ""),
        name=f"{volume.name} {name or f'C{number}'}",
        metadata=MappingProxyType(facts),
        pyramid=tuple(one_of(level, axis, number) for level in volume.pyramid),
    )


def channels_of(viewer: ViewerModel, layer: Image) -> list[Image]:
    """The layers that show the channels of one volume, a given one among them, in the viewer's order.

    Those that this plugin made know what they belong to. Others, such as napari makes of a `channel_axis`, are taken
    for channels if they are of one file, or none, of one shape, type and place, and are added up: but for the lowest,
    which napari blends otherwise, each is additive (or takes the minimum, for inverted colours).
    """
    alike = [each for each in viewer.layers if is_source(each) and _alike(each, layer)]
    if layer not in alike:
        return [layer]
    numbers = {each: channel.number for each in alike if (channel := channel_of(each)) is not None}
    if numbers:
        chosen = {number: each for each, number in reversed(numbers.items())} | {numbers[layer]: layer}
        return [each for each in alike if chosen[numbers[each]] is each]  # not a copy that the user made
    added = [number for number, each in enumerate(alike) if each.blending in ("additive", "minimum")]
    if not added:
        return [layer]
    first = max(added[0] - 1, 0)
    group = [each for number, each in enumerate(alike) if number == first or number in added]
    return group if layer in group else [layer]


def in_file_order(channels: Sequence[Image]) -> list[Image]:
    """The channels of a volume as its file has them; those that do not know stay as they are."""
    return sorted(channels, key=lambda each: 0 if (channel := channel_of(each)) is None else channel.number)


def channel_name(layer: Image) -> str:
    """What a channel is called among those of its volume, such as C0; the name of its layer where the user gave one."""
    own = _own_name(layer)
    return own if own and layer.name.endswith(f" {own}") else str(layer.name)


def whole_name(channels: Sequence[Image]) -> str:
    """What the volume is called whose channels these layers are: without their names, or as its file."""
    first, *others = (str(each.name).removesuffix(f" {_own_name(each)}") for each in channels)
    if not others or set(others) == {first}:
        return first
    path = source_file(channels[0])
    return Path(path).stem if path else str(channels[0].name)


def channels_words(layer: Image, channels: Sequence[Image], together: bool = False) -> str:
    """A layer, or all channels of its volume, in words.

    Parameters
    ----------
    layer : Image
    channels : sequence of Image
        From `channels_of`.
    together : bool
        Whether they are meant, not the layer alone.

    Returns
    -------
    str
        Such as "cells, 2 channels", or "cells C0, one of 2 channels"; of a volume of one channel the layer's name.
    """
    if len(channels) < 2:
        return str(layer.name)
    return (
        f"{whole_name(channels)}, {len(channels)} channels"
        if together
        else f"{layer.name}, one of {len(channels)} channels"
    )


def repaired_volume(channels: Sequence[Image]) -> Volume:
    """As `whole_volume`, its sections repaired as the layers say it; of several with their colours and contrast.

    Raises
    ------
    VolumeError
        As `layer_volume`.
    """
    volumes = [layer_volume(each, repairs_of(each)) for each in channels]
    if len(volumes) == 1:
        return volumes[0]
    whole = whole_volume(channels)
    axis, parts = whole.axes.index("c"), dict[Index, SectionRepairs]()
    for number, volume in enumerate(volumes):
        for index, part in () if volume.repairs is None else volume.repairs.parts:
            parts[*index[:axis], number, *index[axis:]] = part
    shown = {
        "channel_colours": [_colour(each) for each in channels],
        "channel_limits": [tuple(map(float, each.contrast_limits)) for each in channels],
    }
    whole = replace(whole, metadata=MappingProxyType({**whole.metadata, **shown}))
    # where nobody has looked at one of them, that is left to who uses the volume
    known = all(volume.repairs is not None for volume in volumes)
    return repaired(whole, Repairs.of(parts)) if known else whole


def whole_volume(channels: Sequence[Image]) -> Volume:
    """The volume whose channels these layers are, in this order, lazily; of one layer its own.

    Raises
    ------
    VolumeError
        As `layer_volume`.
    """
    volumes = [layer_volume(each) for each in channels]
    if len(volumes) == 1:
        return volumes[0]
    first, axis = volumes[0], 1 if volumes[0].axes.startswith("t") else 0
    levels = zip(*([each.array, *each.pyramid] for each in volumes), strict=False)
    array, *pyramid = (Stacked(level, axis) for level in levels)
    return replace(
        first,
        array=array,
        axes=f"{first.axes[:axis]}c{first.axes[axis:].replace('c', 'q')}",
        name=whole_name(channels),
        metadata=MappingProxyType({"channel_names": [channel_name(each) for each in channels]}),
        pyramid=tuple(pyramid),
    )


def channel_of(layer: Image) -> ChannelOf | None:
    """Which channel of a volume a layer of this plugin shows; None where it shows none."""
    channel = layer.metadata.get(CHANNEL)
    return channel if isinstance(channel, ChannelOf) else None


def _own_name(layer: Image) -> str:
    """What the name of a channel's layer ends with when it is made; empty where this plugin did not make it."""
    channel = channel_of(layer)
    names: Sequence[str] = layer.metadata.get("channel_names") or ()
    if channel is None:
        return ""
    return str(names[0]) if len(names) == 1 else f"C{channel.number}"


def _colour(layer: Image) -> str:
    """The brightest colour of a layer as "#rrggbb"; empty if that is black."""
    brightest: NDArray[np.floating] = np.asarray(layer.colormap.map(np.ones(1))).reshape(-1)
    return rgb_colour(*(float(part) for part in 255 * brightest[:3]))


def _alike(one: Image, other: Image) -> bool:
    """Whether two layers are of the same file, shape, type and place."""
    if one is other:
        return True
    of, others = channel_of(one), channel_of(other)
    a, b = finest_data(one), finest_data(other)
    return bool(
        not one.rgb
        and not other.rgb
        and (of and of.volume) == (others and others.volume)
        and (tuple(a.shape), a.dtype) == (tuple(b.shape), b.dtype)
        and source_file(one) == source_file(other)
        and provenance_of(one).dataset == provenance_of(other).dataset
        and one.units == other.units
        and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in _PLACE)
        and np.array_equal(one.affine.affine_matrix, other.affine.affine_matrix)
    )


def _colours(volume: Volume, count: int) -> list[str]:
    """A colormap for each channel: the file's colours, if it has one of each; else those of napari's channels."""
    own = volume.metadata.get("channel_colours") or ()
    if len(own) == count and all(own) and len(set(own)) > 1:
        return list(own)
    return list(itertools.islice(itertools.cycle(MAGENTA_GREEN if count == 2 else CMYBGR), count))
