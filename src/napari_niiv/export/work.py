"""The work of one unit: a shard of the full resolution restored, or of a coarser one averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_niiv.errors import ConstantVolumeError, OutputError, Remedy
from napari_niiv.export.fingerprint import check_unchanged
from napari_niiv.export.plan import Plan, Unit
from napari_niiv.export.shards import Written, read_level, write_shard
from napari_niiv.geometry import Box, three
from napari_niiv.interrupt import Interrupt, never
from napari_niiv.io.ome.arrays import halved
from napari_niiv.models.niiv import Niiv
from napari_niiv.normalization import Normalization
from napari_niiv.pieces import Bounds
from napari_niiv.reconstruction.allocator import trim
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.reconstruction.denoise import Denoise, level_of
from napari_niiv.reconstruction.grid import Block
from napari_niiv.reconstruction.planes import orientations_of
from napari_niiv.reconstruction.restoration import Restoration
from napari_niiv.volume import Volume

# of the source: what is read at once for all blocks of a shard
_READ_BYTES = 256 << 20
# of grey, below which a type is too coarse for the intensities
_FEWEST_LEVELS = 16


@dataclass(frozen=True)
class Channel:
    """How the 3-D volume at one T and C index is treated.

    Attributes
    ----------
    normalization : Normalization
        Of its intensities.
    blank : bool
        Whether it is constant: interpolated, as there is nothing to infer.
    denoise : float
        The noise level of its voxels.
    """

    normalization: Normalization
    blank: bool
    denoise: float = 0.0

    @classmethod
    def of(cls, volume: Volume, model: Niiv, denoise: Denoise, box: Bounds | None = None) -> Channel:
        """How a 3-D volume is treated, by its intensities and the noise level that is asked for."""
        try:
            normalization = Normalization.of(volume, box)
        except ConstantVolumeError as error:
            # regions of the value may be empty or not: they come back as they are anyway
            low, high = error.value, error.value + 1
            if high - low != 1:  # numbers so large have no ones
                low, high = sorted((error.value, error.value / 2))
            return cls(Normalization(low, high), blank=True)
        return cls(normalization, blank=False, denoise=level_of(volume, normalization, model, denoise))


def measure_channels(
    volume: Volume, dtype: np.dtype[Any], model: Niiv, denoise: Sequence[Denoise], box: Bounds | None = None
) -> tuple[Channel, ...]:
    """How every T and C index of a volume is treated, by its intensities.

    Parameters
    ----------
    volume : Volume
    dtype : dtype
        Of the output.
    model : Niiv
    denoise : sequence of float or "auto"
        The noise level that is asked for, of each T and C index in their order.
    box : tuple of (int, int), optional
        The part that is written; looked at where all else is constant.

    Raises
    ------
    VolumeError
        If all are constant or empty.
    OutputError
        If the type of the output cannot hold them.
    """
    indices = list(np.ndindex(volume.shape[:-3]))
    channels = tuple(
        Channel.of(volume.at(*index), model, level, box) for index, level in zip(indices, denoise, strict=True)
    )
    if all(channel.blank for channel in channels):
        Normalization.of(volume.at(*indices[0]), box)
    for channel in channels:
        _check_range(channel, dtype, volume)
    return channels


def _check_range(channel: Channel, dtype: np.dtype[Any], volume: Volume) -> None:
    if dtype == volume.dtype or dtype.kind not in "iu" or channel.blank:
        return
    low, high, limits = channel.normalization.low, channel.normalization.high, np.iinfo(dtype)
    clipped = low < limits.min or high > limits.max
    if clipped or (volume.dtype.kind == "f" and high - low < _FEWEST_LEVELS):
        raise OutputError(
            f"The intensities of {volume.name!r} ({low:g} to {high:g}) do not fit the type {dtype};",
            Remedy.KEEP_DTYPE,
        )


@dataclass(frozen=True)
class Work:
    """What all units of an export share.

    Attributes
    ----------
    volume : Volume
        The source.
    batch_budget : BatchBudget
        With the model.
    plan : Plan
        What is written.
    channels : tuple of Channel
        In the order of the T and C indices.
    source : dict or None
        Its identity when the export began; None does not look whether it is another by now.
    data : Path
        The zarr hierarchy.
    planes : {"both", "xz", "yz"}
    project : bool
        Whether what contradicts the measurement is corrected.
    """

    volume: Volume
    batch_budget: BatchBudget
    plan: Plan
    channels: tuple[Channel, ...]
    source: dict[str, Any] | None = field(repr=False)
    data: Path
    planes: str
    project: bool

    def __call__(
        self,
        unit: Unit,
        report: Callable[[int], None] = lambda voxels: None,
        interrupt: Interrupt = never,
    ) -> Written:
        """Compute a unit and write it; of the full resolution, with the coarser levels that are written at once.

        Parameters
        ----------
        unit : Unit
            A shard that is not written with one of a finer level.
        report : callable
            Gets how many voxels more are computed.
        interrupt : Interrupt
            Called often.

        Raises
        ------
        VolumeError
            If the source cannot be read, is gone, or was changed.
        OSError
            If the shard cannot be written.
        Interrupted
            By `interrupt`.
        """
        values = (self.restored if unit.level == 0 else self._coarsened)(unit, report, interrupt)
        interrupt()
        states = []
        for part in self.plan.written_with(unit):
            level = self.plan.levels[part.level]
            if part is not unit:
                steps = level.steps_from(self.plan.levels[part.level - 1])
                values = halved(values, steps, self._channel(unit).normalization.empty)
            states.append(write_shard(self.data, level, part, values))
        if self.batch_budget.model.device.type == "cpu":  # whose units take seconds
            del values
            trim()
        return tuple(states)

    def restored(
        self,
        unit: Unit,
        report: Callable[[int], None] = lambda voxels: None,
        interrupt: Interrupt = never,
    ) -> NDArray[Any]:
        """Voxels of a unit of the full resolution, or of a block of one; arguments and errors are those of a call."""
        plan, volume = self.plan, self.volume.at(*unit.leading)
        channel = self._channel(unit)
        restoration = Restoration(
            plan.grid,
            self.batch_budget,
            channel.normalization,
            orientations_of(self.planes),
            plan.dtype,
            volume.name,
            self.project,
            channel.denoise,
        )
        places, first = unit.place.pieces(plan.edges), plan.samples.origin
        blocks = [restoration.block(place.shifted(first), infer=not channel.blank) for place in places]
        read = _reader(volume, blocks)
        if self.source is not None:
            check_unchanged(self.volume, self.source)
        values = np.empty(unit.place.shape, plan.dtype)
        for place, block in zip(places, blocks, strict=True):
            interrupt()
            part = restoration.compute(read(block), block, interrupt)
            values[place.slices_in(unit.place)] = part
            report(part.size)
        return values

    def _channel(self, unit: Unit) -> Channel:
        leading = self.plan.leading
        return self.channels[int(np.ravel_multi_index(unit.leading, leading)) if leading else 0]

    def _coarsened(self, unit: Unit, report: Callable[[int], None], interrupt: Interrupt) -> NDArray[Any]:
        finer, level = self.plan.levels[unit.level - 1], self.plan.levels[unit.level]
        steps = level.steps_from(finer)
        empty = self._channel(unit).normalization.empty
        # one shard of the finer level at a time
        edges = three(max(1, edge // step) for edge, step in zip(finer.shard, steps, strict=True))
        values = np.empty(unit.place.shape, self.plan.dtype)
        for place in unit.place.pieces(edges):
            interrupt()
            fine = place.scaled(steps, finer.shape)
            part = halved(read_level(self.data, unit.level - 1, unit.leading, fine), steps, empty)
            values[place.slices_in(unit.place)] = part
            report(part.size)
        return values


def _reader(volume: Volume, blocks: list[Block]) -> Callable[[Block], Volume | NDArray[Any]]:
    """What a block is computed from: halos overlap, so all blocks of a shard are read at once where memory allows."""
    union = Box.hull(block.raw for block in blocks)
    if union.size * volume.dtype.itemsize > _READ_BYTES:
        return lambda block: volume
    voxels = volume.read_raw(*union.slices)
    return lambda block: voxels[block.raw.slices_in(union)]
