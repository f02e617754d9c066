"""One volume and one model: any plane, any window, at any pitch."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_niiv.device import downloaded
from napari_niiv.empty_voxels import nearest_voxels
from napari_niiv.geometry import Box, Sampling, Span, three
from napari_niiv.interrupt import Interrupt, never
from napari_niiv.models.niiv import Niiv
from napari_niiv.normalization import Normalization
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.reconstruction.denoise import AUTO, averaged_level, check_denoise, level_of
from napari_niiv.reconstruction.doubt import Doubt
from napari_niiv.reconstruction.planes import AXES, Orientation
from napari_niiv.reconstruction.trust import degradation_of, margin, smoothing
from napari_niiv.reconstruction.views.axial import encode_axial, restore_axial
from napari_niiv.reconstruction.views.deadline import Deadline
from napari_niiv.reconstruction.views.latents import Latents, Read
from napari_niiv.reconstruction.views.picture import (
    PictureTask,
    RestoredPicture,
    measured_plane,
    resample_plane,
)
from napari_niiv.reconstruction.views.request import Quality, SliceRequest, SliceResponse, Trust, bridged_map
from napari_niiv.reconstruction.views.resolve import Resolved, resolve
from napari_niiv.reconstruction.views.source import Source
from napari_niiv.reconstruction.views.xy import restore_xy, xy_is_cached
from napari_niiv.volume import Volume, check_anisotropy, downsampled

_MOST_SOURCES = 16  # T/C indices and levels, ready to be read

T = TypeVar("T")


class Reconstructor:
    """Answers slice requests for one volume with one model.

    Only what a request shows is read and encoded. Latent grids are cached, so a change of zoom runs the decoder alone
    and a pan encodes only what is new.

    Parameters
    ----------
    volume : Volume
        3-D, or with leading T and C axes.
    model : Niiv
        Placed on a device (`load_model` does it).
    memory : Memory, optional
        Where voxels and latent grids are cached; one may serve several reconstructors.

    Raises
    ------
    VolumeError
        If the anisotropy is outside 1 … 16.
    """

    def __init__(self, volume: Volume, model: Niiv, *, memory: Memory | None = None) -> None:
        check_anisotropy(volume.anisotropy, volume.name)
        self.volume, self.model = volume, model
        self.memory = memory or Memory()
        self.ended = False
        self.batch_budget = BatchBudget(model)
        self._latents = Latents(self.batch_budget, self.memory, self)
        self._levels = volume.levels()
        self._degradation = degradation_of(model)
        self._normalizations: dict[tuple[int, ...], Normalization] = {}
        self._measuring = threading.Lock()
        self._estimates: dict[tuple[int, ...], float] = {}
        self._estimating = threading.Lock()  # another: interpolations wait for the normalisation alone
        self._source = functools.lru_cache(_MOST_SOURCES)(self._open)

    def normalization(self, leading: tuple[int, ...] = ()) -> Normalization:
        """The normalisation of one T/C index, measured at its first use."""
        with self._measuring:
            if leading not in self._normalizations:
                self._normalizations[leading] = Normalization.of(self.volume.at(*leading))
            return self._normalizations[leading]

    def noise_level(self, request: SliceRequest) -> float:
        """The noise level that a request asks for; "auto" is estimated for each T/C index, at its first use."""
        with self._estimating:
            level = self._known_level(request)
            if level is None:
                volume, normalization = self.volume.at(*request.leading), self.normalization(request.leading)
                level = level_of(volume, normalization, self.model, request.denoise)
                self._estimates[request.leading] = level
            return level

    def _known_level(self, request: SliceRequest) -> float | None:
        """The same, or None where it is still to be estimated."""
        return self._estimates.get(request.leading) if request.denoise == AUTO else float(request.denoise)

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
        if infer:
            view = self._told(view, self.noise_level(request))
            work = restore_xy if view.plane == "xy" else restore_axial
            picture = self._attempt(lambda: work(self._task(view, request, quality, interrupt, time_limit)))
        else:
            picture = RestoredPicture(self._interpolate(view), {})
        dtype, contrast = self.volume.dtype, np.float32(normalization.high - normalization.low)
        image = normalization.invert(picture.values, np.float32 if dtype == np.float64 else dtype)
        maps = {name: _on_host(values) * contrast for name, values in picture.maps.items()}
        empty = self._put_back_empty(view, image, maps)
        maps |= self._bridged(request)
        notice = ""
        if infer:  # interpolations come from another thread
            notice, self.batch_budget.notice = self.batch_budget.notice, ""
        return SliceResponse(
            request=request,
            quality=quality,
            image=image,
            seconds=time.perf_counter() - began,
            device=self.model.device.type if infer else "cpu",
            downsample=view.coarsening[1],
            inferred=infer,
            notice=notice,
            complete=picture.complete,
            trust=maps,
            doubt=Doubt.of(maps if picture.complete else {}, float(contrast), empty) if maps else None,
            denoise=self._known_level(request),
            empty=normalization.empty,
        )

    def is_cached(self, request: SliceRequest, quality: Quality) -> bool:
        """Whether the latent grids of a picture are all cached, so that only the decoder would run."""
        view, level = self._resolve(request), self._known_level(request)
        if not view.inferable or level is None:
            return False
        view = self._told(view, level)
        orientations = _orientations(view, quality)
        if view.plane == "xy":
            return all(xy_is_cached(self._latents, view, orientation) for orientation in orientations)
        columns = self._latents.window(view)[1]
        return all(self._latents.is_cached(view, orientation, columns) for orientation in orientations)

    def prepare(self, request: SliceRequest, interrupt: Interrupt = never) -> None:
        """Read and encode what the fast picture of a side view will need, ahead of the request; errors as `slice`."""
        view = self._resolve(request)
        if view.inferable and view.plane != "xy":
            view = self._told(view, self.noise_level(request))
            (orientation,) = _orientations(view, "fast")
            self._attempt(lambda: encode_axial(self._task(view, request, "fast", interrupt, math.inf), orientation))

    def forget(self) -> None:
        """Free what is cached: latent grids and voxels."""
        self.memory.forget(self)
        self._source.cache_clear()

    def end(self) -> None:
        """Free what is cached, as nothing more will be asked; whoever is still at work here forgets it once more."""
        self.ended = True
        self.forget()

    def _bridged(self, request: SliceRequest) -> dict[Trust, NDArray[np.float32]]:
        """The map of the sections that are bridged, if it is wanted and there are any."""
        bridged = () if self.volume.repairs is None else self.volume.repairs[request.leading].bridged
        return {"bridged": bridged_map(request, bridged)} if bridged and "bridged" in request.trust else {}

    def _attempt(self, work: Callable[[], T]) -> T:
        return self.batch_budget.attempt(work, self.memory.forget_latents)

    def _task(
        self, view: Resolved, request: SliceRequest, quality: Quality, interrupt: Interrupt, time_limit: float
    ) -> PictureTask:
        return PictureTask(
            self.model,
            self._latents,
            view,
            self._reader(view),
            _orientations(view, quality),
            self._degradation,
            request.project,
            request.trust,
            interrupt,
            Deadline(time_limit),
        )

    def _resolve(self, request: SliceRequest) -> Resolved:
        request.checked(self.volume.shape)
        check_denoise(self.model, request.denoise)
        beyond = margin(self._degradation) if request.project or "misfit" in request.trust else 0
        view = resolve(request, self.volume.shape[-3:], self.volume.anisotropy, self._levels, beyond)
        if {"disagreement", "misfit"}.isdisjoint(request.trust):
            return view
        return replace(view, smoothing=smoothing(view.anisotropy, self.model.cell))

    def _told(self, view: Resolved, level: float) -> Resolved:
        """A view with the noise level that the model is told for it, of one of the full resolution."""
        return replace(view, denoise=averaged_level(level, *view.coarsening))

    def _open(self, leading: tuple[int, ...], level: int) -> Source:
        volume = self.volume.at(*leading)
        return Source(volume, volume.levels()[level], leading, self.memory, self)

    def _reader(self, view: Resolved, device: torch.device | None = None) -> Read:
        source, normalization = self._source(view.leading, view.level), self.normalization(view.leading)
        where, d = device or self.model.device, view.downsample

        def read(box: Box) -> Tensor:
            return normalization.voxels(
                where, *_with_margin(source, box, d, normalization.margin(d)), d, view.level > 0
            )[0]

        return read

    def _put_back_empty(
        self, view: Resolved, image: NDArray[Any], maps: Mapping[Trust, NDArray[np.float32]]
    ) -> NDArray[np.bool_] | None:
        """What is empty in the source is so in a picture, and 0 in its maps; returns which pixels, if any."""
        source, normalization = self._source(view.leading, view.level), self.normalization(view.leading)
        if not normalization.empty.possible(self.volume.dtype):
            return None
        across, row_axis, column_axis = AXES[view.plane]
        nearest = int(nearest_voxels(Sampling(view.position, 1, 1), view.shape[across])[0])
        thickness = Span(nearest, nearest + 1)
        box = view.box(*view.support, thickness)
        d = view.downsample
        part = normalization.empty_part(*_with_margin(source, box, d, normalization.margin(d)), d, view.level > 0)
        if part is None:
            return None
        places = {across: Sampling(0, 1, 1), row_axis: view.rows, column_axis: view.columns}
        inside = three(places[axis].relative_to(box[axis].lo if axis != across else 0) for axis in range(3))
        part.put_back(np.expand_dims(image, across), inside)
        empty = np.zeros(image.shape, dtype=bool)
        replace(part, values=part.mask).put_back(np.expand_dims(empty, across), inside)
        for values in maps.values():
            values[empty] = 0
        return empty

    def _interpolate(self, view: Resolved) -> Tensor:
        rows, columns = view.support
        plane = measured_plane(view, self._reader(view, torch.device("cpu")), rows, columns)
        return resample_plane(plane, view.rows.relative_to(rows.lo), view.columns.relative_to(columns.lo))


def _with_margin(
    source: Source, box: Box, downsample: int, margin: int
) -> tuple[NDArray[Any], tuple[slice, slice, slice]]:
    """Voxels of a box of averaged pixels and of a margin around it; and where the box lies in them, averaged."""
    depth, height, width = source.shape
    shape = (depth, downsampled(height, downsample), downsampled(width, downsample))
    wide = box.padded((0, margin, margin), shape)
    return source.read(wide.scaled((1, downsample, downsample), source.shape)), box.slices_in(wide)


def _orientations(view: Resolved, quality: Quality) -> tuple[Orientation, ...]:
    """Orientations of the slices that make up a picture, the first of them alone if it is to be fast."""
    both: tuple[Orientation, ...] = ("yz", "xz") if view.plane == "yz" else ("xz", "yz")
    return both if quality == "refined" else both[:1]


def _on_host(values: Tensor) -> NDArray[np.float32]:
    return np.asarray(downloaded(values), dtype=np.float32)
