"""Damaged and malicious files of all kinds: python -m benchmarks.fuzz_readers [--mutants 100000] [--first 0]
[--sample states]

Each mutant is one of the files of `sample_files`, damaged as its number says. It is opened as a user would, and pieces
of its first, middle and last slice are read, in a process of its own with limits of memory and time. What must not
happen: an error that is no sentence of ours, a fault of a library in C, more than ten seconds, more than a gigabyte, a
file read that lies outside of the mutant's folder. Mutants that make it happen are kept in --keep; `--only NUMBER`
tries one, in this process. With `--sample states` they are made of files that are no volumes: checkpoints, states of
trainings, unfinished exports, what is remembered (`state_files`).
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mutations import Tree, mutated
from benchmarks.sample_files import MAIN_FILES, MORE_WRITERS, WRITERS

STATES = "states"
"""The name of all samples of `state_files`, which are imported, with torch, only when they are wanted."""

SECRET = 173
"""What all voxels outside have, and none of the samples."""
SHAPE = (6, 24, 20)
SECONDS = 10.0
BYTES = 1 << 30
START_SECONDS = 600.0


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant.

    Attributes
    ----------
    number : int
    sample : str
        What it was made of.
    failure : str
        What must not happen; empty if it did not.
    refused : bool
        Whether it was refused by a sentence; else voxels were read.
    """

    number: int
    sample: str
    failure: str
    refused: bool = False


def samples(only: str = "") -> list[str]:
    """The names of all samples of volumes, or of states if one of these is asked for."""
    return [*WRITERS, *MORE_WRITERS] if not of_states(only) else list(state_files().STATES)


def of_states(only: str) -> bool:
    return bool(only) and only not in WRITERS and only not in MORE_WRITERS


def state_files() -> Any:
    from benchmarks import state_files

    return state_files


def write_samples(folder: Path, only: str = "") -> dict[str, Tree]:
    """All samples as trees; they are written to a folder once, and read from it."""
    values = np.random.default_rng(0).integers(0, 150, SHAPE).astype(np.uint8)
    trees = {}
    writers: dict[str, Any] = {**WRITERS, **MORE_WRITERS} if not of_states(only) else state_files().STATES
    for name, write in writers.items():
        path = folder / name
        if not path.exists():
            write(*((path,) if of_states(only) else (path, values)))
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        trees[name] = {"" if f == path else f.relative_to(path).as_posix(): f.read_bytes() for f in files}
    return trees


def write_outside(folder: Path) -> Path:
    """Files of all kinds that nothing names: whoever reads them was led astray."""
    folder.mkdir(exist_ok=True)
    secret = np.full(SHAPE, SECRET, np.uint8)
    (folder / "secret.txt").write_text("secret " * 9)
    secret.tofile(folder / "secret.raw")
    for name, target in {"plain.h5": "a.h5", "imagej.tif": "a.tif", "v3.zarr": "a.zarr", "gzip.n5": "a.n5"}.items():
        if not (folder / target).exists():
            WRITERS[name](folder / target, secret)
    return folder


def mutant(number: int, trees: dict[str, Tree], outside: Path, only: str = "") -> tuple[str, Tree]:
    """The name of its sample, and the damaged tree."""
    chance = random.Random(number)
    if not of_states(only):
        name = only or chance.choice(samples())
        return name, mutated(trees[name], outside, chance)
    name = only if only != STATES else chance.choice(samples(only))
    tree = mutated(state_files().metadata_of(name, trees[name]), outside, chance)
    return name, state_files().resigned(name, tree) if chance.random() < 0.7 else tree


def write(path: Path, tree: Tree) -> None:
    """Write a tree to a path where nothing is; what does not go together is left out."""
    if set(tree) == {""}:
        path.write_bytes(tree[""])
        return
    path.mkdir()
    for name, content in tree.items():
        target = path / name
        try:
            target.mkdir(parents=True, exist_ok=True) if name.endswith("/") else target.parent.mkdir(
                parents=True, exist_ok=True
            )
            if not name.endswith("/"):
                target.write_bytes(content)
        except OSError:  # a folder where a file is
            continue


def attempt_state(name: str, path: Path, pristine: Path) -> tuple[str, bool]:
    """As `attempt`, of a sample of `state_files`."""
    from napari_niiv.errors import NiivError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return state_files().TRIALS[name](path, pristine), False
    except NiivError as error:
        return _no_sentence(error), True
    except BaseException as error:
        return _told(error), True


def attempt(path: Path) -> tuple[str, bool]:
    """What must not happen when a file is opened and read, empty if it does not; and whether it is refused."""
    from napari_niiv import open_volume
    from napari_niiv.errors import DatasetChoice, NiivError
    from napari_niiv.io.open import read_spacing

    datasets: list[str | None] = [None]
    refused = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read_spacing(path)
    except NiivError as error:
        if problem := _no_sentence(error):
            return problem, True
    except BaseException as error:
        return _told(error), True
    for dataset in datasets:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if _reads_secret(open_volume(path, dataset=dataset)):
                    return f"reads outside of its folder (dataset {dataset})", False
                refused = False
        except DatasetChoice as error:
            if dataset is None:
                datasets += error.datasets[:4]
            if problem := _no_sentence(error, 5000):
                return problem, True
        except NiivError as error:
            if problem := _no_sentence(error):
                return problem, True
        except MemoryError:  # of the limit set here
            continue
        except BaseException as error:
            return _told(error), True
    return "", refused


def _reads_secret(volume: Any) -> bool:
    """Read pieces of a volume and its levels; whether something outside is among them."""
    from napari_niiv.volume import reading

    repr(volume), volume.anisotropy, str(volume.provenance)
    part = volume.at(*(0 for _ in volume.shape[:-3]))
    found = False
    for level in (part, *part.levels()[1:]):
        array = level.array
        depth, height, width = array.shape[-3:]
        if level is not part:
            with reading("level"):
                np.asarray(array[..., :1, :16, :16])
            continue
        for z in {0, depth // 2, depth - 1}:
            for y, x in ((0, 0), (max(0, height - 16), max(0, width - 16))):
                values = part.read_raw(slice(z, z + 1), slice(y, y + 16), slice(x, x + 16))
                found |= values.size >= 16 and values.dtype.kind in "uif" and bool((values == SECRET).all())
    return found


def _no_sentence(error: BaseException, most: int = 900) -> str:
    text = str(error)
    if len(text) > most or "\n" in text or not text.isprintable() or not text.endswith("."):
        return f"no sentence: {type(error).__name__} {text[:300]!r}"
    return ""


def _told(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "napari_niiv" in frame.filename] or frames
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in own[:-4:-1])
    return f"{type(error).__name__}: {str(error).splitlines()[0][:150] if str(error) else ''} ({where})"


# the process in which mutants are tried


def serve(first: int, last: int, folder: Path, only: str) -> None:
    """Try mutants one after the other; a line of JSON before and after each."""
    trees, outside = write_samples(folder / "samples", only), folder / "outside"
    home = folder / "mutants"
    _warm_up(folder / "samples", only)
    strays = _watch_opening(home, folder)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2 * BYTES, size + 2 * BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(first, last):
        print(json.dumps({"begins": number, "sample": ""}), flush=True)
        name, tree = mutant(number, trees, outside, only)
        place = home / str(number)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        path = place / name
        write(path, tree)
        target = path / MAIN_FILES[name] if name in MAIN_FILES else path
        print(json.dumps({"begins": number, "sample": name}), flush=True)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        strays.clear()
        if of_states(only):
            failure, refused = attempt_state(name, path, folder / "samples" / name)
        else:
            failure, refused = attempt(target)
        if strays and not of_states(only):
            failure = failure or f"opens {strays[0]}"
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        if grown > BYTES:
            failure = failure or f"takes {grown >> 20} MiB"
        print(json.dumps({"ends": number, "failure": failure, "refused": refused}), flush=True)
        shutil.rmtree(place, ignore_errors=True)


def _warm_up(folder: Path, only: str) -> None:
    """Import what readers import when they are needed, and try the undamaged samples."""
    if of_states(only):
        for name in samples(only):
            with tempfile.TemporaryDirectory() as place:
                tree = state_files().metadata_of(name, write_samples(folder, only)[name])
                write(Path(place) / name, tree)
                if any(outcome := attempt_state(name, Path(place) / name, folder / name)):
                    raise RuntimeError(f"{name} is refused undamaged ({outcome})")
        return
    for name in samples():
        attempt(folder / name / MAIN_FILES.get(name, "") if name in MAIN_FILES else folder / name)


def _watch_opening(home: Path, folder: Path) -> list[str]:
    """A list into which go files of the folder, but outside of the mutants', that Python opens or looks through."""
    strays: list[str] = []
    root = os.path.realpath(folder)
    allowed = os.path.realpath(home) + os.sep

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str | os.PathLike):
            path = os.path.realpath(os.fspath(arguments[0])) if isinstance(os.fspath(arguments[0]), str) else ""
            if path.startswith(root) and not (path + os.sep).startswith(allowed):
                strays.append(path)

    sys.addaudithook(hook)
    return strays


# the process that watches it


class Worker:
    """A process that tries mutants, and what it says, line by line."""

    def __init__(self, first: int, last: int, folder: Path, only: str) -> None:
        arguments = ["--serve", str(first), str(last), str(folder), "--sample", only]
        command = [sys.executable, "-m", "benchmarks.fuzz_readers", *arguments]
        root = Path(__file__).parent.parent
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": ""}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=root, env=environment
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def end(self) -> int:
        self.process.kill()
        return self.process.wait()


def fuzz(numbers: range, folder: Path, only: str = "") -> Iterator[Outcome]:
    """Try mutants, each of which may end the process that tries it.

    Parameters
    ----------
    numbers : range
        Which; the same number is always the same mutant.
    folder : Path
        Where samples and mutants are written; large for a moment only.
    only : str
        The sample that all are made of; any by default.
    """
    write_outside(folder / "outside")
    (folder / "samples").mkdir(exist_ok=True)
    write_samples(folder / "samples", only)
    following, late = numbers.start, -1
    while following < numbers.stop:
        worker, current, sample = Worker(following, numbers.stop, folder, only), -1, ""
        try:
            while following < numbers.stop:
                try:
                    line = worker.lines.get(timeout=SECONDS if current >= 0 else START_SECONDS)
                except queue.Empty:
                    line, failure = "", f"takes more than {SECONDS:g} s"
                else:
                    failure = ""
                if not line:
                    status = worker.end() if line == "" else worker.process.wait()
                    if current < 0:
                        raise RuntimeError(f"the process that tries mutants does not start (status {status})")
                    if failure and late != current:  # the computer may have been busy: once more
                        late = following = current
                        break
                    following = current + 1
                    if sample:
                        yield Outcome(current, sample, failure or f"the process ends with status {status}")
                    else:  # writing a damaged HDF5 can end the process too
                        print(f"{current} cannot be made (status {status})", flush=True)
                    break
                said = json.loads(line)
                if "begins" in said:
                    current, sample = said["begins"], said["sample"]
                else:
                    following = said["ends"] + 1
                    yield Outcome(said["ends"], sample, said["failure"], said["refused"])
        finally:
            worker.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--sample", default="", help=f"{', '.join(samples())}, {STATES}")
    parser.add_argument("--keep", type=Path, default=Path("out/mutants"))
    parser.add_argument("--only", type=int)
    parser.add_argument("--serve", nargs=3, metavar=("FIRST", "LAST", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(int(options.serve[0]), int(options.serve[1]), Path(options.serve[2]), options.sample)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        trees = write_samples_into(folder, options.sample)
        if options.only is not None:
            name, tree = mutant(options.only, trees, folder / "outside", options.sample)
            place = options.keep / str(options.only)
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            write(place / name, tree)
            path = place / name / MAIN_FILES[name] if name in MAIN_FILES else place / name
            states = of_states(options.sample)
            print(path, *(attempt_state(name, path, folder / "samples" / name) if states else attempt(path)))
            return
        began, kinds, refused, count = time.perf_counter(), Counter[str](), 0, 0
        for outcome in fuzz(range(options.first, options.first + options.mutants), folder, options.sample):
            count, refused = count + 1, refused + outcome.refused
            if outcome.failure:
                kinds[f"{outcome.sample}: {outcome.failure}"] += 1
                print(outcome.number, outcome.sample, outcome.failure, flush=True)
                place = options.keep / str(outcome.number)
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir(parents=True)
                write(place / outcome.sample, mutant(outcome.number, trees, folder / "outside", options.sample)[1])
            if count % 1000 == 0:
                seconds = time.perf_counter() - began
                print(
                    f"{count} mutants, {refused} refused, {sum(kinds.values())} failures, {seconds:.0f} s", flush=True
                )
        print(f"{count} mutants, {refused} refused, {sum(kinds.values())} failures")


def write_samples_into(folder: Path, only: str = "") -> dict[str, Tree]:
    """The samples, and what lies outside, in a folder."""
    write_outside(folder / "outside")
    (folder / "samples").mkdir(exist_ok=True)
    return write_samples(folder / "samples", only)


if __name__ == "__main__":
    main()
