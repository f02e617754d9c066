"""What a network is made of."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

# numbers of a network: ten times those of the largest that is bundled, half a gigabyte
_MOST_PARAMETERS = 1 << 27
# anisotropy, less 1, from which on all noise levels are told apart
_ALL_LEVELS = 7


class Architecture(BaseModel):
    """What a network is made of; stored in the checkpoint's card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decoder: Literal["subvoxel", "implicit", "reference"] = Field(
        "subvoxel", description="reference: encoder and decoder as in the code of the niiv paper"
    )
    context: int = Field(3, ge=0, le=16, description="neighbouring slices on each side (k); 0 is the paper's")
    features: int = Field(32, ge=1, le=1024)
    blocks: int = Field(8, ge=1, le=256)
    samples: int = Field(16, ge=1, le=256, description="samples per voxel of the subvoxel decoder (K)")
    latent: int = Field(64, ge=1, le=1024, description="length of a latent code of the implicit decoder")
    mlp_width: int = Field(256, ge=1, le=4096)
    mlp_layers: int = Field(5, ge=2, le=32)
    bands: int = Field(2, ge=0, le=16, description="octaves of the implicit decoder's frequency encoding")
    lateral: int = Field(1, ge=1, le=16, description="lateral pixels of a cell, which share a latent code (r)")
    slices: int = Field(1, ge=1, le=16, description="slices of a cell, which are restored at once (s)")
    noise: float = Field(
        0.0, ge=0, le=1, description="largest noise level that it can be told of, share of the range; 0: none"
    )
    anisotropy_range: tuple[float, float] = (1.5, 10.0)
    degree: int = Field(3, ge=0, le=8, description="of the weights as a polynomial of log anisotropy; 0: not told")

    @field_validator("anisotropy_range")
    @classmethod
    def _rising(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] < math.inf:
            raise ValueError("the range must rise from a positive factor")
        return value

    @property
    def slices_seen(self) -> int:
        """Slices that a cell is restored from: its own and k on either side."""
        return self.slices + 2 * self.context

    @classmethod
    def light(cls, anisotropy_range: tuple[float, float], degree: int) -> Architecture:
        """Of a network that is fast on any computer, and is told the noise: what is trained unless told otherwise."""
        return cls(
            features=64,
            blocks=5,
            samples=8,
            lateral=4,
            slices=4,
            noise=0.1,
            anisotropy_range=anisotropy_range,
            degree=degree,
        )

    @property
    def parameters(self) -> int:
        """How many numbers the weights of the network are."""
        cells = self.slices * self.lateral
        latent = {"subvoxel": self.samples, "implicit": self.latent, "reference": self.features}[self.decoder]
        inner = self.features * (9 * self.features + 1)
        encoder = self.features * (9 * self.slices_seen * self.lateral + 1) + (2 * self.blocks + 1) * inner
        if self.decoder != "reference":
            encoder += latent * cells * (9 * self.features + 1)
        inputs = latent + (2 * self.bands + 2 if self.decoder == "implicit" else 4 * self.bands + 1)
        hidden = (self.mlp_layers - 2) * self.mlp_width * (self.mlp_width + 1)
        mlp = (inputs + 1) * self.mlp_width + hidden + self.mlp_width + 1
        terms = self.degree + 1 + (self.noise > 0)
        return terms * encoder + (0 if self.decoder == "subvoxel" else mlp)

    def highest_level(self, anisotropy: float) -> float:
        """The highest noise level that is told apart at an anisotropy; those above count as it.

        The less there is to infer, the more of it noise would hide from a training: full from 8x on, in proportion to
        the anisotropy less 1 below.
        """
        return self.noise * min(1.0, max(anisotropy - 1, 0.0) / _ALL_LEVELS)

    def blind(self) -> Architecture:
        """The same network for single slices, without neighbours."""
        return self.model_copy(update={"context": 0, "slices": 1})

    @model_validator(mode="after")
    def _cells_of_samples(self) -> Architecture:
        if self.decoder != "subvoxel" and (self.lateral, self.slices, self.noise) != (1, 1, 0):
            raise ValueError("only the subvoxel decoder has cells of several pixels, or is told the noise")
        return self

    @model_validator(mode="after")
    def _small_enough(self) -> Architecture:
        if self.parameters > _MOST_PARAMETERS:
            millions, most = self.parameters >> 20, _MOST_PARAMETERS >> 20
            raise ValueError(f"the network has {millions} million weights, and {most} million are the most")
        return self
