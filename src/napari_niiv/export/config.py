"""How a volume is to be written: checked here, before anything is read."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_niiv.reconstruction.planes import Planes

Bounds = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
Jobqueue = Literal["slurm", "pbs", "sge", "lsf", "htcondor", "moab", "oar"]


class ExportConfig(BaseModel):
    """An export; every setting has a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output_scale: float = Field(1.0, description="samples per isotropic voxel, above 0 up to 16")
    planes: Planes = Field("both", description="slices along which the network runs; both is best")
    project: bool = Field(False, description="correct what contradicts the measurement")
    dtype: Literal["float32", "uint8", "uint16"] | None = Field(
        None, description="type of the output's voxels; that of the source by default"
    )
    box: Bounds | None = Field(
        None, description="part to write, voxels of the source: ((z0, z1), (y0, y1), (x0, x1))"
    )
    chunk: Literal[16, 32, 64, 128] = Field(64, description="edge of a chunk of the OME-Zarr, voxels")
    shard: int = Field(1 << 26, ge=1 << 12, le=1 << 28, description="voxels of a shard at most")
    block: tuple[int, int] | None = Field(
        None,
        description="source voxels computed at once, axial and lateral; by default what suits the device",
    )
    threads: int | None = Field(None, ge=1, le=1024, description="threads of a process; all cores by default")
    overwrite: bool = Field(False, description="replace an existing output, once the new one is complete")
    resume: bool = Field(False, description="go on with the interrupted export to this output")
    workers: int | None = Field(None, ge=1, le=4096, description="processes, here or asked of the job queue")
    scheduler: str | None = Field(None, min_length=1, description="address of a running dask scheduler")
    jobqueue: Jobqueue | None = Field(None, description="batch system that starts the workers")

    @model_validator(mode="after")
    def _one_kind_of_cluster(self) -> ExportConfig:
        if self.scheduler is not None and (self.jobqueue is not None or self.workers is not None):
            raise ValueError("a running scheduler has workers of its own: give no workers and no job queue")
        if self.jobqueue is not None and self.workers is None:
            raise ValueError("a job queue needs the number of workers")
        return self

    @property
    def distributed(self) -> bool:
        """Whether other processes do the work."""
        return self.workers is not None or self.scheduler is not None
