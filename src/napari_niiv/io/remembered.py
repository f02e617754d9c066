"""What the user has said of files, for later sessions: voxel size, axes, empty voxels, checkpoint and sections."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_niiv import strict_json
from napari_niiv.empty_voxels import empty_words
from napari_niiv.errors import OutputError, VolumeError
from napari_niiv.file_locks import LockedError, lock
from napari_niiv.io.formats import VolumePath, first_path, is_url
from napari_niiv.io.open import open_volume
from napari_niiv.io.spacing import Spacing
from napari_niiv.io.units import unit_name
from napari_niiv.io.write import whole_file
from napari_niiv.volume import Volume

FOLDER = "NAPARI_NIIV_STATE"  # environment variable: another folder than the user's own
_FILE = "volumes.json"
_MOST = 1000  # files; those corrected least recently are forgotten
_MOST_BYTES = 64 << 20
_MOST_LETTERS = 100  # of a unit and axes
_LOCK_TIMEOUT = 10.0  # seconds
_UNSAID: dict[str, Any] = {"voxel_size": None, "unit": "pixel", "axes": None, "silent": False}


@dataclass(frozen=True)
class Correction:
    """What the user has said of a file, which holds whatever the file says itself; None where the file is right.

    Attributes
    ----------
    voxel_size : tuple of float, optional
        Along z, y, x.
    unit : str
        Of the voxel size.
    axes : str, optional
        Letters of the stored axes, as `open_volume` takes them.
    silent : bool
        The user does not want to be asked.
    """

    voxel_size: tuple[float, float, float] | None = None
    unit: str = "pixel"
    axes: str | None = None
    silent: bool = False

    @property
    def words(self) -> str:
        """What it corrects, such as "voxel size 4 × 1 × 1 µm (z × y × x)"."""
        parts = []
        if self.voxel_size is not None:
            parts.append(f"voxel size {Spacing(self.voxel_size, unit_name(self.unit)).short_words} (z × y × x)")
        if self.axes is not None:
            parts.append(f"axes {self.axes.upper()}")
        return " and ".join(parts)


def recall(path: str | os.PathLike[str], dataset: str | None = None) -> Correction | None:
    """How a file was corrected; None if it was not, or if it was written anew since."""
    return None if (entry := read_entry(path, dataset)) is None else _parsed(entry)


def remember(path: str | os.PathLike[str], correction: Correction, dataset: str | None = None) -> None:
    """Keep the correction of a file, instead of an earlier one.

    Raises
    ------
    OutputError
        If it cannot be written down.
    """
    settings = {
        "voxel_size": correction.voxel_size,
        "unit": correction.unit,
        "axes": correction.axes,
        "silent": correction.silent,
    }
    write_entry(path, dataset, settings)


def recall_checkpoint(path: str | os.PathLike[str], dataset: str | None = None) -> str | None:
    """The checkpoint, a bundled name or a path, that the user chose for a file, if any."""
    name = (read_entry(path, dataset) or {}).get("checkpoint")
    return name if isinstance(name, str) else None


def remember_checkpoint(path: str | os.PathLike[str], checkpoint: str, dataset: str | None = None) -> None:
    """Keep the checkpoint that the user chose for a file.

    Raises
    ------
    OutputError
        If it cannot be written down.
    """
    write_entry(path, dataset, {"checkpoint": checkpoint})


def recall_sections(path: str | os.PathLike[str], dataset: str | None = None) -> dict[str, Any]:
    """What the user wants done about the damaged sections of a file; empty if that was not said."""
    settings = (read_entry(path, dataset) or {}).get("sections")
    return settings if isinstance(settings, dict) else {}


def remember_sections(path: str | os.PathLike[str], sections: Mapping[str, Any], dataset: str | None = None) -> None:
    """Keep what the user wants done about the damaged sections of a file.

    Raises
    ------
    OutputError
        If it cannot be written down.
    """
    write_entry(path, dataset, {"sections": dict(sections)})


def recall_empty(path: str | os.PathLike[str], dataset: str | None = None) -> tuple[float, ...] | None:
    """The values of empty voxels that the user gave for a file, if any."""
    values = (read_entry(path, dataset) or {}).get("empty")
    numbers = [_finite(value) for value in values] if isinstance(values, list) else [None]
    return None if None in numbers else tuple(v for v in numbers if v is not None)


def remember_empty(path: str | os.PathLike[str], values: tuple[float, ...] | None, dataset: str | None = None) -> None:
    """Keep the values of empty voxels that the user gave for a file; None has them found again.

    Raises
    ------
    OutputError
        If it cannot be written down.
    """
    write_entry(path, dataset, {"empty": values})


def read_entry(path: str | os.PathLike[str], dataset: str | None) -> dict[str, Any] | None:
    """What is known of a file; None if nothing is, or if it was written anew since."""
    entry = _load().get(_key(path, dataset))
    return None if entry is None or entry.get("stamp") != _stamp(path) else entry


def write_entry(path: str | os.PathLike[str], dataset: str | None, settings: Mapping[str, Any]) -> None:
    """Add to what is known of a file, in place of what was said of the same before.

    Raises
    ------
    OutputError
        If it cannot be written down.
    """
    target, key, stamp = state_folder() / _FILE, _key(path, dataset), _stamp(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked():
            entries = _load_or_set_aside()
            before = entries.pop(key, {})  # so that it comes last
            known = before if before.get("stamp") == stamp else _UNSAID
            entries[key] = {**known, "stamp": stamp, **settings}
            newest = dict(list(entries.items())[-_MOST:])
            with whole_file(target) as partial:
                partial.write_text(json.dumps({"version": 1, "volumes": newest}, indent=1), encoding="utf-8")
    except (OSError, LockedError) as error:
        reason = getattr(error, "strerror", None) or "another process keeps it"
        raise OutputError(
            f"That cannot be remembered: {target} cannot be written ({reason}); name another folder in the "
            f"environment variable {FOLDER}."
        ) from error


def open_remembered(
    path: VolumePath,
    *,
    axes: str | None = None,
    voxel_size: tuple[float, float, float] | None = None,
    dataset: str | None = None,
    memory: int | None = None,
    empty: tuple[float, ...] | None = None,
    follow_links: bool = False,
) -> Volume:
    """As `open_volume`; what is not given is as the user has corrected it, else as the file says.

    Returns
    -------
    Volume
        Its ``provenance.remembered`` tells what of it was remembered, and ``provenance.axes_corrected`` is set if the
        axes were.

    Raises
    ------
    VolumeError
        As `open_volume`.
    """
    remembered = recall_empty(first_path(path), dataset) if empty is None else None
    empty = remembered if empty is None else empty
    as_asked = functools.partial(
        open_volume,
        path,
        axes=axes,
        voxel_size=voxel_size,
        dataset=dataset,
        memory=memory,
        empty=empty,
        follow_links=follow_links,
    )
    correction = recall(first_path(path), dataset) or Correction()
    # the size is that of axes by the names that were corrected
    renamed = axes is not None and axes.lower() != correction.axes
    used = replace(
        correction,
        axes=correction.axes if axes is None else None,
        voxel_size=correction.voxel_size if voxel_size is None and not renamed else None,
    )
    words = " and ".join(part for part in (used.words, empty_phrase(remembered)) if part)
    if words:
        try:
            volume = as_asked(
                axes=axes or used.axes,
                voxel_size=voxel_size or used.voxel_size,
                unit=None if voxel_size is not None else used.unit,
            )
        except VolumeError:
            # a folder or URL may be something else by now; the file may say why not
            return as_asked()
        provenance = replace(
            volume.provenance,
            remembered=f"{words} as you have set it for this file",
            axes_corrected=used.axes is not None,
        )
        return replace(volume, provenance=provenance)
    return as_asked()


def empty_phrase(values: tuple[float, ...] | None) -> str:
    """What is remembered of empty voxels, such as "empty voxels 0"; nothing if nothing is."""
    return "" if values is None else f"empty voxels {empty_words(values)}"


def state_folder() -> Path:
    """The folder of what this package remembers, where the system has such things."""
    if named := os.environ.get(FOLDER):
        return Path(named).expanduser()
    home = Path.home()
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state")
    return base / "napari-niiv"


def _key(path: str | os.PathLike[str], dataset: str | None) -> str:
    text = str(path)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    address = text.rstrip("/") if is_url(text) else str(Path(text).expanduser().absolute())
    return f"{address}\n{dataset.strip('/')}" if dataset else address


def _stamp(path: str | os.PathLike[str]) -> list[int] | None:
    """Size and time of a file, which tell it from another of its name; None of folders and URLs, whose name counts."""
    if is_url(path) and not str(path).startswith("file://"):
        return None
    local = Path(str(path).removeprefix("file://")).expanduser()
    try:
        state = local.stat()
    except OSError:
        return None
    return None if local.is_dir() else [state.st_size, state.st_mtime_ns]


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Keep other processes from undoing what is written here, where the file system has locks."""
    held = lock(state_folder() / f"{_FILE}.lock", timeout=_LOCK_TIMEOUT)
    try:
        yield
    finally:
        if held is not None:
            held.release()


def _load() -> dict[str, dict[str, Any]]:
    """All that is remembered by file, as JSON has it; nothing where the store cannot be read, or is damaged."""
    try:
        return _stored()
    except (OSError, ValueError):
        return {}


def _load_or_set_aside() -> dict[str, dict[str, Any]]:
    """The same, for one who has the lock: a store that is damaged is kept under another name.

    Raises
    ------
    OSError
        If the store is there and cannot be read: it would be lost.
    """
    path = state_folder() / _FILE
    try:
        return _stored()
    except ValueError:
        with contextlib.suppress(OSError):  # where it cannot be moved, it is written over
            os.replace(path, path.with_name(f"{_FILE}.damaged"))
        return {}


def _stored() -> dict[str, dict[str, Any]]:
    """What is in the store; ValueError if it is damaged."""
    path = state_folder() / _FILE
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is larger than it can be")
        stored = strict_json.parse(path.read_bytes(), finite=False)
    except FileNotFoundError:
        return {}
    entries = stored.get("volumes") if isinstance(stored, dict) else None
    if not isinstance(entries, dict):
        raise ValueError("it holds something else")
    return {str(key): entry for key, entry in entries.items() if isinstance(entry, dict)}


def _parsed(entry: Mapping[str, Any]) -> Correction | None:
    """The correction that an entry of the store holds; None if it makes no sense."""
    size, unit, axes = entry.get("voxel_size"), entry.get("unit"), entry.get("axes")
    if size is not None:
        numbers = [_finite(v) for v in size] if isinstance(size, list) and len(size) == 3 else [None]
        if any(v is None or v <= 0 for v in numbers):
            return None
        size = tuple(numbers)
    if not (isinstance(unit, str) and isinstance(axes, str | None)) or len(unit) + len(axes or "") > _MOST_LETTERS:
        return None
    return Correction(size, unit, axes, entry.get("silent") is True)


def _finite(value: Any) -> float | None:
    """A finite number that JSON held; None if it is none."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:  # of an integer of many digits
        return None
    return number if math.isfinite(number) else None
