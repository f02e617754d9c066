"""Replaying a training step on CUDA: a light network is limited by launching its kernels one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from napari_niiv.device import out_of_memory

# ordinary calls before a graph is recorded: they fill caches and choose algorithms
_ORDINARY_CALLS = 2


class ReplayedStep:
    """A function (batch, anisotropy) → loss that leaves gradients, recorded as a CUDA graph for each shape and factor.

    The gradients must stay the same tensors between calls. On other devices the function is simply called.

    Parameters
    ----------
    work : callable
        Computes the loss and adds to the gradients.
    generator : torch.Generator
        On the same device, of the random numbers that the work draws: each replay draws others.
    """

    def __init__(self, work: Callable[[Tensor, float], Tensor], generator: torch.Generator) -> None:
        self._work, self._generator, self._impossible = work, generator, False
        self.forget()

    def forget(self) -> None:
        """Give the graphs and their memory back."""
        self._graphs: dict[tuple[float, torch.Size], tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        self._calls: dict[tuple[float, torch.Size], int] = {}
        self._pool: Any = None

    def __call__(self, batch: Tensor, anisotropy: float) -> Tensor:
        """The loss; valid until the next call."""
        if batch.device.type != "cuda" or self._impossible:
            return self._work(batch, anisotropy)
        key = anisotropy, batch.shape
        if key not in self._graphs:
            self._calls[key] = self._calls.get(key, 0) + 1
            if self._calls[key] <= _ORDINARY_CALLS:
                return self._work(batch, anisotropy)
            try:
                self._record(key, batch)
            except RuntimeError as error:
                if out_of_memory(error):
                    raise
                self._impossible = True  # something in it needs the host: slower, not wrong
                return self._work(batch, anisotropy)
        graph, static, loss = self._graphs[key]
        static.copy_(batch)
        graph.replay()
        return loss

    def _record(self, key: tuple[float, torch.Size], batch: Tensor) -> None:
        graph, static = torch.cuda.CUDAGraph(), batch.clone()
        graph.register_generator_state(self._generator)
        # all graphs share their memory: they never run at once
        with torch.cuda.graph(graph, pool=self._pool):
            loss = self._work(static, key[0])
        self._pool = self._pool or graph.pool()
        self._graphs[key] = graph, static, loss
