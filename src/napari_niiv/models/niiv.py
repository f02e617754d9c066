"""The model: encoder and decoder behind two calls, `encode` once and `decode` at any resolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from napari_niiv.device import choose_device, encoder_dtype
from napari_niiv.geometry import Sampling
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.decoders import Frame, ImplicitDecoder, ReferenceDecoder, SubvoxelDecoder
from napari_niiv.models.encoder import Encoder
from napari_niiv.resampling import resample

if TYPE_CHECKING:
    from napari_niiv.models.card import Card


class Niiv(nn.Module):
    """Neural implicit isotropic volume reconstruction (Troidl et al.) of axial slices.

    Parameters
    ----------
    architecture : Architecture
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.card: Card | None = None  # of the checkpoint that it was loaded from
        self.decoder: SubvoxelDecoder | ImplicitDecoder | ReferenceDecoder
        if a.decoder == "subvoxel":
            self.decoder = SubvoxelDecoder(a.samples)
        elif a.decoder == "implicit":
            self.decoder = ImplicitDecoder(a.latent, a.mlp_width, a.mlp_layers, a.bands)
        else:
            self.decoder = ReferenceDecoder(a.features, a.mlp_width, a.mlp_layers, a.bands)
        self.encoder = Encoder(
            (2 * a.context + a.slices) * a.lateral,
            a.features,
            a.blocks,
            self.decoder.latent_channels * a.slices * a.lateral,
            a.anisotropy_range,
            a.degree,
            a.noise,
            reference=a.decoder == "reference",
        )

    @property
    def context(self) -> int:
        """Neighbouring slices on each side of a cell that the encoder sees (k)."""
        return self.architecture.context

    @property
    def cell(self) -> tuple[int, int]:
        """Slices and lateral pixels (s, r) that one latent code of the encoder serves, by one axial voxel."""
        return self.architecture.slices, self.architecture.lateral

    @property
    def knows_noise(self) -> bool:
        """Whether it can be told a noise level."""
        return self.architecture.noise > 0

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return cast(torch.device, self.encoder.kernels[0].device)

    def place(self, device: str | torch.device) -> Niiv:
        """Move to a device for use (not training), in the precision that suits it; returns itself.

        Raises
        ------
        DeviceError
            If the device is absent.
        """
        chosen = device if isinstance(device, torch.device) else choose_device(device)
        self.eval().requires_grad_(False).to(chosen)
        # an imported model is to answer as its own code does
        self.encoder.precision = torch.float32 if self.encoder.reference else encoder_dtype(chosen)
        return self

    def widened(self, context: int) -> Niiv:
        """A copy of a model without context that is given neighbouring slices, and does not look at them yet.

        Parameters
        ----------
        context : int
            k of the copy.
        """
        if self.context:
            raise ValueError("the model has context already")
        wide = Niiv(self.architecture.model_copy(update={"context": context})).to(self.device)
        state = self.state_dict()
        head = next(iter(key for key in state if key.startswith("encoder.kernels.0")))
        kernel = state[head]
        before, own = context * self.architecture.lateral, kernel.shape[2]
        state[head] = kernel.new_zeros(*kernel.shape[:2], own + 2 * before, *kernel.shape[3:])
        state[head][:, :, before : before + own] = kernel
        wide.load_state_dict(state)
        return wide.train(self.training)

    @property
    def halo(self) -> int:
        """Axial voxels above and below a tile that its latent grid depends on."""
        return self.encoder.receptive_radius

    @property
    def lateral_halo(self) -> int:
        """Lateral pixels beside a tile that its latent grid depends on: whole cells."""
        return self.encoder.receptive_radius * self.architecture.lateral

    def encode(
        self,
        slices: Tensor,
        anisotropy: float,
        interrupt: Callable[[], None] | None = None,
        wanted: tuple[slice, slice] | None = None,
        level: float | Tensor = 0.0,
    ) -> Tensor:
        """Latent grids of axial slices, cell by cell.

        Parameters
        ----------
        slices : Tensor, shape (B, s + 2k, lateral, axial)
            Normalised intensities of the s slices of a cell and of its k neighbours on both sides; `lateral` is whole
            cells.
        anisotropy : float
            Axial over lateral voxel size; values outside the range of training are taken as its nearest end.
        interrupt : callable, optional
            Called often while encoding; may raise to give up.
        wanted : (slice, slice), optional
            The part, lateral (whole cells) and axial, whose codes are wanted; all by default. The rest is halo.
        level : float or Tensor of one number
            Noise level, the standard deviation as a share of the normalised range. Of no effect on a model that is not
            told the noise.

        Returns
        -------
        Tensor, shape (B · s, C, lateral, axial)
            Of the part that is wanted, slice by slice.
        """
        s, r = self.cell
        pixels = slices.unflatten(2, (-1, r)).permute(0, 2, 4, 1, 3)
        # one copy, channels last, in the encoder's precision; where that is the same `to` copies nothing
        pixels = pixels.to(self.encoder.dtype, memory_format=torch.contiguous_format).contiguous()
        cells = pixels.flatten(3).permute(0, 3, 1, 2)
        if wanted is not None:
            wanted = (slice(wanted[0].start // r, wanted[0].stop // r), wanted[1])
        level = self._told(level, anisotropy)
        latent = cast(Tensor, self.encoder(cells, anisotropy, interrupt, wanted, level))
        if s == r == 1:
            return latent
        b, _, lateral, axial = latent.shape
        samples = self.decoder.latent_channels
        # the samples of a voxel stay beside each other: the decoder reads them in this order
        split = latent.permute(0, 2, 3, 1).reshape(b, lateral, axial, s, r, samples).permute(0, 3, 1, 4, 2, 5)
        return split.reshape(b * s, lateral * r, axial, samples).permute(0, 3, 1, 2)

    def _told(self, level: float | Tensor, anisotropy: float) -> float | Tensor:
        """The noise level that the weights are folded for."""
        if not self.knows_noise:
            return 0.0
        highest = self.architecture.highest_level(anisotropy)
        return level.clamp_max(highest) if isinstance(level, Tensor) else min(level, highest)

    def decode(
        self, latent: Tensor, centre: Tensor, axial: Sampling, anisotropy: float, frame: Frame | None = None
    ) -> Tensor:
        """Intensities at any positions along the axial axis.

        Parameters
        ----------
        latent : Tensor, shape (B, C, lateral, axial)
        centre : Tensor, shape (B, lateral, axial)
            The slices themselves, normalised.
        axial : Sampling
            n positions in voxels.
        anisotropy : float
            As given to `encode`.
        frame : Frame, optional
            Where the slices lie in whole ones; by default they are whole. Only the reference decoder depends on it.

        Returns
        -------
        Tensor, shape (B, lateral, n), float32
            Linear interpolation plus the decoder's residual, or what the reference decoder says, in 0 … 1.
        """
        with torch.autocast(centre.device.type, enabled=False):  # intensities need more digits
            linear = resample(centre.float(), axial)
            if isinstance(self.decoder, ReferenceDecoder):
                piece = frame or Frame.whole(*latent.shape[-2:])
                return cast(Tensor, self.decoder(latent, linear, axial, piece))
            return cast(Tensor, self.decoder(latent, linear, axial, 1 / anisotropy))

    def forward(self, slices: Tensor, anisotropy: float, axial: Sampling, level: float | Tensor = 0.0) -> Tensor:
        """`encode`, then `decode`: shape (B, s + 2k, lateral, axial) to (B · s, lateral, n)."""
        latent = self.encode(slices, anisotropy, level=level)
        first = self.context
        centres = slices[:, first : first + self.architecture.slices].flatten(0, 1)
        return self.decode(latent, centres, axial, anisotropy)


def shapes_of(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Of each tensor of a network its name and shape; the network itself is not made, and takes no memory."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in Niiv(architecture).state_dict().items()}
