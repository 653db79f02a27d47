"""Answers that hurt: each is what it says it is, and ends by itself or with its client."""

from __future__ import annotations

import time
import xmlrpc.client
import zlib
from collections.abc import Iterator

import httpx
import pytest

from tests.nexudus_sandbox import LONDON, Api, running_api

SITE = {"business_id": LONDON, "users": [{"username": "alice", "balance": 5}]}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("hostile"), {"sites": {"london": SITE}}) as api:
        yield api


@pytest.fixture
def api(running: Api) -> Api:
    running.reset()
    return running


def balance(api: Api) -> tuple[str, dict]:
    """An XML-RPC call: where to, and the rest of the request."""
    site = api.ready["sites"]["london"]
    body = xmlrpc.client.dumps((site["token"], "alice"), "api.getUserAccountBalance")
    return site["papercut_url"], {"content": body, "headers": {"Content-Type": "text/xml"}}


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("target", ["nexudus", "london"])
def test_a_bomb_is_small_on_the_wire_and_large_in_memory(api: Api, target: str, layers: int) -> None:
    fault = {"target": target, "match": "*", "action": "bomb", "megabytes": 20, "layers": layers}
    api.control("POST", "faults", fault)
    url, more = balance(api) if target == "london" else ("spaces/coworkers", {})
    method = "POST" if target == "london" else "GET"
    with api.client.stream(method, url, **more) as answer:
        body = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == ", ".join(["gzip"] * layers)
    assert len(body) < 25_000 / layers**2
    for _ in range(layers):
        body = zlib.decompress(body, 16 + zlib.MAX_WBITS)
    assert len(body) > 20 * 2**20
    assert body.rstrip(b" ")[-1:] in {b"}", b">"}, "the answer itself is whole, so only its size is wrong"


def test_a_body_without_end_stops_at_its_limit_with_a_broken_connection(api: Api) -> None:
    api.fault("endless", "GET coworkers", megabytes=3)
    size = 0

    def read() -> None:
        nonlocal size
        with api.client.stream("GET", "spaces/coworkers") as answer:
            for part in answer.iter_raw():
                size += len(part)

    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        read()
    assert 3 * 2**20 <= size < 4 * 2**20
    api.fault("endless", "GET coworkers", seconds=0.3)
    began = time.monotonic()
    with pytest.raises(httpx.RemoteProtocolError):
        read()
    assert time.monotonic() - began < 3


def test_a_client_that_leaves_ends_a_body_without_end(api: Api) -> None:
    api.fault("endless", "GET coworkers")
    with api.client.stream("GET", "spaces/coworkers") as answer:
        first = next(answer.iter_raw())
    assert first
    began = time.monotonic()
    assert api.get("spaces/coworkers").status_code == 200
    assert time.monotonic() - began < 2, "the sandbox is free again"


@pytest.mark.parametrize("style", ["headers", "body"])
def test_an_answer_comes_byte_by_byte(api: Api, style: str) -> None:
    fault = {"target": "london", "match": "api.*", "action": "drip", "seconds": 0.002, "style": style}
    api.control("POST", "faults", fault)
    url, more = balance(api)
    began = time.monotonic()
    with api.plain.stream("POST", url, **more) as answer:
        head = time.monotonic() - began
        body = answer.read()
    whole = time.monotonic() - began
    assert xmlrpc.client.loads(body)[0] == (5.0,)
    assert whole - head >= 0.002 * len(body) * 0.9
    assert (head > 0.15) == (style == "headers")


def test_a_drip_of_a_second_outlasts_a_reader_with_a_deadline(api: Api) -> None:
    api.fault("drip", "GET coworkers", style="headers")
    with pytest.raises(httpx.ReadTimeout):
        api.client.get("spaces/coworkers", timeout=0.3)
    assert api.get("spaces/coworkers").status_code == 200


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "drip", "style": "sideways"},
        {"action": "bomb", "megabytes": 1e9},
        {"action": "bomb", "layers": 0},
        {"action": "endless", "seconds": "long"},
        {"action": "status", "code": 99_999},
        {"action": "status", "times": "3"},
        {"action": "status", "times": True},
    ],
)
def test_a_fault_that_could_not_be_is_refused_and_none_is_planned(api: Api, fault: dict) -> None:
    good = {"target": "nexudus", "match": "*", "action": "status"}
    answer = api.plain.post(f"{api.control_url}/faults", json=[good, good | fault])
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert api.get("spaces/coworkers").status_code == 200
