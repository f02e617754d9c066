"""The encoder: EDSR without upsampling, whose weights are a polynomial of the anisotropy."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# scale of the higher orders: Adam's steps of all orders add up, and would make training unstable
_HIGHER = 0.25
_NOISE = 0.5  # of the term of the largest noise level, likewise
_MOST_FOLDED = 4  # anisotropies and noise levels: those of two zooms, with and without noise


class Encoder(nn.Module):
    """Turn low-resolution axial slices, or cells of them, into latent grids of the same size.

    A residual network of 3x3 convolutions without normalisation layers (EDSR, Lim et al. 2017, without its upsampling
    tail). Borders are continued by replication at every layer.

    The network is told the anisotropy and the noise level through its weights: each is a Chebyshev polynomial of the
    logarithm of the anisotropy, plus a term in proportion to the noise level. For one anisotropy and level they fold
    into plain convolutions, so one model serves a range of factors with the capacity of several and the cost of one.

    Parameters
    ----------
    channels : int
        Input channels: slices times lateral pixels of a cell.
    features, blocks : int
        Width and number of residual blocks.
    latent_channels : int
        Channels of the latent grid.
    anisotropy_range : tuple of float
        The factors at which the polynomial's variable is -1 and 1; factors beyond are taken as the nearest.
    degree : int
        Of the polynomial; 0 makes the weights the same for all factors.
    noise : float
        The largest noise level that it is told of, a share of the normalised range; 0 if it is not told.
    reference : bool
        As the paper's code has it: zeros beyond the borders instead of replication, and no convolution after the sum
        of head and body, whose `features` channels are the latent grid.
    """

    def __init__(
        self,
        channels: int,
        features: int,
        blocks: int,
        latent_channels: int,
        anisotropy_range: tuple[float, float] = (1.0, 16.0),
        degree: int = 0,
        noise: float = 0.0,
        reference: bool = False,
    ) -> None:
        super().__init__()
        widths = [(channels, features)] + [(features, features)] * (2 * blocks + 1)
        if not reference:
            widths.append((features, latent_channels))
        self.anisotropy_range, self.degree = anisotropy_range, degree
        self.blocks, self.noise, self.reference = blocks, noise, reference
        self.kernels, self.biases = nn.ParameterList(), nn.ParameterList()
        terms = degree + 1 + bool(noise)
        for fan_in, fan_out in widths:
            start = nn.Conv2d(fan_in, fan_out, 3)
            kernel = torch.zeros(terms, *start.weight.shape)
            bias = torch.zeros(terms, fan_out)
            kernel[0], bias[0] = start.weight.detach(), cast(Tensor, start.bias).detach()
            self.kernels.append(nn.Parameter(kernel))
            self.biases.append(nn.Parameter(bias))
        self.precision: torch.dtype | None = None  # of the arithmetic; the weights keep all their digits
        self._folded: dict[tuple[float, float, torch.dtype], list[tuple[Tensor, Tensor]]] = {}
        self.edition = 0  # goes up whenever the weights may have changed

    @property
    def dtype(self) -> torch.dtype:
        """In which it computes, and answers outside training."""
        return self.precision or self.kernels[0].dtype

    @property
    def receptive_radius(self) -> int:
        """Pixels on each side that a latent code depends on: the halo a tile needs."""
        return len(self.kernels)

    def weights(self, anisotropy: float, level: float | Tensor = 0.0) -> list[tuple[Tensor, Tensor]]:
        """Kernel and bias of each convolution for one anisotropy and noise level; kept while not training.

        Parameters
        ----------
        anisotropy : float
        level : float or Tensor of one number
            Noise level, a share of the normalised range; a number on the device where a CUDA graph is recorded.
        """
        keep = not (self.training or torch.is_grad_enabled() or isinstance(level, Tensor))
        kept = self._folded  # read once: other threads fold too
        if not isinstance(level, Tensor) and keep and (anisotropy, level, self.dtype) in kept:
            return kept[anisotropy, level, self.dtype]
        terms = self._terms(anisotropy, level)
        with torch.autocast(terms.device.type, enabled=False):
            folded = [
                (
                    torch.tensordot(terms, kernel, 1).to(self.dtype).contiguous(memory_format=torch.channels_last),
                    (terms @ bias).to(self.dtype),
                )
                for kernel, bias in zip(self.kernels, self.biases, strict=True)
            ]
        if keep and not isinstance(level, Tensor):
            latest = list(kept.items())[1 - _MOST_FOLDED :]
            self._folded = {**dict(latest), (anisotropy, level, self.dtype): folded}
        return folded

    def _terms(self, anisotropy: float, level: float | Tensor) -> Tensor:
        """What each order of the weights is multiplied by."""
        first = self.kernels[0]
        powers = _powers(anisotropy, self.anisotropy_range, self.degree, str(first.device), first.dtype)
        if not self.noise:
            return powers
        if not isinstance(level, Tensor):
            level = powers.new_tensor(level)
        return torch.cat([powers, (_NOISE * level / self.noise).to(powers.dtype).reshape(1)])

    def forget(self) -> None:
        """Drop the folded weights that are kept: needed after the weights were changed in place."""
        self._folded = {}
        self.edition += 1

    def train(self, mode: bool = True) -> Encoder:
        """Switch training on or off; forgets folded weights."""
        self.forget()
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Encoder:
        self.forget()  # a change of device or precision
        return cast(Encoder, super()._apply(fn, recurse))  # type: ignore[no-untyped-call]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.forget()
        super()._load_from_state_dict(*args, **kwargs)

    def forward(
        self,
        x: Tensor,
        anisotropy: float,
        interrupt: Callable[[], None] | None = None,
        wanted: tuple[slice, slice] | None = None,
        level: float | Tensor = 0.0,
    ) -> Tensor:
        """Encode.

        Parameters
        ----------
        x : Tensor, shape (B, channels, lateral, axial)
            Normalised slices with their neighbours as channels; of cells, lateral counts cells.
        anisotropy : float
            Axial over lateral voxel size.
        interrupt : callable, optional
            Called before each layer; may raise to give up.
        wanted : (slice, slice), optional
            The part, lateral and axial, whose codes are wanted; the rest is halo, and shed as soon as no layer to come
            sees it.
        level : float or Tensor of one number
            Noise level, a share of the normalised range.

        Returns
        -------
        Tensor, shape (B, latent_channels, lateral, axial)
            Of the part that is wanted.
        """
        x = x.to(self.dtype)
        convolve = _convolve_zeros if self.reference else _Convolve(x)
        weights = iter(self.weights(anisotropy, level))
        halo = _Halo(x.shape[-2:], wanted, len(self.kernels))

        def layer(y: Tensor, rectify: bool = False) -> Tensor:
            if interrupt is not None:
                interrupt()
            y = convolve(y, next(weights), halo.shed())
            return F.relu(y, inplace=True) if rectify else y

        x = halo.trim(x)
        y = head = layer(x)
        begun = halo.width
        for _ in range(self.blocks):
            before = halo.width
            inner = layer(layer(y, rectify=True))
            y = inner.add_(halo.cut(y, before))
        y = layer(y).add_(halo.cut(head, begun))
        return y if self.reference else layer(y)


_Sides = tuple[int, int, int, int]


class _Halo:
    """What of the halo, on each of four sides, the layers still to come need.

    At each layer a side of a piece from the middle of a slice loses a pixel, instead of being continued by replication
    and thrown away at the end. A narrower halo than the layers reach ends at the border of the slice, where replication
    is right until only as many layers follow as it is wide.
    """

    def __init__(self, shape: tuple[int, ...], wanted: tuple[slice, slice] | None, layers: int) -> None:
        lateral, axial = wanted or (slice(0, shape[0]), slice(0, shape[1]))
        self.width: _Sides = (
            *(lateral.start, shape[0] - lateral.stop),
            *(axial.start, shape[1] - axial.stop),
        )
        self._layers = layers

    def trim(self, x: Tensor) -> Tensor:
        """Leave out what no layer sees."""
        before, self.width = self.width, self._at_most(self._layers)
        return self.cut(x, before)

    def shed(self) -> _Sides:
        """One layer goes by; which sides lose a pixel in it (1) and which are continued (0)."""
        self._layers -= 1
        before, self.width = self.width, self._at_most(self._layers)
        top, bottom, left, right = (b - w for b, w in zip(before, self.width, strict=True))
        return top, bottom, left, right

    def cut(self, y: Tensor, had: _Sides) -> Tensor:
        """What remains of a tensor that had an earlier halo."""
        top, bottom, left, right = (h - w for h, w in zip(had, self.width, strict=True))
        return y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]

    def _at_most(self, layers: int) -> _Sides:
        top, bottom, left, right = (min(w, layers) for w in self.width)
        return top, bottom, left, right


@functools.lru_cache(maxsize=256)
def _powers(
    anisotropy: float, anisotropy_range: tuple[float, float], degree: int, device: str, dtype: torch.dtype
) -> Tensor:
    """The terms of the polynomial; kept, since a copy to the device is not allowed while a CUDA graph is recorded."""
    lowest, highest = (math.log(a) for a in anisotropy_range)
    t = (2 * math.log(anisotropy) - lowest - highest) / (highest - lowest) if highest > lowest else 0.0
    angle = math.acos(min(max(t, -1.0), 1.0))
    terms = [1.0] + [_HIGHER * math.cos(n * angle) for n in range(1, degree + 1)]
    with torch.inference_mode(False):  # to be used in training too
        return torch.tensor(terms, device=device, dtype=dtype)


class _Convolve:
    """Convolutions of one pass of the network, with replication on each side that is not shed.

    On the CPU one piece of memory serves all paddings: a new one for each would cost more than writing it.
    """

    def __init__(self, x: Tensor) -> None:
        self._scratch = torch.empty(0, dtype=x.dtype) if x.device.type == "cpu" else None

    def __call__(self, x: Tensor, weights: tuple[Tensor, Tensor], shed: _Sides) -> Tensor:
        if x.requires_grad:
            padded = _Replicate.apply(x)  # type: ignore[no-untyped-call]
        elif x.is_cuda:
            padded = _replicate_at_once(x, shed)
        elif self._scratch is None or torch.is_grad_enabled():
            padded = _replicate(x, shed)
        else:
            padded = self._pad(x, shed)
        return F.conv2d(padded, *weights)

    def _pad(self, x: Tensor, shed: _Sides) -> Tensor:
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


def _convolve_zeros(x: Tensor, weights: tuple[Tensor, Tensor], shed: _Sides) -> Tensor:
    kernel, bias = weights
    top, bottom, left, right = shed
    if x.is_cuda and x.dtype == torch.float32 and torch.version.cuda is not None:
        # F.conv2d would round to TF32 unless the whole process were told not to
        y = torch.cudnn_convolution(x, kernel, (1, 1), (1, 1), (1, 1), 1, False, False, False)
        y = y + bias[:, None, None]
    else:
        y = F.conv2d(x, kernel, bias, padding=1)
    return y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]


def _replicate(x: Tensor, shed: _Sides = (0, 0, 0, 0)) -> Tensor:
    """One pixel of replication on each side that is not shed.

    In channels_last F.pad is slower, on the CPU four times.
    """
    top, bottom, left, right = shed
    if not (left and right):
        x = torch.cat([*([] if left else [x[..., :1]]), x, *([] if right else [x[..., -1:]])], dim=3)
    if not (top and bottom):
        x = torch.cat([*([] if top else [x[:, :, :1]]), x, *([] if bottom else [x[:, :, -1:]])], dim=2)
    return x


def _replicate_at_once(x: Tensor, shed: _Sides) -> Tensor:
    """`_replicate` in one kernel: channels last, the rows and columns are two axes of three to be padded."""
    if all(shed):
        return x
    top, bottom, left, right = (1 - side for side in shed)
    padded = F.pad(x.permute(0, 2, 3, 1)[None], (0, 0, left, right, top, bottom), mode="replicate")
    return padded[0].permute(0, 3, 1, 2)


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
