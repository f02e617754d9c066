"""What is said of an export that was stopped."""

from __future__ import annotations

from napari_niiv.export import export
from napari_niiv.export.kept import kept_parts, kept_words
from napari_niiv.export.store import Unfinished


def test_the_parts_that_are_on_the_disk_are_counted(small_model, volume, config, tmp_path) -> None:
    target = tmp_path / "out.zarr"
    assert (kept_parts(target), kept_words(target)) == ((0, 0), "")
    events = export(volume, small_model(), target, config())
    journal = Unfinished(target).folder / "journal"
    for number in (1, 3):
        while not journal.exists() or len(journal.read_text().splitlines()) < number:
            next(events)
    events.close()
    finished, number = kept_parts(target)
    assert 3 <= finished < number == 2 * 3 * 2  # of 32 x 16 x 32 samples
    assert kept_words(target) == f"{finished} of 12 parts are kept"
    (Unfinished(target).data / "0" / "zarr.json").write_text("{}")
    assert kept_words(target) == "what is finished is kept"
