"""`napari-niiv train`: its options reach the training, bad ones are one line; what an interruption leaves goes on."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from safetensors import safe_open

from napari_niiv import load_model
from napari_niiv.cli import main
from napari_niiv.degradation import Average, Gaussian, Measured, Skip
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import read_card, save_model
from napari_niiv.training.config import DEFAULT_MINUTES, TrainingConfig
from napari_niiv.training.events import Event, Finished, Notice, Preparing, TrainingStep, Validation
from napari_niiv.volume import Volume
from tests.programs import Program, start

Run = Callable[..., tuple[int, str, str]]
TINY = ("--device", "cpu", "--batch", "1", "--steps")
ONE = ("train", "good.tif", "--output", "new.safetensors")


@pytest.fixture
def folder(tmp_path: Path, texture, small_model) -> Path:
    """Holds a good volume, a point's image, checkpoints, and what no training can begin with."""
    good = (200 * texture((6, 32, 32))).astype(np.uint8)

    def write(name: str, array: np.ndarray, spacing: float | None = 2.0) -> None:
        metadata = {"axes": "ZYX", "unit": "um"} | ({} if spacing is None else {"spacing": spacing})
        tifffile.imwrite(tmp_path / name, array, imagej=True, resolution=(2.0, 2.0), metadata=metadata)

    write("good.tif", good)
    write("small.tif", good[:, :14])
    write("thin.tif", good[:2])
    write("constant.tif", np.full_like(good, 9))
    write("isotropic.tif", good, spacing=0.5)
    write("unsaid.tif", good, spacing=None)
    np.save(tmp_path / "good.npy", good)
    z, y, x = np.mgrid[-5:6, -4:5, -4:5]
    point = (1000 * np.exp(-(z**2 / 8 + (y**2 + x**2) / 4))).astype(np.uint16)
    write("point.tif", point, spacing=0.4)
    write("point-unsaid.tif", point, spacing=None)
    write("point-flat.tif", np.ones_like(point))
    (tmp_path / "noise.tif").write_bytes(b"noise")
    for name, architecture in {
        "old": {},
        "steep": {"anisotropy_range": (9, 9)},
        "foreign": {"decoder": "reference", "context": 0},
    }.items():
        model = small_model(**architecture)
        card = Card(name=name, architecture=model.architecture)
        save_model(model, card, tmp_path / f"{name}.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    return tmp_path


@pytest.fixture
def run(folder: Path, one_thread: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `train` in the folder; says the status, stdout and stderr."""
    monkeypatch.chdir(folder)

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(["train", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {p: p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def one_line(err: str) -> bool:
    return err.startswith("napari-niiv: ") and err.endswith("\n") and err.count("\n") == 1


# what reaches the training


@pytest.fixture
def asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[Volume], TrainingConfig]]:
    """What a command line asks of the training, which is not done."""
    calls: list[tuple[list[Volume], TrainingConfig]] = []

    def noted(volumes: list[Volume], config: TrainingConfig) -> Iterator[Event]:
        calls.append((list(volumes), config))
        yield Finished(config.output, 0.0, 0, 0.0)

    monkeypatch.setattr("napari_niiv.training.train.train", noted)

    def ask(*arguments: str) -> tuple[list[Volume], TrainingConfig]:
        status, _, err = run(*arguments)
        assert (status, err) == (0, "")
        (call,) = calls
        return call

    return ask


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ("", {"minutes": DEFAULT_MINUTES}),
        ("--minutes 2.5", {"minutes": 2.5}),
        ("--steps 70", {"steps": 70}),
        ("--minutes 1 --steps 70", {"minutes": 1, "steps": 70}),
        ("--init em", {"init": "em"}),
        ("--init old.safetensors", {"init": "old.safetensors"}),
        ("--degradation average", {"degradation": Average()}),
        ("--degradation gaussian --fwhm 1.5", {"degradation": Gaussian(fwhm=1.5)}),
        ("--degradation skip --thickness 0.3", {"degradation": Skip(thickness=0.3)}),
        ("--learn 3 6", {"anisotropies": (3, 6)}),
        ("--loss dists --vgg-weights vgg.pth", {"loss": "dists", "vgg_weights": Path("vgg.pth")}),
        ("--batch 3", {"batch": 3}),
        ("--learning-rate 0.01", {"learning_rate": 0.01}),
        ("--seed 7", {"seed": 7}),
        ("--device cuda:1", {"device": "cuda:1"}),
        ("--overwrite", {"overwrite": True}),
        ("--resume", {"resume": True}),
    ],
)
def test_options_are_settings(asked, options: str, settings: dict[str, Any]) -> None:
    """And nothing else is set."""
    _, config = asked("good.tif", "--output", "new.safetensors", *options.split())
    assert config == TrainingConfig(output="new.safetensors", **settings)


@pytest.mark.parametrize(
    ("options", "spacing"),
    [
        ("--psf point.tif", 0.4 / 2),
        ("--psf point.tif --psf-spacing 0.5", 0.5 / 2),
        ("--psf point-unsaid.tif --psf-spacing 0.3", 0.3 / 2),
        ("--psf point.tif --anisotropy 8", 0.4 / 4),
    ],
)
def test_a_measured_psf_is_counted_in_z_steps(asked, options: str, spacing: float) -> None:
    _, config = asked("good.tif", "--output", "new.safetensors", "--degradation", "measured", *options.split())
    assert isinstance(config.degradation, Measured)
    assert config.degradation.spacing == pytest.approx(spacing)
    around = np.arange(len(config.degradation.profile)) - len(config.degradation.profile) // 2
    expected = np.exp(-(around**2) / 8)
    np.testing.assert_allclose(config.degradation.profile, expected / expected.sum(), atol=0.01)


@pytest.mark.parametrize(
    ("arguments", "shapes", "anisotropies"),
    [
        ("good.tif", [(6, 32, 32)], [4]),
        ("good.tif small.tif", [(6, 32, 32), (6, 14, 32)], [4, 4]),
        ("unsaid.tif good.npy isotropic.tif --anisotropy 5", [(6, 32, 32)] * 3, [5, 5, 5]),
        ("isotropic.tif --learn 4", [(6, 32, 32)], [1]),
        ("good.npy --axes yxz --anisotropy 2", [(32, 6, 32)], [2]),
    ],
)
def test_the_volumes(asked, arguments: str, shapes: list, anisotropies: list[float]) -> None:
    volumes, _ = asked("--output", "new.safetensors", "--axes", "zyx", *arguments.split())
    assert [v.shape for v in volumes] == shapes
    assert [v.anisotropy for v in volumes] == pytest.approx(anisotropies)


# what is told


@pytest.fixture
def telling(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `train` with a training that only tells."""

    def events(volumes: list[Volume], config: TrainingConfig) -> Iterator[Event]:
        yield Notice("Something is odd.")
        yield Preparing("Reading slices (50%)", 0.0, 0.1, 99.0)
        yield TrainingStep(1, 40, 0.25, 0.12345, 12.3, 30.0, 90.4)
        yield Validation(1, 40, 0.25, 30.0, 28.5, 29.0, config.output)
        yield TrainingStep(2, 80, 0.5, 0.0625, 7.0, 60.0, 60.0)
        yield Finished(config.output, 1.504, 99, 120.0)

    monkeypatch.setattr("napari_niiv.training.train.train", events)
    return run


END = (
    "new.safetensors: +1.50 dB against bicubic interpolation on xy slices held out and made coarse, 99 steps in 2.0 "
    "minutes\n"
)


def test_progress_in_a_file_is_a_line_for_each_validation(telling: Run) -> None:
    status, out, err = telling("good.tif", "--output", "new.safetensors")
    assert status == 0
    assert out == "stage 1, step 40: 30.00 dB, bicubic 29.00, linear 28.50\n" + END
    assert err == "Something is odd.\n"


def test_progress_on_a_terminal_is_a_bar(telling: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    status, out, _ = telling("good.tif", "--output", "new.safetensors")
    assert (status, out) == (0, END)
    shown = terminal.getvalue().replace("\n", "\r").split("\r")
    assert "Something is odd." in shown
    for percentage, postfix in (
        ("  0%", ", Reading slices (50%)"),
        (" 25%", ", 01:30 left, stage 1, step 40, 12 patches/s, loss 0.1235"),
        (" 50%", ", 01:00 left, stage 2, step 80, 7 patches/s, loss 0.0625, +1.00 dB"),
        ("100%", ""),
    ):
        bar = rf"new\.safetensors: {percentage}\|[ #\d]+\| \d\d:\d\d{re.escape(postfix)} *"
        assert any(re.fullmatch(bar, line) for line in shown), shown


def test_a_training_that_nothing_judges_says_so(telling: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def events(volumes: Any, config: TrainingConfig) -> Any:
        yield Validation(1, 40, 0.25, None, None, None, config.output)
        yield Finished(config.output, None, 99, 120.0)

    monkeypatch.setattr("napari_niiv.training.train.train", events)
    said = "new.safetensors: nothing to judge it by (the slices held out are blank), 99 steps in 2.0 minutes\n"
    assert telling("good.tif", "--output", "new.safetensors") == (0, said, "")


def test_of_several_processes_one_tells(telling: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert telling("good.tif", "--output", "new.safetensors", "--devices", "2") == (0, "", "")


# what is refused, before the training


BAD = {
    "no such file": ("missing.tif", "There is no file 'missing.tif'"),
    "one of several missing": ("good.tif missing.tif", "There is no file 'missing.tif'"),
    "unreadable": ("noise.tif", "noise.tif is not a readable TIFF"),
    "smaller than a patch": ("small.tif", "slices of 14 × 32 pixels"),
    "two slices": ("thin.tif", "at least three"),
    "constant": ("constant.tif", "constant"),
    "isotropic": ("isotropic.tif", "isotropic or nearly so"),
    "voxel size unsaid": ("unsaid.tif", "give the factor with --anisotropy"),
    "wrong axes": ("good.tif --axes zyxc", "do not fit"),
    "anisotropy negative": ("good.tif --anisotropy=-2", "outside 1 to 16"),
    "anisotropy nan": ("good.tif --anisotropy nan", "outside 1 to 16"),
    "learn negative": ("good.tif --learn=-2", "outside 1 to 16"),
    "learn too much": ("good.tif --learn 4 40", "outside 1 to 16"),
    "no minutes": ("good.tif --minutes 0", "--minutes is 0.0: "),
    "minutes negative": ("good.tif --minutes=-1", "--minutes is -1.0: "),
    "minutes nan": ("good.tif --minutes nan", "--minutes is nan: "),
    "minutes infinite": ("good.tif --minutes inf", "--minutes is inf: "),
    "no steps": ("good.tif --steps 0", "--steps is 0: "),
    "steps negative": ("good.tif --steps=-5", "--steps is -5: "),
    "no batch": ("good.tif --batch 0", "--batch is 0: "),
    "batch negative": ("good.tif --batch=-2", "--batch is -2: "),
    "learning rate negative": ("good.tif --learning-rate=-1e-3", "--learning-rate is -0.001: "),
    "seed negative": ("good.tif --seed=-1", "--seed is -1: "),
    "seed huge": ("good.tif --seed 99999999999999999999", "--seed is 99999999999999999999: "),
    "no devices": ("good.tif --devices 0", "--devices is 0: "),
    "devices negative": ("good.tif --devices=-2", "--devices is -2: "),
    "device unknown": ("good.tif --device quantum", "There is no device 'quantum'"),
    "device unknown, twice": ("good.tif --device quantum --devices 2", "There is no device 'quantum'"),
    "device absent": ("good.tif --device cuda:77", "not present"),
    "init unknown": ("good.tif --init nowhere", "There is no checkpoint 'nowhere'"),
    "init a volume": ("good.tif --init good.tif", "good.tif is truncated or not a checkpoint"),
    "init of another architecture": ("good.tif --init foreign.safetensors", "of another program"),
    "init of another anisotropy": ("good.tif --init steep.safetensors", "is for anisotropies of 9 to 9"),
    "weights of the loss missing": (
        "good.tif --loss dists --vgg-weights none.pth",
        "There is no file 'none.pth'",
    ),
    "gaussian without fwhm": ("good.tif --degradation gaussian", "gaussian needs --fwhm"),
    "skip without thickness": ("good.tif --degradation skip", "skip needs --thickness"),
    "measured without PSF": ("good.tif --degradation measured --psf-spacing 1", "measured needs --psf"),
    "fwhm negative": ("good.tif --degradation gaussian --fwhm=-1", "--fwhm is -1.0: "),
    "fwhm wider than a slice": ("good.tif --degradation gaussian --fwhm 16", "larger volume"),
    "thickness above 1": ("good.tif --degradation skip --thickness 1.1", "--thickness is 1.1: "),
    "fwhm of an average": ("good.tif --fwhm 2", "--fwhm is for --degradation gaussian"),
    "thickness of a gaussian": (
        "good.tif --degradation gaussian --fwhm 2 --thickness 0.5",
        "--thickness is for --degradation skip",
    ),
    "PSF of a skip": (
        "good.tif --degradation skip --thickness 0.5 --psf point.tif",
        "--psf is for --degradation measured",
    ),
    "spacing of no PSF": ("good.tif --psf-spacing 0.4", "--psf-spacing is for --degradation measured"),
    "PSF missing": ("good.tif --degradation measured --psf none.tif", "There is no file 'none.tif'"),
    "PSF unreadable": ("good.tif --degradation measured --psf noise.tif", "noise.tif is not a readable TIFF"),
    "PSF without spacing": (
        "good.tif --degradation measured --psf point-unsaid.tif",
        "give it with --psf-spacing",
    ),
    "PSF constant": ("good.tif --degradation measured --psf point-flat.tif", "PSF is constant"),
    "PSF spacing negative": (
        "good.tif --degradation measured --psf point.tif --psf-spacing=-1",
        "no z spacing",
    ),
    "PSF spacing infinite": (
        "good.tif --degradation measured --psf point.tif --psf-spacing inf",
        "no z spacing",
    ),
    "nothing to resume": ("good.tif --resume", "no interrupted training"),
    "output of another kind": ("good.tif --output new.pth", "must end in .safetensors"),
    "output without suffix": ("good.tif --output new", "must end in .safetensors"),
    "output a folder": ("good.tif --output folder.safetensors --overwrite", "is a folder"),
    "output in a missing folder": ("good.tif --output none/new.safetensors", "none does not exist"),
    "output below a file": ("good.tif --output good.tif/new.safetensors", "good.tif is not a folder"),
    "output far below a file": ("good.tif --output good.tif/a/new.safetensors", "is not a folder"),
    "output exists": ("good.tif --output old.safetensors", "exists already"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    monkeypatch.setattr("napari_niiv.training.train.Progress", lambda *_: pytest.fail("it was trained"))
    arguments, message = BAD[case]
    before = contents(folder)
    status, out, err = run("--output", "new.safetensors", *arguments.split())
    assert (status, out) == (2, "")
    assert message in err
    assert one_line(err), err
    assert contents(folder) == before


def test_an_unwritable_folder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    status, _, err = run("good.tif", "--output", "new.safetensors")
    assert status == 2
    assert "cannot be written to" in err
    assert one_line(err), err


# trainings


def test_a_training(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = set(folder.iterdir())
    skip = ("--degradation", "skip", "--thickness", "0.5")
    status, out, err = run("good.tif", "--output", "new.safetensors", *skip, *TINY, "3")
    assert (status, err) == (0, "")
    assert "new.safetensors: " in out
    assert "3 steps" in out
    assert set(folder.iterdir()) - before == {folder / "new.safetensors"}
    assert load_model("new.safetensors", "cpu").architecture.anisotropy_range == (4, 4)
    assert main(["info", "new.safetensors"]) == 0
    card = Card.model_validate_json(capsys.readouterr().out)
    assert card == read_card("new.safetensors")
    assert (card.name, [v.name for v in card.training_volumes]) == ("new", ["good"])
    assert card.degradation == Skip(thickness=0.5)
    assert card.metrics["steps"] == 3
    # going on from it, and over it
    status, _, err = run(
        "good.tif", "--output", "new.safetensors", "--init", "new.safetensors", "--overwrite", *TINY, "1"
    )
    assert (status, err) == (0, "")
    assert "from the checkpoint new" in read_card("new.safetensors").description


@contextmanager
def training(folder: Path, *options: str) -> Iterator[subprocess.Popen[str] | Program]:
    """A training in a process of its own, which is gone afterwards whatever happens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # several share the cores
        process = start(*ONE, *TINY, *options, cwd=folder)
    watch = threading.Timer(90, process.kill)
    watch.start()
    try:
        yield process
    finally:
        watch.cancel()
        process.kill()
        process.communicate()


def spent(folder: Path) -> int:
    """Steps done by the training that was interrupted."""
    with safe_open(folder / "new.unfinished", framework="pt") as file:
        return int(json.loads(file.metadata()["napari_niiv_training"])["steps"])


def resumed(run: Run, folder: Path) -> None:
    """It goes on for some steps, and leaves a checkpoint that is no worse."""
    steps, before = spent(folder) + 4, read_card(folder / "new.safetensors")
    assert 0 < steps - 4 < 2000
    status, out, err = run("good.tif", "--output", "new.safetensors", "--resume", *TINY, str(steps))
    assert (status, err) == (0, "")
    assert f", {steps} steps in" in out
    after = read_card(folder / "new.safetensors")
    assert (
        after.metrics["held-out xy slices, made coarse, PSNR (dB)"]
        >= before.metrics["held-out xy slices, made coarse, PSNR (dB)"]
    )
    load_model(folder / "new.safetensors", "cpu")
    assert not (folder / "new.unfinished").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal for another process")
@pytest.mark.parametrize("devices", ["1", "2"])
def test_ctrl_c_keeps_the_best_and_says_how_to_go_on(run: Run, folder: Path, devices: str) -> None:
    before = set(folder.iterdir())
    with training(folder, "2000", "--devices", devices) as process:
        assert process.stdout.readline().startswith("stage 1, step ")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert err == "napari-niiv: Stopped; the best checkpoint so far is kept. Add --resume to go on.\n"
    load_model(folder / "new.safetensors", "cpu")
    assert {p.name for p in set(folder.iterdir()) - before} == {"new.safetensors", "new.unfinished"}
    resumed(run, folder)


def test_a_killed_training_goes_on(run: Run, folder: Path) -> None:
    with training(folder, "2000") as process:
        assert process.stdout.readline().startswith("stage 1, step ")
        process.kill()
        _, err = process.communicate()
    assert err == ""
    load_model(folder / "new.safetensors", "cpu")
    resumed(run, folder)


@pytest.mark.parametrize(
    ("moment", "message"),
    [
        (Preparing, "Stopped before anything was learnt."),
        (TrainingStep, "Stopped; no checkpoint was made yet. Add --resume to go on."),
    ],
)
def test_ctrl_c_early(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, moment: type[Event], message: str
) -> None:
    from napari_niiv.cli import train as cli_train

    honest = cli_train._show

    def interrupted(events: Iterator[Event], name: str, main: bool) -> None:
        next(e for e in events if isinstance(e, moment))
        raise KeyboardInterrupt

    before = set(folder.iterdir())
    monkeypatch.setattr(cli_train, "_show", interrupted)
    status, out, err = run("good.tif", "--output", "new.safetensors", *TINY, "5")
    assert (status, out, err) == (130, "", f"napari-niiv: {message}\n")
    assert not (folder / "new.safetensors").exists()
    monkeypatch.setattr(cli_train, "_show", honest)
    if "--resume" in message:
        status, out, _ = run("good.tif", "--output", "new.safetensors", "--resume", *TINY, "5")
        assert (status, "5 steps in" in out) == (0, True)
    else:
        assert set(folder.iterdir()) == before


def test_several_processes_train_one_model(folder: Path) -> None:
    before = set(folder.iterdir())
    with training(folder, "4", "--devices", "2") as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.count("held out and made coarse") == 1  # one of them tells
    assert set(folder.iterdir()) - before == {folder / "new.safetensors"}
    load_model(folder / "new.safetensors", "cpu")
