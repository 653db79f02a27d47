"""How the sandbox answers over HTTP when a fault is planned for a call: on real sockets, byte by byte.

What belongs here: the actions of `core.ACTIONS` as HTTP, for both services. What does not: planning them (`core.py`),
what a call does (`nexudus/`, `papercut/`), how hostile answers are made (`hostile.py`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pipeline.sandbox import wire
from pipeline.sandbox.core import Core, Fault
from pipeline.sandbox.hostile import BOMB_MEGABYTES, bomb, drip, endless
from pipeline.sandbox.nexudus import Answer
from pipeline.sandbox.nexudus.answers import (
    DeniedError,
    GenericError,
    InvalidError,
    RefusedError,
    error,
    json_answer,
    throttled,
)
from pipeline.sandbox.nexudus.records import Record, dump, load

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


async def misbehave(core: Core, fault: Fault, perform: Perform) -> Response:
    """The response to a call for which a fault is planned.

    Args:
        core: keeps effects that come late.
        fault: what to do; `core.ACTIONS` says what each action means.
        perform: the call as it would have been.
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
            return response(await _spoiled(fault, perform))


async def _spoiled(fault: Fault, perform: Perform) -> Answer:
    """The answer of those actions that leave the connection whole."""
    xml = fault.target != "nexudus"
    match fault.action:
        case "delay":
            answer = await perform()
            await asyncio.sleep(fault.seconds)
        case "status":
            if fault.effect:
                await perform()
            answer = _failed(fault.code, xml=xml)
        case "html_200":
            await perform()
            answer = Answer(200, HTML, "text/html; charset=utf-8")
        case "short_list" | "empty_list":
            answer = _shortened(await perform(), xml=xml, empty=fault.action == "empty_list")
        case "was_successful_false":
            answer = _refused(xml=xml, style=fault.style)
        case "rejected":
            answer = _rejected(xml=xml)
        case _:
            answer = throttled(fault.style, fault.seconds)
    return answer


def _failed(code: int, *, xml: bool) -> Answer:
    if xml:
        return Answer(code, b"<html><body><h2>HTTP ERROR %d</h2></body></html>" % code, "text/html;charset=iso-8859-1")
    if code in (401, 403):
        return json_answer(code, DeniedError().body)
    return json_answer(code, GenericError().body)


def _shortened(answer: Answer, *, xml: bool, empty: bool) -> Answer:
    """The list of an answer without its second half, or without all of it; a number alone becomes 0 then."""
    if xml:
        values = re.findall(rb"<value>[^<]*</value>", answer.body)
        kept = b"".join(values[: 0 if empty else len(values) // 2])
        body = re.sub(rb"<data>.*</data>", lambda _: b"<data>" + kept + b"</data>", answer.body, flags=re.DOTALL)
        return answer._replace(body=re.sub(rb"<int>\d+</int>", b"<int>0</int>", body) if empty else body)
    content: Any = load(answer.body)
    if "Records" not in content:
        return answer  # a record, or an array of them
    rows: list[Record] = content["Records"]
    missing: Record = {"Records": [], "TotalItems": 0} if empty else {"Records": rows[: len(rows) // 2]}
    return answer._replace(body=dump(content | missing))


def _refused(*, xml: bool, style: str) -> Answer:
    """Success in HTTP, failure in the body: PaperCut has its answer false for this, and its faults."""
    if xml and style == "fault":
        return Answer(200, wire.fault("java.lang.Exception: The change could not be saved."), "text/xml")
    if xml:
        value = b"<params><param><value><boolean>0</boolean></value></param></params>"
        return Answer(200, b'<?xml version="1.0"?><methodResponse>' + value + b"</methodResponse>", "text/xml")
    return json_answer(200, RefusedError(GenericError().body["Message"]).body)


def _rejected(*, xml: bool) -> Answer:
    """A record that breaks a rule: what is wrong is named, so nothing was done."""
    if xml:
        return _refused(xml=True, style="fault")
    invalid = InvalidError(error("ProductId", "may not be sold at the moment"))
    return json_answer(invalid.status, invalid.body)


def _head(answer: Answer) -> bytes:
    reason = answer.reason or (HTTPStatus(answer.status).phrase if answer.status else "")
    lines = [f"HTTP/1.1 {answer.status} {reason}"]
    if answer.media_type:
        lines.append(f"Content-Type: {answer.media_type}")
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(answer.body)}", "Connection: close", "", ""]).encode("latin-1")
