"""What the user should know of a volume that was opened, as a notification of napari's."""

from __future__ import annotations

from napari.utils.notifications import show_warning

from napari_niiv.volume import Volume


def tell_notes(volume: Volume) -> None:
    """Tell what is missing in a file, or was left out; nothing of most files."""
    if note := volume.provenance.note:
        show_warning(f"{volume.name}: {note}.")
