"""One volume and one model: any plane, any window, at any pitch."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_niiv.geometry import Sampling, Span
from napari_niiv.interrupt import Interrupt, never
from napari_niiv.models.niiv import Niiv
from napari_niiv.normalization import Normalization
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.reconstruction.trust import degradation_of, margin, misfit, project
from napari_niiv.reconstruction.views.axial import decode_axial, encode_axial
from napari_niiv.reconstruction.views.deadline import Deadline
from napari_niiv.reconstruction.views.latents import Latents, Orientation, Read
from napari_niiv.reconstruction.views.request import AXES, Quality, SliceRequest, SliceResponse, Trust
from napari_niiv.reconstruction.views.resolve import Resolved, resolve
from napari_niiv.reconstruction.views.source import Source
from napari_niiv.reconstruction.views.xy import restore_xy, xy_is_cached
from napari_niiv.resampling import resample
from napari_niiv.volume import Volume, check_anisotropy

_KEPT_SOURCES = 16  # T/C indices and levels, ready to be read

Maps = dict[Trust, Tensor]
T = TypeVar("T")


class Reconstructor:
    """Answers slice requests for one volume with one model.

    Only what a request shows is read and encoded. Latent grids are kept, so a change of zoom runs the decoder alone and
    a pan encodes only what is new.

    Parameters
    ----------
    volume : Volume
    model : Niiv
        Placed on a device (`load_model` does it).
    memory : Memory, optional
        Where voxels and latent grids are kept; one may serve several reconstructors.

    Raises
    ------
    VolumeError
        If the anisotropy is outside 1 … 16.
    """

    def __init__(self, volume: Volume, model: Niiv, *, memory: Memory | None = None) -> None:
        check_anisotropy(volume.anisotropy, volume.name)
        self.volume, self.model = volume, model
        self.memory = memory or Memory()
        self.batch_budget = BatchBudget(model)
        self._latents = Latents(self.batch_budget, self.memory, self)
        self._levels = volume.levels()
        self._degradation = degradation_of(model)
        self._normalizations: dict[tuple[int, ...], Normalization] = {}
        self._measuring = threading.Lock()
        self._source = functools.lru_cache(_KEPT_SOURCES)(self._open)

    def normalization(self, leading: tuple[int, ...] = ()) -> Normalization:
        """The normalisation of one T/C index, measured at its first use."""
        with self._measuring:
            if leading not in self._normalizations:
                self._normalizations[leading] = Normalization.of(self.volume.at(*leading))
            return self._normalizations[leading]

    def slice(
        self,
        request: SliceRequest,
        quality: Quality = "refined",
        interrupt: Interrupt = never,
        time_limit: float = math.inf,
    ) -> SliceResponse:
        """Reconstruct one picture.

        Parameters
        ----------
        request : SliceRequest
        quality : {"placeholder", "fast", "refined"}
        interrupt : Interrupt
            Called between the layers of the network.
        time_limit : float
            Seconds after which a picture made of many pieces is answered as far as it is, unless the rest is near; ask
            again for the rest.

        Raises
        ------
        Interrupted
            If `interrupt` raised it.
        VolumeError, DeviceError, ReconstructionError
            If the volume cannot be read, memory runs out, or the request makes no sense.
        """
        began = time.perf_counter()
        view = self._resolve(request)
        normalization = self.normalization(request.leading)
        infer = quality != "placeholder" and view.inferable
        complete, maps = True, dict[Trust, Tensor]()
        if not infer:
            values = self._interpolate(view)
        else:
            work = self._infer_xy if request.plane == "xy" else self._infer_axial
            values, maps, complete = self._attempt(
                lambda: work(view, request, quality == "refined", interrupt, time_limit)
            )
        dtype = self.volume.dtype
        image = normalization.invert(values, np.float32 if dtype == np.float64 else dtype)
        notice = ""
        if infer:  # interpolations come from another thread
            notice, self.batch_budget.notice = self.batch_budget.notice, ""
        contrast = np.float32(normalization.high - normalization.low)
        return SliceResponse(
            request=request,
            quality=quality,
            image=image,
            seconds=time.perf_counter() - began,
            device=self.model.device.type if infer else "cpu",
            downsample=view.coarsening[1],
            inferred=infer,
            notice=notice,
            complete=complete,
            trust={name: _host(values) * contrast for name, values in maps.items()},
        )

    def is_cached(self, request: SliceRequest, quality: Quality) -> bool:
        """Whether the latent grids of a picture are all kept, so that only the decoder would run."""
        view = self._resolve(request)
        if not view.inferable:
            return False
        if view.plane == "xy":
            return all(
                xy_is_cached(self._latents, view, side) for side in _orientations(view, quality == "refined")
            )
        columns = self._latents.window(view)[1]
        return all(
            self._latents.holds(view, side, columns) for side in _orientations(view, quality == "refined")
        )

    def prepare(self, request: SliceRequest, interrupt: Interrupt = never) -> None:
        """Read and encode what the fast picture of a side view will need, ahead of the request; errors as `slice`."""
        view = self._resolve(request)
        if view.inferable and view.plane != "xy":
            self._attempt(
                lambda: encode_axial(
                    self._latents, view, view.plane, self._reader(view), interrupt, Deadline(math.inf)
                )
            )

    def forget(self) -> None:
        """Free what is kept: latent grids and voxels."""
        self.memory.forget(self)
        self._source.cache_clear()

    def _attempt(self, work: Callable[[], T]) -> T:
        return self.batch_budget.attempt(work, self.memory.forget_latents)

    def _resolve(self, request: SliceRequest) -> Resolved:
        request.checked(self.volume.shape)
        beyond = margin(self._degradation) if request.project or "misfit" in request.trust else 0
        return resolve(request, self.volume.shape[-3:], self.volume.anisotropy, self._levels, beyond)

    def _open(self, leading: tuple[int, ...], level: int) -> Source:
        volume = self.volume.at(*leading)
        return Source(volume, volume.levels()[level], leading, self.memory, self)

    def _reader(self, view: Resolved, device: torch.device | None = None) -> Read:
        source, normalization = self._source(view.leading, view.level), self.normalization(view.leading)
        return lambda box: normalization.on(device or self.model.device, source.read(box, view.downsample))

    # interpolation

    def _interpolate(self, view: Resolved) -> Tensor:
        _, row_axis, column_axis = AXES[view.plane]
        rows, columns = view.rows.support(view.shape[row_axis]), view.columns.support(view.shape[column_axis])
        plane = _plane(view, self._reader(view, torch.device("cpu")), rows, columns)
        return _resampled(plane, view.rows.relative_to(rows.lo), view.columns.relative_to(columns.lo))

    # side views

    @torch.inference_mode()
    def _infer_axial(
        self,
        view: Resolved,
        request: SliceRequest,
        fuse: bool,
        interrupt: Interrupt,
        time_limit: float,
    ) -> tuple[Tensor, Maps, bool]:
        rows, columns = self._latents.window(view)
        read, waits = self._reader(view), Deadline(time_limit)
        measured = _plane(view, read, rows, columns).T
        sides = [
            encode_axial(self._latents, view, side, read, interrupt, waits)
            for side in _orientations(view, fuse)
        ]

        def decode(positions: Sampling) -> list[Tensor]:
            restored = [resample(measured, positions)]
            for side, strips in zip(_orientations(view, fuse), sides, strict=True):
                # where there was no time yet the other orientation stands, or the interpolation
                restored.append(
                    decode_axial(self.model, view, side, rows, columns, strips, positions, restored[-1])
                )
            return restored[1:]

        def picture(values: Tensor) -> Tensor:
            return resample(values.T, view.columns.relative_to(columns.lo))

        axial, maps = view.rows.relative_to(rows.lo), Maps()
        both = decode(axial)
        values = torch.stack(both).mean(0)
        if request.project or "misfit" in request.trust:
            factor = math.ceil(view.anisotropy)
            fine = torch.stack(decode(Sampling.covering(len(rows), len(rows) * factor))).mean(0)
            if request.project:
                fine = project(fine, measured, self._degradation)
                values = resample(fine, axial.refined(factor))
            if "misfit" in request.trust:
                excess = misfit(fine, measured, self._degradation)
                maps["misfit"] = picture(excess[:, _voxels(axial, len(rows)).to(excess.device)])
        if fuse and "disagreement" in request.trust:
            maps["disagreement"] = picture((both[0] - both[1]).abs())
        complete = all(latent is not None for strips in sides for latent in strips.values())
        return picture(values), maps, complete

    # xy views between slices

    @torch.inference_mode()
    def _infer_xy(
        self,
        view: Resolved,
        request: SliceRequest,
        fuse: bool,
        interrupt: Interrupt,
        time_limit: float,
    ) -> tuple[Tensor, Maps, bool]:
        read, waits = self._reader(view), Deadline(time_limit)
        y, x = view.rows.support(view.shape[1]), view.columns.support(view.shape[2])
        linear = _plane(view, read, y, x)
        projection = self._degradation if request.project else None
        complete, restored = True, list[Tensor]()
        for side in _orientations(view, fuse):
            # where there was no time yet the other orientation stands, or the interpolation
            values = (restored[0] if restored else linear).clone()
            for tile, picture in restore_xy(
                self.model, self._latents, view, side, read, interrupt, waits, projection
            ):
                if picture is None:
                    complete = False
                    continue
                inside = (tile.y.intersection(y), tile.x.intersection(x))
                values[inside[0].slice_in(y), inside[1].slice_in(x)] = picture[
                    inside[0].slice_in(tile.y), inside[1].slice_in(tile.x)
                ]
            restored.append(values)
        rows, columns = view.rows.relative_to(y.lo), view.columns.relative_to(x.lo)
        values = torch.stack(restored).mean(0)
        maps = Maps()
        if fuse and "disagreement" in request.trust:
            maps["disagreement"] = _resampled((restored[0] - restored[1]).abs(), rows, columns)
        return _resampled(values, rows, columns), maps, complete


def _orientations(view: Resolved, fuse: bool) -> tuple[Orientation, ...]:
    """Orientations of the slices that make up a picture, the first of them alone if it is to be fast."""
    first: Orientation = "yz" if view.plane == "yz" else "xz"
    second: Orientation = "xz" if first == "yz" else "yz"
    return (first, second) if fuse else (first,)


def _plane(view: Resolved, read: Read, rows: Span, columns: Span) -> Tensor:
    """A part of the plane of a view as it was measured; between two slices, interpolated linearly."""
    across, row_axis, column_axis = AXES[view.plane]
    below = math.floor(view.position)
    share = view.position - below
    spans = {row_axis: rows, column_axis: columns, across: Span(below, below + (2 if share else 1))}
    box = read((spans[0], spans[1], spans[2]))
    first = box.select(across, 0)
    return (1 - share) * first + share * box.select(across, 1) if share else first


def _voxels(axial: Sampling, depth: int) -> Tensor:
    """The voxel that holds each of some positions."""
    positions = axial.start + axial.step * torch.arange(axial.count, dtype=torch.float64)
    return positions.round().long().clamp(0, depth - 1)


def _resampled(plane: Tensor, rows: Sampling, columns: Sampling) -> Tensor:
    return resample(resample(plane.T, rows).T, columns)


def _host(values: Tensor) -> NDArray[np.float32]:
    return np.asarray(values.cpu().numpy(), dtype=np.float32)
