"""The images in a TIFF file, and in a set of OME-TIFF files: which is meant, and from which file it is read."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import tifffile

from napari_niiv.errors import VolumeError
from napari_niiv.io.contents import StoredImage, choice
from napari_niiv.io.named_files import is_beside, named_file

COMPANION = ".companion.ome"
# bytes that a page of a TIFF file takes at the least: a picture has eight tags or so, of twelve each
_LEAST_PAGE = 64
_WIDEST = 1 << 24  # pixels


@dataclass(frozen=True)
class TiffImage:
    """An image, and how tifffile is to open it.

    Attributes
    ----------
    stored : StoredImage
    path : Path
        The file that is opened; others of the set are opened along with it.
    series : int
        Which of tifffile's series it is.
    xml : str or None
        OME metadata of this image alone; None where those in the file will do.
    files : tuple of str
        Names of the other files that hold its planes.
    identifiers : mapping of str to str
        What identifies each file of its set by its name, by what the set says.
    note : str
        Which images of the file are left aside, as they are no stacks; mostly empty.
    planes : int
        That it has by its OME metadata, each channel of a colour one by itself; 0 without any.
    """

    stored: StoredImage
    path: Path
    series: int = 0
    xml: str | None = None
    files: tuple[str, ...] = ()
    identifiers: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    planes: int = 0


def find_image(path: Path, name: str | None = None) -> TiffImage:
    """The image that a file shows, alone or as one file of a set.

    Parameters
    ----------
    path : Path
        A TIFF file, or the ``.companion.ome`` of a set.
    name : str, optional
        Of the image, where there are several.

    Raises
    ------
    DatasetChoice
        If there are several stacks and none was named.
    VolumeError
        If there is no such image, or files of its set are missing.
    """
    root, file_id, images = _metadata(path)
    if root is None:
        return _chosen(path, images, name)
    image = _chosen(path, _of_ome(path, root, file_id), name)
    _check_files(path, image)
    _check_count(path, image)
    return image


def open_image(image: TiffImage) -> tuple[tifffile.TiffFile, tifffile.TiffPageSeries]:
    """The open file of an image, and its series."""
    file = tifffile.TiffFile(image.path, omexml=image.xml)
    try:
        if image.xml is not None:
            file.is_mmstack = False  # of Micro-Manager's own index, which knows all positions as one image
        else:
            if _ome_root(file) is None:
                _check_pages(image.path, file)
        return file, file.series[image.series]
    except BaseException:
        file.close()
        raise


def _metadata(path: Path) -> tuple[Element | None, str | None, list[TiffImage]]:
    """OME metadata of a file or its set, and the file's identifier; without any, the images that tifffile sees."""
    if _is_companion(path):
        return ElementTree.fromstring(path.read_text(encoding="utf-8-sig")), None, []
    with tifffile.TiffFile(path) as file:
        root = _ome_root(file)
        if root is None:
            return None, None, _of_series(path, file)
    elsewhere = next((e.get("MetadataFile") for e in root if e.tag.endswith("BinaryOnly")), None)
    if elsewhere is None:
        return root, root.get("UUID"), []
    there = named_file(path, elsewhere)
    if not there.exists():
        raise VolumeError(f"{path.name} belongs to the set of {elsewhere}, which is missing; put it beside this file.")
    whole, _, _ = _metadata(there)
    return (None, None, []) if whole is None else (whole, root.get("UUID"), [])


def _ome_root(file: tifffile.TiffFile) -> Element | None:
    """The OME metadata in a file; None without any, or where they cannot be read, which costs the voxel size alone."""
    if not file.is_ome or not file.ome_metadata:
        return None
    try:
        return ElementTree.fromstring(file.ome_metadata)
    except ElementTree.ParseError:
        file.is_ome = False  # lest tifffile makes something of them, and looks for other files
        return None


def _check_pages(path: Path, file: tifffile.TiffFile) -> None:
    """Refuse what tifffile would take all memory or time for."""
    len(file.pages)  # ends where a chain of pages leads back into itself; going through them does not
    first = file.pages.first
    width = max(first.imagewidth, first.imagelength)
    if width > _WIDEST:  # it lists the positions of all pixels along each axis
        raise VolumeError(f"{path.name} says that it is {width} pixels wide, which no picture is; get the file anew.")


def _of_series(path: Path, file: tifffile.TiffFile) -> list[TiffImage]:
    _check_pages(path, file)
    series = [(number, each) for number, each in enumerate(file.series) if number == 0 or not each.keyframe.is_reduced]
    names = [each.name for _, each in series]
    return [
        TiffImage(
            StoredImage.of(each.name if each.name and names.count(each.name) == 1 else str(number), each), path, number
        )
        for number, each in series
        if number == 0 or "S" not in each.axes
    ]


@dataclass
class _Ome:
    """An image as the OME metadata of a set have it."""

    element: Element
    pixels: Element
    files: dict[str, str] = field(default_factory=dict)
    """Identifiers of its files by their names, in order."""
    unnamed: bool = False
    """Whether planes are in a file that is not named, which is the one with the metadata."""

    def __post_init__(self) -> None:
        for data in (e for e in self.pixels if e.tag.endswith("TiffData")):
            uuid = next((e for e in data if e.tag.endswith("UUID")), None)
            if uuid is None or not uuid.get("FileName"):
                self.unnamed = True
            else:
                self.files.setdefault(str(uuid.get("FileName")), (uuid.text or "").strip())
        self.unnamed |= not self.files

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(self.pixels.get(f"Size{axis}") or 1) for axis in "TCZYX")

    @property
    def dtype(self) -> str:
        return self.pixels.get("Type") or self.pixels.get("PixelType") or ""

    @property
    def planes(self) -> int:
        counts = (int(data.get("PlaneCount") or 0) for data in self.pixels if data.tag.endswith("TiffData"))
        return max(math.prod(self.shape[:-2]), *counts, 0)

    def without_files(self) -> None:
        """Have all planes in the one file that there is."""
        self.files, self.unnamed = {}, True
        for data in self.pixels:
            data[:] = [e for e in data if not e.tag.endswith("UUID")]

    def elsewhere(self, path: Path, file_id: str | None) -> tuple[str, ...]:
        """Its files but for one of these."""
        return tuple(n for n, uuid in self.files.items() if n.lower() != path.name.lower() and uuid != file_id)


def _of_ome(path: Path, root: Element, file_id: str | None) -> list[TiffImage]:
    """The images with planes in a file, or those of a companion."""
    pairs = [(e, next((p for p in e if p.tag.endswith("Pixels")), None)) for e in root if e.tag.endswith("Image")]
    images = [_Ome(element, pixels) for element, pixels in pairs if pixels is not None]
    names = {name for image in images for name in image.files}
    companion = _is_companion(path)
    renamed = not companion and len(names) == 1 and not _is_there(path.parent, next(iter(names)))
    if renamed:
        for image in images:
            image.without_files()
    else:
        for name in names:
            named_file(path, name)
    here = [i for i in images if companion or i.unnamed or len(i.elsewhere(path, file_id)) < len(i.files)]
    if images and not here:
        few = ", ".join(sorted(names)[:4])
        raise VolumeError(f"{path.name} is none of the files of its set ({few}, …); give it back its name.")
    its_own = not companion and root.get("UUID") == file_id  # metadata that tifffile finds by itself
    plain = its_own and not renamed and len(images) == 1 and not here[0].elsewhere(path, file_id)
    labels = [image.element.get("Name") or "" for image in images]
    found = []
    for image in here:
        label = image.element.get("Name") or ""
        label = label if label and labels.count(label) == 1 else str(image.element.get("ID"))
        main, own = path, file_id
        if companion:
            main = next((f for name in image.files if (f := path.parent / name).exists()), path)
            own = image.files.get(main.name)
        xml = None if plain else _alone(root, image.element, own)
        stored = StoredImage(label, _short(image.shape), image.dtype)
        others = image.elsewhere(path, file_id)
        found.append(TiffImage(stored, main, 0, xml, others, image.files, planes=image.planes))
    return found


def _is_there(folder: Path, name: str) -> bool:
    return is_beside(folder, name) and (folder / name).exists()


def _is_companion(path: Path) -> bool:
    return path.name.lower().endswith(COMPANION)


def _short(shape: Sequence[int]) -> tuple[int, ...]:
    return (*[n for n in shape[:-2] if n > 1], *shape[-2:])


def _alone(root: Element, image: Element, file_id: str | None) -> str:
    """OME metadata of one image, as the file with this identifier would have them."""
    reduced = copy.copy(root)
    reduced[:] = [e for e in root if e is image or not e.tag.endswith("Image")]
    if file_id is None:
        reduced.attrib.pop("UUID", None)
    else:
        reduced.set("UUID", file_id)
    return ElementTree.tostring(reduced, encoding="unicode")


def _chosen(path: Path, images: list[TiffImage], name: str | None) -> TiffImage:
    if not images:
        raise VolumeError(f"{path.name} holds no picture; choose another file.")
    if name is not None:
        found = next((image for image in images if image.stored.name == name.strip("/")), None)
        if found is None:
            names = ", ".join(image.stored.name for image in images[:12])
            raise VolumeError(f"{path.name} holds no image {name!r}, but {names}; give one of these.")
        return found
    stacks = [image for image in images if len(image.stored.shape) > 2]
    if len(stacks) > 1:
        raise choice(path.name, [image.stored for image in stacks])
    if not stacks or len(images) == 1:
        return images[0]
    aside = ", ".join(f"{i.stored.name} ({i.stored.words})" for i in images if i is not stacks[0])
    return replace(stacks[0], note=f"the file also holds what is no stack, and not shown: {aside}")


def _check_files(path: Path, image: TiffImage) -> None:
    missing = [name for name in image.files if not (path.parent / name).exists()]
    if missing:
        some = ", ".join(missing[:6]) + (", …" if len(missing) > 6 else "")
        raise VolumeError(
            f"{path.name} belongs to a set that lacks {len(missing)} of its files ({some}); put them beside it."
        )


def _check_count(path: Path, image: TiffImage) -> None:
    """Refuse more planes than files of such a size can hold: tifffile would make a list of them."""
    files = {image.path, *(path.parent / name for name in image.files)}
    size = sum(file.stat().st_size for file in files)
    if image.planes > size // _LEAST_PAGE:
        raise VolumeError(
            f"{path.name} says that it has {image.planes:,} planes, more than {size:,} bytes can hold; get it anew."
        )
