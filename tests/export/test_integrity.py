"""Shards that are damaged or deleted, between the runs of an export and during one: computed anew, never published."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from napari_niiv.errors import OutputError
from napari_niiv.export import ExportConfig, ExportEvent, ExportNotice, ExportProgress, ExportStarted, export
from napari_niiv.export.store import Unfinished
from napari_niiv.volume import Volume

NOTICE = "1 finished part was damaged or gone from out.zarr.unfinished, and will be computed anew."
# shards of 16 x 32 x 32 samples in chunks of 32: the second level is made of the first when that is complete
LATER = {"chunk": 32, "shard": 1 << 14, "block": (4, 32)}


def flip(path: Path) -> None:
    """Another byte in the voxels, the size as before."""
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 3] ^= 0xFF
    path.write_bytes(contents)


def shards(target: Path, level: int = 0) -> list[Path]:
    folder = target.with_name(f"{target.name}.unfinished") / "data.zarr" / str(level) / "c"
    return sorted(path for path in folder.rglob("*") if path.is_file())


def until(events: Iterator[ExportEvent], reached: Callable[[], bool]) -> list[ExportEvent]:
    """Export as far as that."""
    seen = []
    for event in events:
        seen.append(event)
        if reached():
            return seen
    raise AssertionError("it ended")


@pytest.mark.parametrize("harm", [flip, Path.unlink])
def test_between_two_runs(small_model, volume, config, tmp_path, stored, harm) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    list(export(volume, model, tmp_path / "whole.zarr", config()))
    events = export(volume, model, target, config())
    until(events, lambda: len(shards(target)) > 3)
    events.close()
    harm(shards(target)[1])
    first, *rest = export(volume, model, target, config(resume=True))
    assert isinstance(first, ExportStarted)
    assert [event.message for event in rest if isinstance(event, ExportNotice)] == [NOTICE]
    assert stored(target) == stored(tmp_path / "whole.zarr")


@pytest.mark.parametrize("harm", [flip, Path.unlink])
@pytest.mark.parametrize("name", ["out.zarr", "out.tif"])
def test_before_it_gets_its_name(small_model, volume, config, tmp_path, stored, harm, name: str) -> None:
    """The damage is done when all shards are written."""
    model, target = small_model(), tmp_path / name
    list(export(volume, model, tmp_path / f"whole-{name}", config()))
    checks = 0
    for event in export(volume, model, target, config()):
        if isinstance(event, ExportProgress) and event.stage == "check":
            checks += 1
            if checks == 1:
                harm(shards(target)[-1])
        assert not isinstance(event, ExportNotice) or "1 finished part was damaged" in event.message
    assert checks > 1
    if target.is_dir():
        assert stored(target) == stored(tmp_path / f"whole-{name}")
    else:
        assert target.read_bytes() == (tmp_path / f"whole-{name}").read_bytes()
    assert sorted(os.listdir(tmp_path)) == sorted([name, f"whole-{name}"])


def test_before_coarser_levels_are_made_of_it(small_model, texture, tmp_path, stored, monkeypatch) -> None:
    monkeypatch.setattr("napari_niiv.export.plan.COARSEST", 16)
    volume = Volume((200 * texture((13, 37, 45))).astype("uint8"), voxel_size=(4, 1, 1))
    model, target, config = small_model(), tmp_path / "out.zarr", ExportConfig(**LATER)
    list(export(volume, model, tmp_path / "whole.zarr", config))
    harmed, notices, averaged = [], [], []
    for event in export(volume, model, target, config):
        if isinstance(event, ExportProgress) and event.stage == "check" and not harmed:
            harmed.append(shards(target)[-1])
            harmed[0].write_bytes(harmed[0].read_bytes()[:-9])
        if isinstance(event, ExportProgress) and event.stage == "pyramid":
            averaged.append(event)
        if isinstance(event, ExportNotice):
            notices.append(event.message)
            assert not averaged
    assert notices == [NOTICE]
    assert averaged
    assert stored(target) == stored(tmp_path / "whole.zarr")
    # what was made of a shard that is lost is made anew with it
    events = export(volume, model, tmp_path / "again.zarr", config)
    until(events, lambda: bool(shards(tmp_path / "again.zarr", 1)))
    events.close()
    flip(shards(tmp_path / "again.zarr")[0])
    store = Unfinished(tmp_path / "again.zarr")
    events = export(volume, model, tmp_path / "again.zarr", config.model_copy(update={"resume": True}))
    until(events, lambda: () in store.journal().values())
    assert all(not states for (level, _), states in store.journal().items() if level > 0)
    assert list(events)
    assert stored(tmp_path / "again.zarr") == stored(tmp_path / "whole.zarr")


def test_a_disk_that_keeps_nothing(small_model, volume, config, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Unfinished, "is_intact", lambda *_: False)
    with pytest.raises(OutputError, match=r"The disk does not keep what is written in .* go on with resume=True"):
        list(export(volume, small_model(), tmp_path / "out.zarr", config()))
    assert os.listdir(tmp_path) == ["out.zarr.unfinished"]


@pytest.mark.parametrize("name", ["zarr.json", "0/zarr.json"])
@pytest.mark.parametrize("content", [None, "", '{"zarr_format": 3, "node_type": "group"}'])
def test_descriptions_of_the_arrays(small_model, volume, config, tmp_path, stored, name: str, content) -> None:
    """They are made anew, whatever became of them."""
    model, target = small_model(), tmp_path / "out.zarr"
    list(export(volume, model, tmp_path / "whole.zarr", config()))
    events = export(volume, model, target, config())
    until(events, lambda: len(shards(target)) > 1)
    events.close()
    path = tmp_path / "out.zarr.unfinished" / "data.zarr" / name
    path.unlink() if content is None else path.write_text(content)
    first, *_ = export(volume, model, target, config(resume=True))
    assert first.resumed > 0
    assert stored(target) == stored(tmp_path / "whole.zarr")
