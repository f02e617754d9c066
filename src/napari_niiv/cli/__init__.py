"""The command line: demo, reconstruct, train, copy, info."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from types import FrameType


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Of the command line; by default those of this process, whose signals are answered then.

    Returns
    -------
    int
        The exit status: 0 when it succeeded, 2 with one line on stderr for what the user can mend, 130 with one line
        after Ctrl-C, 143 after SIGTERM.
    """
    if arguments is None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end_at_once)
    from napari_niiv.cli.commands import run  # imports take seconds, in which Ctrl-C is answered already

    status = run(arguments)
    if arguments is None:  # all is said and done
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return status


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """End where nothing is being written that has to be taken back.

    An exception would be swallowed by some imports, become another one in others, or be told with a traceback.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # or whoever started this process tells it
        os.write(2, b"napari-niiv: stopped.\n")
    os._exit(128 + number)
