"""Exit with one clear sentence when this Python is too old for napari-niiv. Runs on any Python, even 2.7."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "napari-niiv needs Python 3.11 or newer, and %s is Python %s; name a newer one: make PYTHON=python3.12"  # noqa: UP031
        % (sys.executable, ".".join(map(str, sys.version_info[:3])))
    )
