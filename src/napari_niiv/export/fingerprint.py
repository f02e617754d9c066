"""What an export was made of: an interrupted one goes on only with the same."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import numpy as np

from napari_niiv._version import __version__
from napari_niiv.errors import Remedy, VolumeError
from napari_niiv.export.config import ExportConfig
from napari_niiv.models.niiv import Niiv
from napari_niiv.pieces import scattered
from napari_niiv.sections.repair import as_measured
from napari_niiv.volume import Volume

FORMAT = 2
# pieces of slices whose voxels tell sources apart, at least so many of each T and C index looked at; and their edge
_PIECES, _FEWEST_PIECES, _EDGE = 32, 4, 256
Fingerprint = dict[str, dict[str, Any]]
"""Everything that an output depends on, as JSON has it: software, source, what was repaired of its sections, model and
settings; and the noise levels and values of empty voxels, which follow from these."""
# settings that change what is written; the others say how, and may differ between the runs of one export
_SETTINGS = {"output_scale", "planes", "project", "denoise", "dtype", "box", "chunk", "shard", "block"}
# files of a folder whose state is noted, and seconds until a folder is looked at again
_MOST_LISTED, _EVERY = 20_000, 5.0
# what tells a store from a folder of slices
_STORE = ("zarr.json", ".zarray", ".zgroup", ".zattrs", "attributes.json")
_MOST_SHOWN = 100  # letters of a setting in a message
_looked_at: dict[Path, float] = {}
_NAMES = {
    "software": "another napari-niiv",
    "source": "another source",
    "sections": "other repairs of sections",
    "model": "another model",
    "settings": "other settings",
}


def fingerprint_of(volume: Volume, model: Niiv, config: ExportConfig) -> Fingerprint:
    """Everything that the output of an export depends on, as JSON has it."""
    facts = {
        "software": {"format": FORMAT, "version": __version__},
        "source": source_identity(volume),
        "sections": {"repaired": [] if volume.repairs is None else volume.repairs.plain},
        "model": {"checksum": checksum(model), "card": card_of(model)},
        "settings": config.model_dump(mode="json", include=_SETTINGS),
    }
    plain: Fingerprint = json.loads(json.dumps(facts))
    return plain


def identity_of(fingerprint: Fingerprint) -> UUID:
    """What tells a file that was made of just this; the same with what follows from it, and without."""
    parts = {name: fingerprint[name] for name in _NAMES}
    return uuid5(NAMESPACE_OID, json.dumps(parts, sort_keys=True))


def source_identity(volume: Volume) -> dict[str, Any]:
    """Which volume it is: what is known of it and its file, and some of its voxels.

    Raises
    ------
    VolumeError
        If it is gone, or cannot be read.
    """
    facts: dict[str, Any] = {
        "name": volume.name,
        "axes": volume.axes,
        "shape": list(volume.shape),
        "type": str(volume.dtype),
        "voxel size": list(volume.voxel_size),
        "unit": volume.unit,
        "origin": list(volume.origin),
    }
    if volume.empty is not None:
        facts["empty voxels"] = list(volume.empty)
    if (path := volume.provenance.path) is not None:
        facts["path"] = str(Path(path).absolute())
    if (dataset := volume.provenance.dataset) is not None:
        facts["dataset"] = dataset
    return facts | file_state(volume) | {"voxels": some_voxels(volume)}


def some_voxels(volume: Volume) -> str:
    """A checksum of pieces of slices spread over a volume as it was measured: also where no file tells of changes."""
    measured, digest = as_measured(volume), hashlib.sha256()
    indices = list(np.ndindex(measured.shape[:-3]))
    chosen = indices[:: -(-len(indices) // (_PIECES // _FEWEST_PIECES))]
    for index in chosen:
        for piece in scattered(measured.at(*index), _EDGE, _PIECES // len(chosen)):
            digest.update(piece.astype(measured.dtype).tobytes())
    return digest.hexdigest()


def source_path(volume: Volume) -> Path | None:
    """The file or folder that a volume is read from, if it says so."""
    path = volume.provenance.path
    return None if path is None or "://" in path else Path(path)


def file_state(volume: Volume) -> dict[str, Any]:
    """Size and time of the file that a volume is read from; of a folder, a checksum of the list of its files.

    That list has the names, sizes and times of up to 20,000 files, metadata and what else lies high up first.

    Raises
    ------
    VolumeError
        If the file or folder is gone.
    """
    path = source_path(volume)
    if path is None:
        return {}
    try:
        if path.is_dir():
            return {"files": _listed(path)}
        state = path.stat()
    except OSError as error:
        raise VolumeError(
            f"{volume.name!r} is gone ({path}: {error.strerror}); put it back and", Remedy.RESUME
        ) from error
    return {"size": state.st_size, "modified": state.st_mtime_ns}


def _listed(folder: Path) -> str:
    """A checksum of the files of a store, or of the slices in a folder: those of its commonest ending."""
    files = list(islice(_files(folder), _MOST_LISTED))
    if not any((folder / name).is_file() for name in _STORE):
        files = [(name, state) for name, state in files if os.sep not in name]
        endings = Counter(os.path.splitext(name)[1].lower() for name, _ in files)
        common = endings.most_common(1)[0][0] if endings else ""
        files = [(name, state) for name, state in files if name.lower().endswith(common)]
    lines = sorted(f"{name} {state.st_size} {state.st_mtime_ns}" for name, state in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Files and their states, by their names in the folder; those high up first, so that metadata are among them."""
    folders = deque([""])
    while folders:
        name = folders.popleft()
        with os.scandir(folder / name) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                below = os.path.join(name, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(below)
                else:
                    yield below, entry.stat()


def check_unchanged(volume: Volume, before: dict[str, Any], *, now: bool = False) -> None:
    """Refuse to mix two states of a source, whose `source_identity` was `before`.

    Parameters
    ----------
    volume : Volume
    before : dict
    now : bool
        Look at a folder also where that was done a moment ago; and at some of its voxels, if there is no file.

    Raises
    ------
    VolumeError
        If its file is gone, or was written to since.
    """
    path = source_path(volume)
    if path is None:
        if now and before.get("voxels") != some_voxels(volume):
            raise _changed(volume)
        return
    if "files" in before and not now and time.monotonic() < _looked_at.get(path, -_EVERY) + _EVERY:
        return
    state = file_state(volume)
    if any(before.get(key) != value for key, value in state.items()):
        raise _changed(volume)
    _looked_at[path] = time.monotonic()


def _changed(volume: Volume) -> VolumeError:
    return VolumeError(f"{volume.name!r} was changed while it was being exported;", Remedy.START_ANEW)


def checksum(model: Niiv) -> str:
    """SHA-256 of a model's tensors."""
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def card_of(model: Niiv) -> dict[str, Any]:
    """The card of a model's checkpoint, or of a model without one its architecture."""
    if model.card is not None:
        return model.card.model_dump(mode="json")
    return {"architecture": model.architecture.model_dump(mode="json")}


def mismatch(before: Fingerprint, now: Fingerprint) -> str:
    """How two fingerprints differ, as a part of a sentence; empty if they agree."""
    for part, name in _NAMES.items():
        old, new = before.get(part, {}), now[part]
        for key in [*new, *(key for key in old if key not in new)]:
            if old.get(key) != new.get(key):
                if key in ("checksum", "card", "voxels", "files", "repaired"):
                    return name
                return f"{name} ({key}: {_short(old.get(key))}, now {_short(new.get(key))})"
    return ""


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
