"""The folder in which an output grows: who may write there, what is kept, what is found to be damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_niiv.errors import OutputError, VolumeError
from napari_niiv.export import ExportFinished, ExportProgress, ExportStarted, discard, export
from napari_niiv.export import store as module
from napari_niiv.export.plan import Plan
from napari_niiv.export.record import plan_text
from napari_niiv.export.shards import ABSENT, read_level, shard_path, state_of, write_shard
from napari_niiv.export.store import Unfinished
from napari_niiv.io.open import open_volume
from napari_niiv.volume import Volume

COUNT = 52 * 37 * 45


def run(*arguments) -> list:
    return list(export(*arguments))


def begun(volume: Volume, model, target: Path, config, shards: int = 2):
    """An export that is under way, with some shards finished."""
    events = export(volume, model, target, config)
    journal = target.with_name(f"{target.name}.unfinished") / "journal"
    for _ in events:
        if journal.exists() and len(journal.read_text().splitlines()) >= shards:
            return events
    raise AssertionError("it ended")


def content(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def test_two_exports_to_one_target(small_model, volume, config, tmp_path) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    first = begun(volume, model, target, config())
    for settings in (config(), config(resume=True), config(overwrite=True), config(overwrite=True, planes="xz")):
        with pytest.raises(OutputError, match=r"Another process is writing .*; wait for it, or stop it first"):
            run(volume, model, target, settings)
    with pytest.raises(OutputError, match="Another process"):
        discard(target)
    assert isinstance(list(first)[-1], ExportFinished)
    assert os.listdir(tmp_path) == ["out.zarr"]


@pytest.mark.parametrize("name", ["out.zarr", "out.tif"])
def test_a_target_that_appears_meanwhile_stays(small_model, volume, config, tmp_path, name: str) -> None:
    model, target = small_model(), tmp_path / name
    events = begun(volume, model, target, config())
    if target.suffix == ".tif":
        target.write_text("precious")
    else:
        zarr.create_array(target, data=np.arange(5))
    before = target.read_bytes() if target.is_file() else content(target)
    with pytest.raises(OutputError, match=r"exists already; choose another name or overwrite it"):
        list(events)
    assert (target.read_bytes() if target.is_file() else content(target)) == before
    first, *_ = run(volume, model, target, config(resume=True, overwrite=True))
    assert first.resumed == COUNT
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("how", ["closed", "failed"])
def test_nothing_stays_of_an_export_that_finished_no_shard(
    small_model, volume, config, tmp_path, monkeypatch, how: str
) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    events = export(volume, model, target, config())
    assert isinstance(next(events), ExportStarted)
    assert (tmp_path / "out.zarr.unfinished").is_dir()
    if how == "closed":
        events.close()
    else:
        monkeypatch.setattr("napari_niiv.export.work.write_shard", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(events)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("how", ["truncated", "missing", "longer"])
def test_a_finished_shard_that_is_damaged_is_computed_anew(
    small_model, volume, config, tmp_path, stored, how: str
) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    run(volume, model, tmp_path / "whole.zarr", config())
    begun(volume, model, target, config(), shards=3).close()
    shard = next(f for f in (tmp_path / "out.zarr.unfinished" / "data.zarr" / "0" / "c").rglob("*") if f.is_file())
    whole = shard.read_bytes()
    shard.unlink()
    if how != "missing":
        shard.write_bytes(whole[:-7] if how == "truncated" else whole + b"more")
    first, *_ = run(volume, model, target, config(resume=True))
    assert 0 < first.resumed < COUNT
    assert stored(target) == stored(tmp_path / "whole.zarr")


@pytest.mark.parametrize("line", ["nonsense\n", "0/x 7\n", "\xff\xfe\n", "0/3 0\n", "0/3 0 00000000\n", "\n"])
def test_a_damaged_journal(small_model, volume, config, tmp_path, line: str) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    begun(volume, model, target, config()).close()
    with (tmp_path / "out.zarr.unfinished" / "journal").open("ab") as journal:
        journal.write(line.encode("latin-1"))
    with pytest.raises(OutputError, match="is damaged; start anew with overwrite=True"):
        run(volume, model, target, config(resume=True))
    run(volume, model, target, config(overwrite=True))
    assert os.listdir(tmp_path) == ["out.zarr"]


@pytest.mark.parametrize("plan", ["", "{}", "[]", '{"made_of": {}, "edges": [1]}'])
def test_a_damaged_plan(small_model, volume, config, tmp_path, plan: str) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    begun(volume, model, target, config()).close()
    (tmp_path / "out.zarr.unfinished" / "plan.json").write_text(plan)
    with pytest.raises(OutputError, match="is damaged; start anew with overwrite=True"):
        run(volume, model, target, config(resume=True))


def each_refused(path: Path, contents, resume) -> None:
    """Every one of some contents of a file is damage; what was there before is put back."""
    before = path.read_bytes()
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(OutputError, match="is damaged; start anew with overwrite=True"):
            resume()
    path.write_bytes(before)


def test_a_journal_with_another_bit_never_passes_for_the_record_of_another_unit(
    small_model, volume, config, tmp_path, stored
) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    begun(volume, model, target, config()).close()
    journal = tmp_path / "out.zarr.unfinished" / "journal"
    content = journal.read_bytes()
    number = content.index(b"/") + 1
    changed = [content[:number] + bytes([content[number] ^ 1 << bit]) + content[number + 1 :] for bit in range(8)]
    each_refused(journal, changed, lambda: run(volume, model, target, config(resume=True)))
    run(volume, model, target, config(resume=True))


IMPOSSIBLE = [
    lambda plan: plan.update(edges=[1 << 19] * 3),
    lambda plan: plan.update(edges=[16, 16, 17]),
    lambda plan: plan.update(edges=[0, 16, 16]),
    lambda plan: plan["made_of"].update(noise={"levels": [0.0, 0.0]}),
    lambda plan: plan["made_of"].update(noise={"levels": [-1.0]}),
    lambda plan: plan["made_of"].update(noise={"levels": ["x"]}),
    lambda plan: plan["made_of"].update(noise=3),
    lambda plan: plan["made_of"].pop("settings"),
]


def test_a_plan_that_cannot_be_is_damage_whatever_its_checksum_says(small_model, volume, config, tmp_path) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    begun(volume, model, target, config()).close()
    path = tmp_path / "out.zarr.unfinished" / "plan.json"
    unsigned = [path.read_bytes().replace(b"32,", b"48,", 1)]
    signed = []
    for change in IMPOSSIBLE:
        plan = json.loads(path.read_text())
        change(plan)
        signed.append(plan_text(plan["edges"], plan["made_of"]).encode())
    each_refused(path, unsigned + signed, lambda: run(volume, model, target, config(resume=True)))
    run(volume, model, target, config(resume=True))


@pytest.mark.parametrize(
    ("level", "old", "new"),
    [
        ("0", '"fill_value": 0', '"fill_value": 7'),
        ("0", '"little"', '"big"'),
        ("0", "{", "[" * 10**5),
        (".", '"group"', '"array"'),
    ],
)
def test_metadata_of_the_unfinished_output_that_are_damaged_are_made_anew(
    small_model, volume, config, tmp_path, stored, level: str, old: str, new: str
) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    run(volume, model, tmp_path / "alone.zarr", config())
    begun(volume, model, target, config()).close()
    path = tmp_path / "out.zarr.unfinished" / "data.zarr" / level / "zarr.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    run(volume, model, target, config(resume=True))
    assert stored(target) == stored(tmp_path / "alone.zarr")


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", '{"attributes": 3}', '{"attributes": {"napari_niiv": [1]}}'])
def test_metadata_of_a_target_that_are_damaged(small_model, volume, config, tmp_path, text: str) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    run(volume, model, target, config())
    (target / "zarr.json").write_text(text)
    with pytest.raises(OutputError, match="exists already"):
        run(volume, model, target, config(resume=True))


def test_a_target_with_an_array_that_is_described_otherwise_is_not_complete(
    small_model, volume, config, tmp_path
) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    run(volume, model, target, config())
    path = target / "0" / "zarr.json"
    path.write_text(path.read_text().replace('"fill_value": 0', '"fill_value": 7'))
    with pytest.raises(OutputError, match="exists already"):
        run(volume, model, target, config(resume=True))
    run(volume, model, target, config(resume=True, overwrite=True))
    assert '"fill_value": 0' in path.read_text()


@pytest.mark.parametrize("name", ["out.zarr", "out.tif", "out.ome.tif"])
def test_what_is_complete_is_not_done_again(small_model, volume, config, tmp_path, name: str) -> None:
    """A script may say resume=True until it is done."""
    model, target = small_model(), tmp_path / name
    run(volume, model, target, config())
    before = content(tmp_path)
    for more in ({}, {"overwrite": True}):
        first, last = run(volume, model, target, config(resume=True, **more))
        assert isinstance(first, ExportStarted)
        assert first.resumed == COUNT
        assert isinstance(last, ExportFinished)
        assert last.shape == (52, 37, 45)
    assert content(tmp_path) == before
    with pytest.raises(OutputError, match="exists already"):
        run(volume, model, target, config(resume=True, planes="xz"))
    assert content(tmp_path) == before
    if target.is_file():
        target.write_bytes(target.read_bytes()[: COUNT // 2])
        with pytest.raises(OutputError, match="exists already"):
            run(volume, model, target, config(resume=True))
    run(volume, model, target, config(resume=True, overwrite=True, planes="xz"))
    assert content(tmp_path) != before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_tiff_that_is_killed_once_it_has_its_name(
    small_model, volume, config, tmp_path, monkeypatch, overwrite: bool
) -> None:
    model, target = small_model(), tmp_path / "out.tif"

    def killed(source: Path, aim: Path) -> None:
        raise KeyboardInterrupt

    real = os.rename
    monkeypatch.setattr(module.os, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        run(volume, model, target, config())
    monkeypatch.setattr(module.os, "rename", real)
    before = target.read_bytes()
    events = run(volume, model, target, config(resume=True, overwrite=overwrite))
    assert [type(event) for event in events] == [ExportStarted, ExportFinished]
    assert target.read_bytes() == before
    assert os.listdir(tmp_path) == ["out.tif"]


@pytest.mark.parametrize("suffix", [".zarr", ".tif"])
@pytest.mark.parametrize("begins", [False, True])
def test_killed_while_it_tidies_up(
    small_model, volume, config, tmp_path, monkeypatch, suffix: str, begins: bool
) -> None:
    """The output is there already."""
    model, target = small_model(), tmp_path / f"out{suffix}"
    real = module.Unfinished.tidy

    def killed(self: Unfinished) -> None:
        if begins:
            (self.folder / "journal").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Unfinished, "tidy", killed)
    with pytest.raises(KeyboardInterrupt):
        run(volume, model, target, config())
    monkeypatch.setattr(module.Unfinished, "tidy", real)
    assert sorted(os.listdir(tmp_path)) == [target.name, f"{target.name}.unfinished"]
    before = target.read_bytes() if target.is_file() else content(target)
    events = run(volume, model, target, config(resume=True))
    assert not [e for e in events if isinstance(e, ExportProgress)]
    assert os.listdir(tmp_path) == [target.name]
    assert before == (target.read_bytes() if target.is_file() else content(target))


def test_killed_while_it_is_exchanged(small_model, volume, config, tmp_path, monkeypatch) -> None:
    """Between the two renames the old output is aside; it comes back, or the new one comes."""
    model, target = small_model(), tmp_path / "out.zarr"
    run(volume, model, target, config(planes="xz"))
    old = content(target)
    real, renamed = os.rename, []

    def rename(source: Path, aim: Path) -> None:
        renamed.append(aim)
        if len(renamed) == 2:
            raise KeyboardInterrupt
        real(source, aim)

    monkeypatch.setattr(module.os, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        run(volume, model, target, config(overwrite=True))
    monkeypatch.setattr(module.os, "rename", real)
    assert not target.exists()
    begun = content(tmp_path)
    run(volume, model, target, config(resume=True))
    assert content(target) != old
    assert os.listdir(tmp_path) == ["out.zarr"]
    for name, values in begun.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(values)
    zarr.open_group(target, mode="r")
    for path in sorted(target.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    target.rmdir()
    assert discard(target)
    assert content(target) == old


def test_killed_while_it_is_discarded(small_model, volume, config, tmp_path, monkeypatch) -> None:
    """The output that was to be replaced is not taken for the new one."""
    model, target = small_model(), tmp_path / "out.zarr"
    run(volume, model, target, config(planes="xz"))
    begun(volume, model, target, config(overwrite=True)).close()
    real = shutil.rmtree

    def killed(path: Path, **options: object) -> None:
        real(path, **options)
        if Path(path).name == "data.zarr":
            raise KeyboardInterrupt

    monkeypatch.setattr(module.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        discard(target)
    monkeypatch.setattr(module.shutil, "rmtree", real)
    old = content(target)
    first, *_ = run(volume, model, target, config(overwrite=True, resume=True))
    assert first.resumed == 0
    assert content(target) != old
    assert os.listdir(tmp_path) == ["out.zarr"]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
def test_a_tiff_that_is_killed_leaves_nothing_outside(
    small_model, volume, config, tmp_path, suffix: str, late: bool
) -> None:
    """Nor is it written from the beginning of the network; and the file is the same to the last byte."""
    model, target = small_model(), tmp_path / f"out{suffix}"
    run(volume, model, tmp_path / f"whole{suffix}", config())
    events = export(volume, model, target, config())
    for event in events:
        if isinstance(event, ExportProgress) and event.stage == "tiff":
            break
    assert sorted(os.listdir(tmp_path)) == sorted([f"out{suffix}.unfinished", f"whole{suffix}"])
    if late:  # when all is written, and only not yet published
        for thread in threading.enumerate():
            if thread.name == "napari-niiv-tiff":
                thread.join()
    events.close()
    assert "whole.tif" not in os.listdir(tmp_path / f"out{suffix}.unfinished")
    first, *_ = run(volume, model, target, config(resume=True))
    assert first.resumed == COUNT
    assert target.read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


def test_a_disk_that_is_full_without_a_number(small_model, volume, config, tmp_path, monkeypatch) -> None:
    """As NumPy says it when it writes a TIFF's pixels."""

    def full(*arguments: object, **options: object) -> None:
        raise OSError("44000 requested and 2864 written")

    monkeypatch.setattr("napari_niiv.export.tiff.save_tiff", full)
    with pytest.raises(OutputError, match=r"could not be written \(44000 requested"):
        run(volume, small_model(), tmp_path / "out.tif", config())
    usage = module.shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr("napari_niiv.export.run.shutil.disk_usage", lambda path: usage)
    with pytest.raises(OutputError, match="The disk is full; free space and go on with resume=True"):
        run(volume, small_model(), tmp_path / "out.tif", config(resume=True))


def test_memory_that_is_full(small_model, volume, config, tmp_path, monkeypatch) -> None:
    def full(*arguments: object) -> int:
        raise MemoryError

    monkeypatch.setattr("napari_niiv.export.work.write_shard", full)
    with pytest.raises(OutputError, match="memory of this computer is full"):
        run(volume, small_model(), tmp_path / "out.zarr", config())


def test_a_file_where_the_output_would_grow(small_model, volume, config, tmp_path) -> None:
    (tmp_path / "out.zarr.unfinished").write_text("mine")
    with pytest.raises(OutputError, match="is a file, and the output would grow there"):
        run(volume, small_model(), tmp_path / "out.zarr", config())
    assert (tmp_path / "out.zarr.unfinished").read_text() == "mine"


def test_a_shard_is_there_whole_or_not_at_all(small_model, volume, config, tmp_path, monkeypatch) -> None:
    """One that another process wrote before is never gone meanwhile, nor read."""
    model, target = small_model(), tmp_path / "out.zarr"
    events, store = begun(volume, model, target, config()), Unfinished(target)
    while not (store.folder / "journal").read_text():
        next(events)
    events.close()
    plan = Plan.of(volume, config(), "cpu")
    unit = list(plan.units(0))[-1]  # at the border
    path = shard_path(store.data, plan.levels[0], unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"damaged")
    values = np.ones([len(span) for span in unit.place], np.uint8)
    real = os.replace

    def replace(source: Path, aim: Path) -> None:
        if Path(aim) == path:
            assert path.read_bytes() == b"damaged"
        real(source, aim)

    monkeypatch.setattr("napari_niiv.export.shards.os.replace", replace)
    state = write_shard(store.data, plan.levels[0], unit, values)
    assert state == state_of(path)
    assert state.bytes == path.stat().st_size > len(b"damaged")
    assert write_shard(store.data, plan.levels[0], unit, 0 * values) == ABSENT
    assert not path.exists()
    assert not os.listdir(store.folder / "writing")
    events.close()


def test_a_file_may_be_decoded_or_not_when_an_export_goes_on(small_model, volume, config, tmp_path) -> None:
    tags = {"axes": "ZYX", "PhysicalSizeZ": 4.0, "PhysicalSizeY": 1.0, "PhysicalSizeX": 1.0}
    path, target, model = tmp_path / "source.ome.tif", tmp_path / "out.zarr", small_model()
    tifffile.imwrite(path, volume.array, compression="zlib", metadata=tags)
    for memory, other in ((None, 1), (1, None)):
        begun(open_volume(path, memory=memory), model, target, config()).close()
        source = open_volume(path, memory=other)
        first, *_ = run(source, model, target, config(resume=True))
        assert first.resumed > 0
        discard(target)
        shutil.rmtree(target)
    begun(open_volume(path), model, target, config()).close()
    tifffile.imwrite(path, volume.array[::-1], compression="zlib", metadata=tags)
    with pytest.raises(OutputError, match="another source"):
        run(open_volume(path, memory=1), model, target, config(resume=True))


def shard_of(small_model, volume, config, tmp_path) -> tuple:
    """The folder of an output that is begun, its plan, a unit, and voxels for it that cannot be compressed."""
    events = begun(volume, small_model(), tmp_path / "out.zarr", config(), shards=1)
    events.close()
    store, plan = Unfinished(tmp_path / "out.zarr"), Plan.of(volume, config(), "cpu")
    unit = max(plan.units(0), key=lambda unit: unit.voxels)
    values = np.random.default_rng(0).integers(1, 200, [len(span) for span in unit.place], np.uint8)
    return store, plan, unit, values


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_what_the_system_refuses_has_its_number(small_model, volume, config, tmp_path) -> None:
    """The codecs, which write the file, say it in words."""
    import resource

    store, plan, unit, values = shard_of(small_model, volume, config, tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write_shard(store.data, plan.levels[0], unit, values)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert not os.listdir(store.folder / "writing")


def test_a_damaged_shard_that_is_averaged(small_model, volume, config, tmp_path) -> None:
    store, plan, unit, values = shard_of(small_model, volume, config, tmp_path)
    write_shard(store.data, plan.levels[0], unit, values)
    assert (read_level(store.data, 0, (), unit.place) == values).all()
    path = shard_path(store.data, plan.levels[0], unit)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(OutputError, match=r"Level 0 of the unfinished output is damaged .*resume=True"):
        read_level(store.data, 0, (), unit.place)


def test_the_plan_is_what_tells_an_unfinished_output(small_model, volume, config, tmp_path) -> None:
    """Whoever opens the folder as a zarr finds no OME metadata: it is not taken for a result."""
    begun(volume, small_model(), tmp_path / "out.zarr", config()).close()
    folder = tmp_path / "out.zarr.unfinished"
    assert json.loads((folder / "plan.json").read_text())["made_of"]["source"]["name"] == "volume"
    assert "ome" not in zarr.open_group(folder / "data.zarr", mode="r").attrs
    with pytest.raises(VolumeError):
        open_volume(folder)
