"""Locks between processes, and where those of the GPUs lie."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from napari_niiv.export import discard
from napari_niiv.file_locks import LockedError, lock, private_folder

OTHER = """
import sys
from pathlib import Path
from napari_niiv.file_locks import lock
kept = lock(Path(sys.argv[1]))
print(kept is not None, flush=True)
input()
"""


def test_a_process_that_is_killed_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", OTHER, str(path)], **pipes) as other:
        assert other.stdout.readline() == "True\n"
        with pytest.raises(LockedError):
            lock(path)
        other.kill()
        other.wait()
    kept = lock(path)
    with pytest.raises(LockedError):
        lock(path)
    kept.release()
    assert lock(path) is not None


@pytest.mark.skipif(os.name == "nt", reason="flock")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Nor is there a mark that outlives the process."""
    import fcntl

    def flock(handle: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert lock(tmp_path / "lock") is None
    folder = tmp_path / "out.zarr.unfinished"
    folder.mkdir()
    assert discard(tmp_path / "out.zarr")
    assert not folder.exists()


@pytest.mark.skipif(os.name == "nt", reason="temporary folders are private")
def test_nobody_else_can_plant_a_link(tmp_path: Path) -> None:
    folder = private_folder(tmp_path)
    assert folder.parent == tmp_path
    assert (folder.stat().st_mode & 0o777, folder.stat().st_uid) == (0o700, os.getuid())
    assert private_folder(tmp_path) == folder
    folder.chmod(0o777)
    assert private_folder(tmp_path) is None
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    assert private_folder(tmp_path) is None
    folder.unlink()
    folder.write_text("a file")
    assert private_folder(tmp_path) is None


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("planted", ["lock", f"napari-niiv-{os.getuid() if os.name != 'nt' else 0}"])
def test_links_of_another_user_are_not_followed(planted: str) -> None:
    """In a folder that all may write to, such as /tmp; the kernel may refuse them too, or not."""
    shared = Path(tempfile.mkdtemp())
    try:
        shared.chmod(0o1777)
        (shared / "own").mkdir(mode=0o700)
        (shared / "own" / "file").write_text("precious")
        target = "own/file" if planted == "lock" else "own"
        command = ["/usr/bin/env", "ln", "-s", target, str(shared / planted)]
        subprocess.run(command, user=65534, group=65534, extra_groups=[], cwd="/", check=True)
        assert (shared / planted).lstat().st_uid == 65534
        assert (lock(shared / "lock") if planted == "lock" else private_folder(shared)) is None
        assert (shared / "own" / "file").read_text() == "precious"
        assert os.listdir(shared / "own") == ["file"]
    finally:
        shutil.rmtree(shared)
