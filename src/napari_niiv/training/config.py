"""What a training is asked to do: checked here, before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_niiv.degradation import Average, Degradation
from napari_niiv.models.architecture import Architecture

DEFAULT_MINUTES = 5.0


class TrainingConfig(BaseModel):
    """A training; only `output` must be given."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    output: Path = Field(description="checkpoint to write (.safetensors)")
    init: str | None = Field(None, description="bundled name or checkpoint to go on from; nothing by default")
    minutes: float | None = Field(None, gt=0, description="budget of time; 5 when no budget is given")
    steps: int | None = Field(None, ge=1, description="budget of optimisation steps; whichever ends first")
    degradation: Degradation = Field(Average(), description="what the coarse z step did to the data")
    loss: Literal["mae", "dists"] = Field("mae", description="MAE, or the paper's DISTS + 30·MAE")
    vgg_weights: Path | None = Field(None, description="file of VGG16's weights, for DISTS")
    architecture: Architecture | None = Field(
        None, description="of a model from nothing; a light one by default"
    )
    teacher: Architecture | None = Field(
        None,
        description="network of the first stage; by default the model itself, blind to neighbouring slices",
    )
    anisotropies: tuple[float, ...] = Field(
        (), description="factors to learn; by default those of the volumes"
    )
    first_stage: float = Field(0.4, ge=0, le=1, description="part of the budget for the first stage")
    lateral: int = Field(128, ge=16, le=1024, description="patch size across, pixels")
    axial: int = Field(16, ge=2, le=256, description="patch size along the degraded axis, axial voxels")
    batch: int | None = Field(
        None, ge=1, le=4096, description="patches per step; by default what suits the device"
    )
    learning_rate: float | None = Field(
        None, gt=0, le=1, description="at its highest; by default what suits the model"
    )
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    averaging: float = Field(0.999, ge=0, lt=1, description="decay of the average of the weights")
    validations: int = Field(20, ge=1, le=1000, description="how often the model is tried on held-out slices")
    memory: float = Field(1.0, gt=0, description="voxels held in memory at once, GB")
    seed: int = Field(0, ge=0, lt=1 << 32, description="of all random choices")
    device: str = "auto"
    overwrite: bool = Field(False, description="replace an existing output")
    resume: bool = Field(False, description="go on with the interrupted training of this output")

    @model_validator(mode="before")
    @classmethod
    def _budget(cls, values: dict[str, object]) -> dict[str, object]:
        if values.get("minutes") is None and values.get("steps") is None:
            return {**values, "minutes": DEFAULT_MINUTES}
        return values
