"""The optimisation loop: a generator of frozen events, without any user interface."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from napari_niiv.degradation import average, restored_positions
from napari_niiv.models.niiv import Niiv
from napari_niiv.training.config import FitConfig
from napari_niiv.training.events import TrainingStep
from napari_niiv.training.patches import PatchSampler

_WARM_UP = 200  # steps


@dataclass(frozen=True)
class Source:
    """Volumes to learn from, and the factors to undo on them.

    Attributes
    ----------
    volumes : sequence of Tensor, shape (z, y, x)
        Normalised.
    anisotropies : tuple of float
    """

    volumes: Sequence[Tensor]
    anisotropies: tuple[float, ...]


def fit(
    model: Niiv, sources: Sequence[Source], config: FitConfig, *, device: torch.device, stage: int = 1
) -> Iterator[TrainingStep]:
    """Train a model in place to undo average pooling of one lateral axis; it ends with its averaged weights.

    Parameters
    ----------
    model : Niiv
        On `device`, in float32.
    sources : sequence of Source
        Of all their factors, one is drawn per batch, all alike.
    config : FitConfig
    device : torch.device
    stage : int
        Told in the events.

    Yields
    ------
    TrainingStep
        About once a second and at the end.
    """
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    choices = []
    for number, source in enumerate(sources):
        volumes = [v.to(device) for v in source.volumes]
        sampler = PatchSampler(volumes, model.context, config.seed + number)
        choices += [(sampler, anisotropy) for anisotropy in source.anisotropies]
    model.train()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.averaging))
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, fused=device.type == "cuda")
    half = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
    began = told = time.perf_counter()
    step, fraction, since = 0, 0.0, 0
    total = torch.zeros((), device=device)
    while fraction < 1:
        rate = (
            config.learning_rate * min(1, (step + 1) / _WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * fraction))
        )
        for group in optimizer.param_groups:
            group["lr"] = max(rate, 1e-3 * config.learning_rate)
        sampler, anisotropy = choices[int(torch.randint(len(choices), (), generator=generator))]
        sharp = sampler.draw(config.batch, config.lateral, math.ceil(config.axial * anisotropy))
        loss = _loss(model, sharp, anisotropy, half)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        # the average begins after the warm-up, so that short trainings are not held back by their beginning
        if step == _WARM_UP:
            averaged.module.load_state_dict(model.state_dict())
        elif step > _WARM_UP:
            averaged.update_parameters(model)
        total += loss.detach()
        step, since = step + 1, since + 1
        now = time.perf_counter()
        fraction = max(
            step / config.steps if config.steps else 0.0,
            (now - began) / (60 * config.minutes) if config.minutes else 0.0,
        )
        if now - told >= 1 or fraction >= 1:
            yield TrainingStep(stage, step, min(fraction, 1.0), float(total) / since, now - began)
            told, since = now, 0
            total.zero_()
    if step > _WARM_UP:
        model.load_state_dict(averaged.module.state_dict())
    model.eval()


def _loss(model: Niiv, sharp: Tensor, anisotropy: float, half: torch.autocast) -> Tensor:
    coarse = average(sharp, anisotropy)
    positions = restored_positions(coarse.shape[-1], anisotropy)
    with half:
        restored = model(coarse.contiguous(memory_format=torch.channels_last), anisotropy, positions)
    target = sharp[:, model.context, :, : positions.count]
    return torch.nn.functional.l1_loss(restored, target)
