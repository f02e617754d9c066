"""Adam, by the function that torch's own optimiser calls.

The optimiser imports torch's compiler at its first step: 800 modules, triton among them, that nothing here uses.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Adam with torch's defaults, to the bit.

    Parameters
    ----------
    weights : list of Tensor
        All on one device, each with its gradient when a step is taken; changed in place.
    """

    def __init__(self, weights: list[Tensor]) -> None:
        self._weights, self._fused = weights, weights[0].device.type == "cuda"
        # none before the first step
        self._means: list[Tensor] = []
        self._squares: list[Tensor] = []
        self._steps: list[Tensor] = []

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Change the weights by their gradients."""
        if not self._steps:
            self._means = [torch.zeros_like(weight) for weight in self._weights]
            self._squares = [torch.zeros_like(weight) for weight in self._weights]
            place = self._weights[0].device if self._fused else "cpu"
            self._steps = [torch.zeros((), dtype=torch.float32, device=place) for _ in self._weights]
        adam(
            self._weights,
            [weight.grad for weight in self._weights if weight.grad is not None],
            self._means,
            self._squares,
            [],
            self._steps,
            fused=self._fused,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        """What it remembers of each weight, by the weight's number; empty before the first step."""
        named = {"exp_avg": self._means, "exp_avg_sq": self._squares, "step": self._steps}
        return {f"{number}.{name}": tensor for name, tensors in named.items() for number, tensor in enumerate(tensors)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state` of the same weights."""
        if not state:
            return
        numbers, place = range(len(self._weights)), self._weights[0].device
        self._means = [state[f"{number}.exp_avg"].to(place) for number in numbers]
        self._squares = [state[f"{number}.exp_avg_sq"].to(place) for number in numbers]
        self._steps = [state[f"{number}.step"].to(place if self._fused else "cpu") for number in numbers]
