"""`napari-niiv reconstruct`: options, what exists already, interruptions, and who does the work."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_niiv import load_model, open_volume
from napari_niiv.cli import main
from napari_niiv.export.engines import dask_workers as cluster
from napari_niiv.export.store import Unfinished
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import save_model
from napari_niiv.reconstruction.whole import reconstruct
from tests.programs import start

Run = Callable[..., tuple[int, str, str]]
COMMON = ("--checkpoint", "tiny.safetensors", "--device", "cpu")


@pytest.fixture
def folder(tmp_path: Path, texture, small_model) -> Path:
    """Holds a stack, the same over time (each time is a unit of the export), and a checkpoint."""
    tags = {"spacing": 2.0, "unit": "um"}
    for name, shape, axes in (
        ("good", (6, 14, 15), "ZYX"),
        ("times", (40, 6, 24, 25), "TZYX"),
        ("few", (6, 5, 14, 15), "TZYX"),
    ):
        array = (200 * texture(shape)).astype(np.uint8)
        tifffile.imwrite(
            tmp_path / f"{name}.tif", array, imagej=True, resolution=(2, 2), metadata={"axes": axes, **tags}
        )
    model = small_model()
    save_model(model, Card(name="tiny", architecture=model.architecture), tmp_path / "tiny.safetensors")
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a reconstruction in the folder; says the status, stdout and stderr, that of other processes included."""
    monkeypatch.chdir(folder)

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(["reconstruct", *map(str, arguments), *COMMON])
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return call


def one_line(err: str) -> bool:
    return err.startswith("napari-niiv: ") and err.endswith("\n") and err.count("\n") == 1


def content(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def test_a_compressed_file_that_memory_should_not_hold(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, stored: Callable[[Path], dict[str, bytes]]
) -> None:
    """Of it pieces are read, and the user is told what is faster."""
    tags = {"axes": "ZYX", "PhysicalSizeZ": 2.0, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.5}
    tifffile.imwrite(folder / "packed.ome.tif", tifffile.imread(folder / "good.tif"), compression="zlib", metadata=tags)
    assert "slowly" not in run("packed.ome.tif", "decoded.zarr")[1]
    monkeypatch.setattr("napari_niiv.cli.reconstruct._DECODED_BYTES", 100)
    status, out, err = run("packed.ome.tif", "pieces.zarr")
    assert (status, err) == (0, "")
    assert "packed reads slowly" in out
    assert "napari-niiv copy packed.ome.tif OUT.zarr" in out
    decoded, pieces = stored(folder / "decoded.zarr"), stored(folder / "pieces.zarr")
    assert decoded["0"] == pieces["0"]


@pytest.mark.parametrize("suffix", [".zarr", ".tif", ".ome.tif"])
def test_options_reach_the_export(run: Run, folder: Path, suffix: str) -> None:
    options = ("--box", "1:5,2:12,0:15", "--dtype", "float32", "--planes", "xz", "--threads", "1")
    status, out, err = run("good.tif", f"out{suffix}", *options)
    assert (status, err) == (0, "")
    assert "16 × 10 × 15, voxel 0.5 × 0.5 × 0.5 micrometer" in out
    result = open_volume(folder / f"out{suffix}")
    assert (result.shape, result.dtype) == ((16, 10, 15), np.float32)
    assert result.origin == pytest.approx((2.0 - 0.75, 1.0, 0.0))
    whole = reconstruct(
        open_volume(folder / "good.tif"), load_model(str(folder / "tiny.safetensors"), "cpu"), planes="xz"
    )
    expected = whole.array.compute()[4:20, 2:12].astype(float)
    assert np.abs(np.asarray(result.array[...]).clip(0, 255) - expected).max() <= 0.51


def test_the_chunk(run: Run, folder: Path) -> None:
    assert run("good.tif", "out.zarr", "--chunk", "16")[0] == 0
    assert zarr.open_array(folder / "out.zarr" / "0", mode="r").chunks == (16, 16, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--box", "0:7,0:5,0:5"], "z range 0:7 is empty or beyond"),
        (["--box", "3:3,0:5,0:5"], "z range 3:3 is empty"),
        (["--chunk", "50"], "--chunk is 50"),
        (["--denoise", "-0.1"], "--denoise is -0.1: it should be auto, or a noise level from 0 to 1."),
        (["--denoise", "nan"], "--denoise is nan: it should be auto"),
        (["--denoise", "strong"], "--denoise is 'strong': it should be auto"),
        (["--denoise", "0.02"], "trained without noise"),
        (["--workers", "0"], "--workers is 0"),
        (["--threads", "0"], "--threads is 0"),
        (["--jobqueue", "slurm"], "needs the number of workers"),
        (["--jobqueue", "nonsense", "--workers", "2"], "--jobqueue is 'nonsense'"),
        (["--scheduler", "tcp://here:1", "--workers", "2"], "workers of its own"),
        (["--scheduler", ""], "--scheduler is ''"),
        (["--scheduler", "nonsense"], "no dask scheduler at 'nonsense'"),
        (["--scheduler", "foo://bar:1"], "no dask scheduler at 'foo://bar:1'"),
        (["--scheduler", "tls://127.0.0.1:9"], "no dask scheduler at 'tls://127.0.0.1:9'"),
        (["--scheduler", "tcp://127.0.0.1:9"], "no dask scheduler at 'tcp://127.0.0.1:9'"),
    ],
)
def test_options_that_make_no_sense(run: Run, folder: Path, monkeypatch, options: list[str], message: str) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "_TIMEOUT", 2)
    before = sorted(folder.iterdir())
    status, out, err = run("good.tif", "out.zarr", *options)
    assert (status, out) == (2, "")
    assert message in err
    assert one_line(err), err
    assert sorted(folder.iterdir()) == before


def test_a_box_that_is_none(run: Run, capfd) -> None:
    with pytest.raises(SystemExit) as stop:
        run("good.tif", "out.zarr", "--box", "1:2,3")
    assert stop.value.code == 2
    assert "'1:2,3' is not of the form Z0:Z1,Y0:Y1,X0:X1" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("there", "unfinished", "options", "message"),
    [
        (False, False, ["--resume"], ""),
        (False, False, ["--resume", "--overwrite"], ""),
        (True, False, [], "exists already"),
        (True, False, ["--resume"], ""),
        (True, False, ["--resume", "--planes", "yz"], "exists already"),
        (True, False, ["--resume", "--overwrite", "--planes", "yz"], ""),
        (True, False, ["--overwrite"], ""),
        (False, True, [], "continue with --resume or start anew with --overwrite"),
        (False, True, ["--resume"], ""),
        (False, True, ["--resume", "--planes", "yz"], "planes: both, now yz"),
        (False, True, ["--resume", "--overwrite", "--planes", "yz"], "with --overwrite and without --resume"),
        (False, True, ["--overwrite", "--planes", "yz"], ""),
        (False, True, ["--resume", "--overwrite"], ""),
        (True, True, [], "exists already"),
        (True, True, ["--resume"], "exists already"),
        (True, True, ["--overwrite"], ""),
        (True, True, ["--resume", "--overwrite"], ""),
    ],
)
def test_what_is_there_already(
    run: Run, folder: Path, monkeypatch, there: bool, unfinished: bool, options: list[str], message: str
) -> None:
    target = folder / "out.zarr"
    if there:
        assert run("few.tif", "out.zarr")[0] == 0
    if unfinished:
        real, records = Unfinished.record, []

        def record(self: Unfinished, *arguments: object) -> None:
            real(self, *arguments)
            records.append(arguments)
            if len(records) == 3:
                raise KeyboardInterrupt

        monkeypatch.setattr(Unfinished, "record", record)
        status, _, err = run("few.tif", "out.zarr", *(["--overwrite"] if there else []))
        assert status == 130
        assert "stopped; 3 of 6 parts are kept in out.zarr.unfinished: go on with --resume" in err
        monkeypatch.setattr(Unfinished, "record", real)
    before = content(folder)
    status, _, err = run("few.tif", "out.zarr", *options)
    assert (status, message in err) == (2 if message else 0, True)
    if message:
        assert one_line(err), err
        assert content(folder) == before
    else:
        assert not err
        assert sorted(os.listdir(folder)) == [
            "few.tif",
            "good.tif",
            "out.zarr",
            "times.tif",
            "tiny.safetensors",
        ]
        model = load_model(str(folder / "tiny.safetensors"), "cpu")
        planes = "yz" if "yz" in options else "both"
        for time_point in range(6):
            expected = reconstruct(open_volume(folder / "few.tif").at(time_point), model, planes=planes).array.compute()
            np.testing.assert_array_equal(zarr.open_array(target / "0", mode="r")[time_point], expected)


@pytest.mark.parametrize("output", ["good.tif", "link.tif", "series.zarr", "series.zarr/out.zarr", "slices/out.tif"])
def test_the_output_is_never_the_input(run: Run, folder: Path, output: str) -> None:
    (folder / "link.tif").symlink_to(folder / "good.tif")
    assert run("good.tif", "series.zarr")[0] == 0
    (folder / "slices").mkdir()
    for number, picture in enumerate(tifffile.imread(folder / "good.tif")):
        tifffile.imwrite(folder / "slices" / f"{number}.tif", picture)
    source = {"s": "series.zarr", "sl": "slices"}.get(output[:2] if output[:2] == "sl" else output[:1], "good.tif")
    before = content(folder)
    status, _, err = run(source, output, "--anisotropy", "2", "--overwrite")
    assert status == 2
    assert "choose another name" in err
    assert one_line(err), err
    assert content(folder) == before


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("how", "output"), [("SIGINT", "out.zarr"), ("SIGKILL", "out.ome.tif")])
def test_interrupted_and_resumed(
    folder: Path, how: str, output: str, stored: Callable[[Path], dict[str, bytes]]
) -> None:
    """Bit for bit what an export gives that was left alone."""
    command = ("reconstruct", "times.tif", output, *COMMON, "--threads", "1")

    def finished(*options: str) -> tuple[int | None, str, str]:
        process = start(*command, *options, cwd=folder)
        told = process.communicate(timeout=120)
        return process.returncode, *told

    target, journal = folder / output, folder / f"{output}.unfinished" / "journal"
    assert finished()[0] == 0
    target.rename(folder / f"alone-{output}")
    process = start(*command, cwd=folder)
    while process.poll() is None and (not journal.exists() or journal.stat().st_size < 20):
        time.sleep(0.001)  # a process tells nothing else of itself
    process.send_signal(signal.Signals[how])
    _, err = process.communicate(timeout=60)
    assert not target.exists()
    if how == "SIGINT":
        assert process.returncode == 130
        assert f"kept in {output}.unfinished: go on with --resume" in err
        assert one_line(err), err
    else:
        assert process.returncode == -signal.SIGKILL
    done = len(journal.read_text().splitlines())
    assert 1 <= done < 40
    status, _, err = finished("--resume")
    assert (status, err) == (0, "")
    status, again, _ = finished("--resume")
    assert status == 0
    assert again.startswith(f"{output} is complete already: ")
    alone = folder / f"alone-{output}"
    if target.is_dir():
        assert stored(target) == stored(alone)
    else:
        assert target.read_bytes() == alone.read_bytes()
    assert not journal.parent.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("what", ["ctrl-c", "kill"])
def test_workers_print_nothing(folder: Path, what: str) -> None:
    """Even where the terminal sends a Ctrl-C to all processes, or one of them dies."""
    pytest.importorskip("distributed")
    psutil = pytest.importorskip("psutil")
    process = start("reconstruct", "times.tif", "out.zarr", *COMMON, "--workers", "2", cwd=folder)
    journal = folder / "out.zarr.unfinished" / "journal"
    while process.poll() is None and (not journal.exists() or not journal.stat().st_size):
        time.sleep(0.001)
    children = psutil.Process(process.pid).children(recursive=True)
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    if what == "kill":
        workers[0].kill()
    else:
        os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    if what == "ctrl-c":
        assert process.returncode == 130
        assert one_line(err), err
        assert "go on with --resume" in err
        _, still = psutil.wait_procs(workers, timeout=20)
        assert not still
    else:
        assert (process.returncode, err) == (0, "")
        assert zarr.open_array(folder / "out.zarr" / "0", mode="r").shape == (40, 24, 24, 25)


def test_a_folder_that_vanishes(run: Run, folder: Path, monkeypatch) -> None:
    """Such as a share that is taken away in the middle."""
    real = Unfinished.record

    def record(self: Unfinished, *arguments: object) -> None:
        real(self, *arguments)
        shutil.rmtree(self.folder)

    monkeypatch.setattr(Unfinished, "record", record)
    status, _, err = run("times.tif", "out.zarr")
    assert status == 2
    assert one_line(err), err


@pytest.mark.parametrize(("kind", "said"), [("em", ""), ("lm", "em suits this volume better than lm")])
def test_a_checkpoint_for_other_microscopy_is_said_to_be_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str, said: str
) -> None:
    sample = resources.files("napari_niiv") / "plugin" / "data" / "fib25_8x.tif"
    options = ["--checkpoint", kind, "--box", "0:4,0:48,0:48", "--device", "cpu"]
    assert main(["reconstruct", str(sample), str(tmp_path / "out.tif"), *options]) == 0
    err = capfd.readouterr().err
    assert said in err
    assert ("Give --checkpoint em." in err) is bool(said)
    assert ("suits" in err) is bool(said)


def test_what_a_file_says_in_two_ways_is_told_once(run: Run, folder: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(tifffile.imread(folder / "good.tif").T, np.diag([0.5, 0.5, 2.0, 1.0]))
    image.header.set_xyzt_units("mm")
    image.header["sform_code"], image.header["qform_code"] = 1, 0
    nibabel.save(image, folder / "two.nii")
    content = bytearray((folder / "two.nii").read_bytes())
    content[80:92] = np.ones(3, "<f4").tobytes()
    (folder / "two.nii").write_bytes(content)
    status, out, err = run("two.nii", "two.zarr")
    assert status == 0
    assert one_line(err)
    assert "its sform says a voxel of 2 × 0.5 × 0.5" in err
    assert "two.zarr" in out
