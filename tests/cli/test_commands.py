"""The command line: status 0, or 2 with one line on stderr; never a traceback, never half an output."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from napari_niiv import open_volume
from napari_niiv.cli import main
from napari_niiv.cli.commands import parser
from napari_niiv.io.remembered import Correction, remember
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import save_model

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, texture, small_model) -> Path:
    """Holds a good stack, a checkpoint, and every kind of bad input."""
    good = (200 * texture((6, 14, 15))).astype(np.uint8)
    real = good.astype(np.float32)

    def stack(name: str, array: np.ndarray, **metadata) -> None:
        tags = {"axes": "ZYX", "spacing": 2.0, "unit": "um"} | metadata
        tags = {key: value for key, value in tags.items() if value is not None}
        tifffile.imwrite(tmp_path / name, array, imagej=True, resolution=(2.0, 2.0), metadata=tags)

    stack("good.tif", good)
    stack("constant.tif", np.full_like(good, 9))
    for name, value in (("nan.tif", np.nan), ("inf.tif", np.inf)):
        bad = real.copy()
        bad[:] = value
        stack(name, bad)
    stack("zero.tif", good, spacing=0)
    stack("negative.tif", good, spacing=-2.0)
    stack("unsaid.tif", good, spacing=None)
    stack("isotropic.tif", good, spacing=0.5)
    stack("steep.tif", good, spacing=40.0)
    tifffile.imwrite(tmp_path / "flat.tif", good[0])
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((9, 9, 3), np.uint8), photometric="rgb")
    np.save(tmp_path / "empty.npy", good[:0])
    np.save(tmp_path / "good.npy", good)
    (tmp_path / "noise.tif").write_bytes(b"noise")
    (tmp_path / "none.jpg").write_bytes(b"x")
    whole = (tmp_path / "good.tif").read_bytes()
    (tmp_path / "truncated.tif").write_bytes(whole[: len(whole) * 3 // 4])
    model = small_model()
    save_model(model, Card(name="tiny", architecture=model.architecture), tmp_path / "tiny.safetensors")
    whole = (tmp_path / "tiny.safetensors").read_bytes()
    (tmp_path / "short.safetensors").write_bytes(whole[:500])
    torch.save({"a": torch.zeros(2)}, tmp_path / "pickle.pth")
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in the folder; says the status, stdout and stderr."""
    monkeypatch.chdir(folder)

    def call(*arguments: str) -> tuple[int, str, str]:
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_reconstruct(run: Run, folder: Path) -> None:
    status, out, err = run("reconstruct", "good.tif", "out.tif", "--checkpoint", "tiny.safetensors")
    assert (status, err) == (0, "")
    assert "24 × 14 × 15" in out
    result = open_volume(folder / "out.tif")
    assert (result.shape, result.dtype, result.unit) == ((24, 14, 15), np.uint8, "micrometer")
    assert result.voxel_size == pytest.approx((0.5, 0.5, 0.5))
    assert not list(folder.glob(".*"))


def test_options(run: Run, folder: Path) -> None:
    common = ("--checkpoint", "tiny.safetensors", "--device", "cpu")
    options = ("--anisotropy", "3", "--output-scale", "2", "--planes", "xz", "--axes", "ZYX")
    status, _, err = run("reconstruct", "good.npy", "out.ome.tif", *common, *options)
    assert (status, err) == (0, "")
    assert open_volume(folder / "out.ome.tif").shape == (36, 28, 30)
    before = (folder / "out.ome.tif").read_bytes()
    status, _, err = run("reconstruct", "good.tif", "out.ome.tif", *common, "--overwrite")
    assert (status, err) == (0, "")
    assert (folder / "out.ome.tif").read_bytes() != before
    for name in ("zero.tif", "negative.tif", "unsaid.tif", "isotropic.tif"):
        assert run("reconstruct", name, f"from-{name}", *common, "--anisotropy", "2.5")[0] == 0


BAD = {
    "2-D": (["flat.tif"], "no Z"),
    "RGB": (["rgb.tif"], "RGB"),
    "empty": (["empty.npy", "--anisotropy", "2"], "empty"),
    "constant": (["constant.tif"], "constant"),
    "NaN": (["nan.tif"], "nothing but NaN"),
    "inf": (["inf.tif"], "nothing but NaN"),
    "all padding": (["constant.tif", "--empty", "9"], "is empty: it holds nothing but 9"),
    "zero z step": (["zero.tif"], "z step is 0; give the factor with --anisotropy"),
    "negative z step": (["negative.tif"], "z step is -2"),
    "missing z step": (["unsaid.tif"], "does not say its z step"),
    "no voxel size": (["good.npy"], "does not say its z step"),
    "isotropic": (["isotropic.tif"], "isotropic already"),
    "too anisotropic": (["steep.tif"], "outside 1 to 16"),
    "anisotropy 0.5": (["good.tif", "--anisotropy", "0.5"], "outside 1 to 16"),
    "anisotropy 17": (["good.tif", "--anisotropy", "17"], "outside 1 to 16"),
    "anisotropy nan": (["good.tif", "--anisotropy", "nan"], "outside 1 to 16"),
    "anisotropy -2": (["good.tif", "--anisotropy=-2"], "outside 1 to 16"),
    "scale 0": (["good.tif", "--output-scale", "0"], "outside 0 to 16"),
    "scale nan": (["good.tif", "--output-scale", "nan"], "outside 0 to 16"),
    "unreadable": (["noise.tif"], "noise.tif is not a readable TIFF"),
    "truncated": (["truncated.tif"], "truncated.tif is"),
    "missing": (["missing.tif"], "There is no file"),
    "another kind": (["none.jpg"], "of a kind that cannot be read"),
    "a folder": (["."], "is a stack of shape"),
    "wrong axes": (["good.tif", "--axes", "zyxc"], "do not fit"),
    "device absent": (["good.tif", "--device", "cuda:77"], "not present"),
    "device unknown": (["good.tif", "--device", "quantum"], "There is no device"),
    "checkpoint missing": (["good.tif", "--checkpoint", "missing"], "There is no checkpoint"),
    "checkpoint a pickle": (["good.tif", "--checkpoint", "pickle.pth"], "is a pickle"),
    "checkpoint truncated": (
        ["good.tif", "--checkpoint", "short.safetensors"],
        "truncated or not a checkpoint",
    ),
    "checkpoint a volume": (["good.tif", "--checkpoint", "good.tif"], "truncated or not a checkpoint"),
}


def one_line(err: str) -> bool:
    return err.startswith("napari-niiv: ") and err.endswith("\n") and err.count("\n") == 1


@pytest.mark.parametrize("case", BAD)
def test_bad_input(run: Run, folder: Path, case: str) -> None:
    arguments, message = BAD[case]
    checkpoint = [] if "--checkpoint" in arguments else ["--checkpoint", "tiny.safetensors"]
    before = sorted(folder.iterdir())
    status, out, err = run("reconstruct", arguments[0], "out.tif", *arguments[1:], *checkpoint)
    assert (status, out) == (2, "")
    assert message in err
    assert one_line(err), err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("source", "output", "options", "message"),
    [
        ("good.tif", "constant.tif", [], "exists already"),
        ("good.tif", "none/out.tif", [], "does not exist"),
        ("good.tif", "good.tif", ["--overwrite"], "output is the input"),
        ("good.tif", "./link.tif", ["--overwrite"], "output is the input"),
        ("missing.tif", "good.tif", ["--overwrite"], "There is no file"),
        ("good.tif", "out.png", [], "must end in"),
        ("good.tif", "out", [], "must end in"),
        ("good.tif", "folder.tif", ["--overwrite"], "is a folder"),
    ],
)
def test_bad_output(run: Run, folder: Path, source: str, output: str, options: list[str], message: str) -> None:
    (folder / "folder.tif").mkdir()
    (folder / "link.tif").symlink_to(folder / "good.tif")
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    status, _, err = run("reconstruct", source, output, "--checkpoint", "tiny.safetensors", *options)
    assert status == 2
    assert message in err
    assert one_line(err), err
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_an_unwritable_folder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    status, _, err = run("reconstruct", "good.tif", "out.tif", "--checkpoint", "tiny.safetensors")
    assert status == 2
    assert "cannot be written to" in err
    assert one_line(err)


def test_interruption_leaves_nothing(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_niiv.io.write.os.replace", interrupt)
    before = sorted(folder.iterdir())
    status, _, err = run("reconstruct", "good.tif", "out.tif", "--checkpoint", "tiny.safetensors")
    assert status == 130
    assert "stopped" in err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unknown"],
        ["reconstruct"],
        ["reconstruct", "a.tif"],
        ["reconstruct", "a.tif", "b.tif", "--planes", "xy"],
        ["reconstruct", "a.tif", "b.tif", "--anisotropy", "much"],
        ["info"],
    ],
)
def test_command_lines_that_make_no_sense(run: Run, arguments: list[str]) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "usage: napari-niiv" in err
    assert "_number" not in err


def test_help_and_version(run: Run) -> None:
    assert run("--help")[0] == 0
    status, out, _ = run("--version")
    assert (status, out.split()[0]) == (0, "napari-niiv")


def test_info_on_a_volume(run: Run) -> None:
    status, out, err = run("info", "good.tif")
    assert (status, err) == (0, "")
    facts = dict(line.split(maxsplit=1) for line in out.splitlines() if not line.startswith("voxel"))
    assert facts == {
        "name": "good",
        "axes": "ZYX",
        "shape": "6 × 14 × 15",
        "type": "uint8",
        "anisotropy": "4",
    }
    assert "2 × 0.5 × 0.5 micrometer" in out
    assert "does not say its z step" in run("info", "unsaid.tif")[1]


def test_what_napari_remembers_holds_here_until_an_option_says_otherwise(run: Run, folder: Path) -> None:
    remember(folder / "unsaid.tif", Correction((3.0, 0.5, 0.5), "micrometer"))
    _, out, _ = run("info", "unsaid.tif")
    assert "3 × 0.5 × 0.5 micrometer" in out
    assert "note        voxel size 3 × 0.5 × 0.5 µm (z × y × x) as you have set it" in out
    assert "does not say" not in out
    _, out, _ = run("info", "unsaid.tif", "--voxel-size", "2", "1", "1")
    assert "2 × 1 × 1 micrometer" in out
    assert "as you have set it" not in out
    status, out, _ = run("reconstruct", "unsaid.tif", "out.tif", "--checkpoint", "tiny.safetensors")
    assert status == 0
    assert "36 × 14 × 15" in out


def test_copy(run: Run, folder: Path) -> None:
    status, out, err = run("copy", "good.tif", "copy.zarr", "--voxel-size", "3", "1", "1")
    assert (status, err) == (0, "")
    assert "copy.zarr: 6 × 14 × 15" in out
    copy = open_volume(folder / "copy.zarr")
    assert (copy.voxel_size, copy.unit) == ((3, 1, 1), "micrometer")
    np.testing.assert_array_equal(copy.array, tifffile.imread(folder / "good.tif"))
    status, _, err = run("copy", "unsaid.tif", "other.zarr")
    assert status == 0
    assert "does not say its z step, nor will the copy" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["good.tif", "good.tif"], "must end in .zarr"),
        (["good.tif", "taken.zarr"], "exists already"),
        (["good.tif", "none/copy.zarr"], "does not exist"),
        (["missing.tif", "copy.zarr"], "There is no file"),
        (["truncated.tif", "copy.zarr"], "truncated.tif is"),
    ],
)
def test_copies_that_cannot_be(run: Run, folder: Path, arguments: list[str], message: str) -> None:
    (folder / "taken.zarr").mkdir()
    before = sorted(folder.iterdir())
    status, out, err = run("copy", *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert one_line(err), err
    assert sorted(folder.iterdir()) == before


def test_a_copy_that_is_interrupted_leaves_nothing(run: Run, folder: Path, monkeypatch) -> None:
    from napari_niiv.io import copy as module

    def press(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_attributes", press)
    before = sorted(folder.iterdir())
    status, _, err = run("copy", "good.tif", "copy.zarr")
    assert status == 130
    assert err.strip() == "napari-niiv: stopped; nothing was kept of the copy."
    assert sorted(folder.iterdir()) == before


def test_info_on_a_checkpoint(run: Run) -> None:
    status, out, _ = run("info", "tiny.safetensors")
    assert status == 0
    assert Card.model_validate_json(out).name == "tiny"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.tif", "There is no file"),
        ("missing.safetensors", "There is no checkpoint"),
        ("short.safetensors", "truncated"),
        ("pickle.pth", "is a pickle"),
        ("truncated.tif", "truncated.tif is"),
        ("flat.tif", "no Z"),
        ("rgb.tif", "RGB"),
        ("empty.npy", "empty"),
        ("none.jpg", "of a kind"),
    ],
)
def test_info_on_bad_files(run: Run, path: str, message: str) -> None:
    status, out, err = run("info", path)
    assert (status, out) == (2, "")
    assert message in err
    assert one_line(err), err


def test_the_demo_needs_napari(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "napari_niiv.plugin.demo", raising=False)
    monkeypatch.setitem(sys.modules, "napari", None)
    status, _, err = run("demo")
    assert status == 2
    assert "pip install" in err
    assert one_line(err)


def test_as_a_program(folder: Path) -> None:
    program = [sys.executable, "-m", "napari_niiv"]
    done = subprocess.run([*program, "info", "em"], capture_output=True, text=True, cwd=folder, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert Card.model_validate_json(done.stdout).name == "em"
    bad = [*program, "reconstruct", "nan.tif", "out.tif", "--checkpoint", "tiny.safetensors"]
    done = subprocess.run(bad, capture_output=True, text=True, cwd=folder, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr), done.stderr
    assert not (folder / "out.tif").exists()


def test_every_command_is_described() -> None:
    text = parser().format_help()
    for command in ("demo", "reconstruct", "copy", "info"):
        assert command in text


@pytest.mark.parametrize("option", ["--image", "--dataset"])
def test_the_images_of_a_file_are_listed_and_named(run: Run, tmp_path: Path, option: str) -> None:
    h5py = pytest.importorskip("h5py")
    array = np.random.default_rng(0).integers(0, 200, (3, 16, 20), np.uint8)
    with h5py.File(tmp_path / "several.h5", "w") as file:
        file["cells/labels"], file["raw"] = np.zeros((3, 16, 20), np.uint64), array
        file["raw"].attrs["element_size_um"] = [4.0, 0.5, 0.5]
    status, output, errors = run("info", "several.h5")
    assert (status, output.splitlines()) == (
        2,
        ["image       raw (3 × 16 × 20 uint8, 4 × 0.5 × 0.5 µm)", "image       cells/labels (3 × 16 × 20 uint64)"],
    )
    assert errors.endswith("cells/labels (3 × 16 × 20 uint64); give one with --image.\n")
    status, output, _ = run("info", "several.h5", option, "raw")
    assert (status, "4 × 0.5 × 0.5 micrometer" in output) == (0, True)


def test_missing_slices_are_told_also_where_they_are_used(run: Run, folder: Path) -> None:
    (folder / "slices").mkdir()
    for number in (1, 2, 4):
        path = folder / "slices" / f"s{number}.tif"
        tifffile.imwrite(path, np.full((8, 9), number, np.uint8), photometric="minisblack")
    status, _, errors = run("copy", "slices", "copy.zarr", "--voxel-size", "4", "1", "1")
    assert (status, "napari-niiv: slices: the folder lacks the slices 3." in errors) == (0, True)
