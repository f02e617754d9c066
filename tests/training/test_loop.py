from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from napari_niiv.degradation import average, restored_positions
from napari_niiv.models.niiv import Architecture, Niiv
from napari_niiv.training import loop
from napari_niiv.training.config import FitConfig
from napari_niiv.training.loop import Source, fit

CPU = torch.device("cpu")


def balls(seed: int) -> torch.Tensor:
    """Sharp balls on a plain ground, alike in all directions: what averaging blurs and a network can restore."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:12, :64, :64]
    volume = np.zeros(z.shape, np.float32)
    for _ in range(60):
        centre, radius = rng.uniform(0, 64, 3), rng.uniform(3, 7)
        distance = (z - centre[0] * 12 / 64) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
        volume[distance < radius**2] = 1
    return torch.from_numpy(volume)


def tiny(**architecture) -> Niiv:
    torch.manual_seed(0)
    options = {"context": 0, "features": 8, "blocks": 1, "samples": 4, "degree": 1} | architecture
    return Niiv(Architecture(**options))


def trained(model: Niiv, **config) -> tuple[Niiv, list]:
    options = {"lateral": 32, "axial": 8, "batch": 8, "learning_rate": 3e-3, "averaging": 0.9} | config
    events = list(fit(model, [Source([balls(0)], (4.0,))], FitConfig(**options), device=CPU))
    return model, events


def loss(model: Niiv, anisotropy: float) -> tuple[float, float]:
    """Mean absolute error of the model, and of linear interpolation, on another volume."""
    sharp = balls(1)[:, None]
    coarse = average(sharp, anisotropy)
    positions = restored_positions(coarse.shape[-1], anisotropy)
    with torch.no_grad():
        restored = model(coarse, anisotropy, positions)
    linear = F.interpolate(coarse[:, 0], size=positions.count, mode="linear")
    target = sharp[:, 0, :, : positions.count]
    return float((restored - target).abs().mean()), float((linear - target).abs().mean())


def test_a_few_seconds_beat_linear_interpolation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_WARM_UP", 20)
    model, events = trained(tiny(), steps=150, lateral=24, learning_rate=5e-3)
    ours, linear = loss(model, 4.0)
    assert ours < 0.9 * linear
    assert not model.training
    last = events[-1]
    assert (last.step, last.fraction, last.stage) == (150, 1.0, 1)
    assert [e.step for e in events] == sorted({e.step for e in events})
    assert all(np.isfinite(e.loss) for e in events)


@pytest.mark.parametrize("decoder", ["subvoxel", "implicit"])
def test_a_seed_repeats(decoder: str) -> None:
    def weights(seed: int) -> torch.Tensor:
        model, _ = trained(tiny(decoder=decoder, latent=4, mlp_width=8, mlp_layers=2), steps=5, seed=seed)
        return flat(model)

    first, second, other = weights(1), weights(1), weights(2)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_context_and_several_factors() -> None:
    model = tiny(context=2)
    before = [p.detach().clone() for p in model.parameters()]
    sources = [Source([balls(0), balls(1)], (2.0, 3.7)), Source([balls(2)], (5.0,))]
    (event,) = fit(model, sources, FitConfig(steps=4, lateral=16, axial=6, batch=2), device=CPU, stage=2)
    assert (event.stage, event.step) == (2, 4)
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_it_ends_with_the_averaged_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_WARM_UP", 2)
    step_loss, visited = loop._loss, []

    def recorded(model: Niiv, *rest: object) -> torch.Tensor:
        visited.append(flat(model))
        return step_loss(model, *rest)

    monkeypatch.setattr(loop, "_loss", recorded)
    last, _ = trained(tiny(), steps=7, averaging=0.0)  # no averaging to speak of
    steps = [*visited[1:], flat(last)]  # the weights after each step
    averaged, _ = trained(tiny(), steps=7, averaging=0.75)
    expected = steps[3]  # the first after the warm-up
    for weights in steps[4:]:
        expected = 0.75 * expected + 0.25 * weights
    torch.testing.assert_close(flat(averaged), expected)
    assert not torch.allclose(flat(averaged), flat(last), rtol=1e-6, atol=1e-7)


def flat(model: Niiv) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_budget_of_time_ends() -> None:
    _, events = trained(tiny(), minutes=1e-4)
    assert events[-1].fraction == 1


def test_it_can_be_left_early() -> None:
    training = fit(
        tiny(),
        [Source([balls(0)], (4.0,))],
        FitConfig(steps=10**6, lateral=16, axial=4, batch=2),
        device=CPU,
    )
    assert next(training).fraction < 1
    training.close()


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"minutes": 0}, {"batch": 0}, {"learning_rate": 0}, {"averaging": 1}, {"epochs": 3}],
)
def test_settings_that_make_no_sense(wrong) -> None:
    with pytest.raises(ValidationError):
        FitConfig(**wrong)
