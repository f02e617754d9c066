"""Several processes that train one model together, each on its GPU, through torch.distributed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """This process among those of the training; alone by default.

    Attributes
    ----------
    rank : int
        0 is the one that validates, writes and reports.
    size : int
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def launched(cls) -> Processes:
        """This process as torchrun or `--devices` started it, not yet joined to the others."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    def join(self, device: torch.device) -> Processes:
        """Meet the other processes, if there are several; returns itself."""
        if self.size > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return self

    @staticmethod
    def local_device(name: str) -> str:
        """The device of this process: where several share a host, each takes its own GPU."""
        local = os.environ.get("LOCAL_RANK")
        if local is not None and name in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{local}"
        return name

    @property
    def main(self) -> bool:
        """Whether this process validates, writes and reports."""
        return self.rank == 0

    def average(self, tensor: Tensor) -> None:
        """Replace a tensor by its mean over all processes."""
        if self.size > 1:
            dist.all_reduce(tensor)
            tensor /= self.size

    def agree(self, *values: float) -> tuple[float, ...]:
        """Means of numbers over all processes, so that all decide alike."""
        if self.size == 1:
            return values
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(tensor)
        return tuple((tensor / self.size).tolist())

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give all processes the values of the first."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), 0)

    def leave(self, together: bool = False) -> None:
        """End the meeting; `together` waits for the others, whose connections break where one leaves early."""
        if self.size > 1 and dist.is_initialized():
            if together:
                dist.barrier()
            dist.destroy_process_group()
