"""The unfinished output: a folder with a zarr hierarchy, a journal of its finished shards, and what it is made of."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray

from napari_niiv.errors import OutputError
from napari_niiv.export.fingerprint import Fingerprint, difference
from napari_niiv.export.plan import Level, Plan, Size, Unit
from napari_niiv.io.ome_arrays import create_level
from napari_niiv.io.write import whole_file
from napari_niiv.reconstruction.blocks import Spans

_PLAN, _JOURNAL, _DATA, _OLD, _SHARED = "plan.json", "journal", "data.zarr", "replaced", "shared"


def unfinished_path(target: Path) -> Path:
    """The folder in which an output grows."""
    return target.with_name(f"{target.name}.unfinished")


def discard(target: str | os.PathLike[str]) -> bool:
    """Delete the unfinished export to a target; whether there was one.

    Raises
    ------
    OutputError
        If the folder of that name holds something else.
    """
    folder = unfinished_path(Path(target).expanduser())
    if not folder.is_dir():
        return False
    if foreign := {path.name for path in folder.iterdir()} - {_PLAN, _JOURNAL, _DATA, _OLD, _SHARED}:
        foreign = {name for name in foreign if not name.startswith(".")}
    if foreign:
        raise OutputError(
            f"{folder} holds something else than an unfinished export ({min(foreign)}); move it away."
        )
    if (folder / _OLD).exists() and not Path(target).expanduser().exists():
        os.rename(folder / _OLD, Path(target).expanduser())  # it was about to be replaced
    shutil.rmtree(folder)
    return True


class Unfinished:
    """An output that is being written.

    Finished shards are what the journal names: each line is added, and forced to the disk, after its shard was. A shard
    that is in no line may be damaged, and is written anew.

    Parameters
    ----------
    target : Path
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = unfinished_path(target)
        self.data = self.folder / _DATA
        self.shared = self.folder / _SHARED

    @property
    def begun(self) -> bool:
        """Whether there is something to go on with."""
        return (self.folder / _PLAN).is_file() and self.data.is_dir()

    def begin(self, made_of: Fingerprint, edges: Size) -> None:
        """Make the folder; its plan is written last, so that a folder with a plan is complete."""
        discard(self.target)
        self.folder.mkdir()
        try:
            self.data.mkdir()
            (self.folder / _JOURNAL).touch()
            with whole_file(self.folder / _PLAN) as partial:
                partial.write_text(json.dumps({"edges": edges, "made_of": made_of}, indent=1))
                _sync(partial)
            _sync(self.folder)
        except BaseException:
            discard(self.target)
            raise

    def resume(self, made_of: Fingerprint) -> Size:
        """Find out whether it can be gone on with; the edges of its blocks.

        Raises
        ------
        OutputError
            If it was made of something else, or is damaged.
        """
        try:
            held = json.loads((self.folder / _PLAN).read_text())
            before, (z, y, x) = held["made_of"], held["edges"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{self.folder} is damaged; start anew with --overwrite.") from error
        if what := difference(before, made_of):
            raise OutputError(
                f"{self.folder.name} was begun with {what}; repeat what it was begun with, "
                "or start anew with --overwrite."
            )
        return z, y, x

    def create(self, plan: Plan) -> None:
        """Make the arrays of all levels, without voxels; those that are there stay."""
        group = zarr.open_group(self.data, mode="a", zarr_format=3)
        for number, level in enumerate(plan.levels):
            if str(number) not in group:
                create_level(
                    group, number, plan.axes, plan.shape(number), plan.dtype, plan.chunk, level.shard
                )

    def finished(self) -> set[tuple[int, int]]:
        """Level and number of the shards that are done; half a line at the end, left by a crash, is cut off."""
        path = self.folder / _JOURNAL
        text = path.read_bytes() if path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            os.truncate(path, len(whole))
        return {_parsed(line) for line in whole.decode().splitlines()}

    def note(self, unit: Unit) -> None:
        """Add a shard that is on the disk to the journal."""
        with (self.folder / _JOURNAL).open("a") as journal:
            journal.write(f"{unit.level}/{unit.number}\n")
            journal.flush()
            os.fsync(journal.fileno())

    def publish(self, attributes: dict[str, Any], replace: bool) -> None:
        """Write the metadata and put the hierarchy in the target's place, at once."""
        for left in self.data.rglob("*.partial"):  # zarr's own, of writes that were killed
            left.unlink()
        zarr.open_group(self.data, mode="r+").attrs.update(attributes)
        _sync(self.data / "zarr.json")
        if replace and self.target.exists():
            shutil.rmtree(self.folder / _OLD, ignore_errors=True)
            os.rename(self.target, self.folder / _OLD)
        os.rename(self.data, self.target)
        _sync(self.target.parent)
        shutil.rmtree(self.folder)


def write_shard(data: Path, level: Level, unit: Unit, values: NDArray[Any]) -> None:
    """Write a shard, whole; it is on the disk when this returns."""
    array = _open(data, unit.level)
    place = tuple(span.lo // edge for span, edge in zip(unit.place, level.shard, strict=True))
    path = data.joinpath(str(unit.level), "c", *map(str, unit.leading + place))
    path.unlink(missing_ok=True)  # else zarr reads a shard at the border first, to merge it with
    array[(*unit.leading, *(span.slice for span in unit.place))] = values
    if path.exists():  # shards of nothing but zeros have no file
        _sync(path)


def read_level(data: Path, level: int, leading: tuple[int, ...], place: Spans) -> NDArray[Any]:
    """Voxels of a level that is written."""
    values: NDArray[Any] = _open(data, level)[(*leading, *(span.slice for span in place))]
    return values


def _open(data: Path, level: int) -> Any:
    return zarr.open_array(data / str(level), mode="r+")


def open_level(data: Path, level: int = 0) -> Any:
    """A level as a lazy array."""
    return zarr.open_array(data / str(level), mode="r")


def _parsed(line: str) -> tuple[int, int]:
    level, number = line.split("/")
    return int(level), int(number)


def _sync(path: Path) -> None:
    """Force a file or folder to the disk; folders where the system can."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remaining(units: Iterable[Unit], finished: set[tuple[int, int]]) -> list[Unit]:
    """The units that no line of the journal names."""
    return [unit for unit in units if (unit.level, unit.number) not in finished]
