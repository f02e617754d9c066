"""The convolutions of the encoder: what of the halo each layer needs, and replication where there is none."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Weights = tuple[Tensor, Tensor | None]
"""Kernel and bias of a layer."""

_MOST_PLANES = 65535  # pictures that a kernel of CUDA tells apart

Sides = tuple[int, int, int, int]
"""Top, bottom, left, right."""


class Halo:
    """What of the halo, on each of four sides, the layers still to come need.

    At each layer a side of a piece from the middle of a slice loses a pixel, instead of being continued by replication
    and thrown away at the end. A narrower halo than the layers reach ends at the border of the slice, where replication
    is right until only as many layers follow as it is wide.
    """

    def __init__(self, shape: tuple[int, ...], wanted: tuple[slice, slice] | None, layers: int) -> None:
        lateral, axial = wanted or (slice(0, shape[0]), slice(0, shape[1]))
        self.width: Sides = (
            *(lateral.start, shape[0] - lateral.stop),
            *(axial.start, shape[1] - axial.stop),
        )
        self._layers = layers

    def trim(self, x: Tensor) -> Tensor:
        """Leave out what no layer sees."""
        before, self.width = self.width, self._at_most(self._layers)
        return self.cut(x, before)

    def shed(self) -> Sides:
        """One layer goes by; which sides lose a pixel in it (1) and which are continued (0)."""
        self._layers -= 1
        before, self.width = self.width, self._at_most(self._layers)
        top, bottom, left, right = (b - w for b, w in zip(before, self.width, strict=True))
        return top, bottom, left, right

    def cut(self, y: Tensor, had: Sides) -> Tensor:
        """What remains of a tensor that had an earlier halo."""
        top, bottom, left, right = (h - w for h, w in zip(had, self.width, strict=True))
        return y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]

    def _at_most(self, layers: int) -> Sides:
        top, bottom, left, right = (min(w, layers) for w in self.width)
        return top, bottom, left, right


class Convolve:
    """Convolutions of one pass of the network, with replication on each side that is not shed.

    On the CPU one piece of memory serves all paddings: a new one for each would cost more than writing it.
    """

    def __init__(self, x: Tensor) -> None:
        self._scratch = torch.empty(0, dtype=x.dtype) if x.device.type == "cpu" else None

    def __call__(self, x: Tensor, weights: Weights, shed: Sides, rectify: bool) -> Tensor:
        """One layer; sides that are shed (1) lose a pixel, the others (0) are continued."""
        if x.requires_grad:
            padded = _Replicate.apply(x)  # type: ignore[no-untyped-call]
        elif x.is_cuda:
            padded = _replicate_at_once(x, shed)
        elif self._scratch is None or torch.is_grad_enabled():
            padded = _replicate(x, shed)
        else:
            padded = self._pad(x, shed)
        if rectify and padded.dtype == torch.float16 and weights[1] is not None and _rectifies(padded.device):
            return torch.cudnn_convolution_relu(padded, *weights, (1, 1), (0, 0), (1, 1), 1)
        y = F.conv2d(padded, *weights)
        return F.relu(y, inplace=True) if rectify else y

    def _pad(self, x: Tensor, shed: Sides) -> Tensor:
        if all(shed):
            return x
        top, bottom, left, right = (1 - side for side in shed)
        batch, channels, height, width = x.shape
        shape = (batch, height + top + bottom, width + left + right, channels)
        assert self._scratch is not None
        if self._scratch.numel() < math.prod(shape) or self._scratch.dtype != x.dtype:
            self._scratch = torch.empty(math.prod(shape), dtype=x.dtype)
        out = self._scratch[: math.prod(shape)].view(shape).permute(0, 3, 1, 2)
        rows = slice(top, top + height)
        out[:, :, rows, left : left + width] = x
        if left:
            out[:, :, rows, 0] = x[..., 0]
        if right:
            out[:, :, rows, -1] = x[..., -1]
        if top:
            out[:, :, 0] = out[:, :, 1]
        if bottom:
            out[:, :, -1] = out[:, :, -2]
        return out


@functools.lru_cache(maxsize=16)
def _rectifies(device: torch.device) -> bool:
    """Whether the device's library adds a bias and rectifies within a convolution: cuDNN, from Volta on."""
    if device.type != "cuda" or torch.version.cuda is None or not torch.backends.cudnn.is_available():
        return False
    return torch.cuda.get_device_capability(device) >= (7, 0)


def convolve_zeros(x: Tensor, weights: Weights, shed: Sides, rectify: bool) -> Tensor:
    """As `Convolve`, but with zeros beyond the borders, and always a bias."""
    kernel, bias = weights
    assert bias is not None
    top, bottom, left, right = shed
    if x.is_cuda and x.dtype == torch.float32 and torch.version.cuda is not None:
        # F.conv2d would round to TF32 unless the whole process were told not to
        y = torch.cudnn_convolution(x, kernel, (1, 1), (1, 1), (1, 1), 1, False, False, False)
        y = y + bias[:, None, None]
    else:
        y = F.conv2d(x, kernel, bias, padding=1)
    y = F.relu(y, inplace=True) if rectify else y
    return y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]


def _replicate(x: Tensor, shed: Sides = (0, 0, 0, 0)) -> Tensor:
    """One pixel of replication on each side that is not shed.

    In channels_last F.pad is slower, on the CPU four times.
    """
    top, bottom, left, right = shed
    if not (left and right):
        x = torch.cat([*([] if left else [x[..., :1]]), x, *([] if right else [x[..., -1:]])], dim=3)
    if not (top and bottom):
        x = torch.cat([*([] if top else [x[:, :, :1]]), x, *([] if bottom else [x[:, :, -1:]])], dim=2)
    return x


def _replicate_at_once(x: Tensor, shed: Sides) -> Tensor:
    """`_replicate` on CUDA, in one kernel: channels last, rows and columns are two of three axes that it pads.

    It moves a number at a time, so several channels go as one.
    """
    if all(shed):
        return x
    if len(x) > _MOST_PLANES:
        return _replicate(x, shed)
    top, bottom, left, right = (1 - side for side in shed)
    pixels = x.permute(0, 2, 3, 1).contiguous()
    together = torch.float64.itemsize // x.element_size()
    if x.shape[1] % together == pixels.storage_offset() % together == 0:
        pixels = pixels.view(torch.float64)
    padded = F.pad(pixels[None], (0, 0, left, right, top, bottom), mode="replicate")[0]
    return padded.view(x.dtype).permute(0, 3, 1, 2)


class _Replicate(torch.autograd.Function):
    """`_replicate` with a backward pass that touches the whole gradient once."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return _replicate(x)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> Tensor:
        inner = gradient[..., 1:-1].clone(memory_format=torch.channels_last)
        inner[..., 0] += gradient[..., 0]
        inner[..., -1] += gradient[..., -1]
        inner[:, :, 1] += inner[:, :, 0]
        inner[:, :, -2] += inner[:, :, -1]
        return inner[:, :, 1:-1]
