"""What a training is asked to do."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class FitConfig(BaseModel):
    """One stage of training: patches, budget and optimiser."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int | None = Field(None, ge=1, description="budget in steps")
    minutes: float | None = Field(None, gt=0, description="budget in minutes; whichever ends first")
    lateral: int = Field(128, ge=16, description="patch size across, pixels")
    axial: int = Field(20, ge=2, description="patch size along the degraded axis, coarse voxels")
    batch: int = Field(32, ge=1)
    learning_rate: float = Field(4e-4, gt=0)
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    averaging: float = Field(0.999, ge=0, lt=1, description="decay of the average of the weights")
    seed: int = 0
