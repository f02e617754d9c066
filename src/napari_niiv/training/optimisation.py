"""One model being optimised: steps, the average of its weights, and what to do when a step goes wrong."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_niiv.degradation import Degradation
from napari_niiv.device import out_of_memory, training_precision
from napari_niiv.errors import TrainingError
from napari_niiv.models.niiv import Niiv
from napari_niiv.models.weight_files import finite
from napari_niiv.training.adam import Adam
from napari_niiv.training.cuda_graphs import ReplayedStep
from napari_niiv.training.losses.loss import Loss
from napari_niiv.training.processes import Processes

# steps in which the learning rate rises
WARM_UP = 200
_MOST_RETURNS = 5
# part of the steps so far that the average of the weights remembers: of a model that was good already nothing has to be
# forgotten, and each step by itself draws a lattice of the model's cells
_MEMORY, _MEMORY_OF_LEARNT = 1 / 9, 1 / 3
# share of the steps without noise, for a model that is told the noise
_CLEAN = 0.5
# the exponent of the anisotropy with which errors grow: those of bicubic interpolation, on FIB-25, are 4.2 grey levels
# (rms) at 2x, 6.7 at 4x, 11.3 at 8x
_ERRORS_GROW = 0.7
# of a contrast curve: more, and it would fold back
_MOST_BENT = 0.9


@dataclass(frozen=True)
class ProgressCheck:
    """How an optimisation went since it was checked last.

    Attributes
    ----------
    loss : float
        Mean loss of the steps; NaN if they were undone.
    notice : str
        A sentence for the user if the steps were undone, else empty.
    """

    loss: float
    notice: str = ""


class Optimisation:
    """Adam on the weights of a model, which learns to undo a degradation of the last axis.

    Parameters
    ----------
    model : Niiv
        On the device that trains, in float32; changed in place.
    degradation : Degradation
    loss : Loss
    learning_rate : float
    clip : float
        Largest norm of the gradient.
    averaging : float
        Decay of the average of the weights, which is the model that counts.
    learnt : bool
        Whether the model is one that was trained before.
    contrast : float
        How much the contrast of the patches is varied: standard deviation of its slope at intensity 0.
    learn_noise : bool
        Whether the weights that tell what a noise level changes are learnt, of a model that is told it.
    seed : int
        Of the contrasts, and of the noise that a model which is told the noise learns with.
    processes : Processes
        Among which gradients are averaged.
    """

    def __init__(
        self,
        model: Niiv,
        degradation: Degradation,
        loss: Loss,
        *,
        learning_rate: float,
        clip: float = 1.0,
        averaging: float = 0.999,
        learnt: bool = False,
        contrast: float = 0.0,
        learn_noise: bool = True,
        seed: int = 0,
        processes: Processes = Processes(),
    ) -> None:
        self.model, self._degradation, self._loss = model.train().requires_grad_(True), degradation, loss
        self._rate, self._clip, self._averaging, self._contrast = learning_rate, clip, averaging, contrast
        self._memory = _MEMORY_OF_LEARNT if learnt else _MEMORY
        self._processes = processes
        processes.share(model.parameters())
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self._weights: list[Tensor] = list(model.parameters())
        self._device = model.device
        # all gradients, and the loss, in one tensor: one exchange between processes
        self._gradients_and_loss = torch.zeros(sum(w.numel() for w in self._weights) + 1, device=self._device)
        parts = self._gradients_and_loss[:-1].split([w.numel() for w in self._weights])
        for weight, part in zip(self._weights, parts, strict=True):
            weight.grad = part.view_as(weight)
        still = model.knows_noise and not learn_noise
        self._still = [w.grad[-1] for w in model.encoder.parameters() if still and w.grad is not None]
        self._half = training_precision(self._device)
        self._generator = torch.Generator(self._device).manual_seed(seed)
        self._backward = ReplayedStep(self._forward_and_backward, self._generator)
        self._adam = Adam(self._weights)
        self.step_number = 0
        self._loss_sum, self._losses = torch.zeros((), device=self._device), 0
        self._returns, self._rate_factor = 0, 1.0
        self._good = self._snapshot()

    def step(self, draw: Callable[[], Tensor], anisotropy: float, fraction: float) -> bool:
        """One step.

        Parameters
        ----------
        draw : callable
            Gives sharp patches (B, s + 2k, lateral, axial).
        anisotropy : float
        fraction : float
            Of the stage, 0 … 1: the learning rate falls as a cosine.

        Returns
        -------
        bool
            False if memory ran out: nothing was learnt here, the batch should be smaller. Among several processes the
            step is done all the same, with what the others learnt.
        """
        self._gradients_and_loss.zero_()
        learnt = True
        try:
            self._gradients_and_loss[-1] = self._backward(draw(), anisotropy)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            learnt = False
            self._gradients_and_loss.zero_()
            self._backward.forget()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            if self._processes.size == 1:
                return False
        self._processes.average(self._gradients_and_loss)
        if self._still:
            torch._foreach_zero_(self._still)
        torch.nn.utils.clip_grad_norm_(self._weights, self._clip)
        warm = min(1.0, (self.step_number + 1) / WARM_UP)
        rate = self._rate * self._rate_factor * warm * (0.5 + 0.5 * math.cos(math.pi * min(fraction, 1.0)))
        self._adam.step(max(rate, 1e-3 * self._rate))
        self.step_number += 1
        # a short memory at first, lest the beginning weigh on short trainings
        decay = min(self._averaging, 1 - 1 / (self._memory * (10 + self.step_number)))
        torch._foreach_lerp_(list(self.average.parameters()), [w.detach() for w in self._weights], 1 - decay)
        self.average.encoder.forget()
        self._loss_sum += self._gradients_and_loss[-1]
        self._losses += 1
        return learnt

    def check_progress(self) -> ProgressCheck:
        """See whether the steps since the last check went well; if not, go back to the weights of that check.

        Raises
        ------
        TrainingError
            If it had to go back too often.
        """
        loss = float(self._loss_sum) / max(self._losses, 1)
        self._loss_sum.zero_()
        self._losses = 0
        if math.isfinite(loss) and all(bool(p.isfinite().all()) for p in self.average.parameters()):
            self._good = self._snapshot()
            return ProgressCheck(loss)
        self._returns += 1
        if self._returns > _MOST_RETURNS:
            raise TrainingError(
                "The training diverged again and again; choose a smaller learning rate, or look for extreme values in "
                "the volume."
            )
        self._go_back()
        return ProgressCheck(
            math.nan,
            "The loss was not a number; going on from the last good weights at half the learning rate.",
        )

    def state(self) -> dict[str, Tensor]:
        """All that a later run needs to go on."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        tensors |= {f"adam.{k}": v for k, v in self._adam.state().items()}
        tensors["progress"] = torch.tensor([self.step_number, self._rate_factor], dtype=torch.float64)
        return {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a `state`.

        Raises
        ------
        ValueError
            If it is none of this model.
        """
        self._check_state(tensors)
        for prefix, target in (("model.", self.model), ("average.", self.average)):
            target.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        self._adam.restore({k.removeprefix("adam."): v for k, v in tensors.items() if k.startswith("adam.")})
        self.step_number, self._rate_factor = int(tensors["progress"][0]), float(tensors["progress"][1])
        self._good = self._snapshot()

    def _check_state(self, tensors: dict[str, Tensor]) -> None:
        """Refuse tensors of other names or shapes, and numbers that cannot be."""
        expected: dict[str, tuple[int, ...]] = {"progress": (2,)}
        for prefix, model in (("model.", self.model), ("average.", self.average)):
            expected |= {f"{prefix}{k}": tuple(v.shape) for k, v in model.state_dict().items()}
        if any(name.startswith("adam.") for name in tensors):
            for number, weight in enumerate(self._weights):
                expected |= {f"adam.{number}.{name}": tuple(weight.shape) for name in ("exp_avg", "exp_avg_sq")}
                expected[f"adam.{number}.step"] = ()
        if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != expected:
            raise ValueError("it is of another network")
        if not all(tensor.is_floating_point() for tensor in tensors.values()) or not finite(tensors):
            raise ValueError("some of its numbers are not finite")
        negative = any((v < 0).any() for k, v in tensors.items() if k.endswith((".exp_avg_sq", ".step")))
        if negative or not (0 <= tensors["progress"][0] < 1 << 48 and 0 < tensors["progress"][1] <= 1):
            raise ValueError("some of its numbers cannot be")

    def _go_back(self) -> None:
        """To the last good weights, at half the learning rate."""
        self._rate_factor /= 2
        for target, source in zip((self.model, self.average), self._good, strict=True):
            for weight, value in zip(target.parameters(), source, strict=True):
                weight.data.copy_(value)
            target.encoder.forget()
        self._adam = Adam(self._weights)

    def _forward_and_backward(self, sharp: Tensor, anisotropy: float) -> Tensor:
        slices, pixels = self.model.cell
        sharp = self._with_contrast(sharp[:, :, : sharp.shape[2] // pixels * pixels])
        coarse, positions, covered = self._degradation.training_pair(sharp, anisotropy)
        coarse, level = self._with_noise(coarse, anisotropy)
        with self._half:
            restored = self.model(coarse.contiguous(memory_format=torch.channels_last), anisotropy, positions, level)
        first = self.model.context
        loss = self._loss(restored, sharp[:, first : first + slices, :, covered].flatten(0, 1))
        (loss * self._share(anisotropy)).backward()
        return loss.detach()

    def _share(self, anisotropy: float) -> float:
        """What the loss is multiplied by, so that all factors count about the same: small ones leave small errors."""
        lowest, highest = self.model.architecture.anisotropy_range
        return float((highest / min(max(anisotropy, lowest), highest)) ** _ERRORS_GROW)

    def _with_contrast(self, sharp: Tensor) -> Tensor:
        """Patches whose intensities between 0 and 1 follow a random parabola each, which leaves 0 and 1 where they are.

        A gamma curve would magnify the noise of dark places without bound.
        """
        if not self._contrast:
            return sharp
        bend = torch.randn(len(sharp), 1, 1, 1, generator=self._generator, device=sharp.device)
        inside = sharp.clamp(0, 1)
        return sharp + (self._contrast * bend).clamp(-_MOST_BENT, _MOST_BENT) * inside * (1 - inside)

    def _with_noise(self, coarse: Tensor, anisotropy: float) -> tuple[Tensor, float | Tensor]:
        """The degraded patches as a camera would record them, and the level of their noise, which is random.

        Low levels are the more frequent, and half of the steps have none: without noise the model is to be as good as
        can be.
        """
        if not self.model.knows_noise:
            return coarse, 0.0
        generator = self._generator
        highest = self.model.architecture.highest_level(anisotropy)
        dice = torch.rand(1, generator=generator, device=coarse.device)
        level = highest * ((dice - _CLEAN) / (1 - _CLEAN)).clamp_min(0).square()
        noise = torch.randn(coarse.shape, generator=generator, device=coarse.device)
        return coarse + level * noise, level

    def _snapshot(self) -> tuple[list[Tensor], list[Tensor]]:
        return (
            [w.detach().clone() for w in self._weights],
            [w.detach().clone() for w in self.average.parameters()],
        )


def check_weights(weights: Mapping[str, Tensor], model: Niiv) -> None:
    """Find out whether weights are a model's, and finite.

    Raises
    ------
    ValueError
        If not.
    """
    expected = {name: value.shape for name, value in model.state_dict().items()}
    if {name: value.shape for name, value in weights.items()} != expected or not finite(weights):
        raise ValueError("the weights are of another network, or not finite")
