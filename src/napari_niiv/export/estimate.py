"""How long an export will take, and how large it will be: one of its blocks is computed and compressed."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray

from napari_niiv.export.config import ExportConfig
from napari_niiv.export.plan import Plan, Unit
from napari_niiv.export.work import Channel, Work, measure_channels
from napari_niiv.geometry import Box, Span, rounded_up, three
from napari_niiv.interrupt import Interrupt, never
from napari_niiv.io.ome.arrays import create_level, halved
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.sections.repair import bridged
from napari_niiv.volume import Volume

# seconds: a block that takes less is computed once more, as the first waits for what is loaded and compiled
_SHORT = 2.0


@dataclass(frozen=True)
class Estimate:
    """What an export will take.

    Attributes
    ----------
    seconds : float
        For all of it.
    bytes : float
        On the disk when it is complete.
    denoise : float or None
        The noise level that the model is told; None where that is found out for each T and C index.
    """

    seconds: float
    bytes: float
    denoise: float | None


def estimate(
    volume: Volume,
    model: Niiv,
    config: ExportConfig,
    tiff: bool = False,
    interrupt: Interrupt = never,
    clock: Callable[[], float] = time.monotonic,
) -> Estimate:
    """Measure one block in the middle of an export, on the model's device, and infer the whole; nothing is written.

    Parameters
    ----------
    volume : Volume
    model : Niiv
        A copy of it is used.
    config : ExportConfig
    tiff : bool
        Whether the output is a TIFF file, which is not compressed.
    interrupt : Interrupt
        Called often.
    clock : callable
        Gives seconds.

    Raises
    ------
    NiivError
        If the volume cannot be read or is constant, or the settings make no sense.
    Interrupted
        By `interrupt`.
    """
    volume = bridged(volume)
    plan = Plan.of(volume, config, model.device.type, tiff=tiff)
    block = _middle_block(plan)
    began = clock()
    number = math.prod(plan.leading)
    if number == 1:
        (channel,) = measure_channels(volume, plan.dtype, model, [config.denoise], config.box)
    else:  # this one may be blank
        channel = Channel.of(volume.at(*block.leading), model, config.denoise, config.box)
    measuring = clock() - began
    budget = BatchBudget(copy.deepcopy(model))
    work = Work(volume, budget, plan, (channel,) * number, None, Path(), config.planes, config.project)

    def compute() -> tuple[float, int]:
        start = clock()
        values = work.restored(block, interrupt=interrupt)
        interrupt()
        if len(plan.levels) > 1:
            halved(values, plan.levels[1].steps_from(plan.levels[0]), channel.normalization.empty)
        stored = _bytes_stored(values, plan)
        return clock() - start, stored

    seconds, stored = compute()
    if seconds < _SHORT:
        interrupt()
        seconds, stored = compute()
    share = block.voxels / plan.voxels()
    ratio = 1.0 if tiff else stored / (block.voxels * plan.dtype.itemsize)
    return Estimate(number * measuring + seconds / share, ratio * plan.bytes, channel.denoise if number == 1 else None)


def _middle_block(plan: Plan) -> Unit:
    """A whole block in the middle of the volume in the middle, as if it were a unit."""
    spans = []
    for size, edge in zip(plan.samples.shape, plan.edges, strict=True):
        first = (-(-size // edge) - 1) // 2 * edge
        spans.append(Span(first, min(first + edge, size)))
    return Unit(0, 0, tuple(length // 2 for length in plan.leading), Box.of(spans))


def _bytes_stored(values: NDArray[Any], plan: Plan) -> int:
    """How large voxels become, compressed as the export does it."""
    group = zarr.create_group(zarr.storage.MemoryStore(), zarr_format=3)
    shard = three(rounded_up(n, c) for n, c in zip(values.shape, plan.chunk, strict=True))
    array = create_level(group, 0, "zyx", values.shape, plan.dtype, plan.chunk, shard)
    array[...] = values
    return int(array.nbytes_stored())
