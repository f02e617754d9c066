"""Exit with 1 and a reason when a wheel lacks a file it needs, holds one it should not, or is 40 MB or more.

Usage: python scripts/check_wheel.py dist/*.whl
"""

from __future__ import annotations

import sys
from fnmatch import fnmatch
from pathlib import Path
from zipfile import ZipFile

LIMIT = 40_000_000
NEEDED = (
    "napari_niiv/__init__.py",
    "napari_niiv/napari.yaml",
    "napari_niiv/py.typed",
    "napari_niiv/models/bundled/*.safetensors",
    "napari_niiv/plugin/*.tif",
    "*.dist-info/licenses/LICENSE",
    "*.dist-info/entry_points.txt",
)
ALLOWED = ("napari_niiv/*", "*.dist-info/*")  # fnmatch's * crosses folders


def problems(wheel: Path) -> list[str]:
    """What is wrong with a wheel."""
    names = ZipFile(wheel).namelist()
    size = wheel.stat().st_size
    found = [f"{size:,} bytes; the limit is {LIMIT:,}"] if size >= LIMIT else []
    found += [f"no {pattern}" for pattern in NEEDED if not any(fnmatch(name, pattern) for name in names)]
    found += [f"{name} does not belong" for name in names if not any(fnmatch(name, p) for p in ALLOWED)]
    return found


def main() -> int:
    """Check the wheels named on the command line."""
    failed = False
    for wheel in map(Path, sys.argv[1:]):
        found = problems(wheel)
        failed |= bool(found)
        print(f"{wheel.name}: {'; '.join(found) or f'good, {wheel.stat().st_size:,} bytes'}")
    return int(failed or len(sys.argv) < 2)


if __name__ == "__main__":
    sys.exit(main())
