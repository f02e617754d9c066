"""How the user looks at a file, for later sessions: the checkpoint fitted to it, noise level and output scale."""

from __future__ import annotations

import datetime
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_niiv.errors import OutputError, reason_of
from napari_niiv.io.remembered import read_entry, recall_checkpoint, write_entry

_MOST_BYTES = 4 << 30  # of a checkpoint: ours have some million
_BLOCK = 1 << 20


class Fit(BaseModel):
    """A checkpoint that was trained on a file.

    Attributes
    ----------
    checkpoint : str
        Its absolute path.
    day : datetime.date
        When it was trained.
    checksum : str
        SHA-256 of the checkpoint's file, in hexadecimal digits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str = Field(min_length=1, max_length=4096)
    day: datetime.date
    checksum: str = Field(pattern=r"^[0-9a-f]{64}$")

    def problem(self) -> str:
        """Why the checkpoint is not the one that was fitted any more, as a sentence; empty if it is. Reads its file."""
        path = Path(self.checkpoint)
        try:
            same = _checksum(path) == self.checksum
        except FileNotFoundError:
            why = "is gone"
        except (OSError, ValueError) as error:  # the latter of a path that cannot be
            why = f"cannot be read ({reason_of(error)})"
        else:
            why = "" if same else "was changed since"
        return f"The checkpoint fitted to this volume, {path.name}, {why}; it is forgotten." if why else ""


class FileSettings(BaseModel):
    """What was last set for a file; None of what was not.

    Attributes
    ----------
    fit : Fit or None
        The checkpoint that was trained on it, unless another was chosen for it later.
    denoise : float, "auto" or None
        The noise level that a model is told.
    finest : float or None
        The finest pixel of its pictures, in lateral voxels; 0 follows the zoom.
    project : bool or None
        Whether measured averages are kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit: Fit | None = None
    denoise: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | Literal["auto"] | None = None
    finest: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    project: bool | None = None


def recall_settings(path: str | os.PathLike[str], dataset: str | None = None) -> FileSettings:
    """What was last set for a file; nothing if it was written anew since. What makes no sense was not set."""
    entry = read_entry(path, dataset) or {}
    settings = FileSettings()
    for name in FileSettings.model_fields:
        settings = settings.model_copy(update=_sensible(entry, name))
    chosen = recall_checkpoint(path, dataset)
    another = settings.fit is not None and chosen not in (None, settings.fit.checkpoint)
    return settings.model_copy(update={"fit": None}) if another else settings


def remember_settings(path: str | os.PathLike[str], changes: Mapping[str, Any], dataset: str | None = None) -> None:
    """Keep what was set for a file, in place of what was set of the same before.

    Parameters
    ----------
    path : path-like
    changes : mapping
        Of fields of `FileSettings`, or "checkpoint": a bundled name or a path.
    dataset : str, optional

    Raises
    ------
    OutputError
        If it cannot be written down.
    """
    checked = FileSettings(**{k: v for k, v in changes.items() if k != "checkpoint"})
    plain = checked.model_dump(mode="json", exclude_unset=True)
    write_entry(path, dataset, plain | {k: v for k, v in changes.items() if k == "checkpoint"})


def remember_fit(path: str | os.PathLike[str], checkpoint: Path, dataset: str | None = None) -> None:
    """Keep that a checkpoint was trained on a file, today; it is the one chosen for it.

    Raises
    ------
    OutputError
        If it cannot be written down, or the checkpoint cannot be read.
    """
    whole = str(checkpoint.expanduser().absolute())
    try:
        checksum = _checksum(Path(whole))
    except OSError as error:
        raise OutputError(
            f"{checkpoint.name} cannot be remembered for this volume: it cannot be read ({error.strerror or error})."
        ) from error
    fit = Fit(checkpoint=whole, day=datetime.date.today(), checksum=checksum)
    remember_settings(path, {"fit": fit, "checkpoint": whole}, dataset)


def forget_fit(path: str | os.PathLike[str], dataset: str | None = None) -> None:
    """Have no checkpoint fitted to a file, nor chosen for it.

    Raises
    ------
    OutputError
        If it cannot be written down.
    """
    remember_settings(path, {"fit": None, "checkpoint": None}, dataset)


def _sensible(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A setting of an entry of the store; nothing if it makes no sense."""
    try:
        return {name: getattr(FileSettings(**{name: entry.get(name)}), name)}
    except ValidationError:
        return {}


def _checksum(path: Path) -> str:
    """SHA-256 of a plain file; OSError of anything else."""
    state = path.stat()
    if not stat.S_ISREG(state.st_mode) or state.st_size > _MOST_BYTES:
        raise OSError("it is no checkpoint")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
