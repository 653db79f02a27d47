"""A Nexudus that answers what a test says, and a client for it.

What belongs here: handlers for `httpx.MockTransport`. What does not: the sandbox, which behaves by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from pipeline.services.nexudus.client import NexudusClient

SAMPLES = Path(__file__).parents[2] / "fixtures" / "nexudus"
BASE = "https://spaces.example"
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
ERRORS = {"Status": 500, "WasSuccessful": False, "Errors": [{"PropertyName": "Email", "Message": "is required"}]}
OOPS = {"Message": "Ooops! There was a problem while running this action"}
Handler = Callable[[httpx.Request], httpx.Response]
READ_TIMEOUT = httpx.ReadTimeout("timed out")
RESET = httpx.ReadError("reset")
CUT = httpx.RemoteProtocolError("incomplete body")
UNREACHED = httpx.ConnectError("refused")
NO_SLOT = httpx.PoolTimeout("no connection free")
OK: dict[str, Any] = {"WasSuccessful": True, "Value": {"Id": 1}}


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text("utf-8"))


def client(handler: Handler, *, waits: list[float] | None = None, **options: Any) -> NexudusClient:
    """A client whose network is `handler`; tokens t1, t2, ... are handed out in order."""
    tokens = iter(range(1, 100))

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/token":
            return httpx.Response(200, json={"access_token": f"t{next(tokens)}", "expires_in": 604799})
        return handler(request)

    pauses = [] if waits is None else waits
    return NexudusClient(
        BASE, "api@example.com", "pass-word", transport=httpx.MockTransport(serve), wait=pauses.append, **options
    )


def replay(*answers: httpx.Response | Exception) -> tuple[Handler, list[httpx.Request]]:
    """A handler that gives these answers one after the other (the last one for ever), and what it was asked."""
    asked: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        answer = answers[min(len(asked), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    return serve, asked


def listing(rows: list[dict[str, Any]], *, size: int = 1000) -> Handler:
    """A list endpoint of these rows, with by-id reading."""

    def serve(request: httpx.Request) -> httpx.Response:
        if found := re.search(r"/(\d+)$", request.url.path):
            match = [row for row in rows if row["Id"] == int(found[1])]
            return httpx.Response(200, json=match[0]) if match else httpx.Response(404, json="Not found")
        page, per = int(request.url.params.get("page", "1")), min(int(request.url.params["size"]), size)
        part = rows[(page - 1) * per : page * per]
        return httpx.Response(200, json={"Records": part, "TotalItems": len(rows)})

    return serve
