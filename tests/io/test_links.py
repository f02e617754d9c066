"""Symbolic links in a volume's folder: what leads out of it is not read, unless the user wants it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import zarr

from benchmarks.sample_files import n5
from napari_niiv.cli import main
from napari_niiv.errors import VolumeError
from napari_niiv.io import links
from napari_niiv.io.open import open_volume

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links are for administrators there")
ARRAY = np.random.default_rng(0).integers(1, 200, (4, 12, 16)).astype("u1")


def zarr_2(folder: Path) -> str:
    zarr.create_array(folder, data=ARRAY, chunks=(1, 12, 16), zarr_format=2)
    return "2.0.0"


def zarr_metadata(folder: Path) -> str:
    zarr_2(folder)
    return ".zarray"


def zarr_3(folder: Path) -> str:
    """Of which a folder of chunks is elsewhere."""
    zarr.create_array(folder, data=ARRAY, chunks=(1, 12, 16), zarr_format=3)
    return "c/2"


def blocks_of_n5(folder: Path) -> str:
    n5(folder, ARRAY, "gzip")
    return next(str(p.relative_to(folder)) for p in sorted(folder.rglob("*")) if p.is_file() and p.name.isdigit())


def slices(folder: Path) -> str:
    folder.mkdir()
    for z, picture in enumerate(ARRAY):
        (folder / f"s{z}.png").write_bytes(imagecodecs.png_encode(picture))
    return "s2.png"


def moved(folder: Path, name: str, to: Path) -> None:
    """A file or folder elsewhere, with a link in its place."""
    to.parent.mkdir(exist_ok=True)
    (folder / name).rename(to)
    (folder / name).symlink_to(to)


@pytest.mark.parametrize("write", [zarr_2, zarr_metadata, zarr_3, blocks_of_n5, slices])
def test_links_out_of_the_folder(tmp_path: Path, write: Callable[[Path], str], capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "a"
    name = write(folder)
    moved(folder, name, tmp_path / "secret" / "file")
    with pytest.raises(
        VolumeError, match=rf"a holds the link {name}, which leads out of .*follow_links=True"
    ) as caught:
        open_volume(folder)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(open_volume(folder, follow_links=True).read_raw(), ARRAY)
    assert main(["info", str(folder)]) == 2
    assert "--follow-links" in capsys.readouterr().err
    assert main(["info", str(folder), "--follow-links"]) == 0


@pytest.mark.parametrize("write", [zarr_2, zarr_3, slices])
def test_links_within_the_folder(tmp_path: Path, write: Callable[[Path], str]) -> None:
    folder = tmp_path / "a"
    moved(folder, write(folder), folder / "kept" / "file")
    (tmp_path / "link").symlink_to(folder)  # the folder itself is what the user named
    for path in (folder, tmp_path / "link", tmp_path / "link" / ".." / "a"):
        np.testing.assert_array_equal(open_volume(path).read_raw(), ARRAY)


def test_a_link_to_what_never_ends(tmp_path: Path) -> None:
    zarr_2(tmp_path / "a")
    (tmp_path / "a" / ".zattrs").unlink(missing_ok=True)
    (tmp_path / "a" / ".zattrs").symlink_to("/dev/zero")
    with pytest.raises(VolumeError, match="leads out of the folder, to /dev/zero"):
        open_volume(tmp_path / "a")


def test_metadata_are_seen_beside_any_number_of_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = zarr.open_group(tmp_path / "g", mode="w", zarr_format=2)
    for name in "ab":
        group.create_array(name, data=ARRAY, chunks=(1, 12, 16))
    monkeypatch.setattr(links, "_MOST_IN_FOLDER", 1)
    moved(tmp_path / "g", "b/.zarray", tmp_path / "secret" / "file")
    with pytest.raises(VolumeError, match=r"the link b/\.zarray"):
        open_volume(tmp_path / "g", dataset="a")
