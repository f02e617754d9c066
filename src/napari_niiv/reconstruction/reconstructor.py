"""One volume and one model: any plane, any window, at any pitch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_niiv.geometry import Sampling, Span
from napari_niiv.models.decoders import Frame, cell_centres
from napari_niiv.models.niiv import Niiv
from napari_niiv.normalization import Normalization
from napari_niiv.reconstruction.memory import TensorCache, Workspace
from napari_niiv.reconstruction.requests import AXES, Plane, Quality, SliceRequest, SliceResponse
from napari_niiv.reconstruction.stack import ORIENTATION, encode_stack
from napari_niiv.resampling import resample
from napari_niiv.volume import Volume, check_anisotropy, downsampled

CELL = 32  # voxels: edge of what the cache keeps; missing cells next to each other are encoded together
INTERPOLATE_BELOW = 1.25  # anisotropy under which there is nothing to infer
CACHE_BYTES = 1 << 30

_Key = tuple[tuple[str, str, tuple[int, ...], int, int, str], int, int]


class Superseded(Exception):
    """A newer request makes this one pointless."""


@dataclass(frozen=True)
class _View:
    """A request resolved to a level: positions and sizes in voxels of that level."""

    plane: Plane
    leading: tuple[int, ...]
    index: int
    rows: Sampling
    columns: Sampling
    downsample: int
    anisotropy: float
    shape: tuple[int, int, int]


class Reconstructor:
    """Answers slice requests for one volume with one model.

    Only what a request shows is read and encoded. Latent grids are kept in cells of 32 x 32 voxels, so a change of
    zoom runs the decoder alone and a pan encodes only what is new.

    Parameters
    ----------
    volume : Volume
    model : Niiv
        Placed on a device (`load_model` does it).
    cache_bytes : int
        Limit of the latent cache.

    Raises
    ------
    VolumeError
        If the anisotropy is outside 1 … 16.
    """

    def __init__(self, volume: Volume, model: Niiv, *, cache_bytes: int = CACHE_BYTES) -> None:
        check_anisotropy(volume.anisotropy, volume.name)
        self.volume, self.model = volume, model
        self.cache = TensorCache(cache_bytes)
        self.workspace = Workspace(model)
        self._normalizations: dict[tuple[int, ...], Normalization] = {}

    def normalization(self, leading: tuple[int, ...] = ()) -> Normalization:
        """The normalisation of one T/C index, measured at its first use."""
        if leading not in self._normalizations:
            self._normalizations[leading] = Normalization.of(self.volume.at(*leading))
        return self._normalizations[leading]

    def slice(
        self, request: SliceRequest, quality: Quality = "refined", stale: Callable[[], bool] = lambda: False
    ) -> SliceResponse:
        """Reconstruct one picture.

        Parameters
        ----------
        request : SliceRequest
        quality : {"placeholder", "fast", "refined"}
        stale : callable
            Asked between batches; when it says True the work stops.

        Raises
        ------
        Superseded
            If `stale` said so.
        VolumeError, DeviceError, ReconstructionError
            If the volume cannot be read, memory runs out, or the request makes no sense.
        """
        began = time.perf_counter()
        request.checked(self.volume.shape)
        volume = self.volume.at(*request.leading)
        view = _resolve(request, volume)
        normalization = self.normalization(request.leading)
        infer = quality != "placeholder" and _inferable(view)
        if infer:
            values = self.workspace.attempt(
                lambda: self._infer(volume, view, normalization, quality == "refined", stale),
                self.cache.clear,
            )
        elif request.plane == "xy":
            values = _interpolate_xy(volume, request, view, normalization)
        else:
            values = _interpolate(volume, view, normalization)
        image = normalization.invert(values, np.float32 if volume.dtype == np.float64 else volume.dtype)
        notice, self.workspace.notice = self.workspace.notice, ""
        return SliceResponse(
            request=request,
            quality=quality,
            image=image,
            seconds=time.perf_counter() - began,
            device=self.model.device.type if infer else "cpu",
            downsample=view.downsample,
            inferred=infer,
            notice=notice,
        )

    def holds(self, request: SliceRequest, quality: Quality) -> bool:
        """Whether the latent grids of a picture are all in the cache, so that only the decoder would run."""
        request.checked(self.volume.shape)
        view = _resolve(request, self.volume.at(*request.leading))
        if not _inferable(view):
            return False
        orientations = ("xz", "yz") if quality == "refined" else (view.plane,)
        return all(
            self.cache.get(key) is not None
            for orientation in orientations
            for line in self._cells(view, orientation, *_window(view))
            for key in line
        )

    def _cells(self, view: _View, orientation: str, rows: Span, columns: Span) -> list[list[_Key]]:
        """Keys of the cells of a window: a line for each step along the lateral axis."""
        about = (view.plane, orientation, view.leading, view.index, view.downsample, str(self.model.device))
        size = view.shape[AXES[view.plane][2]]
        return [
            [(about, row.lo, column.lo) for row in rows.tiles(CELL, view.shape[0])]
            for column in columns.tiles(CELL, size)
        ]

    def _infer(
        self, volume: Volume, view: _View, normalization: Normalization, fuse: bool, stale: Callable[[], bool]
    ) -> NDArray[np.float32]:
        cells = _window(view)
        other: Plane = "yz" if view.plane == "xz" else "xz"
        across, _, lateral = AXES[view.plane]
        places = [cell_centres(cells[1].lo, cells[1].hi, view.shape[lateral])]
        if fuse:  # the other orientation's slices have their lateral axis across the picture
            places.append(cell_centres(view.index, view.index + 1, view.shape[across]).expand_as(places[0]))
        frame = Frame(cells[0].lo, view.shape[0], torch.stack(places))
        with torch.inference_mode():
            latents = []
            for orientation in (view.plane, other) if fuse else (view.plane,):
                latent, centre = self._latents(volume, view, orientation, *cells, normalization, stale)
                latents.append(latent)
            rows, columns = view.rows.relative_to(cells[0].lo), view.columns.relative_to(cells[1].lo)
            centres = centre.expand(len(latents), -1, -1)
            values = self.model.decode(torch.cat(latents), centres, rows, view.anisotropy, frame).mean(0)
            return np.asarray(resample(values.T, columns).cpu().numpy(), dtype=np.float32)

    def _latents(
        self,
        volume: Volume,
        view: _View,
        orientation: Plane,
        rows: Span,
        columns: Span,
        normalization: Normalization,
        stale: Callable[[], bool],
    ) -> tuple[Tensor, Tensor]:
        """Latent grid (1, C, lateral, axial) and slice (1, lateral, axial) of whole cells, cached or encoded."""
        grid = self._cells(view, orientation, rows, columns)
        held = {key: self.cache.get(key) for line in grid for key in line}
        missing = [key for key, value in held.items() if value is None]
        if missing:
            # the bounding box of what is missing: everything after a scroll, a strip after a pan
            new_rows = _outward(
                Span(min(k[1] for k in missing), max(k[1] for k in missing) + 1), view.shape[0]
            )
            size, about = view.shape[AXES[view.plane][2]], missing[0][0]
            new_columns = _outward(Span(min(k[2] for k in missing), max(k[2] for k in missing) + 1), size)
            depth = len(new_rows.grown(self.model.halo, view.shape[0]))
            step = max(CELL, (self.workspace.batch_pixels // depth - 2 * self.model.halo) // CELL * CELL)
            for piece in new_columns.tiles(step, size) if step < len(new_columns) else [new_columns]:
                part = Span(max(piece.lo, new_columns.lo), min(piece.hi, new_columns.hi))
                encoded = self._encode(volume, view, orientation, new_rows, part, normalization, stale)
                for row in new_rows.tiles(CELL, view.shape[0]):
                    for column in part.tiles(CELL, size):
                        cell = encoded[..., column.slice_in(part), row.slice_in(new_rows)].clone()
                        held[about, row.lo, column.lo] = cell
                        self.cache.put((about, row.lo, column.lo), cell)
        lines = [torch.cat([held[key] for key in line], dim=-1) for line in grid]  # type: ignore[misc]
        whole = torch.cat(lines, dim=-2)
        return whole[:, :-1], whole[:, -1]

    def _encode(
        self,
        volume: Volume,
        view: _View,
        orientation: Plane,
        rows: Span,
        columns: Span,
        normalization: Normalization,
        stale: Callable[[], bool],
    ) -> Tensor:
        """Encode one rectangle; shape (1, C + 1, lateral, axial), the slice itself as the last channel."""
        model, halo, k = self.model, self.model.halo, self.model.context
        across, _, lateral = AXES[view.plane]
        z = rows.grown(halo, view.shape[0])
        here = Span(view.index, view.index + 1)
        along = orientation == view.plane
        # the plane's own orientation needs neighbours across it; the other one needs its halo there
        box = {
            across: here.grown(k if along else halo, view.shape[across]),
            lateral: columns.grown(halo if along else k, view.shape[lateral]),
        }
        values = normalization.apply(volume.read(z.slice, box[1].slice, box[2].slice, view.downsample))
        stack = torch.from_numpy(values).to(model.device).permute(ORIENTATION[orientation])
        wanted, kept = (here.slice_in(box[across]), columns.slice_in(box[lateral]))
        if not along:
            wanted, kept = kept, wanted
        depth = rows.slice_in(z)

        def interrupt() -> None:
            if stale():
                raise Superseded

        parts = []
        for part, latent in encode_stack(
            model, stack, wanted, (kept, depth), view.anisotropy, self.workspace.batch_pixels, interrupt
        ):
            both = torch.cat([latent.float(), stack[part, kept, depth][:, None]], dim=1)
            parts.append(both if along else both.permute(2, 1, 0, 3))
        return torch.cat(parts, dim=0 if along else 2)


def _inferable(view: _View) -> bool:
    return view.plane != "xy" and view.anisotropy >= INTERPOLATE_BELOW


def _window(view: _View) -> tuple[Span, Span]:
    """Rows and columns of whole cells that a view needs."""
    axial, lateral = view.shape[0], view.shape[AXES[view.plane][2]]
    return _outward(view.rows.support(axial), axial), _outward(view.columns.support(lateral), lateral)


def _resolve(request: SliceRequest, volume: Volume) -> _View:
    """Choose the lateral level that a pixel of the request averages over, and count in its voxels."""
    across, row_axis, column_axis = AXES[request.plane]
    pitch = request.columns.step if request.plane != "xy" else min(request.rows.step, request.columns.step)
    d = 1 << max(0, math.floor(math.log2(pitch)))
    depth, height, width = volume.shape
    d = min(d, 1 << (max(height, width) - 1).bit_length())
    shape = (depth, downsampled(height, d), downsampled(width, d))
    index = round(request.index) if across == 0 else math.floor((request.index + 0.5) / d)
    return _View(
        plane=request.plane,
        leading=request.leading,
        index=min(max(index, 0), shape[across] - 1),
        rows=request.rows.coarsened(d if row_axis else 1),
        columns=request.columns.coarsened(d if column_axis else 1),
        downsample=d,
        anisotropy=volume.anisotropy / d,
        shape=shape,
    )


def _outward(span: Span, size: int) -> Span:
    """A span widened to whole cells."""
    return Span(span.lo // CELL * CELL, min(-(-span.hi // CELL) * CELL, size))


def _interpolate(volume: Volume, view: _View, normalization: Normalization) -> NDArray[np.float32]:
    across, _, lateral = AXES[view.plane]
    spans = {
        0: view.rows.support(view.shape[0]),
        across: Span(view.index, view.index + 1),
        lateral: view.columns.support(view.shape[lateral]),
    }
    box = volume.read(spans[0].slice, spans[1].slice, spans[2].slice, view.downsample)
    plane = normalization.apply(box.squeeze(across))
    return _bilinear(plane, view.rows.relative_to(spans[0].lo), view.columns.relative_to(spans[lateral].lo))


def _interpolate_xy(
    volume: Volume, request: SliceRequest, view: _View, normalization: Normalization
) -> NDArray[np.float32]:
    position = min(max(request.index, 0), view.shape[0] - 1)
    below = math.floor(position)
    y, x = view.rows.support(view.shape[1]), view.columns.support(view.shape[2])
    z = slice(below, min(below + 2, view.shape[0]))
    slices = normalization.apply(volume.read(z, y.slice, x.slice, view.downsample))
    share = np.float32(position - below)
    plane = slices[0] if share == 0 else (1 - share) * slices[0] + share * slices[1]
    return _bilinear(plane, view.rows.relative_to(y.lo), view.columns.relative_to(x.lo))


def _bilinear(plane: NDArray[np.float32], rows: Sampling, columns: Sampling) -> NDArray[np.float32]:
    values = resample(resample(torch.from_numpy(plane).T, rows).T, columns)
    return np.asarray(values.numpy(), dtype=np.float32)
