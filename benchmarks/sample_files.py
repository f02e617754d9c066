"""Small files of all kinds that are read, written by independent libraries or by hand; to be damaged by others."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import mrcfile
import nibabel
import numpy as np
import tensorstore
import tifffile
import zarr

METADATA = {"zarr.json", ".zarray", ".zgroup", ".zattrs", "attributes.json"}
N5_BLOSC = {"cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
SIZES = {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.5}


def imagej(path: Path, array: np.ndarray) -> None:
    metadata = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(path, array, imagej=True, resolution=(2, 2), metadata=metadata)


def ome_tiff(path: Path, array: np.ndarray, **options) -> None:
    tifffile.imwrite(path, array, ome=True, metadata={"axes": "ZYX", **SIZES}, **options)


def slices(path: Path, array: np.ndarray, suffix: str) -> None:
    path.mkdir()
    for number, picture in enumerate(array):
        if suffix == "tif":
            tifffile.imwrite(path / f"{number:03}.tif", picture)
        else:
            encode = {"png": imagecodecs.png_encode, "jpg": imagecodecs.jpeg_encode, "bmp": imagecodecs.bmp_encode}[
                suffix
            ]
            (path / f"{number:03}.{suffix}").write_bytes(encode(picture))


def plain_zarr(path: Path, array: np.ndarray, **options) -> None:
    attributes = {"voxel_size": [2.0, 0.5, 0.5], "units": "um"}
    zarr.create_array(path, data=array, chunks=(2, 8, 8), attributes=attributes, **options)


def ome_zarr(path: Path, array: np.ndarray, version: str, **options) -> None:
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=array, chunks=(2, 8, 8), **options)
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
    transforms = [{"type": "scale", "scale": [2.0, 0.5, 0.5]}]
    images = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": transforms}]}]
    ome = {"version": version, "multiscales": images}
    group.attrs.update(ome if version == "0.4" else {"ome": ome})


def n5(path: Path, array: np.ndarray, compression: str) -> None:
    metadata = {
        "dimensions": list(array.shape[::-1]),
        "blockSize": [8, 8, 2],
        "dataType": "uint8",
        "compression": {"type": compression, **N5_BLOSC} if compression == "blosc" else {"type": compression},
    }
    where = {"driver": "n5", "kvstore": f"{path.as_uri()}/", "metadata": metadata, "create": True}
    tensorstore.open(where).result()[...].write(array.transpose(2, 1, 0)).result()
    attributes = json.loads((path / "attributes.json").read_text())
    (path / "attributes.json").write_text(
        json.dumps({**attributes, "resolution": [0.5, 0.5, 2.0], "units": ["um"] * 3})
    )


def hdf5(path: Path, array: np.ndarray, **options) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=array, **options).attrs["element_size_um"] = [2.0, 0.5, 0.5]


def imaris(path: Path, array: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        info = file.create_group("DataSetInfo/Image")
        for number, size in enumerate((10, 12, 12)):
            info.attrs[f"ExtMin{number}"] = np.array(["0"], "S1")
            info.attrs[f"ExtMax{number}"] = np.array(list(str(size)), "S1")
        channel = file.create_group("DataSet/ResolutionLevel 0/TimePoint 0/Channel 0")
        channel.create_dataset("Data", data=array, chunks=(2, 8, 8), compression="gzip")
        file.create_group("DataSetInfo/Channel 0")


def mrc(path: Path, array: np.ndarray) -> None:
    with mrcfile.new(path) as file:
        file.set_data(array.astype(np.uint16))
        file.voxel_size = (0.5, 0.5, 2.0)


def nifti(path: Path, array: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(array.transpose(2, 1, 0), np.diag([0.5, 0.5, 2, 1])), path)


def lsm(path: Path, array: np.ndarray, sizes: tuple[float, float, float] = (0.5e-6, 0.5e-6, 2e-6)) -> None:
    """Zeiss': the voxel size (x, y, z) in metres in a tag of its own; a thumbnail follows each slice."""
    z, y, x = array.shape
    info = struct.pack("<Ii8i6d2H", 0x0400494C, 512, x, y, z, 1, 1, 2, 0, 0, *sizes, 0, 0, 0, 0, 0).ljust(512, b"\0")
    with tifffile.TiffWriter(path) as writer:
        for number, page in enumerate(array):
            tags = [(34412, "B", len(info), info, True)] if number == 0 else []
            options: dict[str, Any] = {"contiguous": False, "metadata": None, "photometric": "minisblack"}
            writer.write(page, extratags=tags, **options)
            writer.write(page[::2, ::2].astype("u1"), subfiletype=1, **options)


def stk(path: Path, array: np.ndarray, unit: str = "um", steps: list[Fraction] | None = None) -> None:
    """MetaMorph's: one page, the planes one after the other, the calibration behind offsets in tags of its own."""
    z, y, x = array.shape
    steps = steps or [Fraction("0.8")] * z
    uic2 = b"".join(struct.pack("<6I", s.numerator, s.denominator, 0, i, 0, i) for i, s in enumerate(steps))
    texts = [
        struct.pack("<2I", 2, 10),
        struct.pack("<2I", 1, 10),
        struct.pack("<I", len(unit) + 1) + unit.encode() + b"\0",
    ]
    tags = 12
    first = 8 + 2 + 12 * tags + 4
    places = {"uic2": first}
    place = first + len(uic2)
    entries = [(3, 1)]
    body = uic2
    for number, text in zip((4, 5, 6), texts, strict=True):
        entries.append((number, place))
        body, place = body + text, place + len(text)
    uic1 = b"".join(struct.pack("<2I", *entry) for entry in entries)
    places["uic1"], data = place, place + len(uic1)
    body += uic1
    plane = x * y * 2
    fields = [
        (256, 4, 1, x), (257, 4, 1, y), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, data), (277, 3, 1, 1),
        (278, 4, 1, y), (279, 4, 1, plane), (33628, 4, len(entries), places["uic1"]), (33629, 5, z, places["uic2"]),
        (33630, 5, 1, first),
    ]  # fmt: skip
    head = b"II*\0" + struct.pack("<IH", 8, len(fields))
    head += b"".join(struct.pack("<HHII", *field) for field in fields) + bytes(4)
    path.write_bytes(head + body + array.astype("<u2").tobytes())


def ome_set(path: Path, array: np.ndarray, companion: bool) -> None:
    """A folder of OME-TIFF files of two slices each, described in each, or in a companion."""
    path.mkdir()
    names = [f"part{number}.ome.tif" for number in range(len(array) // 2)]
    ids = [f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}" for name in names]
    data = "".join(
        f'<TiffData IFD="{z % 2}" FirstZ="{z}" PlaneCount="1"><UUID FileName="{names[z // 2]}">{ids[z // 2]}</UUID>'
        "</TiffData>"
        for z in range(2 * len(names))
    )
    _, y, x = array.shape
    sizes = f'SizeX="{x}" SizeY="{y}" SizeZ="{2 * len(names)}" SizeC="1" SizeT="1" Type="uint8"'
    physical = 'PhysicalSizeX="0.5" PhysicalSizeY="0.5" PhysicalSizeZ="2"'
    image = (
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" {sizes} {physical}>'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image>'
    )
    namespace = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    for number, (name, own) in enumerate(zip(names, ids, strict=True)):
        body = '<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:0"/>' if companion else image
        xml = f'<?xml version="1.0" encoding="UTF-8"?><OME {namespace} UUID="{own}">{body}</OME>'
        planes = array[2 * number : 2 * number + 2]
        tifffile.imwrite(path / name, planes, metadata=None, description=xml.encode(), photometric="minisblack")
    if companion:
        (path / "set.companion.ome").write_text(f'<OME {namespace} UUID="urn:uuid:0">{image}</OME>')


def plate(path: Path, array: np.ndarray) -> None:
    """Two fields of an OME-Zarr plate, each with two levels."""
    group = zarr.create_group(path, zarr_format=2)
    wells = [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}]
    group.attrs["plate"] = {"wells": wells, "rows": [{"name": "A"}], "columns": [{"name": "1"}], "version": "0.4"}
    group.create_group("A/1").attrs["well"] = {"images": [{"path": "0"}, {"path": "1"}], "version": "0.4"}
    for field in "01":
        image = group.create_group(f"A/1/{field}")
        levels = []
        for level in range(2):
            step = 2**level
            image.create_array(str(level), data=array[:, ::step, ::step], chunks=(2, 8, 8))
            scale = [2.0, 0.5 * step, 0.5 * step]
            levels.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
        axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
        image.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]
        image.attrs["omero"] = {"channels": [{"label": "DAPI"}]}


def webknossos(path: Path, array: np.ndarray) -> None:
    """A layer of two mags, x first."""
    mags = []
    for mag, name in (([1, 1, 1], "1"), ([2, 2, 1], "2-2-1")):
        data = array[:, :: mag[1], :: mag[0]].T[np.newaxis]
        zarr.create_array(path / "color" / name, data=data, chunks=(1, 8, 8, 2), dimension_names=list("cxyz"))
        mags.append({"mag": mag, "path": f"./color/{name}"})
    layer = {"name": "color", "category": "color", "dataFormat": "zarr3", "mags": mags}
    scale = {"factor": [4.0, 4.0, 16.0], "unit": "nanometer"}
    properties = {"id": {"name": "a"}, "scale": scale, "dataLayers": [layer]}
    (path / "datasource-properties.json").write_text(json.dumps(properties))


def n5_pyramid(path: Path, array: np.ndarray) -> None:
    """Two levels of a group, with the voxel size in the group's attributes."""
    path.mkdir()
    for level in range(2):
        step = 2**level
        n5(path / f"s{level}", array[:, ::step, ::step], "raw")
        attributes = json.loads((path / f"s{level}" / "attributes.json").read_text())
        attributes["downsamplingFactors"] = [step, step, 1]
        (path / f"s{level}" / "attributes.json").write_text(json.dumps(attributes))
    pixels = {"dimensions": [0.5, 0.5, 2.0], "unit": "um"}
    (path / "attributes.json").write_text(json.dumps({"n5": "2.0.0", "pixelResolution": pixels}))


def spim_data(loader: str, base: str = ".", setups: int = 1) -> str:
    """BigDataViewer's XML, with the voxel size."""
    size = "<voxelSize><unit>um</unit><size>0.5 0.5 2.0</size></voxelSize>"
    views = "".join(f"<ViewSetup><id>{number}</id>{size}</ViewSetup>" for number in range(setups))
    return (
        f'<SpimData version="0.2"><BasePath type="relative">{base}</BasePath><SequenceDescription>{loader}'
        f"<ViewSetups>{views}</ViewSetups></SequenceDescription></SpimData>"
    )


def bdv_hdf5(path: Path, array: np.ndarray) -> None:
    """BigDataViewer's HDF5 and XML in a folder."""
    path.mkdir()
    with h5py.File(path / "data.h5", "w") as file:
        file["s00/resolutions"] = np.array([[1, 1, 1], [2, 2, 1]], float)
        file["s00/subdivisions"] = np.array([[8, 8, 2]] * 2)
        for level in range(2):
            step = 2**level
            data = array[:, ::step, ::step].astype("i2")
            file.create_dataset(f"t00000/s00/{level}/cells", data=data, chunks=(2, 8, 8), compression="gzip")
    loader = '<ImageLoader format="bdv.hdf5"><hdf5 type="relative">data.h5</hdf5></ImageLoader>'
    (path / "data.xml").write_text(spim_data(loader))


def bdv_n5(path: Path, array: np.ndarray) -> None:
    """BigDataViewer's N5 and XML in a folder."""
    path.mkdir()
    n5(path / "data.n5" / "setup0" / "timepoint0" / "s0", array, "gzip")
    (path / "data.n5" / "attributes.json").write_text('{"n5": "2.0.0"}')
    loader = '<ImageLoader format="bdv.n5"><n5 type="relative">data.n5</n5></ImageLoader>'
    (path / "data.xml").write_text(spim_data(loader))


def luxendo(path: Path, array: np.ndarray) -> None:
    """Two levels beside each other, and the voxel size in a text."""
    size = {"depth": 2.0, "height": 0.5, "width": 0.5}
    with h5py.File(path, "w") as file:
        file.create_dataset("Data", data=array, chunks=(2, 8, 8), compression="lzf", shuffle=True)
        file.create_dataset("Data_2_2_1", data=array[:, ::2, ::2])
        file["metadata"] = json.dumps({"processingInformation": {"voxel_size_um": size}})


def labelled_hdf5(path: Path, array: np.ndarray) -> None:
    """With dimension scales, and ilastik's axes."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("volume", data=array, chunks=(2, 8, 8), compression="gzip", fletcher32=True)
        for number, name in enumerate("zyx"):
            data.dims[number].label = name
        file["steps"] = np.arange(len(array)) * 2.0
        file["steps"].make_scale("z")
        data.dims[0].attach_scale(file["steps"])
        data.attrs["axistags"] = json.dumps({"axes": [{"key": a, "typeFlags": 2} for a in "zyx"]})
        data.attrs["element_size_um"] = [2.0, 0.5, 0.5]


def linked_hdf5(path: Path, array: np.ndarray) -> None:
    """A folder in which one HDF5 file names the voxels of others: linked, virtual, and stored outside of HDF5."""
    path.mkdir()
    with h5py.File(path / "voxels.h5", "w") as file:
        file["data"] = array
    array.tofile(path / "voxels.raw")
    layout = h5py.VirtualLayout(array.shape, array.dtype)
    layout[:] = h5py.VirtualSource("voxels.h5", "data", array.shape)
    with h5py.File(path / "a.h5", "w") as file:
        file.create_virtual_dataset("virtual", layout)
        file["linked"] = h5py.ExternalLink("voxels.h5", "data")
        external = [("voxels.raw", 0, array.nbytes)]
        file.create_dataset("external", array.shape, array.dtype, external=external)


def mrc_imod(path: Path, array: np.ndarray) -> None:
    """A stack of SerialEM's with an extended header, and what it writes beside it."""
    path.mkdir()
    with mrcfile.new(path / "a.st") as file:
        file.set_data(array.astype(np.int16))
        file.set_extended_header(np.zeros(128, np.uint8))
        file.voxel_size = (5.0, 5.0, 20.0)
    (path / "a.st.mdoc").write_text("PixelSpacing = 5.0\nImageFile = a.st\n[ZValue = 0]\nTiltAngle = 0\n")


def nifti_scaled(path: Path, array: np.ndarray) -> None:
    image = nibabel.Nifti1Image(array.transpose(2, 1, 0)[..., None].astype(np.int16), np.diag([0.5, 0.5, 2, 1]))
    image.header.set_slope_inter(0.5, 3.0)
    image.header.set_xyzt_units("micron")
    nibabel.save(image, path)


def nested_zarr(path: Path, array: np.ndarray) -> None:
    """As bioformats2raw writes: series, dimension separator "/", zstd."""
    group = zarr.create_group(path, zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    image = group.create_group("0")
    separated = {"name": "v2", "separator": "/"}
    shape = (1, 1, *array.shape)
    image.create_array("0", data=array.reshape(shape), chunks=(1, 1, 2, 8, 8), chunk_key_encoding=separated)
    axes = [{"name": n, "type": kind} for n, kind in zip("tczyx", ["time", "channel", *["space"] * 3], strict=True)]
    transforms = [{"type": "scale", "scale": [1.0, 1.0, 2.0, 0.5, 0.5]}]
    levels = [{"path": "0", "coordinateTransformations": transforms}]
    image.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]


def tiff_pyramid(path: Path, array: np.ndarray) -> None:
    options = {"tile": (16, 16), "compression": "zlib", "photometric": "minisblack"}
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(array, subifds=1, metadata={"axes": "ZYX", **SIZES}, **options)
        writer.write(array[:, ::2, ::2], subfiletype=1, **options)


WRITERS: dict[str, Callable[[Path, np.ndarray], None]] = {
    "imagej.tif": imagej,
    "plain.ome.tif": ome_tiff,
    "tiles.ome.tif": lambda p, a: ome_tiff(p, a, tile=(16, 16), compression="lzw"),
    "big.ome.tif": lambda p, a: ome_tiff(p, a, bigtiff=True, compression="zlib"),
    "slices_tif": lambda p, a: slices(p, a, "tif"),
    "slices_png": lambda p, a: slices(p, a, "png"),
    "v2.zarr": lambda p, a: plain_zarr(p, a, zarr_format=2),
    "v3.zarr": lambda p, a: plain_zarr(p, a, zarr_format=3),
    "blosc.zarr": lambda p, a: plain_zarr(p, a, zarr_format=3, compressors=zarr.codecs.BloscCodec(cname="lz4")),
    "ome4.zarr": lambda p, a: ome_zarr(p, a, "0.4"),
    "ome5.zarr": lambda p, a: ome_zarr(p, a, "0.5", shards=(4, 16, 16)),
    "gzip.n5": lambda p, a: n5(p, a, "gzip"),
    "plain.h5": hdf5,
    "gzip.h5": lambda p, a: hdf5(p, a, chunks=(2, 8, 8), compression="gzip"),
    "imaris.ims": imaris,
    "a.mrc": mrc,
    "a.nii": nifti,
    "a.nii.gz": nifti,
    "a.npy": np.save,
}
"""Writers by the names of what they write; what they write has z steps four times the pixel size, if it has a size."""

MORE_WRITERS: dict[str, Callable[[Path, np.ndarray], None]] = {
    "a.lsm": lsm,
    "a.stk": stk,
    "pyramid.ome.tif": lambda p, a: tiff_pyramid(p, a),
    "ome_set": lambda p, a: ome_set(p, a, companion=False),
    "ome_companion": lambda p, a: ome_set(p, a, companion=True),
    "slices_jpg": lambda p, a: slices(p, a, "jpg"),
    "slices_bmp": lambda p, a: slices(p, a, "bmp"),
    "plate.zarr": plate,
    "nested.zarr": nested_zarr,
    "zstd.zarr": lambda p, a: plain_zarr(p, a, zarr_format=2, order="F"),
    "webknossos": webknossos,
    "pyramid.n5": n5_pyramid,
    "bzip2.n5": lambda p, a: n5(p, a, "bzip2"),
    "xz.n5": lambda p, a: n5(p, a, "xz"),
    "blosc.n5": lambda p, a: n5(p, a, "blosc"),
    "bdv_hdf5": bdv_hdf5,
    "bdv_n5": bdv_n5,
    "a.lux.h5": luxendo,
    "labelled.h5": labelled_hdf5,
    "linked_hdf5": linked_hdf5,
    "old.h5": lambda p, a: hdf5(p, a, chunks=(2, 8, 8), scaleoffset=0),
    "mrc_imod": mrc_imod,
    "scaled.nii": nifti_scaled,
    "scaled.nii.gz": nifti_scaled,
}
"""Further kinds, some of them folders of several files."""

MAIN_FILES = {"bdv_hdf5": "data.xml", "bdv_n5": "data.xml", "linked_hdf5": "a.h5", "mrc_imod": "a.st"}
"""What is opened of folders that are no volumes themselves."""
