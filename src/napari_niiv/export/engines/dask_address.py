"""The address of a dask scheduler that runs already: whether there is one, found out within seconds."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from napari_niiv.errors import OutputError

# seconds to connect, and to say what it is
_ANSWER_S = 4.0


def check_scheduler(address: str) -> None:
    """Ask for a scheduler at an address, in dask's way of talking.

    A client that finds none takes half a minute to be closed, and for ever where a port takes connections but says
    nothing.

    Raises
    ------
    OutputError
        If there is none, no answer comes within some seconds, or the extra is missing.
    """
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_distributed() from error
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(asyncio.run(asyncio.wait_for(_kind(address), _ANSWER_S)))
        except Exception as error:  # of addresses, TLS, handshakes
            answers.append(error)

    thread = threading.Thread(target=ask, name="napari-niiv-scheduler", daemon=True)
    thread.start()  # a notebook's own thread has a loop already
    thread.join(_ANSWER_S + 0.5)  # closing a connection that is not answered may take long
    answer = answers[0] if answers else TimeoutError("no answer")
    if answer == "Scheduler":
        return
    cause = answer if isinstance(answer, Exception) else None
    what = (
        "There is no dask scheduler" if cause is not None else f"There is a dask {str(answer).lower()}, no scheduler,"
    )
    raise OutputError(f"{what} at {address!r}; start one (dask scheduler), or correct the address.") from cause


def missing_distributed() -> OutputError:
    """The error of an export by workers where dask.distributed is not installed."""
    return OutputError('Workers need the extra "distributed"; install it with: pip install "napari-niiv[distributed]"')


async def _kind(address: str) -> str:
    """What dask's server at an address says that it is: "Scheduler", "Worker" or "Nanny"."""
    from distributed.comm import connect
    from distributed.security import Security

    comm = await connect(address, timeout=_ANSWER_S, **Security().get_connection_args("client"))
    try:
        await comm.write({"op": "identity", "reply": True})
        return str((await comm.read())["type"])
    finally:
        comm.abort()
