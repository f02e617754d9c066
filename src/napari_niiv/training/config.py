"""What a training is asked to do: checked here, before anything is read.

The command line and the form of the plugin are built from these fields; nothing here imports torch.
"""

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

    output: Path = Field(title="Save to", description="checkpoint to write (.safetensors)")
    init: str | None = Field(
        None,
        title="Start from",
        description="bundled name or checkpoint to go on from; from nothing takes much longer to become good",
        json_schema_extra={"unset": "nothing"},
    )
    minutes: float | None = Field(
        None,
        gt=0,
        description="the training ends after this many minutes; one that is resumed, after so many in all",
        json_schema_extra={"unset": "no limit"},
    )
    steps: int | None = Field(
        None,
        ge=1,
        description="the training also ends after this many steps",
        json_schema_extra={"unset": "no limit"},
    )
    degradation: Degradation = Field(
        Average(),
        title="Blur along z",
        description="what the coarse z step did to the data, which the model learns to undo",
    )
    loss: Literal["mae", "dists"] = Field(
        "mae",
        description="MAE is fast; DISTS, the niiv paper's, looks crisper and needs the weights of VGG16",
        json_schema_extra={"choices": {"mae": "mean error (MAE)", "dists": "perceptual (DISTS + 30·MAE)"}},
    )
    vgg_weights: Path | None = Field(
        None,
        title="VGG16",
        description="file of VGG16's weights, for DISTS",
        json_schema_extra={"unset": "torch's own copy"},
    )
    architecture: Architecture | None = Field(None, description="of a model from nothing; a light one by default")
    teacher: Architecture | None = Field(
        None,
        description="network of the first stage; by default the model itself, blind to neighbouring slices",
    )
    anisotropies: tuple[float, ...] = Field((), description="anisotropies to learn, if not the volumes' own")
    teachers: tuple[str, ...] = Field(
        (), description="checkpoints that restore the volumes of the second stage, in place of a first one"
    )
    first_stage: float = Field(0.25, ge=0, le=1, description="part of the budget for the first stage")
    lateral: int = Field(128, ge=16, le=1024, title="Patch size", description="pixels across a patch")
    axial: int = Field(16, ge=2, le=256, description="patch size along the degraded axis, axial voxels")
    batch: int | None = Field(None, ge=1, le=4096, description="patches in a step; by default what suits the device")
    learning_rate: float | None = Field(
        None, gt=0, le=1, description="at its highest, such as 4e-4; by default what suits the model"
    )
    clip: float | None = Field(None, gt=0, description="largest norm of the gradient; by default what suits the loss")
    contrast: float = Field(
        0.15, ge=0, le=1, description="how much the contrast of patches is varied: deviation of its slope at 0"
    )
    plane_noise: bool = Field(
        True,
        description="give the patches the noise that the averaging over the z step took from them, measured in the "
        "volumes; not in trainings from nothing without CUDA",
    )
    learn_noise: bool = Field(
        True,
        description="whether weights that tell what a noise level changes, at all factors alike, are learnt further",
    )
    averaging: float = Field(0.999, ge=0, lt=1, description="decay of the average of the weights")
    validations: int = Field(20, ge=1, le=1000, description="how often the model is tried on held-out slices")
    memory: float = Field(1.0, gt=0, description="voxels held in memory at once, GB")
    seed: int = Field(0, ge=0, lt=1 << 32, description="of all random choices")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    overwrite: bool = Field(False, description="replace an existing checkpoint")
    resume: bool = Field(
        False,
        title="Resume the interrupted training",
        description="go on with the interrupted training of this output",
    )

    @model_validator(mode="before")
    @classmethod
    def _budget(cls, values: dict[str, object]) -> dict[str, object]:
        if values.get("minutes") is None and values.get("steps") is None:
            return {**values, "minutes": DEFAULT_MINUTES}
        return values


class PsfFile(BaseModel):
    """The file that a measured degradation is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    psf: Path = Field(title="PSF file", description="TIFF of a single bead, z × y × x")
    psf_spacing: float | None = Field(
        None,
        title="PSF z step",
        description="distance of the bead's slices in the volume's unit, if its file lacks it",
        json_schema_extra={"unset": "from the file"},
    )
