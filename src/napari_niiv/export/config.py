"""How a volume is to be written: checked here, before anything is read."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from napari_niiv.reconstruction.denoise import AUTO, Denoise, denoise_setting
from napari_niiv.reconstruction.planes import Planes

Jobqueue = Literal["slurm", "pbs", "sge", "lsf", "htcondor", "moab", "oar"]


class ExportConfig(BaseModel):
    """An export; every setting has a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output_scale: float = Field(
        1.0, description="samples per isotropic voxel: 1 keeps the pixel size of the slices, 0.5 doubles it"
    )
    planes: Planes = Field(
        "both",
        description="along which slices the network runs",
        json_schema_extra={"choices": {"both": "xz and yz (best)", "xz": "xz only (faster)", "yz": "yz only (faster)"}},
    )
    project: bool = Field(
        False,
        title="keep measured averages",
        description="corrects the volume so that, made coarse again, it is what was measured",
    )
    denoise: Denoise = Field(
        AUTO,
        description="noise level that a checkpoint trained with noise is told: auto estimates it from the volume, 0 is "
        "off, a number the standard deviation over the intensity range",
    )
    dtype: Literal["float32", "uint16", "uint8"] | None = Field(
        None,
        title="Data type",
        description="type of the voxels",
        json_schema_extra={"unset": "as the source"},
    )
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None = Field(
        None, description="part to write, in voxels of the source: ((z0, z1), (y0, y1), (x0, x1))"
    )
    chunk: Literal[16, 32, 64, 128] = Field(64, description="edge of a chunk of the OME-Zarr: 16, 32, 64 or 128 voxels")
    shard: int | None = Field(
        None,
        ge=1 << 12,
        le=1 << 28,
        description="voxels of a shard at most",
        json_schema_extra={"unset": "64 million, of a small volume an eighth"},
    )
    block: tuple[int, int] | None = Field(
        None,
        description="source voxels computed at once, axial and lateral",
        json_schema_extra={"unset": "what suits the device"},
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="threads of a process", json_schema_extra={"unset": "all cores"}
    )
    overwrite: bool = Field(False, description="replace an existing output when the new one is complete")
    resume: bool = Field(False, description="go on with the interrupted export to this output")
    workers: int | None = Field(None, ge=1, le=4096, description="processes, on this computer or the job queue's")
    scheduler: str | None = Field(None, min_length=1, description="address of a running dask scheduler")
    jobqueue: Jobqueue | None = Field(None, description="batch system that starts the workers")
    dashboard: bool = Field(
        False,
        description="serve dask's web page about the workers, which asks for no password, on this computer alone; its "
        "address is told",
    )

    @field_validator("denoise", mode="before")
    @classmethod
    def _auto_or_a_level(cls, value: object) -> Denoise:
        return denoise_setting(value)

    @model_validator(mode="after")
    def _one_kind_of_cluster(self) -> ExportConfig:
        if self.scheduler is not None and (self.jobqueue is not None or self.workers is not None):
            raise ValueError("a running scheduler has workers of its own: give no workers and no job queue")
        if self.jobqueue is not None and self.workers is None:
            raise ValueError("a job queue needs the number of workers")
        if self.dashboard and self.workers is None:
            raise ValueError("a dashboard is of workers: give their number")
        return self

    @property
    def distributed(self) -> bool:
        """Whether other processes do the work."""
        return self.workers is not None or self.scheduler is not None
