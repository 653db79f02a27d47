"""How the sandbox answers over HTTP when a fault is planned for a call: on real sockets, byte by byte.

What belongs here: the actions of `core.ACTIONS` as HTTP, for every service. What does not: planning them (`core.py`),
what a call does (`nexudus/`, `papercut/`, `ezeep/`), the words of each service (`manners.py`), hostile answers
(`hostile.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pipeline.sandbox.core import Core, Fault
from pipeline.sandbox.hostile import BOMB_MEGABYTES, bomb, drip, endless
from pipeline.sandbox.manners import Manner
from pipeline.sandbox.nexudus import Answer

Perform = Callable[[], Awaitable[Answer]]
"""What a call does, and its answer."""

CLOSED = Answer(0, b"", "")
"""No answer at all: the connection ends."""

HTML = b"<!DOCTYPE html><html><head><title>Please wait</title></head><body><h1>One moment, please</h1></body></html>"


class RawResponse(Response):
    """Exactly these bytes on the connection, then its end. Needs `transport` in the scope's state (`app.py`)."""

    def __init__(self, raw: bytes = b"") -> None:
        super().__init__()
        self.raw = raw

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Bypass the server's own response, and wait until it has noticed that the client is gone."""
        transport: asyncio.Transport = scope["state"]["transport"]
        if self.raw:
            transport.write(self.raw)
        transport.close()
        while (await receive())["type"] != "http.disconnect":
            pass


def response(answer: Answer) -> Response:
    """An answer as an HTTP response."""
    if answer is CLOSED:
        return RawResponse()
    if answer.reason:
        return RawResponse(_head(answer) + answer.body)
    headers = dict(answer.headers)
    if answer.media_type:
        headers["Content-Type"] = answer.media_type  # as a media type it would get a character set added
    return Response(answer.body, answer.status, headers)


async def misbehave(core: Core, fault: Fault, perform: Perform, manner: Manner) -> Response:
    """The response to a call for which a fault is planned.

    Args:
        core: keeps effects that come late.
        fault: what to do; `core.ACTIONS` says what each action means.
        perform: the call as it would have been.
        manner: how the service says it.
    """
    match fault.action:
        case "drop_before" | "drop_after" | "late_commit":
            if fault.action == "drop_after":
                await perform()
            if fault.action == "late_commit":
                core.postpone(fault.seconds, perform)
            return RawResponse()
        case "truncate":
            answer = await perform()
            return RawResponse(_head(answer) + answer.body[: len(answer.body) // 2])
        case "bomb":
            megabytes = round(fault.megabytes or BOMB_MEGABYTES)
            return response(await asyncio.to_thread(bomb, await perform(), megabytes, fault.layers))
        case "endless" | "drip":
            answer = await perform()
            return endless(answer, fault) if fault.action == "endless" else drip(_head(answer), answer, fault)
        case _:
            return response(await _spoiled(fault, perform, manner))


async def _spoiled(fault: Fault, perform: Perform, manner: Manner) -> Answer:
    """The answer of those actions that leave the connection whole."""
    match fault.action:
        case "delay":
            answer = await perform()
            await asyncio.sleep(fault.seconds)
        case "status":
            if fault.effect:
                await perform()
            answer = manner.failed(fault.code)
        case "html_200":
            await perform()
            answer = Answer(200, HTML, "text/html; charset=utf-8")
        case "short_list" | "empty_list":
            answer = manner.shortened(await perform(), empty=fault.action == "empty_list")
        case "was_successful_false":
            answer = manner.refused(fault.style)
        case "rejected":
            answer = manner.rejected()
        case _:
            answer = manner.throttled(fault.style, fault.seconds)
    return answer


def _head(answer: Answer) -> bytes:
    reason = answer.reason or (HTTPStatus(answer.status).phrase if answer.status else "")
    lines = [f"HTTP/1.1 {answer.status} {reason}"]
    if answer.media_type:
        lines.append(f"Content-Type: {answer.media_type}")
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(answer.body)}", "Connection: close", "", ""]).encode("latin-1")
