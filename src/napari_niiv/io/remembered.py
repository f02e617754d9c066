"""What the user has said of files whose voxel size or axes are missing or wrong, kept from one session to the next."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_niiv.errors import OutputError, VolumeError
from napari_niiv.io.formats import is_url
from napari_niiv.io.open import open_volume
from napari_niiv.io.write import whole_file
from napari_niiv.volume import Volume

FOLDER = "NAPARI_NIIV_STATE"  # environment variable: another folder than the user's own
_FILE = "volumes.json"
_MOST = 1000  # files; those said least recently are forgotten
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Correction:
    """What holds for a file, whatever it says itself; None where the file is right.

    Attributes
    ----------
    voxel_size : tuple of float, optional
        Along z, y, x.
    unit : str
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
        """What it corrects, such as "voxel size 4 × 1 × 1 micrometer (z × y × x)"."""
        said = []
        if self.voxel_size is not None:
            said.append(
                f"voxel size {' × '.join(f'{v:.4g}' for v in self.voxel_size)} {self.unit} (z × y × x)"
            )
        if self.axes is not None:
            said.append(f"axes {self.axes.upper()}")
        return " and ".join(said)


def recall(path: str | os.PathLike[str], dataset: str | None = None) -> Correction | None:
    """What was said of a file; None if nothing was, or if the file was written anew since."""
    with _LOCK:
        said = _load().get(_key(path, dataset))
    if said is None or said.get("stamp") != _stamp(path):
        return None
    return _parsed(said)


def remember(path: str | os.PathLike[str], correction: Correction, dataset: str | None = None) -> None:
    """Keep what was said of a file, instead of what was said before.

    Raises
    ------
    OutputError
        If it cannot be written down.
    """
    said = {
        "stamp": _stamp(path),
        "voxel_size": correction.voxel_size,
        "unit": correction.unit,
        "axes": correction.axes,
        "silent": correction.silent,
    }
    target = state_folder() / _FILE
    with _LOCK:
        held = _load()
        held.pop(_key(path, dataset), None)  # so that it comes last
        held[_key(path, dataset)] = said
        kept = dict(list(held.items())[-_MOST:])
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(target) as partial:
                partial.write_text(json.dumps({"version": 1, "volumes": kept}, indent=1), encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"That cannot be remembered: {target} cannot be written ({error.strerror or error}); name another "
                f"folder in the environment variable {FOLDER}."
            ) from error


def open_remembered(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    voxel_size: tuple[float, float, float] | None = None,
    unit: str | None = None,
    dataset: str | None = None,
    memory: int | None = None,
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
    said = recall(path, dataset) or Correction()
    if axes is not None and said.axes != axes.lower():
        said = replace(said, voxel_size=None)  # it is of axes by other names
    used = replace(
        said,
        axes=said.axes if axes is None else None,
        voxel_size=said.voxel_size if voxel_size is None else None,
    )
    as_asked = functools.partial(
        open_volume, path, axes=axes, voxel_size=voxel_size, unit=unit, dataset=dataset, memory=memory
    )
    if used.words:
        try:
            volume = as_asked(
                axes=axes or used.axes,
                voxel_size=voxel_size or used.voxel_size,
                unit=unit if voxel_size is not None else used.unit,
            )
        except VolumeError:
            # of folders and URLs, something else may be there by now; the file may say why not
            return as_asked()
        provenance = replace(
            volume.provenance,
            remembered=f"{used.words} as you have set it for this file",
            axes_corrected=used.axes is not None,
        )
        return replace(volume, provenance=provenance)
    return as_asked()


def state_folder() -> Path:
    """Where it is kept: in the folder that the system has for such things."""
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
    place = text.rstrip("/") if is_url(text) else str(Path(text).expanduser().absolute())
    return f"{place}\n{dataset.strip('/')}" if dataset else place


def _stamp(path: str | os.PathLike[str]) -> list[int] | None:
    """Tells a file from another of its name; of folders and URLs only their name counts."""
    if is_url(path) and not str(path).startswith("file://"):
        return None
    local = Path(str(path).removeprefix("file://")).expanduser()
    try:
        state = local.stat()
    except OSError:
        return None
    return None if local.is_dir() else [state.st_size, state.st_mtime_ns]


def _load() -> dict[str, dict[str, Any]]:
    """All that is kept; a damaged file is set aside, and nothing is known."""
    path = state_folder() / _FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        text = ""
    try:
        held = json.loads(text)["volumes"]
        return {str(key): said for key, said in held.items() if isinstance(said, dict)}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        with contextlib.suppress(OSError):  # where it cannot be moved, it is written over
            os.replace(path, path.with_name(f"{_FILE}.damaged"))
        return {}


def _parsed(said: Mapping[str, Any]) -> Correction | None:
    """An entry, None if it makes no sense."""
    size, unit, axes = said.get("voxel_size"), said.get("unit"), said.get("axes")
    if size is not None:
        sound = isinstance(size, list) and len(size) == 3 and all(_positive(v) for v in size)
        if not sound:
            return None
        size = (float(size[0]), float(size[1]), float(size[2]))
    if not isinstance(unit, str) or not isinstance(axes, str | None):
        return None
    return Correction(size, unit, axes, said.get("silent") is True)


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0
