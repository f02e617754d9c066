from __future__ import annotations

import psutil
import pytest
import torch

from napari_niiv.errors import DeviceError
from napari_niiv.reconstruction import memory
from napari_niiv.reconstruction.batch_budget import BATCH_PIXELS, SMALLEST_BATCH, Workspace
from napari_niiv.reconstruction.cache import ByteCache


def tensor(size: int) -> torch.Tensor:
    return torch.zeros(size, dtype=torch.uint8)


def test_the_least_recently_used_goes_first() -> None:
    cache = ByteCache(300)
    for key in "abc":
        cache.put(0, key, tensor(100))
    cache.get(0, "a")
    cache.put(0, "d", tensor(100))
    assert cache.get(0, "b") is None
    assert all(cache.get(0, key) is not None for key in "acd")
    assert (cache.bytes, len(cache)) == (300, 3)


def test_replacing_and_clearing_keep_count() -> None:
    cache = ByteCache(300)
    cache.put(0, "a", tensor(100))
    cache.put(0, "a", tensor(250))
    assert cache.bytes == 250
    cache.put(0, "b", tensor(1000))  # larger than the limit: kept alone, it is about to be used
    assert cache.get(0, "a") is None
    assert cache.bytes == 1000
    cache.clear()
    assert (cache.bytes, len(cache), cache.get(0, "b")) == (0, 0, None)


class Model:
    """Stands in for a model on a GPU, which this computer may lack."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def place(self, device: str) -> None:
        self.device = torch.device(device)


class Hungry:
    """Work that needs more memory than there is, for so many tries."""

    def __init__(self, workspace: Workspace, failures: int, error: BaseException) -> None:
        self.workspace, self.failures, self.error = workspace, failures, error
        self.tries: list[tuple[str, int]] = []

    def __call__(self) -> str:
        self.tries.append((self.workspace.model.device.type, self.workspace.batch_pixels))
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
    workspace = Workspace(Model("mps"), batch_pixels=80_000)
    work, released = Hungry(workspace, 2, error), []
    assert workspace.attempt(work, lambda: released.append(1)) == "done"
    assert work.tries == [("mps", 80_000), ("mps", 40_000), ("mps", 20_000)]
    assert len(released) == 2
    assert "mps ran out of memory; continuing with smaller tiles" in workspace.notice


def test_then_it_moves_to_the_cpu_with_a_notice() -> None:
    workspace = Workspace(Model("mps"), batch_pixels=2 * SMALLEST_BATCH)
    work = Hungry(workspace, 2, OUT_OF_MEMORY[0])
    assert workspace.attempt(work) == "done"
    assert work.tries == [("mps", 2 * SMALLEST_BATCH), ("mps", SMALLEST_BATCH), ("cpu", BATCH_PIXELS["cpu"])]
    assert "continuing on the CPU" in workspace.notice


def test_at_last_it_gives_up_in_one_sentence() -> None:
    workspace = Workspace(Model("mps"), batch_pixels=SMALLEST_BATCH)
    work = Hungry(workspace, 1000, OUT_OF_MEMORY[0])
    with pytest.raises(DeviceError, match="Memory ran out; close other programs"):
        workspace.attempt(work)
    assert work.tries[-1][0] == "cpu"
    assert work.tries[-1][1] >= SMALLEST_BATCH
    assert len(work.tries) < 20


def test_other_errors_are_not_swallowed() -> None:
    workspace = Workspace(Model("cpu"))
    assert workspace.batch_pixels == BATCH_PIXELS["cpu"]
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        workspace.attempt(Hungry(workspace, 1, RuntimeError("mat1 and mat2 shapes cannot be multiplied")))
    assert workspace.notice == ""


@pytest.mark.parametrize("change", ["smaller", "moved"])
def test_the_retreat_of_another_thread_counts(change: str) -> None:
    """Ten threads that run out at once must not halve ten times; nor may a moved model fail those it leaves."""
    workspace = Workspace(Model("mps"), batch_pixels=80_000)
    tries = []

    def work() -> str:
        tries.append((workspace.model.device.type, workspace.batch_pixels))
        if len(tries) > 1:
            return "done"
        if change == "smaller":
            workspace.batch_pixels = 40_000
            raise OUT_OF_MEMORY[0]
        workspace.model.place("cpu")
        raise RuntimeError("Expected all tensors to be on the same device")

    assert workspace.attempt(work) == "done"
    assert tries[1] == (("mps", 40_000) if change == "smaller" else ("cpu", 80_000))


@pytest.mark.skipif(memory._MALLOC_TRIM is None, reason="glibc alone can be asked to")
def test_freed_memory_goes_back_to_the_system() -> None:
    process = psutil.Process()
    pieces = [bytearray(60_000) for _ in range(2000)]  # too small to be given back one by one
    kept = pieces[-1]
    before = process.memory_info().rss
    del pieces
    memory.trim()
    assert before - process.memory_info().rss > 80_000_000
    assert len(kept) == 60_000
