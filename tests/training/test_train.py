"""Whole trainings, tiny ones: what they learn, leave behind, and refuse."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_niiv import load_model, train
from napari_niiv.degradation import Gaussian, Skip
from napari_niiv.errors import (
    CheckpointError,
    DeviceError,
    NiivError,
    OutputError,
    TrainingError,
    VolumeError,
)
from napari_niiv.evaluation.quality import compare, degraded
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.card import Card
from napari_niiv.models.checkpoint import read_card, save_model
from napari_niiv.models.niiv import Niiv
from napari_niiv.sections.repair import repair_sections
from napari_niiv.training import budget, loop, optimisation, stages
from napari_niiv.training.config import TrainingConfig
from napari_niiv.training.events import Event, Finished, Notice, Preparing, TrainingStep, Validation
from napari_niiv.training.state import state_path
from napari_niiv.volume import Volume

TINY = Architecture(context=1, features=8, blocks=1, samples=8, anisotropy_range=(4, 4), degree=0)


def balls(shape: tuple[int, int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Sharp balls on a plain ground, alike in all directions: what averaging blurs and a network can restore."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.mgrid[: shape[0], : shape[1], : shape[2]])
    volume = np.full(shape, 60, np.uint8)
    for _ in range(int(np.prod(shape) / 2500)):
        centre, radius = rng.uniform(0, shape), rng.uniform(4, 7)
        volume[((grid - centre[:, None, None, None]) ** 2).sum(0) < radius**2] = 200
    return volume


@pytest.fixture(scope="module")
def truth() -> NDArray[np.uint8]:
    return balls((48, 64, 64))


@pytest.fixture(scope="module")
def volume(truth: NDArray[np.uint8]) -> Volume:
    return Volume(degraded(truth, 4), voxel_size=(4.0, 1.0, 1.0), name="balls")


@pytest.fixture
def quick(one_thread: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Settings of a training that takes seconds."""
    monkeypatch.setattr(optimisation, "WARM_UP", 10)
    monkeypatch.setattr(loop, "_VALIDATION_PAUSE", 0)

    def config(**more: object) -> TrainingConfig:
        settings: dict[str, object] = {
            "output": tmp_path / "model.safetensors",
            "steps": 120,
            "architecture": TINY,
            "anisotropies": (4.0,),
            "lateral": 24,
            "axial": 6,
            "batch": 8,
            "learning_rate": 5e-3,
            "first_stage": 0.4,
            "device": "cpu",
        }
        return TrainingConfig(**{**settings, **more})

    return config


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by a second whenever it is read: progress is told at every step."""
    clock = itertools.count()
    monkeypatch.setattr(budget, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))


def last(events: Iterator[Event]) -> Event:
    for event in events:  # noqa: B007
        pass
    return event


def test_it_beats_bicubic_and_says_so(quick, volume: Volume, truth) -> None:
    events = list(train([volume], quick(steps=250)))
    end = events[-1]
    assert isinstance(end, Finished)
    assert end.steps == 250
    assert end.gain > 0.3
    assert {e.stage for e in events if isinstance(e, TrainingStep)} == {1, 2}
    validations = [e for e in events if isinstance(e, Validation)]
    assert validations[-1].bicubic > validations[-1].linear
    best = max(v.model for v in validations)
    assert end.gain == pytest.approx(best - validations[-1].bicubic)
    fractions = [e.fraction for e in events if isinstance(e, Preparing | TrainingStep | Validation)]
    assert fractions == sorted(fractions)
    # on another volume, along its real axis
    model = load_model(end.checkpoint, "cpu")
    scores = compare(balls((48, 64, 64), seed=1), model, 4)
    assert scores["both"][0] > scores["bicubic"][0] + 0.3
    card = read_card(end.checkpoint)
    assert card.training_volumes[0].name == "balls"
    assert card.architecture == TINY
    assert card.metrics["held-out xy slices, made coarse, PSNR (dB)"] == pytest.approx(best, abs=1e-3)
    assert not state_path(end.checkpoint).exists()


def test_a_seed_repeats(quick, volume: Volume, tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> torch.Tensor:
        last(train([volume], quick(output=tmp_path / name, steps=12, seed=seed)))
        model = load_model(tmp_path / name, "cpu")
        return torch.cat([p.flatten() for p in model.parameters()])

    first, second, other = (
        weights("a.safetensors", 1),
        weights("b.safetensors", 1),
        weights("c.safetensors", 2),
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("degradation", [Gaussian(fwhm=1.2), Skip(thickness=0.4)])
def test_the_degradation_is_told_in_the_card(quick, volume: Volume, degradation) -> None:
    end = last(train([volume], quick(steps=4, degradation=degradation)))
    assert isinstance(end, Finished)
    assert read_card(end.checkpoint).degradation == degradation


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(context=0, features=4, blocks=1, samples=4, anisotropy_range=(4, 4), degree=0),
        Architecture(decoder="implicit", context=0, features=4, blocks=1, latent=4, mlp_width=8, degree=0),
        Architecture(decoder="implicit", context=1, features=4, blocks=1, latent=4, mlp_width=8, degree=1),
        Architecture(context=0, features=4, blocks=1, samples=4, lateral=3, degree=0),
        Architecture(context=1, features=4, blocks=1, samples=4, lateral=3, noise=0.05, degree=1),
        Architecture(context=1, features=4, blocks=1, samples=4, lateral=4, slices=3, degree=1),
    ],
)
def test_any_architecture(quick, volume: Volume, architecture: Architecture) -> None:
    end = last(train([volume], quick(steps=6, architecture=architecture)))
    assert isinstance(end, Finished)
    assert load_model(end.checkpoint, "cpu").architecture == architecture


def test_a_teacher_makes_the_volumes_and_the_light_model_is_kept(quick, volume: Volume) -> None:
    teacher = Architecture(context=0, features=6, blocks=1, samples=8, degree=0)
    events = list(train([volume], quick(steps=20, teacher=teacher)))
    assert all(e.checkpoint is None for e in events if isinstance(e, Validation) and e.stage == 1)
    assert isinstance(events[-1], Finished)
    assert load_model(events[-1].checkpoint, "cpu").architecture == TINY


def test_a_blind_model_teaches_one_that_restores_several_slices_at_once(quick, volume: Volume) -> None:
    cells = Architecture(context=0, features=6, blocks=1, samples=8, lateral=2, slices=4, degree=0)
    events = list(train([volume], quick(steps=20, architecture=cells)))
    assert {e.stage for e in events if isinstance(e, Validation)} == {1, 2}
    best = max((e for e in events if isinstance(e, Validation)), key=lambda e: e.model)
    kept = load_model(last(iter(events)).checkpoint, "cpu")
    assert kept.architecture == (cells if best.stage == 2 else cells.blind())
    assert kept.card.metrics["held-out xy slices, made coarse, PSNR (dB)"] == round(best.model, 3)


def test_what_a_blind_model_learnt_is_there_when_the_training_ends_early(quick, volume: Volume) -> None:
    cells = Architecture(context=0, features=6, blocks=1, samples=8, lateral=2, slices=4, degree=0)
    events = train([volume], quick(steps=20, architecture=cells))
    first = next(e for e in events if isinstance(e, Validation))
    events.close()
    assert first.stage == 1
    assert load_model(first.checkpoint, "cpu").architecture == cells.blind()


def test_levels_for_zooming_out_are_left_out_where_a_volume_has_too_few_slices(quick) -> None:
    volume = Volume(balls((6, 96, 96)), voxel_size=(4.0, 1.0, 1.0))
    cells = Architecture(context=2, features=4, blocks=1, samples=4, lateral=2, slices=4, degree=1)
    end = last(train([volume], quick(steps=4, architecture=cells, anisotropies=())))
    assert isinstance(end, Finished)
    with pytest.raises(TrainingError, match="slices"):
        list(train([Volume(balls((3, 96, 96)), voxel_size=(2.0, 1.0, 1.0))], quick(overwrite=True, architecture=cells)))


def test_checkpoints_that_teach_take_the_place_of_the_first_stage(quick, volume: Volume, tmp_path: Path) -> None:
    paths = []
    for number in range(2):
        path = tmp_path / f"teacher {number}.safetensors"
        last(train([volume], quick(output=path, steps=6, seed=number)))
        paths.append(str(path))
    cells = Architecture(context=0, features=6, blocks=1, samples=8, lateral=2, slices=4, degree=0)
    events = list(train([volume], quick(steps=6, architecture=cells, teachers=tuple(paths))))
    assert {e.stage for e in events if isinstance(e, Validation)} == {2}
    assert load_model(last(iter(events)).checkpoint, "cpu").architecture == cells


def test_a_teacher_that_is_not_there_is_refused_at_once(quick, volume: Volume) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint 'nobody'"):
        train([volume], quick(teachers=("nobody",)))


def test_in_the_end_a_model_restores_what_it_learns_from(quick, volume: Volume, monkeypatch) -> None:
    followed = []
    follow = stages._Restorer.follow
    monkeypatch.setattr(stages._Restorer, "follow", lambda self, *m: followed.append(m) or follow(self, *m))
    monkeypatch.setattr(stages, "_RESTORING", 1e3)
    list(train([volume], quick(steps=40)))
    first, *own = followed
    assert own
    assert all(model is not first[0] for (model,) in own)


@pytest.mark.parametrize(("edge", "factors"), [(96, (4, 8)), (40, (8, 8))])
def test_by_default_a_volume_teaches_its_own_factor_and_those_of_zooming_out(
    quick, edge: int, factors: tuple[int, int]
) -> None:
    volume = Volume(balls((6, edge, edge)), voxel_size=(8.0, 1.0, 1.0))
    end = last(train([volume], quick(steps=3, architecture=None, anisotropies=(), batch=1)))
    assert isinstance(end, Finished)
    assert load_model(end.checkpoint, "cpu").architecture.anisotropy_range == factors


# going on


def test_fine_tuning_starts_from_the_checkpoint_and_is_never_worse(quick, volume: Volume, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    last(train([volume], quick(output=start)))
    events = list(train([volume], quick(init=str(start), steps=10, learning_rate=1e-6)))
    validations = [e for e in events if isinstance(e, Validation)]
    assert {v.stage for v in validations} == {2}
    assert validations[0].step == 0
    assert isinstance(events[-1], Finished)
    assert events[-1].gain >= validations[0].gain
    before, after = load_model(start, "cpu"), load_model(events[-1].checkpoint, "cpu")
    for a, b in zip(before.parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=0)


def test_what_was_learnt_before_is_changed_gently(
    quick, volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a lattice of the model's cells is seen for minutes, and scores fall before they rise."""
    start, settings = tmp_path / "start.safetensors", []
    last(train([volume], quick(output=start, steps=2)))
    make = stages.Optimisation
    monkeypatch.setattr(stages, "Optimisation", lambda *a, **k: settings.append(k) or make(*a, **k))
    last(train([volume], quick(init=str(start), steps=2, learning_rate=None)))
    last(train([volume], quick(init=str(start), steps=2, output=tmp_path / "b.safetensors")))
    assert [(s["learning_rate"], s["learnt"]) for s in settings] == [(2e-4, True), (5e-3, True)]


def validated(after: float) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Validation) and event.fraction > after


def preparing(what: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Preparing) and event.message.startswith(what)


@pytest.mark.parametrize(
    ("moment", "stage"),
    [
        (validated(0.2), 1),
        (preparing("Restoring the neighbours"), 2),
        (preparing("Restoring volumes"), 2),
        (validated(0.8), 2),
    ],
    ids=["first stage", "before the neighbours", "before the second stage", "second stage"],
)
def test_a_training_that_was_left_keeps_its_best_and_goes_on(
    quick, ticking: None, volume: Volume, moment: Callable[[Event], bool], stage: int
) -> None:
    config = quick(steps=60, validations=5)
    events = train([volume], config)
    left = next(event for event in events if moment(event))
    events.close()
    best = read_card(config.output).metrics["held-out xy slices, made coarse, PSNR (dB)"]
    assert state_path(config.output).exists()
    resumed = list(train([volume], config.model_copy(update={"resume": True})))
    steps = [e for e in resumed if isinstance(e, TrainingStep)]
    assert steps[0].stage == stage
    done = left.step if isinstance(left, Validation) else 24  # the first stage's
    assert [e.step for e in steps] == list(range(done + 1, 61))
    assert read_card(config.output).metrics["held-out xy slices, made coarse, PSNR (dB)"] >= best
    assert not state_path(config.output).exists()
    assert isinstance(resumed[-1], Finished)


def test_a_training_left_after_its_last_step_is_only_finished(quick, ticking: None, volume: Volume) -> None:
    config = quick(steps=20)
    events = train([volume], config)
    end = next(e for e in events if isinstance(e, Validation) and e.fraction == 1)
    events.close()
    before = config.output.read_bytes()
    resumed = list(train([volume], config.model_copy(update={"resume": True})))
    assert not [e for e in resumed if isinstance(e, TrainingStep | Validation)]
    assert isinstance(resumed[-1], Finished)
    assert resumed[-1].steps == 20
    assert resumed[-1].gain >= end.gain
    assert config.output.read_bytes() == before
    assert not state_path(config.output).exists()


def test_resuming_something_else_is_refused(quick, volume: Volume) -> None:
    config = quick(steps=40)
    events = train([volume], config)
    next(e for e in events if isinstance(e, Validation))
    events.close()
    with pytest.raises(TrainingError, match="another degradation"):
        train([volume], config.model_copy(update={"resume": True, "degradation": Skip(thickness=0.5)}))
    other = Volume(volume.array[:9], voxel_size=(4.0, 1.0, 1.0), name="balls")
    with pytest.raises(TrainingError, match="other volumes"):
        train([other], config.model_copy(update={"resume": True}))


# what goes wrong inside


def test_out_of_memory_halves_the_batch(quick, volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = optimisation.Optimisation._forward_and_backward

    def greedy(self, sharp: torch.Tensor, anisotropy: float) -> torch.Tensor:
        if len(sharp) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return honest(self, sharp, anisotropy)

    monkeypatch.setattr(optimisation.Optimisation, "_forward_and_backward", greedy)
    events = list(train([volume], quick(steps=8)))
    assert [e.message for e in events if isinstance(e, Notice)] == [
        "Memory ran out; going on with 4 patches in a step.",
        "Memory ran out; going on with 2 patches in a step.",
    ]
    assert isinstance(events[-1], Finished)


def test_out_of_memory_for_good(quick, volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self, sharp: torch.Tensor, anisotropy: float) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(optimisation.Optimisation, "_forward_and_backward", full)
    with pytest.raises(DeviceError, match="Memory ran out even for single patches"):
        last(train([volume], quick(steps=8, batch=2)))


class Unplugged:
    """An array on a disk that is lost: reads fail once there were more than `allowed`."""

    def __init__(self, array: NDArray[np.float32]) -> None:
        self._array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim
        self.reads, self.allowed = 0, np.inf
        self._lock = threading.Lock()

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[np.float32]:
        with self._lock:
            self.reads += 1
            if self.reads > self.allowed:
                raise OSError(5, "Input/output error")
        return self._array[index]


@pytest.mark.parametrize(
    ("moment", "stage"),
    [(validated(0.2), 1), (preparing("Restoring the neighbours"), 2), (validated(0.6), 2)],
    ids=["first stage", "between", "second stage"],
)
def test_a_volume_that_can_be_read_no_more_ends_the_training_which_can_go_on(
    quick,
    ticking: None,
    volume: Volume,
    monkeypatch: pytest.MonkeyPatch,
    moment: Callable[[Event], bool],
    stage: int,
) -> None:
    monkeypatch.setattr(stages, "_FRESH_SLICES", 1)
    monkeypatch.setattr(stages, "_RESTORING", 100)  # a new box at every step
    array = Unplugged(volume.array)
    lost = replace(volume, array=array)
    config = quick(steps=60, validations=5, memory=1e-4)  # holds a box, not the volume
    events = []

    def watch(event: Event) -> None:
        events.append(event)
        if moment(event):
            array.allowed = min(array.allowed, array.reads)

    with pytest.raises(VolumeError, match=r"'balls' cannot be read .*error.*still there") as caught:
        last(map(watch, train([lost], config)))
    assert "\n" not in str(caught.value)
    assert array.reads > array.allowed
    steps = [e for e in events if isinstance(e, TrainingStep)]
    assert 0 < steps[-1].step < 60
    best = max(e.model for e in events if isinstance(e, Validation) and e.checkpoint)
    assert read_card(config.output).metrics["held-out xy slices, made coarse, PSNR (dB)"] == pytest.approx(
        best, abs=1e-3
    )
    load_model(config.output, "cpu")
    array.allowed = np.inf
    resumed = list(train([lost], config.model_copy(update={"resume": True})))
    first = next(e for e in resumed if isinstance(e, TrainingStep))
    assert first.stage == stage
    assert first.step > steps[-1].step  # no step is lost
    assert isinstance(resumed[-1], Finished)
    assert resumed[-1].steps == 60
    assert read_card(config.output).metrics["held-out xy slices, made coarse, PSNR (dB)"] >= round(best, 3)


# what is refused, before anything is trained


def ramp(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("array", "anisotropy", "settings", "message"),
    [
        (ramp(8, 12, 64), 4, {}, "larger volume"),
        (ramp(2, 64, 64), 4, {}, "at least three"),
        (ramp(8, 64, 64), 1, {"anisotropies": ()}, "isotropic or nearly so"),
        (np.zeros((8, 64, 64), np.uint8), 4, {}, "constant"),
        (np.full((8, 64, 64), np.nan, np.float32), 4, {}, "nothing but NaN"),
        (ramp(8, 64, 64), 4, {"init": "nowhere.safetensors"}, "no checkpoint"),
        (ramp(8, 64, 64), 4, {"device": "abacus"}, "no device"),
        (
            ramp(8, 200, 200),
            12,
            {"init": "em", "architecture": None, "anisotropies": ()},
            "is for anisotropies of",
        ),
        (ramp(8, 64, 64), 4, {"init": "em"}, "architecture asked for"),
        (ramp(8, 64, 64), 4, {"loss": "dists"}, "VGG16"),
    ],
)
def test_bad_input_is_one_sentence_at_once(
    quick, monkeypatch: pytest.MonkeyPatch, array, anisotropy, settings, message, tmp_path: Path
) -> None:
    monkeypatch.delenv("NAPARI_NIIV_VGG16", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "torchvision", None)
    volume = Volume(array, voxel_size=(float(anisotropy), 1.0, 1.0))
    with pytest.raises(NiivError, match=message) as caught:
        train([volume], quick(**settings))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.safetensors"))


def test_an_output_that_cannot_be_written_is_refused_before_the_training(quick, volume: Volume, tmp_path) -> None:
    (tmp_path / "there.safetensors").write_bytes(b"precious")
    for output, message in (
        (tmp_path / "there.safetensors", "exists already"),
        (tmp_path / "missing" / "x.safetensors", "does not exist"),
        (tmp_path / "x.pth", "must end in .safetensors"),
    ):
        with pytest.raises(OutputError, match=message):
            train([volume], quick(output=output))
    assert (tmp_path / "there.safetensors").read_bytes() == b"precious"


def test_no_volumes(quick) -> None:
    with pytest.raises(TrainingError, match="at least one volume"):
        train([], quick())


def test_a_checkpoint_of_the_papers_code_cannot_be_trained(quick, volume: Volume, tmp_path: Path) -> None:
    architecture = Architecture(decoder="reference", context=0, features=4, blocks=1, latent=4, mlp_width=8)
    path = tmp_path / "reference.safetensors"
    save_model(Niiv(architecture), Card(architecture=architecture), path)
    with pytest.raises(CheckpointError, match="start from nothing"):
        train([volume], quick(init=str(path), architecture=None))


# holes and blanks


def test_holes_are_not_learnt_from(quick, truth) -> None:
    values = degraded(truth, 4)
    values[:, :, :20] = np.nan
    end = last(train([Volume(values, voxel_size=(4.0, 1.0, 1.0))], quick(steps=200)))
    assert isinstance(end, Finished)
    assert np.isfinite(end.gain)
    assert all(bool(p.isfinite().all()) for p in load_model(end.checkpoint, "cpu").parameters())


def test_a_blank_channel_is_left_out_and_named(quick, truth) -> None:
    array = np.stack([degraded(truth, 4), np.zeros((12, 64, 64), np.float32)])
    events = list(train([Volume(array, "czyx", (4.0, 1.0, 1.0), name="two")], quick(steps=3)))
    notices = [e.message for e in events if isinstance(e, Notice)]
    assert len(notices) == 1
    assert "(1,)" in notices[0]
    assert "constant" in notices[0]


def test_blank_slices_judge_nothing(quick, truth, texture) -> None:
    array = degraded(truth, 4)
    blank = array.copy()
    blank[[*range(4), *range(5, 12)]] = 120 + texture((11, *array.shape[1:]))  # not quite: padding is not learnt from
    events = list(train([Volume(blank, voxel_size=(4.0, 1.0, 1.0))], quick(steps=12)))
    end, notices = events[-1], [e.message for e in events if isinstance(e, Notice)]
    assert isinstance(end, Finished)
    assert end.gain is None
    assert [n for n in notices if "nothing to judge the model by" in n]
    assert {e.gain for e in events if isinstance(e, Validation)} == {None}
    assert read_card(end.checkpoint).metrics == {"steps": 12}
    # with others that are not blank, these judge
    blank[5:8] = array[5:8]
    end = last(train([Volume(blank, voxel_size=(4.0, 1.0, 1.0))], quick(steps=12, overwrite=True)))
    assert isinstance(end, Finished)
    assert end.gain is not None
    assert abs(end.gain) < 20


class Huge:
    """33 GB that are computed where they are read, and counted."""

    shape, size, ndim, dtype = (2000, 2048, 2048), 2000 * 2048 * 2048, 3, np.dtype(np.float32)

    def __init__(self) -> None:
        self.reads: list[int] = []  # voxels of each

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[np.float32]:
        axes = [np.arange(*s.indices(n), dtype=np.float32) for s, n in zip(index, self.shape, strict=True)]
        z, y, x = np.ix_(*axes)
        values = np.sin(0.5 * y + 0.3 * z) * np.sin(0.4 * x - 0.2 * z)
        self.reads.append(values.size)
        return values


def test_of_a_large_volume_only_boxes_are_read(quick) -> None:
    array = Huge()
    volume = repair_sections(Volume(array, voxel_size=(4.0, 1.0, 1.0)), bridge=False)  # else all sections are looked at
    end = last(train([volume], quick(steps=30, memory=0.002)))
    assert isinstance(end, Finished)
    assert max(array.reads) <= 8 * 512 * 512  # a box of the first stage
    assert sum(array.reads) < 0.01 * array.size
