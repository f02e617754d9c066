"""Answers of web servers, bounded in size and time: one that sends without end, or hardly anything, is given up."""

from __future__ import annotations

import time
import weakref
from contextvars import ContextVar
from typing import Any

import aiohttp

MOST_BYTES: ContextVar[int] = ContextVar("MOST_BYTES", default=4 << 30)
"""Of an answer, after it is decompressed; a chunk of more is none that could be held in memory."""
_SILENCE_S = 30.0  # a server that says nothing for so long is given up
_WINDOW_S, _SLOWEST = 30.0, 32 << 10  # and one that sends fewer bytes than these in these seconds
_WHOLE_S = 600.0  # for one answer, its header among it, which may drip too

_SESSIONS: weakref.WeakSet[aiohttp.ClientSession] = weakref.WeakSet()


class BoundedResponse(aiohttp.ClientResponse):
    """An answer that is read piece by piece, until it is too long, or takes too long."""

    async def read(self) -> bytes:
        """The whole of it.

        Raises
        ------
        ValueError
            If it is longer than `MOST_BYTES`.
        TimeoutError
            If hardly anything comes.
        """
        if self._body is None:
            try:
                self._body = await self._bounded()
            except BaseException:
                self.close()
                raise
        return self._body

    async def _bounded(self) -> bytes:
        most, received, earlier, since = MOST_BYTES.get(), 0, 0, time.monotonic()
        if (self.content_length or 0) > most:
            raise self._too_long(most)
        pieces = []
        async for piece in self.content.iter_any():
            pieces.append(piece)
            received += len(piece)
            if received > most:
                raise self._too_long(most)
            if (now := time.monotonic()) > since + _WINDOW_S:
                if received - earlier < _SLOWEST:
                    raise TimeoutError(f"{self.url} sent {received - earlier} bytes in {_WINDOW_S:.0f} s")
                earlier, since = received, now
        return b"".join(pieces)

    def _too_long(self, most: int) -> ValueError:
        return ValueError(f"{self.url} sends more than {most >> 20} MiB")


async def bounded_client(loop: Any = None, **options: Any) -> aiohttp.ClientSession:
    """A session of such answers, as fsspec takes it for ``get_client``; closed by `close_sessions`."""
    timeout = aiohttp.ClientTimeout(total=_WHOLE_S, sock_connect=_SILENCE_S / 3, sock_read=_SILENCE_S)
    session = aiohttp.ClientSession(response_class=BoundedResponse, timeout=timeout, **options)
    _SESSIONS.add(session)
    return session


async def close_sessions() -> None:
    """Close what is open; on the loop that it was opened on."""
    for session in tuple(_SESSIONS):
        await session.close()
