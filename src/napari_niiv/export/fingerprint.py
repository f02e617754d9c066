"""What an export was made of: an interrupted one goes on only with the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from napari_niiv._version import __version__
from napari_niiv.errors import Remedy, VolumeError
from napari_niiv.export.config import ExportConfig
from napari_niiv.models.niiv import Niiv
from napari_niiv.volume import Volume, in_memory, sampled

FORMAT = 1
# voxels that tell apart what is in memory
_SAMPLED = 1 << 14
Fingerprint = dict[str, dict[str, Any]]
"""Everything that an output depends on, as JSON has it: software, source, model and settings; and the noise
levels and values of empty voxels, which follow from these."""
# settings that change what is written; the others say how, and may differ between the runs of one export
_SETTINGS = {"output_scale", "planes", "project", "denoise", "dtype", "box", "chunk", "shard", "block"}
_NAMES = {
    "software": "another napari-niiv",
    "source": "another source",
    "model": "another model",
    "settings": "other settings",
}


def fingerprint_of(volume: Volume, model: Niiv, config: ExportConfig) -> Fingerprint:
    """Everything that the output of an export depends on, as JSON has it."""
    facts = {
        "software": {"format": FORMAT, "version": __version__},
        "source": source_identity(volume),
        "model": {"checksum": checksum(model), "card": card_of(model)},
        "settings": config.model_dump(mode="json", include=_SETTINGS),
    }
    plain: Fingerprint = json.loads(json.dumps(facts))
    return plain


def source_identity(volume: Volume) -> dict[str, Any]:
    """Which volume it is, as far as can be told without reading it."""
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
    if in_memory(volume.array):
        facts["voxels"] = hashlib.sha256(sampled(volume.array, _SAMPLED).tobytes()).hexdigest()
    return facts | file_state(volume)


def source_path(volume: Volume) -> Path | None:
    """The file or folder that a volume is read from, if it says so."""
    path = volume.provenance.path
    return None if path is None or "://" in path else Path(path)


def file_state(volume: Volume) -> dict[str, Any]:
    """Size and time of the file that a volume is read from; of folders, only that they are there.

    Raises
    ------
    VolumeError
        If the file or folder is gone.
    """
    path = source_path(volume)
    if path is None:
        return {}
    try:
        state = path.stat()
    except OSError as error:
        raise VolumeError(
            f"{volume.name!r} is gone ({path}: {error.strerror}); put it back and", Remedy.RESUME
        ) from error
    return {"size": state.st_size, "modified": state.st_mtime_ns} if path.is_file() else {}


def check_unchanged(volume: Volume, before: dict[str, Any]) -> None:
    """Refuse to mix two states of a source, whose `file_state` was `before`.

    Raises
    ------
    VolumeError
        If its file is gone, or was written to since.
    """
    now = file_state(volume)
    if any(before.get(key) != value for key, value in now.items()):
        raise VolumeError(f"{volume.name!r} was changed while it was being exported;", Remedy.START_ANEW)


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
                if key == "voxels" and "modified" in new and not (key in old and key in new):
                    continue  # the same file, once decoded into memory and once not: its size and time tell
                if key in ("checksum", "card", "voxels"):
                    return name
                return f"{name} ({key}: {_short(old.get(key))}, now {_short(new.get(key))})"
    return ""


def _short(value: Any) -> str:
    return "nothing" if value is None else str(value)
