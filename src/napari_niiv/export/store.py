"""The unfinished output: a folder with a zarr hierarchy, a journal of its finished shards, and what it is made of."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import zarr

from napari_niiv import strict_json
from napari_niiv.errors import OutputError, Remedy
from napari_niiv.export import record
from napari_niiv.export.fingerprint import Fingerprint, mismatch
from napari_niiv.export.levels import has_levels, make_level
from napari_niiv.export.plan import Plan, Unit
from napari_niiv.export.shards import WRITING, FileState, Written, shard_path, size_of, state_of, sync
from napari_niiv.file_locks import LockedError, lock
from napari_niiv.geometry import Shape
from napari_niiv.io.write import exists_already, whole_file

_PLAN, _JOURNAL, _DATA, _OLD, _SHARED = "plan.json", "journal", "data.zarr", "replaced", "shared"
_LOCK, _FILE, _USED = "lock", "whole.tif", "spent"
_KNOWN = {_PLAN, _JOURNAL, _DATA, _OLD, _SHARED, WRITING, _LOCK, _FILE, _USED}


def unfinished_path(target: Path) -> Path:
    """The folder in which an output grows."""
    return target.with_name(f"{target.name}.unfinished")


def being_written(target: Path) -> OutputError:
    """The error of an output that another process is writing."""
    return OutputError(f"Another process is writing {target}; wait for it, or stop it first.")


def discard(target: str | os.PathLike[str]) -> bool:
    """Delete the unfinished export to a target; whether there was one.

    Raises
    ------
    OutputError
        If the folder of that name holds something else, or another process is writing there.
    """
    path = Path(target).expanduser()
    folder = unfinished_path(path)
    if not folder.is_dir():
        return False
    foreign = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - _KNOWN
    if foreign:
        raise OutputError(f"{folder} holds something else than an unfinished export ({min(foreign)}); move it away.")
    with _locked(folder, path):
        _delete(folder, path)
    return True


def _delete(folder: Path, target: Path) -> None:
    if (folder / _OLD).exists() and not target.exists():
        os.rename(folder / _OLD, target)  # it was about to be replaced
    (folder / _PLAN).unlink(missing_ok=True)  # or what is there would be taken for what it tells of
    _remove(folder)


def _remove(folder: Path) -> None:
    """Delete the folder of an output, its plan last: until then it tells what the output is made of."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (_PLAN, _LOCK):
            path.unlink()
    (folder / _PLAN).unlink(missing_ok=True)
    # Windows does not delete a file that is locked: `_locked` does, when it lets go of it
    shutil.rmtree(folder, ignore_errors=os.name == "nt")


@contextmanager
def _locked(folder: Path, target: Path) -> Iterator[None]:
    """Keep other processes out of the folder of an output, where its file system has locks."""
    try:
        file_lock = lock(folder / _LOCK)
    except LockedError as error:
        raise being_written(target) from error
    try:
        yield
    finally:
        if file_lock is not None:
            file_lock.release()
        if os.name == "nt":
            with suppress(OSError):  # it holds what can be gone on with
                folder.rmdir()


class Unfinished:
    """An output that is being written.

    Finished shards are what the journal names, with their size and checksum: each line is added, and forced to the
    disk, after its shard was. A shard that is in no line, or is no longer what its line says, is computed anew.

    Parameters
    ----------
    target : Path
        The output; the folder grows beside it.

    Attributes
    ----------
    folder : Path
        Holds all that is unfinished.
    data : Path
        The zarr hierarchy.
    shared : Path
        What workers need.
    file : Path
        The TIFF file, while it is written.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = unfinished_path(target)
        self.data = self.folder / _DATA
        self.shared = self.folder / _SHARED
        self.file = self.folder / _FILE

    @property
    def begun(self) -> bool:
        """Whether there is an interrupted export to go on with."""
        return (self.folder / _PLAN).is_file() and self.data.is_dir()

    def is_complete(self, fingerprint: Fingerprint, plan: Plan) -> bool:
        """Whether the target is there, whole, and made of just this; perhaps its export was killed while it tidied up.

        A zarr says what it was made of, and its arrays are described as they are planned; of a file, this is what the
        unfinished folder says, as long as it is there.
        """
        if not self.target.exists():
            return False
        try:
            stored: Fingerprint | None = self._plan().made_of
        except OutputError:
            stored = None
        if stored is None or self.data.is_dir():
            stored = _made_of(self.target / "zarr.json")
        if stored is None or mismatch(stored, fingerprint):
            return False
        return not self.target.is_dir() or has_levels(self.target, plan)

    def begin(self, fingerprint: Fingerprint, edges: Shape) -> None:
        """Make the folder anew; its plan is written last, so that a folder with a plan is complete."""
        discard(self.target)
        if self.folder.exists():
            raise OutputError(f"{self.folder} is a file, and the output would grow there; move it away.")
        self.folder.mkdir()
        try:
            self.data.mkdir()
            (self.folder / _JOURNAL).touch()
            with whole_file(self.folder / _PLAN) as partial:
                partial.write_text(record.plan_text(edges, fingerprint))
                sync(partial)
            sync(self.folder)
        except BaseException:
            discard(self.target)
            raise

    @property
    def running(self) -> bool:
        """Whether another process is writing it, as far as the file system has locks."""
        try:
            file_lock = lock(self.folder / _LOCK)
        except LockedError:
            return True
        if file_lock is not None:
            file_lock.release()
        return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out; if the block fails before any shard is finished, nothing stays.

        Raises
        ------
        OutputError
            If another process is writing.
        """
        with _locked(self.folder, self.target):
            shutil.rmtree(self.folder / WRITING, ignore_errors=True)  # left by a process that was killed
            try:
                yield
            except BaseException:
                journal = self.folder / _JOURNAL
                if self.begun and not (journal.exists() and journal.stat().st_size):
                    _delete(self.folder, self.target)
                raise

    def resume(self, fingerprint: Fingerprint) -> Shape:
        """Find out whether the export can be gone on with; the edges of its blocks along z, y, x.

        Raises
        ------
        OutputError
            If it was made of something else, or is damaged.
        """
        plan = self._plan()
        if what := mismatch(plan.made_of, fingerprint):
            raise OutputError(
                f"{self.folder.name} was begun with {what}; repeat what it was begun with, or",
                Remedy.START_ANEW_INSTEAD,
            )
        return plan.edges

    def settings(self) -> dict[str, Any]:
        """The settings that the export was begun with, as fields of `ExportConfig`.

        Raises
        ------
        OutputError
            If the record of them is damaged.
        """
        return self._plan().settings

    def noise_levels(self) -> list[float] | None:
        """The noise level of each T and C index that the export was begun with; None if they are not recorded.

        Raises
        ------
        OutputError
            If the record of them is damaged.
        """
        return self._plan().noise_levels

    def damaged(self) -> OutputError:
        """The error of what cannot be gone on with."""
        return OutputError(f"{self.folder} is damaged;", Remedy.START_ANEW)

    def _plan(self) -> record.RecordedPlan:
        try:
            return record.parse_plan(_bounded(self.folder / _PLAN))
        except (OSError, ValueError) as error:
            raise self.damaged() from error

    def create(self, plan: Plan, attributes: dict[str, Any] | None = None) -> None:
        """Describe the arrays of all levels, and the group with these attributes, anew; shards that are there stay."""
        aside = self.folder / WRITING / uuid.uuid4().hex
        group = zarr.open_group(aside, mode="w", zarr_format=3, attributes=attributes)
        for number in range(len(plan.levels)):
            make_level(group, plan, number)
        for folder in (*map(str, range(len(plan.levels))), ""):  # the group last: it makes an image of the arrays
            (self.data / folder).mkdir(exist_ok=True)
            sync(aside / folder / "zarr.json")
            os.replace(aside / folder / "zarr.json", self.data / folder / "zarr.json")
        shutil.rmtree(aside)

    def missing(self, plan: Plan) -> dict[int, list[Unit]]:
        """The units that are not written, by level; without those that are written with one of a finer level.

        Whether files have the size that they had is looked at, no more: see `is_intact`.

        Raises
        ------
        OutputError
            If the journal is damaged.
        """
        journal = self.journal()

        def done(unit: Unit) -> bool:
            states = journal.get((unit.level, unit.number), ())
            return [state.bytes for state in states] == [size_of(path) for path in self._files(plan, unit)]

        return {n: [unit for unit in plan.units(n) if not done(unit)] for n in (0, *plan.later)}

    def written(self, plan: Plan) -> Iterator[tuple[Unit, Written]]:
        """The units that the journal names as finished, with what their files were then.

        Raises
        ------
        OutputError
            If the journal is damaged.
        """
        journal = self.journal()
        for level in (0, *plan.later):
            for unit in plan.units(level):
                if states := journal.get((level, unit.number)):
                    yield unit, states

    def is_intact(self, plan: Plan, unit: Unit, states: Written, level: int | None = None) -> bool:
        """Whether the files of a unit are what they were, to the last byte; or just that of one level."""
        parts, paths = plan.written_with(unit), self._files(plan, unit)
        return len(states) == len(parts) and all(
            state_of(path) == state
            for part, path, state in zip(parts, paths, states, strict=True)
            if level in (None, part.level)
        )

    def _files(self, plan: Plan, unit: Unit) -> list[Path]:
        return [shard_path(self.data, plan.levels[part.level], part) for part in plan.written_with(unit)]

    def journal(self) -> dict[tuple[int, int], Written]:
        """What the files of each finished unit were when they were written, by level and number of the unit.

        Half a line at the end, left by a crash, is cut off.

        Raises
        ------
        OutputError
            If the journal is damaged.
        """
        path = self.folder / _JOURNAL
        try:
            text = _bounded(path) if path.exists() else b""
        except ValueError as error:
            raise self.damaged() from error
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            os.truncate(path, len(whole))
        try:
            return record.parse_journal(whole)
        except ValueError as error:
            raise self.damaged() from error

    def record(self, unit: Unit, states: Sequence[FileState]) -> None:
        """Add a unit that is on the disk, with what its files are, to the journal."""
        self._note([record.journal_line(unit.level, unit.number, states)])

    def forget(self, units: Iterable[Unit]) -> None:
        """Note in the journal that units are to be computed anew."""
        self._note([record.journal_line(unit.level, unit.number, ()) for unit in units])

    def _note(self, lines: Sequence[str]) -> None:
        with (self.folder / _JOURNAL).open("a") as journal:
            journal.writelines(lines)
            journal.flush()
            os.fsync(journal.fileno())

    def publish(self, plan: Plan, attributes: dict[str, Any], replace: bool) -> None:
        """Write the metadata and put the hierarchy in the target's place, at once."""
        self.create(plan, attributes)
        if self.target.exists():
            if not replace:
                raise exists_already(self.target)
            shutil.rmtree(self.folder / _OLD, ignore_errors=True)
            os.rename(self.target, self.folder / _OLD)
        os.rename(self.data, self.target)
        self.finish()

    def publish_file(self, replace: bool) -> None:
        """Put the file that was made of the hierarchy in the target's place, at once.

        Raises
        ------
        OutputError
            If there is one by now that is not to be replaced.
        """
        sync(self.file)
        if not replace and self.target.exists():
            raise exists_already(self.target)
        os.replace(self.file, self.target)
        os.rename(self.data, self.folder / _USED)  # the folder counts as complete now
        self.finish()

    def finish(self) -> None:
        """Delete what is left beside the complete target, its plan last: until then it tells what the target is."""
        sync(self.target.parent)
        self.tidy()

    def tidy(self) -> None:
        """Delete what a finished export left."""
        if self.folder.is_dir():
            _remove(self.folder)


def _bounded(path: Path) -> bytes:
    """The content of a file that cannot be large.

    Raises
    ------
    ValueError
        If it is.
    """
    if path.stat().st_size > record.MOST_BYTES:
        raise ValueError("it is larger than it can be")
    return path.read_bytes()


def _made_of(path: Path) -> Fingerprint | None:
    """What the metadata of an OME-Zarr say that it is made of; None if they do not."""
    try:
        value = strict_json.parse(_bounded(path), finite=False)
    except (OSError, ValueError):
        return None
    attributes = value.get("attributes") if isinstance(value, dict) else None
    return record.as_fingerprint(attributes.get("napari_niiv")) if isinstance(attributes, dict) else None
