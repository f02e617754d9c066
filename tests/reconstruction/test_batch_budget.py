from __future__ import annotations

import pytest
import torch

from napari_niiv.errors import DeviceError
from napari_niiv.reconstruction.batch_budget import BATCH_PIXELS, SMALLEST_BATCH, BatchBudget


class Model:
    """Stands in for a model on a GPU, which this computer may lack."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def place(self, device: str) -> None:
        self.device = torch.device(device)


class Hungry:
    """Work that needs more memory than there is, for so many tries."""

    def __init__(self, batch_budget: BatchBudget, failures: int, error: BaseException) -> None:
        self.batch_budget, self.failures, self.error = batch_budget, failures, error
        self.tries: list[tuple[str, int]] = []

    def __call__(self) -> str:
        self.tries.append((self.batch_budget.model.device.type, self.batch_budget.batch_pixels))
        if len(self.tries) <= self.failures:
            raise self.error
        return "done"


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 800 bytes."),
    MemoryError("Unable to allocate 9 GiB for an array"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_all_is_well_after_halving(error: BaseException) -> None:
    batch_budget = BatchBudget(Model("mps"), batch_pixels=80_000)
    work, released = Hungry(batch_budget, 2, error), []
    assert batch_budget.attempt(work, lambda: released.append(1)) == "done"
    assert work.tries == [("mps", 80_000), ("mps", 40_000), ("mps", 20_000)]
    assert len(released) == 2
    assert "mps ran out of memory; continuing with smaller tiles" in batch_budget.notice


def test_then_it_moves_to_the_cpu_with_a_notice() -> None:
    batch_budget = BatchBudget(Model("mps"), batch_pixels=2 * SMALLEST_BATCH)
    work = Hungry(batch_budget, 2, OUT_OF_MEMORY[0])
    assert batch_budget.attempt(work) == "done"
    assert work.tries == [("mps", 2 * SMALLEST_BATCH), ("mps", SMALLEST_BATCH), ("cpu", BATCH_PIXELS["cpu"])]
    assert "continuing on the CPU" in batch_budget.notice


def test_at_last_it_gives_up_in_one_sentence() -> None:
    batch_budget = BatchBudget(Model("mps"), batch_pixels=SMALLEST_BATCH)
    work = Hungry(batch_budget, 1000, OUT_OF_MEMORY[0])
    with pytest.raises(DeviceError, match="Memory ran out; close other programs"):
        batch_budget.attempt(work)
    assert work.tries[-1][0] == "cpu"
    assert work.tries[-1][1] >= SMALLEST_BATCH
    assert len(work.tries) < 20


def test_other_errors_are_not_swallowed() -> None:
    batch_budget = BatchBudget(Model("cpu"))
    assert batch_budget.batch_pixels == BATCH_PIXELS["cpu"]
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        batch_budget.attempt(Hungry(batch_budget, 1, RuntimeError("mat1 and mat2 shapes cannot be multiplied")))
    assert batch_budget.notice == ""


@pytest.mark.parametrize("change", ["smaller", "moved"])
def test_the_retreat_of_another_thread_counts(change: str) -> None:
    """Ten threads that run out at once must not halve ten times; nor may a moved model fail those it leaves."""
    batch_budget = BatchBudget(Model("mps"), batch_pixels=80_000)
    tries = []

    def work() -> str:
        tries.append((batch_budget.model.device.type, batch_budget.batch_pixels))
        if len(tries) > 1:
            return "done"
        if change == "smaller":
            batch_budget.batch_pixels = 40_000
            raise OUT_OF_MEMORY[0]
        batch_budget.model.place("cpu")
        raise RuntimeError("Expected all tensors to be on the same device")

    assert batch_budget.attempt(work) == "done"
    assert tries[1] == (("mps", 40_000) if change == "smaller" else ("cpu", 80_000))
