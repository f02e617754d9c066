"""The card of a checkpoint: what it says of itself."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from napari_niiv.degradation import Average, Degradation
from napari_niiv.models.architecture import Architecture

FORMAT_VERSION = 1


class VolumeCredit(BaseModel):
    """A volume that a model was trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    licence: str = ""
    attribution: str = ""


class Card(BaseModel):
    """What a checkpoint says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    name: str = "model"
    description: str = ""
    architecture: Architecture
    degradation: Degradation = Average()
    loss: str = "mae"
    normalization: str = "percentiles 0.1 and 99.9 of the volume to 0 and 1"
    training_volumes: tuple[VolumeCredit, ...] = ()
    licence: str = ""
    attribution: str = ""
    metrics: dict[str, float] = Field(default_factory=dict)
    software_version: str = ""
