"""How many pixels the network is given at once, and what is done when memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from napari_niiv.cuda_graphs import Recordings, give_memory_back
from napari_niiv.device import out_of_memory
from napari_niiv.errors import DeviceError
from napari_niiv.models.niiv import Niiv

R = TypeVar("R")
# pixels of one batch: activations of the light model take about 0.5 GB on a GPU, 50 MB on a CPU
BATCH_PIXELS = {"cuda": 2_000_000, "mps": 500_000, "cpu": 50_000}
SMALLEST_BATCH = 10_000


@dataclass
class BatchBudget:
    """How many pixels a model may be given at once on its device; shrinks when memory runs out.

    Attributes
    ----------
    model : Niiv
    batch_pixels : int
        Pixels of one batch; what suits the device by default.
    notice : str
        What the user should know of a retreat; empty when all is well.
    """

    model: Niiv
    batch_pixels: int = 0
    notice: str = ""

    def __post_init__(self) -> None:
        self.batch_pixels = self.batch_pixels or BATCH_PIXELS[self.model.device.type]

    def attempt(self, work: Callable[[], R], release: Callable[[], None] = lambda: None) -> R:
        """Run `work`; out of memory, halve the batch and try again, at last on the CPU.

        Parameters
        ----------
        work : callable
            Reads `batch_pixels` and the model's device anew each time it runs.
        release : callable
            Frees what can be freed before the next try.

        Raises
        ------
        DeviceError
            If memory runs out on the CPU too.
        """
        while True:
            device, pixels = self.model.device, self.batch_pixels
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                # another thread may have retreated meanwhile, which leaves this one half on each device
                alone = (device, pixels) == (self.model.device, self.batch_pixels)
                if not out_of_memory(error) and device == self.model.device:
                    raise
                if alone:
                    self._retreat(error)
            release()  # after the except clause, where the failed try's tensors are gone
            if device.type == "cuda":
                Recordings.of(self.model).forget()
                give_memory_back()

    def _retreat(self, error: Exception) -> None:
        device = self.model.device
        if self.batch_pixels // 2 >= SMALLEST_BATCH:
            self.batch_pixels //= 2
            self.notice = f"{device} ran out of memory; continuing with smaller tiles."
        elif device.type != "cpu":
            self.model.place("cpu")
            self.batch_pixels = BATCH_PIXELS["cpu"]
            self.notice = f"{device} ran out of memory even with small tiles; continuing on the CPU."
        else:
            raise DeviceError("Memory ran out; close other programs or choose a smaller window.") from error
