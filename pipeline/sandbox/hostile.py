"""Answers that hurt who reads them without a limit: a bomb, a body without end, one byte a second.

What belongs here: the actions `bomb`, `endless` and `drip` of `core.ACTIONS` on real sockets, each bounded: it ends
when the client goes away, or at its limit. What does not: answers that are only broken (`misbehaviour.py`).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from pipeline.sandbox.core import Fault
from pipeline.sandbox.nexudus import Answer

BLANKS = b" " * 2**20
"""A megabyte that means nothing after a JSON value or an XML document, so a reader without a limit takes all of it."""

BOMB_MEGABYTES = 100
ENDLESS_MEGABYTES = 2048
ENDLESS_SECONDS = 120.0
DRIP_SECONDS = 1.0
DRIP_LIMIT_SECONDS = 600.0
GZIP = 16 + zlib.MAX_WBITS


def bomb(answer: Answer, megabytes: int, layers: int) -> Answer:
    """An answer followed by that many megabytes of blanks, compressed as often as `layers` says: tiny on the wire."""
    body = _compressed([answer.body, *[BLANKS] * megabytes])
    for _ in range(layers - 1):
        body = _compressed([body])
    encoding = {"Content-Encoding": ", ".join(["gzip"] * layers)}
    return answer._replace(body=body, headers={**answer.headers, **encoding})


def _compressed(parts: list[bytes]) -> bytes:
    packer = zlib.compressobj(level=9, wbits=GZIP)
    return b"".join([*(packer.compress(part) for part in parts), packer.flush()])


class Hostile(Response):
    """An answer whose bytes come one by one from an iterator, until that ends or the client goes away.

    Args:
        head: status, media type and headers.
        parts: the bytes after the head.
        raw: `parts` are everything on the connection, the head included, as `RawResponse` does it.
    """

    def __init__(self, head: Answer, parts: AsyncIterator[bytes], *, raw: bool) -> None:
        super().__init__(None, head.status, dict(head.headers))
        self.media = head.media_type
        self.parts = parts
        self.raw = raw

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end of the parts, or until the client has gone; then close the connection."""
        transport: asyncio.Transport = scope["state"]["transport"]
        sending = asyncio.ensure_future(self._send(transport, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
            transport.close()
            await leaving
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, transport: asyncio.Transport, send: Send) -> None:
        if self.raw:
            async for part in self.parts:
                transport.write(part)
            return
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        headers = [pair for pair in headers if pair[0] != b"content-length"]
        headers += [(b"content-type", self.media.encode())] if self.media else []
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        async for part in self.parts:
            message: Message = {"type": "http.response.body", "body": part, "more_body": True}
            await send(message)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def endless(answer: Answer, fault: Fault) -> Response:
    """An answer whose body goes on with blanks; its connection breaks at the limit, so that it never ends well."""
    seconds = fault.seconds or ENDLESS_SECONDS
    return Hostile(answer, _blanks(answer.body, fault.megabytes or ENDLESS_MEGABYTES, seconds), raw=False)


async def _blanks(body: bytes, megabytes: float, seconds: float) -> AsyncIterator[bytes]:
    end = asyncio.get_running_loop().time() + seconds
    yield body
    sent = 0
    while sent < megabytes and asyncio.get_running_loop().time() < end:
        yield BLANKS[: 2**16]
        sent += 1 / 16
        await asyncio.sleep(0)


def drip(head: bytes, answer: Answer, fault: Fault) -> Response:
    """An answer of which the head, or only the body, comes one byte after the other.

    Args:
        head: the bytes before the body.
        answer: the answer.
        fault: `seconds` between two bytes, `style`: what drips.
    """
    swift = b"" if fault.style == "headers" else head
    slow = (head + answer.body)[len(swift) :]
    return Hostile(answer, _drops(swift, slow, fault.seconds or DRIP_SECONDS), raw=True)


async def _drops(swift: bytes, slow: bytes, seconds: float) -> AsyncIterator[bytes]:
    end = asyncio.get_running_loop().time() + DRIP_LIMIT_SECONDS
    if swift:
        yield swift
    for byte in slow:
        if asyncio.get_running_loop().time() > end:
            return
        await asyncio.sleep(seconds)
        yield bytes([byte])
