"""The work as a file that other processes load: voxels by the name of their file, the model as it is on a CPU."""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import cloudpickle
import numpy as np
import torch

from napari_niiv.device import choose_device
from napari_niiv.errors import OutputError
from napari_niiv.export.engines.gpu import claim_gpu
from napari_niiv.export.fingerprint import source_path
from napari_niiv.export.work import Work
from napari_niiv.io.mapped_arrays import mapped
from napari_niiv.io.stored_volume import first_line
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.batch_budget import BatchBudget
from napari_niiv.sections.repair import as_measured, repaired
from napari_niiv.volume import Volume


@dataclass(frozen=True)
class Payload:
    """Where the work lies, and how it is to be done. When the file goes, workers give up.

    Attributes
    ----------
    path : str
        The file, in a folder that export and workers see.
    token : str
        Differs from run to run, so that a worker does not keep an earlier work.
    device : str
        "auto", or "cpu" if the user chose that.
    threads : int or None
        Of a worker.
    versions : tuple
        Names and versions of the packages that must agree.
    shares_terminal : bool
        Whether the workers print to the terminal of the export.
    """

    path: str
    token: str
    device: str
    threads: int | None
    versions: tuple[tuple[str, str], ...]
    shares_terminal: bool

    @classmethod
    def of(
        cls,
        work: Work,
        folder: Path,
        threads: int | None,
        versions: dict[str, str],
        *,
        shares_terminal: bool,
    ) -> Payload:
        """Write the work into a folder that the workers see."""
        model = work.batch_budget.model
        # the client may be a computer without a GPU: then each worker takes what it has
        device = "cpu" if model.device.type == "cpu" != choose_device("auto").type else "auto"
        plain = copy.deepcopy(model).place("cpu")
        volume = _portable(work.volume, folder)
        try:
            pickled = cloudpickle.dumps(replace(work, volume=volume, batch_budget=BatchBudget(plain)))
        except Exception as error:  # of whatever the volume's array is made of
            raise OutputError(
                f"{volume.name!r} cannot be sent to other processes ({first_line(error)}); open it from its file, or "
                "export without workers."
            ) from error
        token = uuid.uuid4().hex
        path = folder / f"{token}.pickle"
        path.write_bytes(pickled)
        return cls(str(path), token, device, threads, tuple(versions.items()), shares_terminal)


def unpack(payload: Payload, number: int) -> Work:
    """The work of a payload, its model on the device of this worker.

    Parameters
    ----------
    payload : Payload
    number : int
        Of the worker; chooses a GPU where all are claimed.

    Raises
    ------
    OutputError
        If the folder, or the source, is not seen from this computer.
    """
    path = Path(payload.path)
    try:
        pickled = path.read_bytes()
    except FileNotFoundError as error:
        raise OutputError(
            f"The workers cannot see {path.parent.parent.parent}; write to a folder that all computers share."
        ) from error
    try:
        work: Work = cloudpickle.loads(pickled)  # arrays that are mapped look for their file
        source = source_path(work.volume)
        if source is not None:
            source.stat()
    except FileNotFoundError as error:
        raise OutputError(
            f"The workers cannot see {error.filename}; put it into a folder that all computers share."
        ) from error
    chosen = choose_device(payload.device)
    if chosen.type == "cuda":
        chosen = claim_gpu(number)
        torch.cuda.set_device(chosen)
    model: Niiv = work.batch_budget.model.place(chosen)
    return replace(work, batch_budget=BatchBudget(model))


def _portable(volume: Volume, folder: Path) -> Volume:
    """The volume with paths that hold anywhere; what is in memory goes into a file, once for all workers."""
    repairs, volume = volume.repairs, as_measured(volume)
    array = volume.array
    if isinstance(array, np.ndarray):
        if not isinstance(array, np.memmap) or array.filename is None:
            np.save(folder / "source.npy", array)
            array = np.load(folder / "source.npy", mmap_mode="r")
        array = mapped(array)
    provenance = volume.provenance
    if (path := source_path(volume)) is not None:
        provenance = replace(provenance, path=str(path.absolute()))
    plain = replace(volume, array=array, pyramid=(), provenance=provenance)
    return plain if repairs is None else repaired(plain, repairs)
