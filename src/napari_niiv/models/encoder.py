"""The encoder: EDSR without upsampling, whose weights are a polynomial of the anisotropy."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from napari_niiv.models.convolution import Convolve, Halo, Weights, convolve_zeros

# scale of the higher orders: Adam's steps of all orders add up, and would make training unstable
_HIGHER = 0.25
_NOISE = 0.5  # of the term of the largest noise level, likewise
_MOST_FOLDED = 4  # anisotropies and noise levels: those of two zooms, with and without noise


_K = TypeVar("_K")
_V = TypeVar("_V")


class Encoder(nn.Module):
    """Turn low-resolution axial slices, or cells of them, into latent grids of the same size.

    A residual network of 3x3 convolutions without normalisation layers (EDSR, Lim et al. 2017, without its upsampling
    tail). Borders are continued by replication at every layer.

    The network is told the anisotropy and the noise level through its weights: each is a Chebyshev polynomial of the
    logarithm of the anisotropy, plus a term in proportion to the root of the noise level. For one anisotropy and level
    they fold into plain convolutions, so one model serves a range of factors with the capacity of several and the cost
    of one.

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
        self._lean: dict[tuple[float, float, torch.dtype], tuple[list[tuple[Tensor, Tensor]], list[Weights]]] = {}
        self._stacked: Tensor | None = None  # all weights, (terms, numbers)
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
        if keep and not isinstance(level, Tensor):
            folded = self._folded_at_once(terms)
            self._folded = {**_latest(kept), (anisotropy, level, self.dtype): folded}
            return folded
        with torch.autocast(terms.device.type, enabled=False):
            return [
                (
                    torch.tensordot(terms, kernel, 1).to(self.dtype).contiguous(memory_format=torch.channels_last),
                    (terms @ bias).to(self.dtype),
                )
                for kernel, bias in zip(self.kernels, self.biases, strict=True)
            ]

    def _folded_at_once(self, terms: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Kernel and bias of each convolution by one product: a GPU takes longer to start one than to do it."""
        stacked = self._stacked
        if stacked is None:
            kernels = [kernel.detach().permute(0, 1, 3, 4, 2).flatten(1) for kernel in self.kernels]
            self._stacked = stacked = torch.cat([*kernels, *(bias.detach() for bias in self.biases)], 1)
        with torch.autocast(terms.device.type, enabled=False):
            values = (terms @ stacked).to(self.dtype)
        sizes = [weight[0].numel() for weight in (*self.kernels, *self.biases)]
        parts = values.split(sizes)
        shapes = [kernel[0].permute(0, 2, 3, 1).shape for kernel in self.kernels]
        folded = [part.view(shape).permute(0, 3, 1, 2) for part, shape in zip(parts, shapes, strict=False)]
        return list(zip(folded, parts[len(folded) :], strict=True))

    def lean_weights(self, anisotropy: float, level: float = 0.0) -> list[Weights]:
        """Weights of the same network with fewer biases: adding one takes a GPU as long as half a convolution.

        What is the same at all positions of a tensor stays so in a convolution with replicated borders. So biases are
        left out and passed on to the next layer in which adding one costs nothing: with a rectifier, or the last.
        """
        weights = self.weights(anisotropy, level)
        kept, key = self._lean, (anisotropy, level, self.dtype)
        if key in kept and kept[key][0] is weights:
            return kept[key][1]

        def convolved(kernel: Tensor, bias: Tensor, missing: Tensor) -> Tensor:
            return bias.float() + kernel.float().sum((2, 3)) @ missing

        (head, missing), *body, (end, end_bias), (tail, tail_bias) = weights
        missing = begun = missing.float()
        lean: list[Weights] = [(head, None)]
        for (first, first_bias), (second, second_bias) in zip(body[::2], body[1::2], strict=True):
            lean += [(first, convolved(first, first_bias, missing).to(self.dtype)), (second, None)]
            missing = missing + second_bias.float()
        missing = begun + convolved(end, end_bias, missing)
        lean += [(end, None), (tail, convolved(tail, tail_bias, missing).to(self.dtype))]
        self._lean = {**_latest(kept), key: (weights, lean)}
        return lean

    def _terms(self, anisotropy: float, level: float | Tensor) -> Tensor:
        """What each order of the weights is multiplied by."""
        first = self.kernels[0]
        powers = _powers(anisotropy, self.anisotropy_range, self.degree, str(first.device), first.dtype)
        if not self.noise:
            return powers
        if not isinstance(level, Tensor):
            level = powers.new_tensor(level)
        # a root: from none to a little, the weights change most
        return torch.cat([powers, (_NOISE * (level / self.noise).sqrt()).to(powers.dtype).reshape(1)])

    def forget(self) -> None:
        """Drop the folded weights that are kept: needed after the weights were changed in place."""
        self._folded, self._lean, self._stacked = {}, {}, None
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
        convolve = convolve_zeros if self.reference else Convolve(x)
        weights: Iterator[Weights] = iter(self.weights(anisotropy, level))
        if x.is_cuda and not (self.reference or torch.is_grad_enabled() or isinstance(level, Tensor)):
            weights = iter(self.lean_weights(anisotropy, level))
        halo = Halo(x.shape[-2:], wanted, len(self.kernels))

        def layer(y: Tensor, rectify: bool = False) -> Tensor:
            if interrupt is not None:
                interrupt()
            return convolve(y, next(weights), halo.shed(), rectify)

        x = halo.trim(x)
        y = head = layer(x)
        begun = halo.width
        for _ in range(self.blocks):
            before = halo.width
            inner = layer(layer(y, rectify=True))
            y = inner.add_(halo.cut(y, before))
        y = layer(y).add_(halo.cut(head, begun))
        return y if self.reference else layer(y)


def _latest(kept: dict[_K, _V]) -> dict[_K, _V]:
    """What was kept last, with room for one more."""
    return dict(list(kept.items())[1 - _MOST_FOLDED :])


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
