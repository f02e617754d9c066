"""How fast the engine is: python benchmarks/speed.py [--device auto] [--checkpoints em lm] [--architectures ...]

Every checkpoint that ships, and untrained networks of the architectures that are named (features=64,blocks=5,lateral=4,
slices=4,samples=8), beside the paper's architecture and interpolation: on one device, in one run.

Volumes: cubes of so many output voxels at 8x, restored in one orientation; normalised input and output are on the
device. The paper's architecture in float32 is given 15 slices at a time, as its script does it. Memory is all that
torch holds of the GPU, weights and recordings included. The floor is what no implementation of the network can go
below: its arithmetic at the rate of a large product of matrices, or reading the input and writing the output once at
the rate of a large copy, whichever takes longer; both rates are measured here.

Views: uint8 pictures of side slices at 8x, from the voxels to the picture in the computer's memory, of a volume as wide
as they are. A clock is read after the device has finished. Medians, with the 95th percentile in brackets.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from paper import Paper
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from napari_niiv.cuda_graphs import Recordings
from napari_niiv.device import choose_device, synchronize
from napari_niiv.geometry import Sampling
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.catalog import bundled_models
from napari_niiv.models.checkpoint import load_model
from napari_niiv.models.niiv import Niiv
from napari_niiv.reconstruction.inference import restore_box
from napari_niiv.reconstruction.single_slice import slice_request
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.resampling import resample
from napari_niiv.volume import Volume

FACTOR = 8
# in views: the paper's architecture, run by this engine
PAPER = Architecture(decoder="implicit", context=0, features=64, blocks=16, degree=0, anisotropy_range=(8, 8))


@dataclass
class Contestant:
    """A way to restore volumes.

    Attributes
    ----------
    name : str
    restore : callable
        From voxels, (z, y, x), to 8 times as many along z.
    dtype : dtype
        Of most of its arithmetic.
    model : Niiv, optional
        Which views are restored with; without one they are interpolated.
    tf32 : bool
        Let CUDA round float32 to TF32.
    """

    name: str
    restore: Callable[[Tensor], Tensor]
    dtype: torch.dtype = torch.float32
    model: Niiv | None = None
    tf32: bool = False

    @contextmanager
    def rules(self) -> Iterator[None]:
        """With its rounding of float32."""
        before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = self.tf32
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@dataclass(frozen=True)
class Clock:
    """Times work on a device, for about so many seconds each."""

    device: torch.device
    seconds: float

    def __call__(
        self, work: Callable[[int], object], steps: int = 1, ready: Callable[[int], object] = lambda run: None
    ) -> tuple[float, float]:
        """Median and 95th percentile in ms of one of so many steps.

        `work` is given the number of the run, as is `ready`, which is called before and not timed.
        """
        first = self.once(work, 0, ready)
        # what recurs is recorded as a CUDA graph meanwhile
        warm, most = (4, 40) if first < self.seconds else (1, 3) if first < 4 * self.seconds else (0, 1)
        for run in range(warm):
            self.once(work, 1 + run, ready)
        runs = min(max(3, int(self.seconds / self.once(work, warm, ready))), most)
        times = [1e3 * self.once(work, 1 + warm + run, ready) / steps for run in range(runs)]
        return statistics.median(times), float(np.percentile(times, 95))

    def once(
        self, work: Callable[[int], object], run: int = 0, ready: Callable[[int], object] = lambda run: None
    ) -> float:
        """Seconds of one run."""
        ready(run)
        synchronize(self.device)
        began = time.perf_counter()
        work(run)
        synchronize(self.device)
        return time.perf_counter() - began


def networks(model: Niiv, name: str) -> Contestant:
    def restore(voxels: Tensor) -> Tensor:
        return restore_box(model, voxels, FACTOR, Sampling.covering(len(voxels), FACTOR * len(voxels)), ("xz",))

    return Contestant(name, restore, model.encoder.dtype, model)


def papers(device: torch.device) -> list[Contestant]:
    """The paper's architecture as its script runs it, with TF32, and in half precision."""

    def contestant(name: str, dtype: torch.dtype, tf32: bool = False) -> Contestant:
        return Contestant(f"paper, {name}", Paper(FACTOR).to(device, dtype).restore, dtype, tf32=tf32)

    made = [contestant("float32", torch.float32)]
    if device.type == "cuda":
        made += [contestant("TF32", torch.float32, True), contestant("float16", torch.float16)]
    return made


def interpolations() -> list[Contestant]:
    def linear(voxels: Tensor) -> Tensor:
        axial = Sampling.covering(len(voxels), FACTOR * len(voxels))
        return resample(voxels.permute(1, 2, 0), axial).permute(2, 0, 1)

    def cubic(voxels: Tensor) -> Tensor:
        rows = voxels.permute(1, 0, 2)[None]
        return F.interpolate(rows, scale_factor=(FACTOR, 1), mode="bicubic")[0].permute(1, 0, 2)

    return [Contestant("trilinear", linear), Contestant("cubic", cubic)]


def untrained(description: str, device: torch.device) -> Contestant:
    """From ``features=64,blocks=5,…``, the rest as in checkpoints of cells."""
    given: dict[str, Any] = {key: int(value) for key, value in (part.split("=") for part in description.split(","))}
    model = Niiv(Architecture(**{"context": 3, "noise": 0.1, **given})).place(device)
    return networks(model, f"{model.architecture.features} x {model.architecture.blocks}, cells of {model.cell}")


def rate(device: torch.device, dtype: torch.dtype, tf32: bool) -> float:
    """Operations a second of a large product of matrices."""
    size = 8192 if device.type == "cuda" else 1536
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    with Contestant("", lambda x: x, tf32=tf32).rules():
        best = min(Clock(device, 0).once(lambda _: a @ b) for _ in range(6))
    return 2 * size**3 / best


def bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, of a large copy."""
    source = torch.rand(1 << (28 if device.type == "cuda" else 25), device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / min(Clock(device, 0).once(lambda _: target.copy_(source)) for _ in range(6))


def operations(contestant: Contestant, voxels: Tensor) -> int:
    """Of the convolutions and products, multiplications and additions counted."""
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        contestant.restore(voxels)
    return int(counter.get_total_flops())


def volumes(contestants: list[Contestant], sizes: list[int], clock: Clock) -> None:
    device = clock.device
    copy = bandwidth(device)
    kinds = {(c.dtype, c.tf32) for c in contestants}
    rates = {kind: rate(device, *kind) for kind in kinds}
    for (dtype, tf32), value in rates.items():
        print(f"{'TF32' if tf32 else str(dtype).removeprefix('torch.')}: {value / 1e12:.3g} TFLOP/s measured")
    print(f"copy: {copy / 1e9:.4g} GB/s measured\n")
    print("| output voxels | method | ms | paper, float32, times | Mvoxel/s | peak memory, MB | floor, ms |")
    print("|---|---|---|---|---|---|---|")
    for size in sizes:
        voxels = torch.rand(size // FACTOR, size, size, device=device)
        io = voxels.nbytes * (1 + FACTOR) / copy
        paper = 0.0
        for contestant in contestants:
            median, late, peak, work = restoring(contestant, voxels, clock)
            paper = paper or median
            floor = 1e3 * max(work / rates[contestant.dtype, contestant.tf32], io)
            print(
                f"| {size}³ | {contestant.name} | {median:.3f} ({late:.3f}) | {paper / median:.1f} "
                f"| {size**3 / median / 1e3:.0f} | {peak} | {floor:.3f} |",
                flush=True,
            )


def restoring(contestant: Contestant, voxels: Tensor, clock: Clock) -> tuple[float, float, str, int]:
    """Median and 95th percentile, peak memory, and operations, of the restoration of a volume."""

    def work(run: int) -> Tensor:
        return contestant.restore(voxels)

    count = operations(contestant, voxels)
    cuda = clock.device.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with contestant.rules():
        median, late = clock(work)
    peak = f"{torch.cuda.max_memory_reserved() / 1e6:.0f}" if cuda else "–"
    if contestant.model is not None:
        Recordings.of(contestant.model).forget()  # the next one's memory is its own
    return median, late, peak, count


def views(contestant: Contestant, size: int, clock: Clock) -> list[tuple[str, tuple[float, float]]]:
    """Pictures of size x size pixels, of size / 8 slices."""
    assert contestant.model is not None
    shape = (size // FACTOR, 640, size)
    array = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    volume = Volume(array, voxel_size=(float(FACTOR), 1.0, 1.0))
    engine = Reconstructor(volume, contestant.model)
    engine.normalization()
    step = max(contestant.model.cell)

    def picture(index: int, quality: str = "fast") -> None:
        engine.slice(slice_request(volume, "xz", index % shape[1]), quality)

    def scroll(run: int) -> None:
        for index in range(step):
            picture(96 + run * step + index)

    def new(run: int) -> None:
        picture(96 + run * step)

    # as many pixels, of a slightly different window and pitch
    windows = [(-0.5, -0.5, size - 0.5 - i * size / 128, size - 0.5 - i * size / 128) for i in range(48)]
    zooms = [slice_request(volume, "xz", 5, w, (w[3] + 0.5) / size) for w in windows]
    answers = [("interpolated", clock(lambda run: picture(run, "placeholder"))), ("new view", clock(new))]
    if step > 1:
        following = clock(lambda run: picture(97 + run * step), ready=new)
        answers.append(("next slice of a cell", following))
    answers.append(("slow scroll, a slice", clock(scroll, step, lambda run: engine.forget())))
    answers.append(("change of zoom, latent grids kept", clock(lambda run: engine.slice(zooms[run], "fast"))))
    answers.append(
        (
            "refined from both planes",
            clock(lambda run: picture(96 + run * step, "refined"), ready=lambda run: engine.forget()),
        )
    )
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoints", nargs="*", default=bundled_models())
    parser.add_argument("--architectures", nargs="*", default=[])
    parser.add_argument("--sizes", nargs="*", type=int, help="edges of the volumes, in output voxels")
    parser.add_argument("--views", nargs="*", type=int, default=[512, 1024], help="edges of the pictures, in pixels")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each measurement")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {options.threads} threads"
    print(f"{where}, torch {torch.__version__}\n")
    clock = Clock(device, options.seconds)
    ours = [networks(load_model(name, options.device), name) for name in options.checkpoints]
    ours += [untrained(description, device) for description in options.architectures]
    others = [networks(Niiv(PAPER).place(device), "paper's architecture")]
    sizes = options.sizes if options.sizes is not None else [64, 128, 256, 512] if device.type == "cuda" else [64]
    if sizes:
        volumes([*papers(device), *interpolations(), *ours], sizes, clock)
    print("\n| pixels | method | picture | ms |\n|---|---|---|---|")
    for size in options.views:
        # on a CPU the paper's architecture takes minutes
        for contestant in [*ours, *(others if device.type == "cuda" else [])]:
            for name, (median, late) in views(contestant, size, clock):
                print(f"| {size}² | {contestant.name} | {name} | {median:.2f} ({late:.2f}) |", flush=True)


if __name__ == "__main__":
    main()
