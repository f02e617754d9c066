"""What is written is what `reconstruct` computes, however the work is cut up, interrupted and taken up again."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from dask import delayed

from napari_niiv.errors import OutputError, ReconstructionError, VolumeError
from napari_niiv.export import (
    ExportConfig,
    ExportEvent,
    ExportFinished,
    ExportNotice,
    ExportProgress,
    ExportStarted,
    discard,
    export,
    fingerprint,
    shards,
)
from napari_niiv.export import store as store_module
from napari_niiv.io.open import open_volume
from napari_niiv.reconstruction.restoration import Restoration
from napari_niiv.reconstruction.whole import reconstruct
from napari_niiv.sections.repair import repair_sections
from napari_niiv.volume import Provenance, Volume
from tests.export.conftest import make


def written(path: Path, level: int = 0) -> np.ndarray:
    return zarr.open_array(path / str(level), mode="r")[...]


def run(*arguments) -> list:
    return list(export(*arguments))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int32", "bool"])
@pytest.mark.parametrize("planes", ["both", "xz"])
def test_it_is_the_reconstruction(small_model, texture, config, tmp_path, dtype: str, planes: str) -> None:
    array = texture((13, 37, 45))
    volume = make(array > 0.5 if dtype == "bool" else array, dtype)
    events = run(volume, small_model(), tmp_path / "out.zarr", config(planes=planes))
    expected = reconstruct(volume, small_model(), planes=planes, block=(8, 16))
    result = written(tmp_path / "out.zarr")
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, expected.array.compute())
    first, last = events[0], events[-1]
    assert isinstance(first, ExportStarted)
    assert isinstance(last, ExportFinished)
    assert first.shape == last.shape == expected.shape == (52, 37, 45)
    assert last.path == tmp_path / "out.zarr"
    assert last.voxel_size == pytest.approx(expected.voxel_size)
    assert os.listdir(tmp_path) == ["out.zarr"]


@pytest.mark.parametrize("options", [{"output_scale": 0.5}, {"output_scale": 1.7}, {"project": True}])
def test_options_are_those_of_reconstruct(small_model, volume, tmp_path, options) -> None:
    """With the blocks that suit the device: the same ones by default."""
    run(volume, small_model(), tmp_path / "out.zarr", ExportConfig(**options))
    expected = reconstruct(volume, small_model(), **options)
    np.testing.assert_array_equal(written(tmp_path / "out.zarr"), expected.array.compute())


def test_a_box_is_a_cut_of_the_whole(small_model, volume, config, tmp_path) -> None:
    box = ((3, 9), (5, 30), (0, 45))
    last = run(volume, small_model(), tmp_path / "out.zarr", config(box=box))[-1]
    whole = reconstruct(volume, small_model())
    result = written(tmp_path / "out.zarr")
    assert last.shape == result.shape == (24, 25, 45)
    expected = whole.array.compute()[12:36, 5:30].astype(int)
    assert np.abs(result - expected).max() <= 1  # blocks begin elsewhere: a rounding apart
    transforms = zarr.open_group(tmp_path / "out.zarr", mode="r").attrs["ome"]["multiscales"][0]["datasets"][0]
    origin = transforms["coordinateTransformations"][1]["translation"]
    np.testing.assert_allclose(origin, np.array(whole.origin) + np.array(whole.voxel_size) * (12, 5, 0))


def test_leading_axes_and_a_blank_channel(small_model, texture, config, tmp_path) -> None:
    array = texture((2, 3, 9, 20, 18))
    array[0, 1] = 0.25
    volume = make(array, axes="tczyx")
    events = run(volume, small_model(), tmp_path / "out.zarr", config())
    assert [e.message for e in events if isinstance(e, ExportNotice)] == [
        "1 of 6 T/C indices are constant and written as they are."
    ]
    result = written(tmp_path / "out.zarr")
    assert result.shape == (2, 3, 36, 20, 18)
    assert (result[0, 1] == 50).all()
    for t, c in set(np.ndindex(2, 3)) - {(0, 1)}:
        expected = reconstruct(volume.at(t, c), small_model(), block=(8, 16)).array.compute()
        np.testing.assert_array_equal(result[t, c], expected)


def test_a_constant_volume_is_refused(small_model, tmp_path) -> None:
    with pytest.raises(VolumeError, match="constant"):
        run(make(np.ones((5, 9, 9))), small_model(), tmp_path / "out.zarr")
    assert not os.listdir(tmp_path)


def test_types_of_the_output(small_model, texture, config, tmp_path) -> None:
    volume = make(texture((9, 20, 18)), "uint16")
    model = small_model()
    real = reconstruct(make(texture((9, 20, 18)), "uint16"), model, block=(8, 16)).array.compute()
    for dtype in ("float32", "uint8", "uint16"):
        run(volume, model, tmp_path / f"{dtype}.zarr", config(dtype=dtype))
        result = written(tmp_path / f"{dtype}.zarr")
        assert result.dtype == dtype
        highest = 255 if dtype == "uint8" else 65535
        assert np.abs(result.astype(float).clip(0, highest) - real.clip(0, highest)).max() <= 0.51
    for bad in (make(texture((9, 20, 18)) * 50, "uint16"), make(texture((9, 20, 18)) / 200, "float32")):
        with pytest.raises(OutputError, match="do not fit the type uint8; choose float32"):
            run(bad, model, tmp_path / "bad.zarr", config(dtype="uint8"))


def test_progress_ends_with_everything(small_model, volume, config, tmp_path) -> None:
    events = run(volume, small_model(), tmp_path / "out.zarr", config())
    for stage, total in (("restore", 52 * 37 * 45), ("pyramid", None)):
        steps = [e for e in events if isinstance(e, ExportProgress) and e.stage == stage]
        if total is None:
            assert not steps  # fits the coarsest already
            continue
        assert [s.done for s in steps] == sorted(s.done for s in steps)
        assert steps[-1].done == steps[-1].total == total
        assert steps[-1].fraction == 1
        assert steps[-1].remaining == 0
        assert all(s.voxels_per_second > 0 for s in steps)


def test_a_block_that_takes_long_shows_signs_of_life(small_model, volume, config, tmp_path, monkeypatch) -> None:
    """So that who listens can give up in the middle of it."""
    proceed = threading.Event()

    class Slow(Restoration):
        def compute(self, source, block, interrupt=None):
            while not proceed.wait(0.01):
                interrupt()
            return super().compute(source, block, interrupt)

    monkeypatch.setattr("napari_niiv.export.work.Restoration", Slow)
    monkeypatch.setattr("napari_niiv.export.engines.local.HEARTBEAT", 0.01)
    target = tmp_path / "out.zarr"
    events = export(volume, small_model(), target, config())
    next(events)
    for _ in range(3):
        beat = next(events)
        assert (beat.stage, beat.done, beat.voxels_per_second, beat.remaining) == ("restore", 0, 0, None)
    events.close()
    proceed.set()
    assert isinstance(run(volume, small_model(), target, config(resume=True))[-1], ExportFinished)


def test_nothing_but_the_box_is_read(small_model, config, tmp_path) -> None:
    class Watched:
        shape, dtype, deepest = (200, 64, 64), np.dtype(np.uint8), 0

        def __getitem__(self, key):
            if key[0].stop - key[0].start > 1:  # not the slices that the normalisation looks at
                type(self).deepest = max(type(self).deepest, key[0].stop)
            return np.random.default_rng(0).integers(0, 255, self.shape, np.uint8)[key]

    volume = repair_sections(Volume(Watched(), voxel_size=(4, 1, 1)), bridge=False)  # else all are looked at
    run(volume, small_model(), tmp_path / "out.zarr", config(box=((0, 10), (0, 20), (0, 20))))
    assert 10 <= Watched.deepest <= 30


def cancelled(volume: Volume, model, target: Path, config: ExportConfig, steps: int = 3) -> None:
    events = export(volume, model, target, config)
    next(events)
    done = [0]
    while len(done) <= steps:
        if (event := next(events)).done > done[-1]:  # and no sign of life from within a block
            done.append(event.done)
    events.close()


def test_cancel_and_resume(small_model, volume, config, tmp_path, monkeypatch) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    run(volume, model, tmp_path / "whole.zarr", config())
    cancelled(volume, model, target, config(), steps=5)
    assert not target.exists()
    with pytest.raises(OutputError, match="continue with resume=True or start anew with overwrite=True"):
        run(volume, model, target, config())
    done = len((tmp_path / "out.zarr.unfinished" / "journal").read_text().splitlines())
    assert done >= 1
    written_now = []
    real = store_module.Unfinished.record
    monkeypatch.setattr(
        store_module.Unfinished,
        "record",
        lambda self, unit, size: written_now.append(unit) or real(self, unit, size),
    )
    first, *_, last = run(volume, model, target, config(resume=True))
    assert 0 < first.resumed < 52 * 37 * 45
    assert len(written_now) + done == 2 * 3 * 2  # 64 x 16 x 32 ... shards of the full resolution
    assert isinstance(last, ExportFinished)
    np.testing.assert_array_equal(written(target), written(tmp_path / "whole.zarr"))
    assert sorted(os.listdir(tmp_path)) == ["out.zarr", "whole.zarr"]


def test_resume_with_nothing_begun_begins(small_model, volume, config, tmp_path) -> None:
    first, *_ = run(volume, small_model(), tmp_path / "out.zarr", config(resume=True))
    assert first.resumed == 0


def test_discard(small_model, volume, config, tmp_path) -> None:
    target = tmp_path / "out.zarr"
    assert not discard(target)
    cancelled(volume, small_model(), target, config())
    assert discard(target)
    assert not os.listdir(tmp_path)
    (tmp_path / "out.zarr.unfinished").mkdir()
    (tmp_path / "out.zarr.unfinished" / "thesis.txt").touch()
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        discard(target)


def test_a_journal_torn_by_a_crash(small_model, volume, config, tmp_path) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    cancelled(volume, model, target, config(), steps=5)
    journal = tmp_path / "out.zarr.unfinished" / "journal"
    with journal.open("a") as file:
        file.write("0/1")  # of 0/11, say
    for shard in (tmp_path / "out.zarr.unfinished").rglob("c/*/*/*"):  # and a shard that no line names
        if shard.is_file() and len(journal.read_text().splitlines()) == 0:
            shard.write_bytes(b"half")
    run(volume, model, target, config(resume=True))
    expected = reconstruct(volume, model, block=(8, 16)).array.compute()
    np.testing.assert_array_equal(written(target), expected)


def test_an_unfinished_export_of_something_else(small_model, volume, texture, config, tmp_path) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    cancelled(volume, model, target, config())
    others = {
        "another source": (make(texture((13, 37, 44))), model, config(resume=True)),
        "another source;": (make(texture((13, 37, 45), seed=1)), model, config(resume=True)),
        "another model": (volume, small_model(seed=1), config(resume=True)),
        "other settings": (volume, model, config(resume=True, planes="yz")),
    }
    for what, arguments in others.items():
        with pytest.raises(OutputError, match=f"was begun with {what}.*start anew with overwrite=True") as caught:
            run(*arguments[:2], target, arguments[2])
        assert "\n" not in str(caught.value)
    with pytest.raises(OutputError, match="planes: both, now yz"):
        run(volume, model, target, config(resume=True, planes="yz"))
    run(volume, model, target, config(overwrite=True, planes="yz"))
    assert os.listdir(tmp_path) == ["out.zarr"]


def test_a_target_is_replaced_when_the_new_one_is_complete(small_model, volume, config, tmp_path) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    run(volume, model, target, config(planes="xz"))
    before = written(target)
    with pytest.raises(OutputError, match="exists already"):
        run(volume, model, target, config())
    cancelled(volume, model, target, config(overwrite=True))
    np.testing.assert_array_equal(written(target), before)
    run(volume, model, target, config(overwrite=True, resume=True))
    assert (written(target) != before).any()
    assert os.listdir(tmp_path) == ["out.zarr"]


def test_the_disk_becomes_full(small_model, volume, config, tmp_path, monkeypatch) -> None:
    model, target = small_model(), tmp_path / "out.zarr"
    real, calls = shards.write_shard, []

    def full(*arguments) -> int:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr("napari_niiv.export.work.write_shard", full)
    with pytest.raises(OutputError, match="The disk is full; free space and go on with resume=True"):
        run(volume, model, target, config())
    first, *_ = run(volume, model, target, config(resume=True))
    assert first.resumed > 0
    expected = reconstruct(volume, model, block=(8, 16)).array.compute()
    np.testing.assert_array_equal(written(target), expected)


def test_too_little_space_is_noticed_at_the_start(small_model, volume, config, tmp_path, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr("napari_niiv.export.checks.shutil.disk_usage", lambda path: usage)
    events = run(volume, small_model(), tmp_path / "out.zarr", config())
    assert any(isinstance(e, ExportNotice) and "the disk may become full" in e.message for e in events)
    with pytest.raises(OutputError, match="are free in"):
        run(volume, small_model(), tmp_path / "out.tif", config())


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_a_source_that_does_not_stay(small_model, texture, config, tmp_path, how: str) -> None:
    source = tmp_path / "source.npy"
    np.save(source, (200 * texture((13, 37, 45))).astype(np.uint8))
    array = np.load(source, mmap_mode="r")
    volume = Volume(array, voxel_size=(4, 1, 1), name="source", provenance=Provenance(str(source)))
    events = export(volume, small_model(), tmp_path / "out.zarr", config())
    next(events)
    if how == "gone":
        source.unlink()
    else:
        os.utime(source, ns=(1, 1))
    with pytest.raises(VolumeError, match="is gone" if how == "gone" else "was changed"):
        list(events)


@pytest.fixture(params=["zarr", "slices"])
def folder(request: pytest.FixtureRequest, texture, tmp_path) -> Path:
    """A store, or a folder of slices."""
    voxels = (200 * texture((13, 37, 45))).astype(np.uint8)
    path = tmp_path / f"source.{request.param}"
    if request.param == "zarr":
        zarr.create_array(path, data=voxels, chunks=(4, 16, 16), compressors=None)
    else:
        path.mkdir()
        for number, plane in enumerate(voxels):
            tifffile.imwrite(path / f"slice_{number:03}.tif", plane)
    return path


def one_of(folder: Path) -> Path:
    """A chunk, or a slice."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "zarr.json")[-1]


def rewrite(path: Path) -> None:
    """With other voxels; what comes before them stays."""
    contents = path.read_bytes()
    path.write_bytes(contents[:-500] + bytes(255 - byte for byte in contents[-500:]))


def begun(events: Iterator[ExportEvent], target: Path) -> None:
    """Export until something is kept."""
    journal = store_module.unfinished_path(target) / "journal"
    while not (journal.exists() and journal.stat().st_size):
        next(events)


@pytest.mark.parametrize("change", [rewrite, Path.unlink])
@pytest.mark.parametrize("when", ["meanwhile", "at the end", "between"])
def test_a_folder_that_is_changed(small_model, config, folder, tmp_path, change, when: str, monkeypatch) -> None:
    """It would be half of each, or zeros."""
    monkeypatch.setattr(fingerprint, "_EVERY", 0.0 if when == "meanwhile" else 1e9)
    volume, target = open_volume(folder, voxel_size=(4.0, 1.0, 1.0)), tmp_path / "out.tif"
    events = export(volume, small_model(), target, config(shard=1 << 13))
    begun(events, target)
    if when == "between":
        events.close()
    change(one_of(folder))
    if when == "between":
        expected = "was begun with another source" if change is rewrite else "another source|is not a readable"
        with pytest.raises((OutputError, VolumeError), match=expected):
            run(volume, small_model(), target, config(shard=1 << 13, resume=True))
    else:
        # a slice that is missing is told when it is read
        with pytest.raises(VolumeError, match="was changed while" if change is rewrite else ""):
            list(events)
    assert not target.exists()


@pytest.mark.parametrize("when", ["meanwhile", "between"])
@pytest.mark.parametrize("lazy", [False, True])
def test_voxels_of_no_file_that_are_changed(small_model, volume, config, tmp_path, when: str, lazy: bool) -> None:
    """Nothing but the voxels tells."""
    array, target = volume.array.copy(), tmp_path / "out.zarr"
    blocks = [
        da.from_delayed(delayed(lambda z=z: array[z : z + 1].copy(), pure=False)(), (1, 37, 45), array.dtype)
        for z in range(13)
    ]
    shown = da.concatenate(blocks) if lazy else array
    source = replace(volume, array=shown)
    events = export(source, small_model(), target, config())
    begun(events, target)
    if when == "between":
        events.close()
    array[6:] = 255 - array[6:]
    if when == "between":
        with pytest.raises(OutputError, match="was begun with another source; repeat"):
            run(source, small_model(), target, config(resume=True))
    else:
        with pytest.raises(VolumeError, match="was changed while it was being exported"):
            list(events)
    assert not target.exists()


def test_what_else_happens_in_a_folder_of_slices(small_model, config, folder, tmp_path) -> None:
    volume, target = open_volume(folder, voxel_size=(4.0, 1.0, 1.0)), tmp_path / "out.tif"
    events = export(volume, small_model(), target, config(shard=1 << 13))
    begun(events, target)
    events.close()
    if folder.suffix == ".slices":
        (folder / "notes.txt").write_text("looks good")
    first, *_ = run(volume, small_model(), target, config(shard=1 << 13, resume=True))
    assert first.resumed > 0


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (((3, 3), (0, 5), (0, 5)), "z range 3:3 is empty or beyond"),
        (((0, 3), (5, 38), (0, 5)), "y range 5:38 is empty or beyond"),
        (((0, 3), (0, 5), (-1, 5)), "x range -1:5"),
    ],
)
def test_boxes_that_make_no_sense(small_model, volume, config, tmp_path, box, message: str) -> None:
    with pytest.raises(OutputError, match=message):
        run(volume, small_model(), tmp_path / "out.zarr", config(box=box))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("scale", [0, -1, 17, float("nan")])
def test_scales_that_make_no_sense(small_model, volume, config, tmp_path, scale: float) -> None:
    with pytest.raises(ReconstructionError, match="output scale"):
        run(volume, small_model(), tmp_path / "out.zarr", config(output_scale=scale))
    assert not os.listdir(tmp_path)


KILLED = """
import os, sys, signal
import numpy as np
import torch
torch.cpu._is_avx512_bf16_supported = lambda: False  # the fixture `float32`
sys.path.insert(0, {tests!r})
from napari_niiv.export import ExportConfig, export
from napari_niiv.export import store
from napari_niiv import load_model
from napari_niiv.volume import Volume
real, count = store.Unfinished.record, 0
def record(self, unit, size):
    global count
    real(self, unit, size)
    count += 1
    if count == 4:
        os.kill(os.getpid(), signal.SIGKILL)
store.Unfinished.record = record
volume = Volume(np.load("source.npy"), voxel_size=(4, 1, 1))
model = load_model("tiny.safetensors", "cpu")
for event in export(volume, model, "out.zarr", ExportConfig(chunk=16, shard=1 << 14, block=(8, 16))):
    pass
"""


def test_killed_and_resumed(small_model, texture, config, tmp_path, monkeypatch) -> None:
    from napari_niiv import load_model
    from napari_niiv.models.card import Card
    from napari_niiv.models.checkpoint import save_model

    monkeypatch.chdir(tmp_path)
    model = small_model()
    save_model(model, Card(architecture=model.architecture), "tiny.safetensors")
    np.save("source.npy", (200 * texture((13, 37, 45))).astype(np.uint8))
    program = KILLED.format(tests=str(Path(__file__).parents[2]))
    done = subprocess.run([sys.executable, "-c", program], timeout=120, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    volume, model = (
        Volume(np.load("source.npy"), voxel_size=(4, 1, 1)),
        load_model("tiny.safetensors", "cpu"),
    )
    first, *_ = run(volume, model, Path("out.zarr"), config(resume=True))
    assert first.resumed > 0
    np.testing.assert_array_equal(written(Path("out.zarr")), reconstruct(volume, model, block=(8, 16)).array.compute())
    assert not Path("out.zarr.unfinished").exists()
