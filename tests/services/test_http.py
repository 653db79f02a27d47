"""The bounded exchange: no server holds a run or fills the memory, whatever it answers."""

import gzip
import json
import socket
import socketserver
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path

import httpx
import pytest

from pipeline.errors import PrintbridgeError, TransientError, UnknownOutcomeError
from pipeline.services.http import BoundError, OverdueError, OversizeError, connect, exchange
from pipeline.services.nexudus.client import NexudusClient
from pipeline.services.papercut.client import PaperCutClient

Answer = Callable[[socket.socket], None]
MEGABYTE = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
TOKEN = b'{"access_token": "t1", "expires_in": 3600}'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def whole(body: bytes | Callable[[], bytes], encoding: str = "") -> Answer:
    named = f"Content-Encoding: {encoding}\r\n" if encoding else ""

    def answer(connection: socket.socket) -> None:
        content = body() if callable(body) else body
        connection.sendall(HEAD + f"{named}Content-Length: {len(content)}\r\n\r\n".encode() + content)

    return answer


def endless(piece: bytes, encoding: str = "") -> Answer:
    named = f"Content-Encoding: {encoding}\r\n" if encoding else ""

    def answer(connection: socket.socket) -> None:
        connection.sendall(HEAD + f"{named}Transfer-Encoding: chunked\r\n\r\n".encode())
        while True:
            connection.sendall(chunk(piece))

    return answer


def dripping(data: bytes, every: float = 0.05) -> Answer:
    def answer(connection: socket.socket) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(every)

    return answer


@contextmanager
def served(answer: Answer) -> Iterator[str]:
    """A server that signs everybody in and gives everything else this answer."""

    class Server(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):  # when the client has had enough
                while line := self.rfile.readline():
                    length = 0
                    while (header := self.rfile.readline()).strip():
                        if header.lower().startswith(b"content-length:"):
                            length = int(header.split(b":")[1])
                    self.rfile.read(length)
                    (whole(TOKEN) if b"/api/token" in line else answer)(self.connection)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def network(read_seconds: float = 5) -> httpx.Client:
    return connect(read_seconds=read_seconds, connections=1, transport=None)


@cache
def bomb(layers: int) -> bytes:
    """A few bytes that unfold to 600 MB, made without ever holding them."""
    if layers > 1:
        return gzip.compress(bomb(layers - 1))
    pack, blank = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS), b" " * MEGABYTE
    return b"".join([pack.compress(b"["), *(pack.compress(blank) for _ in range(600)), pack.flush()])


LONG_HEADER = b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 10_000
INFORMATION = b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"  # deflate: five bytes that unfold to nothing

HOSTILE: dict[str, Answer] = {
    "gzip bomb": whole(partial(bomb, 1), "gzip"),
    "bomb in a header of two lines": whole(partial(bomb, 2), "gzip\r\nContent-Encoding: gzip"),
    "nested encoding": whole(partial(bomb, 3), "gzip, gzip, gzip"),
    "an encoding that nobody asked for": whole(b"x", "br"),
    "endless body": endless(b"x" * 65536),
    "endless gzip": endless(gzip.compress(b"")[:10] + EMPTY_BLOCK * 13_000, "gzip"),
    "endless stream of white space": endless(b" " * 65536),
    "headers at a byte a moment": dripping(LONG_HEADER),
    "information without end": dripping(INFORMATION),
    "a body at a byte a moment": dripping(HEAD + b"Content-Length: 10000\r\n\r\n" + b"x" * 10_000),
    "nothing at all": lambda _connection: time.sleep(5),
    "lists of empty lists": whole(lambda: b"[" + b"[]," * (3 * MEGABYTE) + b"[]]"),
    "numbers without end": whole(lambda: b"[" + b"1.0," * (2 * MEGABYTE) + b"1]"),
    "very deep": whole(lambda: b"[" * (10 * MEGABYTE)),
    "headers without end": lambda connection: connection.sendall(b"X: y\r\n" * 1_000_000),
}


def nexudus_read(base: str) -> None:
    with NexudusClient(base, "a@example.com", "x", seconds=2.0, wait=lambda _: None) as nexudus:
        nexudus.records("coworkers")


def nexudus_write(base: str) -> None:
    with NexudusClient(base, "a@example.com", "x", seconds=2.0, wait=lambda _: None) as nexudus:
        nexudus.create("coworkerproducts", {"CoworkerId": 1})


def papercut_read(base: str) -> None:
    with PaperCutClient(f"{base}/rpc/api/xmlrpc", "token", seconds=2.0, wait=lambda _: None) as papercut:
        papercut.total_users()


def papercut_write(base: str) -> None:
    with PaperCutClient(f"{base}/rpc/api/xmlrpc", "token", seconds=2.0, wait=lambda _: None) as papercut:
        papercut.set_properties("anna", {"notes": "x"})


CALLS: list[tuple[Callable[[str], object], type[PrintbridgeError]]] = [
    (nexudus_read, TransientError),
    (nexudus_write, UnknownOutcomeError),
    (papercut_read, TransientError),
    (papercut_write, UnknownOutcomeError),
]
"""What is tried, and the only error that may come of it: a read that is cut passes, what a cut write did is unknown."""


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_answer_is_an_error_of_ours_within_seconds(answer: Answer) -> None:
    def outcome(call: Callable[[str], object]) -> tuple[type[Exception] | None, float]:
        started = time.monotonic()
        try:
            call(base)
        except Exception as error:  # noqa: BLE001 - any other kind is what must not happen
            return type(error), time.monotonic() - started
        return None, 0.0

    with served(answer) as base, ThreadPoolExecutor(len(CALLS)) as pool:
        found = list(pool.map(outcome, [call for call, _ in CALLS]))
    assert [kind for kind, _ in found] == [error for _, error in CALLS]
    assert max(seconds for _, seconds in found) < 20


MEASURED = """
import sys
from tests.services import test_http
try:
    getattr(test_http, sys.argv[1])(sys.argv[2])
except test_http.PrintbridgeError as error:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
    print(peak.split()[1], type(error).__name__)
"""
"""Python that prints its largest size in kB after a call: of a process of its own, as the peak never falls."""

FILLING = {
    "gzip bomb": HOSTILE["gzip bomb"],
    "nested encoding": HOSTILE["nested encoding"],
    "endless body": HOSTILE["endless body"],
    "lists of empty lists": HOSTILE["lists of empty lists"],
    "as many lists as are read": whole(lambda: b"[" + b"[]," * 290_000 + b"[]]"),
    "as many numbers as are read": whole(lambda: b"[" + b"1.5," * 590_000 + b"1]"),
    "one text of wide characters": whole(lambda: b'["\xf0\x9f\x98\x80' + b"x" * (12 * MEGABYTE - 100) + b'"]'),
    "references without end": whole(
        lambda: (
            b'<?xml version="1.0"?><methodResponse><params><param><value>'
            + b"&#233;" * (330 * 1024)
            + b"</value></param></params></methodResponse>"
        )
    ),
    "values without end": whole(
        lambda: (
            b"<methodResponse><params><param><value><array><data>"
            + b"<value/>" * (240 * 1024)
            + b"</data></array></value></param></params></methodResponse>"
        )
    ),
}
XML = {"references without end", "values without end"}


@pytest.mark.parametrize("name", FILLING)
def test_no_answer_fills_the_memory(name: str) -> None:
    call = "papercut_read" if name in XML else "nexudus_read"
    with served(FILLING[name]) as base:
        command = [sys.executable, "-c", MEASURED, call, base]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    peak, error = done.stdout.split()
    assert error in {"TransientError", "PermanentError"}
    assert 20 * 1024 < int(peak) < 200 * 1024, f"{int(peak) / 1024:.0f} MB at the peak"


def test_the_bound_holds_for_every_user_of_an_exchange() -> None:
    """A webhook's answer, for example, of which nobody needs more than a few bytes."""
    for name, error in {
        "gzip bomb": OversizeError,
        "nested encoding": BoundError,
        "endless body": OversizeError,
    }.items():
        with served(HOSTILE[name]) as base, network() as http:
            request = http.build_request("POST", base, json={})
            with pytest.raises(error):
                exchange(http, request, limit=65536, seconds=5)
    for name in ("headers at a byte a moment", "a body at a byte a moment", "information without end"):
        overdue = pytest.raises(OverdueError, match="not complete after 1 s")
        with served(HOSTILE[name]) as base, network() as http, overdue:
            exchange(http, http.build_request("POST", base, json={}), limit=65536, seconds=1)


@pytest.mark.parametrize("encoding", ["", "gzip", "x-gzip", "GZIP", "identity", "identity, gzip"])
@pytest.mark.parametrize("size", [0, 1, 65536, 5 * MEGABYTE])
def test_an_honest_answer_is_read_whole(encoding: str, size: int) -> None:
    body = json.dumps("ä" * (size // 2) + "x" * (size % 2), ensure_ascii=False).encode()
    sent = gzip.compress(body) if "gzip" in encoding.lower() else body
    with served(whole(sent, encoding)) as base, network() as http:
        request = http.build_request("GET", base)
        assert request.headers["Accept-Encoding"] == "gzip"
        limit = max(len(body), len(sent))
        assert exchange(http, request, limit=limit, seconds=10).content == body
        with pytest.raises(OversizeError, match=f"longer than {limit - 1} bytes"):
            exchange(http, http.build_request("GET", base), limit=limit - 1, seconds=10)


@pytest.mark.parametrize("cut", [1, 9, 20, 500])
def test_a_compressed_answer_that_is_cut_is_never_taken_for_a_whole_one(cut: int) -> None:
    sent = gzip.compress(bytes(range(256)) * 8)

    def answer(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + sent[:-cut])
        connection.shutdown(socket.SHUT_WR)

    early = pytest.raises(httpx.HTTPError, match="ended early")
    with served(answer) as base, network() as http, early:
        exchange(http, http.build_request("GET", base), limit=MEGABYTE, seconds=5)


def test_what_is_no_gzip_is_an_error() -> None:
    wrong = pytest.raises(httpx.DecodingError, match="no gzip")
    with served(whole(b"[]", "gzip")) as base, network() as http, wrong:
        exchange(http, http.build_request("GET", base), limit=MEGABYTE, seconds=5)


def test_a_kept_connection_keeps_the_deadline_of_each_exchange() -> None:
    answers = iter([whole(b"[]"), whole(b"[]"), HOSTILE["headers at a byte a moment"]])

    def answer(connection: socket.socket) -> None:
        next(answers)(connection)

    with served(answer) as base, network(30) as http:
        for _ in range(2):
            assert exchange(http, http.build_request("GET", base), limit=10, seconds=5).content == b"[]"
        started = time.monotonic()
        with pytest.raises(OverdueError):
            exchange(http, http.build_request("GET", base), limit=10, seconds=1)
        assert time.monotonic() - started < 3


def test_a_server_that_never_accepts_is_definitely_not_asked() -> None:
    """The whole time is spent on connecting: nothing left, so a write may be sent again."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        base = f"http://127.0.0.1:{full.getsockname()[1]}"
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:  # so that the queue is full and the next connection is never made
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        with network() as http, pytest.raises(httpx.ConnectTimeout):
            exchange(http, http.build_request("POST", base), limit=10, seconds=0.5)
        for each in waiting:
            each.close()


def test_a_list_whose_pages_are_too_large_is_read_by_smaller_ones() -> None:
    rows = [{"Id": key, "Notes": "x" * 20_000} for key in range(1, 2101)]
    sizes: list[int] = []

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/token":
            return httpx.Response(200, content=TOKEN)
        page, size = int(request.url.params["page"]), int(request.url.params["size"])
        sizes.append(size)
        part = rows[(page - 1) * size : page * size]
        return httpx.Response(200, json={"Records": part, "TotalItems": len(rows)})

    with NexudusClient("https://x.example", "a", "b", transport=httpx.MockTransport(serve)) as nexudus:
        assert [row["Id"] for row in nexudus.records("coworkers")] == [row["Id"] for row in rows]
    assert set(sizes) == {1000, 100}
