"""CUDA graphs: work that recurs is recorded, and then started with one call instead of one for each kernel.

A light network is limited by the starting of its kernels, which takes the host longer than they take the GPU.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

R = TypeVar("R")
_ORDINARY = 2  # times that work is done as usual: it may never come again
_MOST_COUNTED = 512  # kinds of work that are counted
_MOST_RECORDED, _MOST_BYTES = 16, 256 << 20  # recordings of one owner, and their arguments and answers
# torch's allocator cannot give memory back while something is recorded
_recording = threading.Lock()


def record(work: Callable[[], R], pool: Any, stream: torch.cuda.Stream) -> tuple[torch.cuda.CUDAGraph, R]:
    """Record work without doing it.

    Parameters
    ----------
    work : callable
        Must not wait for the device. What it returns is there after each replay.
    pool : object
        Memory, from `torch.cuda.graph_pool_handle`, that recordings share which never run at once.
    stream : torch.cuda.Stream
        To record on; not the default one.

    Raises
    ------
    RuntimeError
        If the work cannot be recorded.
    """
    graph = torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream(stream.device))
    with _recording, torch.cuda.stream(stream):
        try:
            return graph, _recorded(graph, work, pool)
        except RuntimeError:
            # torch's random numbers would wait for the end of a recording that failed
            _recorded(torch.cuda.CUDAGraph(), lambda: torch.zeros(1, device=stream.device), None)
            raise


def _recorded(graph: torch.cuda.CUDAGraph, work: Callable[[], R], pool: Any) -> R:
    # other threads may use the device meanwhile
    graph.capture_begin(pool=pool, capture_error_mode="thread_local")
    try:
        return work()
    finally:
        graph.capture_end()


def give_memory_back() -> None:
    """Return to the driver what torch's allocator keeps of freed memory, unless a failed recording prevents it."""
    with _recording, contextlib.suppress(RuntimeError):
        torch.cuda.empty_cache()


class _Recorded(NamedTuple):
    graph: torch.cuda.CUDAGraph
    argument: Tensor
    answer: Tensor
    constants: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        return self.argument.nbytes + self.answer.nbytes


class Recordings:
    """Does work on one tensor: as usual at first, by replaying a recording when the same is asked for again.

    Safe to use from several threads, on the default stream; on another stream work is done as usual. Memory is bounded:
    the recordings used last are kept.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recorded: OrderedDict[Hashable, _Recorded] = OrderedDict()
        self._times: OrderedDict[Hashable, int] = OrderedDict()
        self._impossible: set[Hashable] = set()
        self._pool: Any = None
        self._stream: torch.cuda.Stream | None = None

    @staticmethod
    def of(owner: object) -> Recordings:
        """Those of something, such as a model; they go when it goes."""
        with _making:
            return _owned.setdefault(owner, Recordings())

    def __len__(self) -> int:
        return len(self._recorded)

    @torch.inference_mode()
    def answer(self, kind: Hashable, work: Callable[[Tensor], Tensor], argument: Tensor) -> Tensor:
        """What `work` makes of a tensor.

        Parameters
        ----------
        kind : hashable
            All that the work depends on besides the numbers in its argument.
        work : callable
            Reads its argument, and other tensors that nobody writes on; does not wait for the device.
        argument : Tensor
            On a CUDA device.
        """
        device = argument.device
        if torch.cuda.current_stream(device) != torch.cuda.default_stream(device):
            return work(argument)
        kind = kind, argument.shape, argument.stride(), argument.dtype, device
        with self._lock:
            recorded = self._recorded.get(kind) or self._record_if_it_recurs(kind, work, argument)
            if recorded is not None:
                self._recorded.move_to_end(kind)
                recorded.argument.copy_(argument)
                recorded.graph.replay()
                return recorded.answer.clone()  # the next replay writes over it
        return work(argument)

    def forget(self) -> None:
        """Give all recordings and their memory back."""
        with self._lock:
            self._drop(list(self._recorded))
            self._times.clear()

    def _record_if_it_recurs(
        self, kind: Hashable, work: Callable[[Tensor], Tensor], argument: Tensor
    ) -> _Recorded | None:
        times = self._times.pop(kind, 0) + 1
        self._times[kind] = times
        if len(self._times) > _MOST_COUNTED:
            self._times.popitem(last=False)
        if times <= _ORDINARY or kind in self._impossible:
            return None
        try:
            recorded = self._record(work, argument)
        except RuntimeError:  # something in it needs the host, or too little memory: slower, not wrong
            self._impossible.add(kind)
            return None
        self._recorded[kind] = recorded
        kinds, total = list(self._recorded), sum(r.nbytes for r in self._recorded.values())
        while len(kinds) > 1 and (len(kinds) > _MOST_RECORDED or total > _MOST_BYTES):
            total -= self._recorded[kinds[0]].nbytes
            self._drop([kinds.pop(0)])
        return recorded

    def _record(self, work: Callable[[Tensor], Tensor], argument: Tensor) -> _Recorded:
        device = argument.device
        if self._stream is None or self._stream.device != device:
            self._stream = torch.cuda.Stream(device)
        if not self._recorded:
            self._pool = torch.cuda.graph_pool_handle()
        copy = argument.clone()
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self._stream):
            work(copy)  # libraries make ready for this thread and stream
        torch.cuda.current_stream(device).wait_stream(self._stream)
        with _Constants() as constants:
            graph, answer = record(lambda: work(copy), self._pool, self._stream)
        return _Recorded(graph, copy, answer, tuple(constants.held.values()))

    def _drop(self, kinds: Iterable[Hashable]) -> None:
        for kind in kinds:
            recorded = self._recorded.pop(kind)
            torch.cuda.current_stream(recorded.argument.device).synchronize()  # it may be running


_making = threading.Lock()
_owned: WeakKeyDictionary[object, Recordings] = WeakKeyDictionary()


class _Constants(TorchFunctionMode):
    """Notes the tensors that are read, and were not made, while it is on: a recording needs them to stay."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[int, Tensor] = {}
        self._made: set[int] = set()

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, and look at its arguments and at what it makes."""
        for tensor in _tensors((args, *(kwargs or {}).values())):
            place = tensor.untyped_storage().data_ptr()
            if place not in self._made:
                self.held.setdefault(place, tensor)
        result = function(*args, **(kwargs or {}))
        self._made.update(tensor.untyped_storage().data_ptr() for tensor in _tensors((result,)))
        return result


def _tensors(values: Iterable[Any]) -> Iterable[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
