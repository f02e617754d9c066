"""Locks between processes, on files: one that is killed lets go of its own."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock


class LockedError(Exception):
    """Another process, or another part of this one, has the lock."""


def lock(path: Path, timeout: float = 0.0) -> BaseFileLock | None:
    """Lock a file, which is made if it is not there; its folder is not made.

    Parameters
    ----------
    path : Path
    timeout : float
        Seconds to wait for somebody else to let go of it.

    Returns
    -------
    BaseFileLock or None
        To be released, on whichever thread, or kept: the lock goes with the object, and with the process. None where
        the file system has no locks, or the folder is gone.

    Raises
    ------
    LockedError
        If somebody else has it, and keeps it.
    """
    from filelock import FileLock, Timeout  # with asyncio: too long for a window to wait for it

    if not path.parent.is_dir():  # FileLock would make it
        return None
    # soft locks, which outlive a process that is killed, would block those that go on with its work elsewhere
    file = FileLock(path, thread_local=False, fallback_to_soft=False)
    try:
        file.acquire(timeout=timeout)
    except Timeout as error:
        raise LockedError(str(path)) from error
    except (OSError, NotImplementedError):
        return None
    return file


def private_folder(parent: Path) -> Path | None:
    """A folder of this user, inside one that all users may write to; None if it is somebody else's.

    Nobody else can put a file into it, nor a link in the place of one.
    """
    if os.name == "nt":  # whose temporary folders are private
        folder = parent / "napari-niiv"
        folder.mkdir(exist_ok=True)
        return folder
    folder = parent / f"napari-niiv-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
    except OSError:  # a link, or a file of that name
        return None
    private = stat.S_ISDIR(state.st_mode) and state.st_mode & 0o777 == 0o700 and state.st_uid == os.getuid()
    return folder if private else None
