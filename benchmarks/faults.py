"""Killed at any moment, and sources that change: python -m benchmarks.faults [--faults 100] [--changes 100] [--first 0]

Exports to OME-Zarr and TIFF, copies and trainings of tiny volumes are killed (SIGKILL) at one of the calls that they
make to the file system: files opened for writing, folders made and removed, names given and taken, pages forced to the
disk, pieces of a TIFF written. Then the work is done again as a user would, with resume. What must not happen: voxels
other than those of work that was left alone; anything left behind. Each run is a process of its own, forked, so that a
fault takes a second; POSIX systems only.

Changes: a source is rewritten, in whole or in part, or loses a file, during an export or between the runs of one that
was killed. What must not happen: an output that is of neither the one state nor the other.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch

# all that runs need is imported once, before processes are forked; none of it starts a thread
import napari_niiv.export.run
import napari_niiv.io.copy
import napari_niiv.training.train  # noqa: F401
from napari_niiv.errors import NiivError, OutputError
from napari_niiv.export import ExportConfig, export
from napari_niiv.io.copy import copy_to_zarr
from napari_niiv.io.open import open_volume
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.niiv import Niiv
from napari_niiv.training.config import TrainingConfig
from napari_niiv.training.state import state_path
from napari_niiv.training.train import train
from napari_niiv.volume import Volume

SHAPE = (8, 24, 24)
EXPORT = {"chunk": 16, "shard": 1 << 13, "block": (8, 16)}
TINY = {"context": 1, "features": 4, "blocks": 1, "samples": 4, "latent": 6, "degree": 1}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
NAMES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
SECONDS = 120

Work = Callable[[Path], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a fault.

    Attributes
    ----------
    work : str
    number : int
        Of the fault.
    call, calls : int
        At which call to the file system, and of how many.
    failure : str
        What must not happen; empty if it did not.
    told : str
        What a sentence said of it; mostly of a source that was changed.
    """

    work: str
    number: int
    call: int
    calls: int
    failure: str = ""
    told: str = ""


def model() -> Niiv:
    made = Niiv(Architecture(**TINY))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in made.parameters():
            weights.copy_(0.25 * torch.randn(weights.shape, generator=generator))
    return made.place("cpu")


def voxels() -> np.ndarray:
    return np.random.default_rng(0).integers(20, 200, SHAPE, np.uint8)


def source(folder: Path) -> Volume:
    """What lies in a folder as `source` with some ending."""
    path = next((path for path in sorted(folder.iterdir()) if path.stem == "source"), folder / "source.gone")
    return open_volume(path, voxel_size=(4.0, 1.0, 1.0))


def exporting(name: str, **settings: Any) -> Work:
    def run(folder: Path) -> None:
        # levels down to a few voxels, some of them averaged at the end
        import napari_niiv.export.plan as plan

        plan.COARSEST = 8
        for _ in export(source(folder), model(), folder / name, ExportConfig(**EXPORT, resume=True, **settings)):
            pass

    return run


def copying(folder: Path) -> None:
    try:
        for _ in copy_to_zarr(source(folder), folder / "copy.zarr"):
            pass
    except OutputError as error:
        if "exists already" not in str(error):  # it was complete
            raise


def training(folder: Path) -> None:
    output = folder / "new.safetensors"
    begun = state_path(output).exists()
    settings = {"steps": 3, "batch": 1, "validations": 2, "init": str(folder / "tiny.safetensors"), "device": "cpu"}
    config = TrainingConfig(output=output, resume=begun, overwrite=not begun, **settings)
    for _ in train([source(folder)], config):
        pass


WORKS: dict[str, tuple[str, Work]] = {
    "OME-Zarr": ("out.zarr", exporting("out.zarr")),
    "OME-Zarr over another": ("out.zarr", exporting("out.zarr", overwrite=True)),
    "TIFF": ("out.tif", exporting("out.tif")),
    "OME-TIFF over another": ("out.ome.tif", exporting("out.ome.tif", overwrite=True)),
    "copy": ("copy.zarr", copying),
    "training": ("new.safetensors", training),
}


def prepare(folder: Path, work: str, kind: str = "tif") -> None:
    """A source, and what else the work needs; to be called in a process of its own, as zarr starts threads."""
    folder.mkdir()
    if kind == "tif":
        tifffile.imwrite(folder / "source.tif", voxels(), imagej=True, metadata={"axes": "ZYX"})
    elif kind == "npy":
        np.save(folder / "source.npy", voxels())
    elif kind == "zarr":
        import zarr

        zarr.create_array(folder / "source.zarr", data=voxels(), chunks=(4, 16, 16), compressors=None)
    else:
        (folder / "source").mkdir()
        for number, picture in enumerate(voxels()):
            tifffile.imwrite(folder / "source" / f"{number:02}.tif", picture)
    if work == "training":
        from napari_niiv.models.card import Card
        from napari_niiv.models.checkpoint import save_model

        made = model()
        save_model(made, Card(name="tiny", architecture=made.architecture), folder / "tiny.safetensors")
    if work == "OME-Zarr over another":
        exporting("out.zarr", planes="xz")(folder)
    if work == "OME-TIFF over another":
        exporting("out.ome.tif", planes="xz")(folder)


class Calls:
    """Counts a process' calls to the file system below a folder; does something at one of them."""

    def __init__(self, folder: Path, at: int = 0, act: Callable[[], None] = lambda: None) -> None:
        self.count, self._folder, self._at, self._act = 0, str(folder), at, act
        sys.addaudithook(self._audit)
        sync = os.fsync
        os.fsync = lambda number: (self.called(), sync(number))[1]
        for name in ("write", "write_array"):
            self._wrap(tifffile.tifffile.FileHandle, name)

    def _wrap(self, owner: type, name: str) -> None:
        real = getattr(owner, name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.called()
            return real(*arguments, **options)

        setattr(owner, name, wrapped)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITING and self._is_ours(path):
                self.called()
        elif event in NAMES and any(self._is_ours(argument) for argument in arguments):
            self.called()

    def _is_ours(self, path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and str(path).startswith(self._folder)

    def called(self) -> None:
        self.count += 1
        if self.count == self._at:
            self._act()


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def forked(work: Callable[[], Any]) -> tuple[int, Any]:
    """Run in a process of its own: the signal that killed it, or 0, and its answer; a sentence of ours is one."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(SECONDS)
        os.close(reading)
        try:
            answer = {"value": work()}
        except NiivError as error:
            answer = {"sentence": str(error)}
        except BaseException:
            answer = {"failure": traceback.format_exc()[-2000:]}
        os.write(writing, json.dumps(answer).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    status = os.waitpid(pid, 0)[1]
    return (os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0), json.loads(answer or b"{}")


def contents(folder: Path, name: str) -> dict[str, str]:
    """What lies in a folder, by its names: sizes, of an output all that counts."""
    import hashlib

    import zarr

    found = {}
    for path in sorted(folder.rglob("*")):
        place = str(path.relative_to(folder))
        if not path.is_file() or "/c/" in place or place.startswith("source"):
            continue
        if path.name == "zarr.json" and json.loads(path.read_text())["node_type"] == "array":
            found[place] = hashlib.sha256(zarr.open_array(path.parent, mode="r")[...].tobytes()).hexdigest()
        elif place == "new.safetensors":
            found[place] = "a checkpoint"  # trainings that are gone on with differ in their last digits
            from napari_niiv.models.checkpoint import load_model

            load_model(path, "cpu")
        else:
            content = path.read_bytes()
            if path.name == "zarr.json":
                content = json.dumps({**json.loads(content), "attributes": None}).encode()
            # paths of the source are in the metadata, and in what identifies a TIFF
            found[place] = "" if path.suffix == ".tif" else hashlib.sha256(content).hexdigest()
            if path.suffix == ".tif":
                found[place] = hashlib.sha256(tifffile.imread(path).tobytes()).hexdigest()
    shards = sorted(str(path.relative_to(folder)) for path in (folder / name).rglob("*") if "/c/" in str(path))
    return {**found, "shards": " ".join(shards)}


def undisturbed(root: Path, work: str, kind: str = "tif") -> tuple[dict[str, str], int]:
    """What a work comes to, and how many calls it makes."""
    name, run = WORKS[work]
    folder = Path(tempfile.mkdtemp(dir=root)) / "work"
    expect(forked(lambda: prepare(folder, work, kind)))

    def counted() -> int:
        calls = Calls(folder)
        run(folder)
        return calls.count

    count = expect(forked(counted))
    found = expect(forked(lambda: contents(folder, name)))
    shutil.rmtree(folder.parent)
    return found, count


def expect(outcome: tuple[int, Any]) -> Any:
    if outcome[0] or "value" not in outcome[1]:
        raise RuntimeError(str(outcome))
    return outcome[1]["value"]


def difference(found: dict[str, str], wanted: dict[str, str]) -> str:
    """How what lies there differs, in a few words."""
    if found == wanted:
        return ""
    more, less = sorted(found.keys() - wanted.keys()), sorted(wanted.keys() - found.keys())
    other = sorted(key for key in found.keys() & wanted.keys() if found[key] != wanted[key])
    return f"left behind: {more}, gone: {less}, other: {other}"


def fault(root: Path, work: str, number: int, wanted: dict[str, str], calls: int) -> Outcome:
    """Kill a work at a call that the number decides on, perhaps the resumed one too, and do it again."""
    name, run = WORKS[work]
    chance = random.Random(f"{work} {number}")
    folder = Path(tempfile.mkdtemp(dir=root)) / "work"
    expect(forked(lambda: prepare(folder, work)))
    at = chance.randint(1, calls)
    kills = [at, chance.randint(1, calls)] if chance.random() < 0.3 else [at]
    try:
        for call in kills:

            def killed(call: int = call) -> None:
                Calls(folder, call, kill)
                run(folder)

            number_of, answer = forked(killed)
            if number_of != signal.SIGKILL and "value" not in answer:
                return Outcome(work, number, at, calls, f"before it was killed: {number_of} {answer}")
        number_of, answer = forked(lambda: run(folder))
        if number_of or "value" not in answer:
            return Outcome(work, number, at, calls, f"resumed: {number_of} {answer}")
        found = forked(lambda: contents(folder, name))[1]
        return Outcome(work, number, at, calls, difference(found["value"], wanted) if "value" in found else str(found))
    finally:
        shutil.rmtree(folder.parent)


def change(folder: Path, how: str) -> None:
    """Another state of a source: new voxels in one of its files, in all, or one that is gone."""
    path = next(path for path in sorted(folder.iterdir()) if path.stem == "source")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and p.name != "zarr.json")
    if how == "gone":
        files[len(files) // 2].unlink()
        return
    for file in files if how == "all" else files[len(files) // 2 :][:1]:
        content = file.read_bytes()
        # in place, behind whatever header there is
        half = len(content) // 3
        file.write_bytes(
            content[:half] + bytes(255 - byte for byte in content[half : half + 200]) + content[half + 200 :]
        )


def changed(root: Path, number: int, references: dict[str, tuple[dict[str, str], int]]) -> Outcome:
    """Change a source during an export, or after it was killed and before it is gone on with."""
    chance = random.Random(f"change {number}")
    kind, how = chance.choice(sorted(references)), chance.choice(["one", "all", "gone"])
    work, between = chance.choice(["OME-Zarr", "TIFF"]), chance.random() < 0.5
    name, run = WORKS[work]
    calls = references[kind][1]
    folder = Path(tempfile.mkdtemp(dir=root)) / "work"
    expect(forked(lambda: prepare(folder, work, kind)))
    at = chance.randint(1, calls)
    label = f"{work} of {kind}, {how}, {'between' if between else 'during'}"

    def disturbed() -> None:
        Calls(folder, at, kill if between else lambda: change(folder, how))
        run(folder)

    try:
        number_of, answer = forked(disturbed)
        if between:
            complete = (folder / name).exists()
            change(folder, how)
            if complete:
                return Outcome(label, number, at, calls, told="it was complete")
            number_of, answer = forked(lambda: run(folder))
        if "sentence" in answer:
            there = (folder / name).exists()
            return Outcome(label, number, at, calls, "yet there is an output" if there else "", answer["sentence"])
        if "value" not in answer:
            return Outcome(label, number, at, calls, f"{number_of} {answer}")
        # it was changed before anything was read of it, or when all was: of which state is the output?
        found = expect(forked(lambda: contents(folder, name)))
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
        again = forked(lambda: run(folder))[1]  # which may be impossible by now
        new = expect(forked(lambda: contents(folder, name))) if "value" in again else None
        prepared = folder.parent / "old"
        expect(forked(lambda: (prepare(prepared, work, kind), run(prepared))[1]))
        before = expect(forked(lambda: contents(prepared, name)))
        pure = found in (new, before)
        return Outcome(label, number, at, calls, "" if pure else "a mixture was written", "it is of one state")
    finally:
        shutil.rmtree(folder.parent)


def faults(root: Path, works: list[str], first: int, count: int) -> list[Outcome]:
    """Some faults of each work, by their numbers."""
    outcomes = []
    for work in works:
        wanted, calls = undisturbed(root, work)
        outcomes += [fault(root, work, number, wanted, calls) for number in range(first, first + count)]
    return outcomes


def changes(root: Path, first: int, count: int) -> list[Outcome]:
    """Some changes of sources, by their numbers."""
    references = {kind: undisturbed(root, "OME-Zarr", kind) for kind in ("tif", "npy", "zarr", "slices")}
    return [changed(root, number, references) for number in range(first, first + count)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=100, help="of each kind of work")
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--works", nargs="+", choices=sorted(WORKS), default=list(WORKS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ["NAPARI_NIIV_STATE"] = str(root / "state")
        failed = 0
        for work in options.works:
            began = time.monotonic()
            failed += report(work, faults(root, [work], options.first, options.faults), began)
        if options.changes:
            began = time.monotonic()
            failed += report("source changes", changes(root, options.first, options.changes), began)
    return min(failed, 1)


def report(title: str, outcomes: list[Outcome], began: float) -> int:
    """Print what became of faults; how many failed."""
    failed = [outcome for outcome in outcomes if outcome.failure]
    calls = f", of {outcomes[0].calls} calls" if title in WORKS and outcomes else ""
    seconds = time.monotonic() - began
    print(f"{title}: {len(outcomes)} faults{calls}, {len(failed)} failed, {seconds:.0f} s", flush=True)
    for outcome in failed:
        print(f"  {outcome.work} {outcome.number}, at {outcome.call}: {outcome.failure}", flush=True)
    told = Counter(" ".join(outcome.told.split()[1:8]) for outcome in outcomes if outcome.told)
    for words, number in told.most_common():
        print(f"  {number} × … {words} …", flush=True)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
