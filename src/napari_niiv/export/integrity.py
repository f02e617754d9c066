"""Whether the disk kept what an export has written: nothing that is damaged is gone on with, or published."""

from __future__ import annotations

from collections.abc import Generator

from napari_niiv.events import Notice
from napari_niiv.export.events import ExportEvent
from napari_niiv.export.plan import Unit
from napari_niiv.export.prepare import PreparedExport
from napari_niiv.export.progress import ProgressMeter

Missing = dict[int, list[Unit]]
"""The units that are to be computed, by level."""


def check_written(
    prepared: PreparedExport, missing: Missing, level: int | None = None
) -> Generator[ExportEvent, None, bool]:
    """Read what the journal names as finished; what is damaged or gone is missing from then on.

    So are all levels that are averaged of what was lost, as they may be made of it.

    Parameters
    ----------
    prepared : PreparedExport
    missing : dict
        What is missing already, by level; what is lost is added.
    level : int, optional
        Look at the shards of this level alone.

    Yields
    ------
    ExportProgress, ExportNotice
        The notice says once for all how much was lost.

    Returns
    -------
    bool
        Whether anything was lost.

    Raises
    ------
    OutputError
        If the journal is damaged.
    """
    plan, store = prepared.plan, prepared.store
    known = {(unit.level, unit.number) for units in missing.values() for unit in units}
    written = [(unit, states) for unit, states in store.written(plan) if level is None or plan.writes(unit, level)]
    meter = ProgressMeter("check", sum(unit.voxels for unit, _ in written))
    lost: list[Unit] = []
    for unit, states in written:
        if (unit.level, unit.number) in known or not store.is_intact(plan, unit, states, level):
            lost.append(unit)
        yield meter.advance(unit.voxels)
    if not lost:
        return False
    finest = min(unit.level for unit in lost)
    averages = [unit for number in plan.later if number > finest for unit in plan.units(number)]
    store.forget([*lost, *averages])
    for number in missing:
        anew = {unit.number: unit for unit in (*missing[number], *lost, *averages) if unit.level == number}
        missing[number] = [anew[key] for key in sorted(anew)]
    parts = "1 finished part was" if len(lost) == 1 else f"{len(lost)} finished parts were"
    yield Notice(f"{parts} damaged or gone from {store.folder.name}, and will be computed anew.")
    return True
