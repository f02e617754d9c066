"""Other files that an HDF5 file takes groups and voxels from: they must be there, in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_niiv.errors import VolumeError
from napari_niiv.io.named_files import named_file


def linked_elsewhere(file: Any) -> dict[str, str]:
    """The names of the files that links of an open HDF5 file lead to, by the paths of the links."""
    from h5py import h5l

    links: dict[str, str] = {}

    def collect(name: bytes, info: Any) -> None:
        if info.type == h5l.TYPE_EXTERNAL:
            links[_text(name)] = _text(file.id.links.get_val(name)[0])

    file.id.links.visit(collect, info=True)
    return links


def check_links(path: Path, file: Any, seen: frozenset[Path] = frozenset()) -> None:
    """Refuse a file with links that lead out of its folder, or whose linked files have such links.

    Parameters
    ----------
    path : Path
    file : h5py.File
        Open; nothing in it is followed.
    seen : frozenset of Path
        Files that were looked at already.

    Raises
    ------
    VolumeError
    """
    import h5py

    seen |= {path.resolve()}
    for name in dict.fromkeys(linked_elsewhere(file).values()):
        other = named_file(path, name)
        if other.is_file() and other.resolve() not in seen:
            with h5py.File(other, "r") as linked:
                check_links(other, linked, seen)


def check_sources(path: Path, dataset: Any, above: tuple[tuple[Path, str], ...] = ()) -> None:
    """Refuse a dataset whose voxels are in files that are missing or elsewhere; HDF5 reads those as blank.

    Parameters
    ----------
    path : Path
        Of the dataset's file.
    dataset : h5py.Dataset
    above : tuple
        Datasets, by file and name, whose voxels it has.

    Raises
    ------
    VolumeError
    """
    import h5py

    own = (path.resolve(), str(dataset.name))
    if own in above:
        raise VolumeError(f"{path.name} says that the voxels of {dataset.name} are those of itself; get it anew.")
    sources = {(s.file_name, s.dset_name) for s in dataset.virtual_sources()} if dataset.is_virtual else set()
    places = {_text(name) for name, *_ in dataset.external or ()}
    files = {name: named_file(path, name) for name in sorted(places | {name for name, _ in sources} - {"."})}
    if missing := [name for name, place in files.items() if not place.is_file()]:
        raise VolumeError(f"{path.name} lacks the files that hold its voxels ({', '.join(missing[:4])}); get them.")
    for name, inside in sorted(sources):
        with h5py.File(files.get(name, path), "r") as file:
            if isinstance(source := file.get(inside), h5py.Dataset):
                check_sources(Path(source.file.filename), source, (*above, own))


def _text(name: bytes | str) -> str:
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
