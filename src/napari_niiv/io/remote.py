"""URLs: the options of their file systems, and the error of those that cannot be reached."""

from __future__ import annotations

import importlib
from typing import Any

from napari_niiv.errors import VolumeError
from napari_niiv.io.stored_volume import first_line, missing_extra

_NEEDED = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
_WEB = ("http", "https")

METADATA_BYTES = 16 << 20
"""The most that a file of metadata may have: those of a plate of a thousand fields have a few."""


def is_web(url: str) -> bool:
    """Whether a URL is of the web: http or https."""
    return _scheme(url) in _WEB


def storage_options(url: str) -> dict[str, Any]:
    """Options of the file system of a URL.

    A bucket is read with the credentials of this computer (environment, ``~/.aws``), without where there are none.

    Raises
    ------
    VolumeError
        If a package for such URLs is missing.
    """
    scheme = _scheme(url)
    try:
        importlib.import_module("fsspec")
        if scheme in _NEEDED:
            importlib.import_module(_NEEDED[scheme])
    except ModuleNotFoundError as error:
        if error.name == "gcsfs":
            raise VolumeError(f"{url} needs the package gcsfs; install it with: pip install gcsfs") from error
        raise missing_extra(url, "remote", "a URL") from error
    if scheme in _WEB:
        from napari_niiv.io.http_answers import bounded_client

        return {"get_client": bounded_client}
    if scheme == "s3":
        from botocore.session import get_session

        return {"anon": get_session().get_credentials() is None}
    return {}


def unreachable(url: str, error: BaseException) -> VolumeError:
    """The error of a server that does not answer, or refuses."""
    return VolumeError(f"{url} cannot be read ({first_line(error)}); check the address, the network and your access.")


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()
