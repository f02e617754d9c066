"""What a step does, and what is done when it goes wrong."""

from __future__ import annotations

import math
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor

from napari_niiv.degradation import Average, Gaussian
from napari_niiv.errors import TrainingError
from napari_niiv.geometry import Sampling
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.niiv import Niiv
from napari_niiv.training import optimisation as module
from napari_niiv.training.data.patches import PatchSampler
from napari_niiv.training.optimisation import Optimisation, ProgressCheck
from napari_niiv.training.processes import Processes

RATE = 1e-3


def balls(seed: int) -> Tensor:
    """Sharp balls on a plain ground, alike in all directions: what averaging blurs and a network can restore."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:12, :64, :64]
    volume = np.zeros(z.shape, np.float32)
    for _ in range(60):
        centre, radius = rng.uniform(0, 64, 3), rng.uniform(3, 7)
        distance = (z - centre[0] * 12 / 64) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
        volume[distance < radius**2] = 1
    return torch.from_numpy(volume)


def tiny(seed: int = 0, **architecture: Any) -> Niiv:
    torch.manual_seed(seed)
    options = {"context": 0, "features": 8, "blocks": 1, "samples": 4, "degree": 1} | architecture
    return Niiv(Architecture(**options))


def batch(number: int = 0, count: int = 4, context: int = 0) -> Tensor:
    return PatchSampler([balls(0)], 2 * context + 1, number).draw(count, 16, 16)


def optimised(model: Niiv | None = None, loss: Any = F.l1_loss, **settings: Any) -> Optimisation:
    return Optimisation(model or tiny(), Average(), loss, **{"learning_rate": RATE, "averaging": 0.9, **settings})


def stepped(optimisation: Optimisation, *numbers: int) -> Optimisation:
    for number in numbers:
        assert optimisation.step(lambda: batch(number), 4.0, 0.0)  # noqa: B023
    return optimisation


def vector(model: Niiv) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def exactly(device: torch.device) -> torch.autocast:
    """Without mixed precision, on every computer."""
    return torch.autocast(device.type, enabled=False)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No warm-up."""
    monkeypatch.setattr(module, "WARM_UP", 1)


# learning


def test_some_seconds_beat_linear_interpolation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WARM_UP", 20)
    sampler = PatchSampler([balls(0)], 1, seed=0)
    optimisation = optimised(learning_rate=5e-3)
    for number in range(150):
        assert optimisation.step(lambda: sampler.draw(4, 20, 28), 4.0, number / 150)
    check = optimisation.check_progress()
    assert check.notice == ""
    assert 0 < check.loss < 0.2
    sharp = balls(1)[:, None]
    coarse, positions, covered = Average().training_pair(sharp, 4.0)
    with torch.no_grad():
        restored = optimisation.average(coarse, 4.0, positions)
    target = sharp[:, 0, :, covered]
    linear = F.interpolate(F.avg_pool1d(sharp[:, 0], 4), scale_factor=4, mode="linear")
    assert F.l1_loss(restored, target) < 0.9 * F.l1_loss(linear, target)
    assert not optimisation.average.training
    assert optimisation.step_number == 150


@pytest.mark.parametrize("decoder", ["subvoxel", "implicit"])
def test_a_seed_repeats(decoder: str) -> None:
    def weights(seed: int) -> Tensor:
        sampler = PatchSampler([balls(0)], 1, seed)
        optimisation = optimised(tiny(decoder=decoder, latent=4, mlp_width=8, mlp_layers=2))
        for _ in range(5):
            optimisation.step(lambda: sampler.draw(4, 16, 16), 4.0, 0.0)
        return vector(optimisation.average)

    first, second, other = weights(1), weights(1), weights(2)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_all_weights_learn_with_context_and_several_factors() -> None:
    model = tiny(context=2, degree=2)
    before = [p.detach().clone() for p in model.parameters()]
    optimisation = Optimisation(model, Gaussian(fwhm=1), F.l1_loss, learning_rate=RATE)
    sampler = PatchSampler([balls(0)], 5, 0)
    for factor in (2.0, 3.7, 5.0):
        needed = Gaussian(fwhm=1).needed(4, factor)
        assert optimisation.step(lambda: sampler.draw(2, 16, needed), factor, 0.0)  # noqa: B023
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_the_loss_compares_the_restored_centre_with_the_sharp_one(at_once: None) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def loss(restored: Tensor, target: Tensor) -> Tensor:
        seen.append((restored.detach(), target))
        return F.l1_loss(restored, target)

    sharp = batch(context=1)
    optimisation = optimised(tiny(context=1), loss)
    optimisation.step(lambda: sharp[..., :15], 4.0, 0.0)
    ((restored, target),) = seen
    assert restored.shape == target.shape == (4, 16, 12)
    assert torch.equal(target, sharp[:, 1, :, :12])
    assert optimisation.check_progress().loss == pytest.approx(float(F.l1_loss(restored, target)))


def test_all_slices_of_a_cell_are_compared(at_once: None) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def loss(restored: Tensor, target: Tensor) -> Tensor:
        seen.append((restored.detach(), target))
        return F.l1_loss(restored, target)

    sharp = batch(context=2)
    # the last row of pixels is no whole cell
    optimised(tiny(context=1, slices=3, lateral=5), loss).step(lambda: sharp, 4.0, 0.0)
    ((restored, target),) = seen
    assert restored.shape == target.shape == (12, 15, 16)
    assert torch.equal(target, sharp[:, 1:4, :15].flatten(0, 1))


def test_a_model_told_the_noise_learns_with_as_much_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = tiny(noise=0.2), []

    def encode(slices: Tensor, anisotropy: float, **options: Any) -> Tensor:
        given.append((slices.detach(), float(options["level"])))
        return Niiv.encode(model, slices, anisotropy, **options)

    monkeypatch.setattr(model, "encode", encode)
    optimisation = optimised(model)
    sharp = batch(count=64)
    for _ in range(60):
        optimisation.step(lambda: sharp, 4.0, 0.0)
    coarse, *_ = Average().training_pair(sharp, 4.0)
    highest = 0.2 * 3 / 7  # of this anisotropy
    for slices, level in given:
        assert 0 <= level <= highest
        assert float((slices - coarse).std()) == pytest.approx(level, rel=0.05, abs=1e-9)
    levels = [level for _, level in given]
    assert levels.count(0) == pytest.approx(30, abs=10)
    assert max(levels) > 0.7 * highest
    again = optimised(tiny(noise=0.2))
    for _ in range(60):
        again.step(lambda: sharp, 4.0, 0.0)
    assert torch.equal(vector(again.average), vector(optimisation.average))


def test_what_a_noise_level_changes_can_be_left_as_it_is() -> None:
    model = tiny(noise=0.2)
    with torch.no_grad():
        for weight in model.encoder.parameters():
            weight[-1].normal_(0, 0.01)
    before = [weight.detach().clone() for weight in model.encoder.parameters()]
    optimisation = stepped(optimised(model, learn_noise=False), *range(6))
    for then, now in zip(before, optimisation.average.encoder.parameters(), strict=True):
        assert torch.equal(then[-1], now[-1])
        assert not torch.equal(then[0], now[0])


pair = Average().training_pair


def test_contrast_is_varied_between_the_ends_of_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(Average, "training_pair", lambda self, sharp, a: seen.append(sharp) or pair(sharp, a))
    optimisation = optimised(contrast=0.5)
    sharp = torch.rand(64, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    sharp[:, :, 0] = torch.tensor([-0.5, 0.0, 1.0, 1.5]).repeat(4)
    optimisation.step(lambda: sharp, 4.0, 0.0)
    (varied,) = seen
    assert torch.equal(varied[:, :, 0], sharp[:, :, 0])
    inside = (sharp > 0.01) & (sharp < 0.99)
    bends = ((varied - sharp) / (sharp * (1 - sharp))).where(inside, torch.nan)
    per_patch = bends.flatten(1).nanmean(1)
    assert float((bends.flatten(1) - per_patch[:, None]).nan_to_num().abs().max()) < 1e-3
    assert per_patch.abs().max() <= 0.9 + 1e-5
    assert 0.3 < float(per_patch.std()) < 0.7


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_each_replay_of_a_graph_draws_other_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    # learning nothing, so that losses differ by the noise alone
    optimisation = optimised(tiny(noise=0.2).to("cuda"), learning_rate=1e-12)
    monkeypatch.setattr(module, "_CLEAN", 0.0)
    sharp = batch(count=4).to("cuda")
    losses = []
    for _ in range(12):
        optimisation.step(lambda: sharp, 4.0, 0.0)
        losses.append(optimisation.check_progress().loss)
    assert not optimisation._backward._impossible
    assert len(set(losses)) == len(losses)


def test_small_factors_count_as_much_as_large_ones() -> None:
    # errors that grow as those of interpolation do give gradients of the same size; the loss told is as it is
    optimisation = optimised(tiny(anisotropy_range=(2.0, 8.0)), lambda restored, target: restored.mean())
    told = float(optimisation._forward_and_backward(batch(), 2.0))
    plain = tiny(anisotropy_range=(2.0, 8.0))
    coarse, positions, _ = Average().training_pair(batch(), 2.0)
    loss = plain(coarse, 2.0, positions).mean()
    loss.backward()
    assert told == pytest.approx(float(loss), rel=1e-5)
    expected = torch.cat([p.grad.flatten() for p in plain.parameters()])
    torch.testing.assert_close(optimisation._gradients_and_loss[:-1], 4**0.7 * expected)


def test_the_mean_loss_is_of_the_steps_since_the_last_check() -> None:
    losses = iter([1.0, 2.0, 6.0, 5.0])
    optimisation = optimised(loss=lambda restored, target: restored.mean() * 0 + next(losses))
    stepped(optimisation, 0, 1, 2)
    assert optimisation.check_progress() == ProgressCheck(3.0)
    stepped(optimisation, 3)
    assert optimisation.check_progress() == ProgressCheck(5.0)


# rates and averages; Adam's first step is the rate, whatever the gradient


def largest_step(optimisation: Optimisation, fraction: float = 0.0) -> float:
    before = vector(optimisation.model)
    optimisation.step(lambda: batch(), 4.0, fraction)
    return float((vector(optimisation.model) - before).abs().max())


@pytest.mark.parametrize(("fraction", "part"), [(0, 1.0), (0.5, 0.5), (0.75, 0.5 - 0.5**1.5), (1, 1e-3), (3, 1e-3)])
def test_the_rate_falls_as_a_cosine(at_once: None, fraction: float, part: float) -> None:
    assert largest_step(optimised(), fraction) == pytest.approx(part * RATE, rel=1e-2, abs=2e-8)


@pytest.mark.parametrize(("warm_up", "part"), [(1, 1.0), (4, 0.25), (200, 0.005)])
def test_the_first_steps_are_small(monkeypatch: pytest.MonkeyPatch, warm_up: int, part: float) -> None:
    monkeypatch.setattr(module, "WARM_UP", warm_up)
    assert largest_step(optimised()) == pytest.approx(part * RATE, rel=1e-2)


def test_gradients_are_clipped() -> None:
    optimisation = optimised(loss=lambda a, b: 1e4 * F.l1_loss(a, b), clip=0.3)
    stepped(optimisation, 0)
    norm = torch.stack([p.grad.norm() for p in optimisation.model.parameters()]).norm()
    assert float(norm) == pytest.approx(0.3, rel=1e-3)


@pytest.mark.parametrize(("learnt", "forgotten"), [(False, 9), (True, 3)])
@pytest.mark.parametrize("averaging", [0.0, 0.25, 0.999])
def test_the_average_forgets_at_first_fast_then_slowly(
    at_once: None, averaging: float, learnt: bool, forgotten: int
) -> None:
    """And what was good already it forgets a third as fast."""
    optimisation = optimised(averaging=averaging, learnt=learnt)
    expected = vector(optimisation.model)
    for step in range(1, 9):
        stepped(optimisation, step)
        decay = min(averaging, 1 - forgotten / (10 + step))
        expected = decay * expected + (1 - decay) * vector(optimisation.model)
        torch.testing.assert_close(vector(optimisation.average), expected)
    if averaging:
        assert not torch.allclose(vector(optimisation.average), vector(optimisation.model), rtol=1e-6, atol=1e-7)


def test_the_average_answers_with_its_newest_weights(at_once: None) -> None:
    """It keeps folded weights while it is used, which must not outlive a step."""
    optimisation = optimised(averaging=0.0)
    x, positions = torch.rand(1, 1, 9, 5), Sampling.covering(5, 20)
    with torch.inference_mode():
        before = optimisation.average(x, 4.0, positions)
    stepped(optimisation, 0)
    with torch.inference_mode():
        after = optimisation.average(x, 4.0, positions)
        expected = optimisation.model.eval()(x, 4.0, positions)
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, expected)


# when it goes wrong


def broken_gradient(restored: Tensor, target: Tensor) -> Tensor:
    return F.l1_loss(restored, target) + 0 * (restored - restored).sqrt().sum()


def not_a_number(restored: Tensor, target: Tensor) -> Tensor:
    return restored.mean() * math.nan


class Failing:
    """A loss that is replaced for single steps."""

    def __init__(self) -> None:
        self.instead: Callable[[Tensor, Tensor], Tensor] | None = None

    def __call__(self, restored: Tensor, target: Tensor) -> Tensor:
        return (self.instead or F.l1_loss)(restored, target)


@pytest.mark.parametrize("failure", [not_a_number, broken_gradient])
def test_it_returns_to_the_last_good_weights_at_half_the_rate(at_once: None, failure: Any) -> None:
    loss = Failing()
    optimisation = optimised(loss=loss)
    stepped(optimisation, 0, 1)
    assert optimisation.check_progress().notice == ""
    good = vector(optimisation.model), vector(optimisation.average)
    for returns in (1, 2):
        stepped(optimisation, 5)
        loss.instead = failure
        stepped(optimisation, 2)
        loss.instead = None
        stepped(optimisation, 3)
        check = optimisation.check_progress()
        assert math.isnan(check.loss)
        assert "half the learning rate" in check.notice
        assert "\n" not in check.notice
        assert torch.equal(vector(optimisation.model), good[0])
        assert torch.equal(vector(optimisation.average), good[1])
        assert largest_step(optimisation) == pytest.approx(RATE * 0.5**returns, rel=1e-2)
        check = optimisation.check_progress()
        assert math.isfinite(check.loss)
        assert check.notice == ""
        good = vector(optimisation.model), vector(optimisation.average)


def test_it_gives_up_in_the_end() -> None:
    optimisation = optimised(loss=not_a_number)
    for _ in range(5):
        stepped(optimisation, 0)
        assert optimisation.check_progress().notice
    stepped(optimisation, 0)
    with pytest.raises(TrainingError, match="diverged again and again") as caught:
        optimisation.check_progress()
    assert "\n" not in str(caught.value)


def full(*_: object) -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory")


def full_on_the_way_back(restored: Tensor, target: Tensor) -> Tensor:
    restored.register_hook(full)
    return F.l1_loss(restored, target)


@pytest.mark.parametrize("failure", [full, full_on_the_way_back])
def test_without_memory_nothing_is_learnt_and_nothing_harmed(failure: Any) -> None:
    loss = Failing()
    optimisation, untroubled = optimised(loss=loss), optimised()
    stepped(optimisation, 0)
    stepped(untroubled, 0)
    loss.instead = failure
    assert optimisation.step(lambda: batch(1), 4.0, 0.0) is False
    loss.instead = None
    assert optimisation.step_number == 1
    assert torch.equal(vector(optimisation.model), vector(untroubled.model))
    assert torch.equal(vector(optimisation.average), vector(untroubled.average))
    stepped(optimisation, 2)
    stepped(untroubled, 2)
    assert torch.equal(vector(optimisation.model), vector(untroubled.model))
    assert optimisation.check_progress() == untroubled.check_progress()


def test_a_batch_too_large_to_draw_is_noticed_too() -> None:
    assert optimised().step(full, 4.0, 0.0) is False


def test_other_errors_are_not_hidden() -> None:
    def wrong(*_: object) -> Tensor:
        raise RuntimeError("sizes do not match")

    with pytest.raises(RuntimeError, match="sizes do not match"):
        stepped(optimised(loss=wrong), 0)


# going on later


def test_a_stored_one_goes_on_as_if_nothing_had_happened(at_once: None) -> None:
    through = stepped(optimised(), 0, 1, 2)
    stored = save(through.state())
    stepped(through, 3, 4, 5)
    later = optimised(tiny(seed=7))
    later.restore(load(stored))
    assert later.step_number == 3
    stepped(later, 3, 4, 5)
    assert torch.equal(vector(later.model), vector(through.model))
    assert torch.equal(vector(later.average), vector(through.average))


def test_one_that_never_began_can_be_stored(at_once: None) -> None:
    fresh, later = optimised(), optimised(tiny(seed=7))
    later.restore(load(save(fresh.state())))
    assert torch.equal(vector(stepped(later, 0).average), vector(stepped(fresh, 0).average))


def test_the_halved_rate_is_stored(at_once: None) -> None:
    troubled = optimised(loss=not_a_number)
    stepped(troubled, 0)
    troubled.check_progress()
    later = optimised(tiny(seed=7))
    later.restore(load(save(troubled.state())))
    assert largest_step(later) == pytest.approx(RATE / 2, rel=1e-2)


def test_after_a_failure_it_returns_to_what_was_stored() -> None:
    loss = Failing()
    stored = load(save(stepped(optimised(), 0, 1).state()))
    later = optimised(tiny(seed=7), loss)
    later.restore(stored)
    before = vector(later.model)
    loss.instead = not_a_number
    stepped(later, 2)
    assert later.check_progress().notice
    assert torch.equal(vector(later.model), before)


# together


def member(rank: int, port: int, folder: str) -> None:
    """One of two processes; the second runs out of memory once."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    module.training_precision = exactly
    processes = Processes.launched().join(torch.device("cpu"))
    assert (processes.rank, processes.size, processes.main) == (rank, 2, rank == 0)
    loss = Failing()
    optimisation = optimised(tiny(seed=rank), loss, processes=processes, clip=1e9)
    kept = {"start": vector(optimisation.model)}
    stepped(optimisation, 10 + rank)
    kept["gradient"] = torch.cat([p.grad.flatten() for p in optimisation.model.parameters()])
    kept["loss"] = torch.tensor(optimisation.check_progress().loss)
    loss.instead = full if rank else None
    assert optimisation.step(lambda: batch(20 + rank), 4.0, 0.0) is (rank == 0)
    loss.instead = None
    kept["after"] = vector(optimisation.model)
    stepped(optimisation, 30 + rank, 40 + rank)
    kept |= {"end": vector(optimisation.model), "average": vector(optimisation.average)}
    kept["agreed"] = torch.tensor(processes.agree(float(rank), 3.0))
    torch.save(kept, Path(folder) / f"{rank}.pt")
    processes.leave()


@pytest.mark.skipif(sys.platform == "win32", reason="gloo needs another set-up there")
def test_two_processes_learn_as_one_from_both_batches(
    tmp_path: Path,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(member, (port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert first["agreed"].tolist() == [0.5, 3]
    # one process, with the patches of both
    alone = optimised(clip=1e9)
    assert torch.equal(vector(alone.model), first["start"])  # the first one's weights
    alone.step(lambda: torch.cat([batch(10), batch(11)]), 4.0, 0.0)
    gradient = torch.cat([p.grad.flatten() for p in alone.model.parameters()])
    torch.testing.assert_close(first["gradient"], gradient, atol=1e-6, rtol=1e-4)
    assert float(first["loss"]) == pytest.approx(alone.check_progress().loss, rel=1e-5)


def test_alone_there_is_nothing_to_agree_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    processes = Processes.launched().join(torch.device("cpu"))
    assert processes == Processes()
    assert processes.main
    x = torch.ones(2)
    processes.average(x)
    assert processes.agree(1.0, 2.0) == (1.0, 2.0)
    processes.leave()


# from one stage to the next


@pytest.mark.parametrize("decoder", ["subvoxel", "implicit"])
@pytest.mark.parametrize("context", [1, 3])
def test_a_widened_model_does_not_look_at_its_neighbours_yet(small_model, decoder: str, context: int) -> None:
    narrow = small_model(decoder=decoder, context=0, degree=2)
    wide = narrow.widened(context)
    assert wide.architecture == narrow.architecture.model_copy(update={"context": context})
    slices = torch.randn(2, 2 * context + 1, 9, 7, generator=torch.Generator().manual_seed(0))
    for factor in (1.5, 4.0, 9.0):
        at = Sampling.covering(7, 20)
        with torch.inference_mode():
            expected = narrow(slices[:, context : context + 1], factor, at)
            torch.testing.assert_close(wide(slices, factor, at), expected)
            others = slices.clone()
            others[:, :context] = 7
            torch.testing.assert_close(wide(others, factor, at), expected)


def test_a_widened_model_learns_from_its_neighbours(small_model, at_once: None) -> None:
    wide = small_model(context=0).widened(1)
    optimisation = optimised(wide)
    optimisation.step(lambda: batch(context=1), 4.0, 0.0)
    head = wide.encoder.kernels[0]
    assert all(bool(head[0, :, channel].abs().sum() > 0) for channel in range(3))


@pytest.mark.parametrize("training", [True, False])
def test_a_widened_model_is_a_copy(small_model, training: bool) -> None:
    narrow = small_model(context=0).train(training)
    before = vector(narrow)
    wide = narrow.widened(2)
    assert wide.training is training
    with torch.no_grad():
        for weights in wide.parameters():
            weights.zero_()
    assert torch.equal(vector(narrow), before)


def test_a_wide_model_is_not_widened(small_model) -> None:
    with pytest.raises(ValueError, match="context already"):
        small_model(context=1).widened(2)


# states that are damaged, or made to harm


@pytest.mark.parametrize(
    "change",
    [
        {"progress": None},
        {"progress": torch.tensor([-1.0, 1.0])},
        {"progress": torch.tensor([3.0, 0.0])},
        {"progress": torch.tensor([3.0, math.nan])},
        {"progress": torch.tensor([3])},
        {"model.encoder.kernels.0": torch.zeros(1)},
        {"average.encoder.biases.0": None},
        {"adam.0.step": None},
        {"adam.1.exp_avg_sq": torch.zeros(2, 2)},
        {"adam.0.step": torch.tensor(-1.0)},
        {"adam.99.step": torch.tensor(1.0)},
        {"more": torch.zeros(1)},
    ],
    ids=str,
)
def test_a_state_that_cannot_be_is_refused_and_changes_nothing(change: dict[str, Tensor | None]) -> None:
    state = stepped(optimised(), 0, 1).state()
    fresh = optimised()
    before = vector(fresh.model).clone()
    damaged = {k: v for k, v in {**state, **change}.items() if v is not None}
    with pytest.raises(ValueError, match=r"another network|not finite|cannot be"):
        fresh.restore(damaged)
    assert torch.equal(vector(fresh.model), before)
    fresh.restore(state)
    assert fresh.step_number == 2


@pytest.mark.parametrize("name", ["model.encoder.kernels.1", "average.encoder.kernels.1", "adam.1.exp_avg_sq"])
def test_numbers_of_a_state_that_are_not_finite_are_refused(name: str) -> None:
    state = stepped(optimised(), 0).state()
    state[name].view(-1)[-1] = math.inf
    with pytest.raises(ValueError, match="not finite"):
        optimised().restore(state)
