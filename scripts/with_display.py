"""Run a command; on Linux without a display, on a virtual one (Xvfb). Exits with the command's status.

Usage: python scripts/with_display.py COMMAND [ARGUMENT ...]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

SCREEN = ("-screen", "0", "1920x1200x24")  # napari's window needs 24 bits of colour and some room


def wrapped(command: list[str]) -> list[str]:
    """The command as it is to be run here."""
    if not sys.platform.startswith("linux") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return command
    xvfb_run = shutil.which("xvfb-run")
    if xvfb_run is None:
        print("There is no display and no xvfb-run; what opens a window will fail.", file=sys.stderr)
        return command
    if "demo" in command and not any(word.startswith("--screenshot") for word in command):
        print(
            "There is no display: napari opens on a virtual one, which nobody sees. End it with Ctrl-C, "
            'or take a picture: make demo ARGS="--screenshot demo.png"',
            file=sys.stderr,
        )
    return [xvfb_run, "-a", "-s", " ".join(SCREEN), *command]


def main() -> int:
    """Run the command."""
    command = sys.argv[1:]
    if not command:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return subprocess.call(wrapped(command))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
