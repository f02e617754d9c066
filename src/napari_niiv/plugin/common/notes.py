"""What the user should know of a volume that was opened."""

from __future__ import annotations

from napari.utils.notifications import show_warning

from napari_niiv.volume import Volume


def note_of(volume: Volume) -> str:
    """What is missing in a file, or was left out, without a full stop; nothing of most files."""
    note = volume.provenance.note
    return f"{volume.name}: {note}" if note else ""


def tell_notes(volume: Volume) -> None:
    """Tell it as a notification of napari's."""
    if note := note_of(volume):
        show_warning(f"{note}.")
