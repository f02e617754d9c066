"""Recordings of recurring work on a GPU."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from napari_niiv import cuda_graphs
from napari_niiv.cuda_graphs import Recordings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def some(*shape: int) -> Tensor:
    return torch.rand(shape, device="cuda")


def test_what_recurs_is_recorded_and_answers_alike() -> None:
    recordings, weights = Recordings(), some(16, 16)
    for run in range(6):
        x = some(8, 16)
        answer = recordings.answer("product", lambda x: (x @ weights).relu_(), x)
        torch.testing.assert_close(answer, (x @ weights).relu_(), rtol=0, atol=0)
        assert len(recordings) == (run >= 2)


def test_an_answer_is_not_written_over() -> None:
    recordings = Recordings()
    arguments = [some(5) for _ in range(6)]
    answers = [recordings.answer("twice", lambda x: 2 * x, x) for x in arguments]
    for x, answer in zip(arguments, answers, strict=True):
        torch.testing.assert_close(answer, 2 * x, rtol=0, atol=0)


def test_kinds_shapes_and_strides_are_told_apart() -> None:
    recordings = Recordings()
    for _ in range(4):
        for factor in (2, 3):
            for x in (some(4, 6), some(6, 4), some(6, 4).T):
                answer = recordings.answer(factor, lambda x, f=factor: f * x, x)
                torch.testing.assert_close(answer, factor * x, rtol=0, atol=0)
    assert len(recordings) == 6


def test_what_it_reads_stays() -> None:
    """The tensors that a recording reads are kept, though their owner drops them."""
    recordings = Recordings()
    held = {"weights": torch.full((64, 64), 2.0, device="cuda")}
    for _ in range(4):
        x = some(3, 64)
        answer = recordings.answer("product", lambda x: x @ held["weights"], x)
    del held["weights"]
    gc.collect()
    _rubbish = [torch.full((64, 64), 7.0, device="cuda") for _ in range(50)]
    torch.testing.assert_close(recordings.answer("product", lambda x: x, x), answer, rtol=0, atol=0)


def test_work_that_needs_the_host_is_done_as_usual() -> None:
    recordings = Recordings()
    for _ in range(5):
        x = some(7)
        answer = recordings.answer("host", lambda x: x * x.sum().item(), x)
        torch.testing.assert_close(answer, x * x.sum())
    assert len(recordings) == 0
    for _ in range(5):
        recordings.answer("device", lambda x: x * x.sum(), x)
    assert len(recordings) == 1
    cuda_graphs.give_memory_back()


def test_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = Recordings()
    for size in range(1, 30):
        for _ in range(3):
            recordings.answer("twice", lambda x: 2 * x, some(size))
    assert len(recordings) == cuda_graphs._MOST_RECORDED
    monkeypatch.setattr(cuda_graphs, "_MOST_BYTES", 3 * 2 * 4 * 10_000)
    for size in range(10_000, 10_008):
        for _ in range(4):
            x = some(size)
            torch.testing.assert_close(recordings.answer("twice", lambda x: 2 * x, x), 2 * x, rtol=0, atol=0)
    assert len(recordings) <= 3
    recordings.forget()
    assert len(recordings) == 0
    x = some(4)
    for _ in range(4):
        torch.testing.assert_close(recordings.answer("twice", lambda x: 2 * x, x), 2 * x, rtol=0, atol=0)


def test_threads_may_use_it_and_the_device_meanwhile() -> None:
    recordings, weights = Recordings(), some(32, 32)

    def thread(number: int) -> None:
        numbers = torch.Generator("cuda")  # torch lets nobody use its own while a graph is recorded
        for run in range(40):
            x = torch.rand(4 + (number + run) % 5, 32, device="cuda", generator=numbers)
            answer = recordings.answer(number % 2, lambda x: (x @ weights + number % 2).tanh(), x)
            torch.testing.assert_close(answer, (x @ weights + number % 2).tanh(), rtol=0, atol=1e-6)
            _other = torch.rand(1000 + run * 4000, device="cuda", generator=numbers).sum().item()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(thread, range(12)))
    assert 0 < len(recordings) <= 10


def test_on_another_stream_work_is_done_as_usual() -> None:
    recordings = Recordings()
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(4):
            recordings.answer("twice", lambda x: 2 * x, some(3))
    assert len(recordings) == 0
