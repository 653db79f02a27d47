"""The clients of the services that printbridge talks to, each with one choke point.

What belongs here: signing in, building one call, sending it once, reading the answer, and saying what the answer means
in the words of `pipeline.errors`. What does not: what to write and when (`assets/load.py`), business rules (`domain/`),
tables and files. No dagster, polars or duckdb.

This file holds what the clients share: a bounded exchange, patience with calls that were definitely not done, and the
way in which addresses and foreign texts are shown.

An exchange is bounded on every side, so that no server, proxy or stranger can hold a run or fill the memory:

    bytes      of the body after decoding, and as sent
    layers     one layer of gzip, which is all that is ever asked for
    seconds    for the whole exchange: connecting, sending, headers and body together, not for each read
"""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import ssl
import time
import zlib
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx
import stamina

from pipeline.errors import ConfigError, TransientError

T = TypeVar("T")
Wait = Callable[[float], object]
"""A function that waits so many seconds (`time.sleep`, or a note of it in tests)."""

LONGEST_WAIT = 120.0
"""Seconds that one call spends on waiting before it gives up and leaves the rest to the next run."""

IDLE_SECONDS = 3.0
"""How long an unused connection is kept. Web servers close theirs after 5 seconds or more; a write that leaves while
the server closes has an unknown outcome, so ours must be given up first."""

PIECE = 64 * 1024
"""Bytes that are unpacked or sent at once."""

_CHANCE = secrets.SystemRandom()
"""Spreads the tries of several callers."""

log = logging.getLogger(__name__)
# stamina would print every retry to standard output where structlog is installed, which belongs to the command; our own
# log line says it instead.
stamina.instrumentation.set_on_retry_hooks([])
# httpx prints whole addresses at INFO, and a query can hold an e-mail; our own DEBUG line says what is needed.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class BoundError(httpx.TransportError):
    """The answer passed a bound of the exchange. Asked again it would pass it again, so `patiently` does not."""


class OversizeError(BoundError):
    """The answer is longer than the client is ready to read."""


class OverdueError(BoundError, httpx.ReadTimeout):
    """The answer was not complete in time, however many bytes of it keep coming."""


@dataclass(frozen=True)
class Reply:
    """One answer, read to its end."""

    status: int
    reason: str
    headers: httpx.Headers
    content: bytes


class Client:
    """What every client of a service is: a context manager that gives its connections back."""

    _http: httpx.Client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def connect(
    *,
    read_seconds: float,
    connections: int,
    transport: httpx.BaseTransport | None,
    verify: ssl.SSLContext | bool = True,
) -> httpx.Client:
    """A client that never acts on its own: no redirects, no hidden resends, no proxies from the environment.

    Args:
        read_seconds: longest silence while waiting for bytes; connecting gets 5 seconds.
        connections: how many connections may be open at once.
        transport: what carries the bytes instead of the network (tests).
        verify: how to check the server's certificate; True is the list of public authorities.
    """
    limits = httpx.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=IDLE_SECONDS
    )
    return httpx.Client(
        transport=transport or _Network(verify=verify, limits=limits, retries=0, trust_env=False),
        timeout=httpx.Timeout(read_seconds, connect=5.0),
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": "printbridge", "Accept-Encoding": "gzip"},
    )


def exchange(http: httpx.Client, request: httpx.Request, *, limit: int, seconds: float) -> Reply:
    """Send once and read the whole answer, at most `limit` bytes (decoded, and as sent) within `seconds` in all.

    Raises:
        BoundError: the answer passed a bound: `OversizeError`, `OverdueError`, or a layer of encoding too many.
        httpx.HTTPError: no complete answer; `unsent` tells whether the request can have arrived.
    """
    waits: dict[str, float | None] = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {
        name: seconds if wait is None else max(0.0, min(wait, seconds)) for name, wait in waits.items()
    }
    latest = time.monotonic() + seconds
    try:
        with _until(latest):
            answer = http.send(request, stream=True)
            try:
                content = _content(answer, limit, latest)
            finally:
                answer.close()
    except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
        if time.monotonic() < latest:
            raise
        raise OverdueError(f"the answer was not complete after {seconds:.0f} s") from error
    return Reply(answer.status_code, answer.reason_phrase, answer.headers, content)


def _content(answer: httpx.Response, limit: int, latest: float) -> bytes:
    content = bytearray()
    # An answer that a transport made in memory is whole and decoded already; one from the network is neither.
    for piece in [answer.content] if answer.is_stream_consumed else _decoded(answer):
        content += piece
        if max(len(content), answer.num_bytes_downloaded) > limit:
            raise OversizeError(f"the answer is longer than {limit} bytes")
        if time.monotonic() > latest:
            raise httpx.ReadTimeout("the time is over")
    return bytes(content)


def _decoded(answer: httpx.Response) -> Iterable[bytes]:
    """The body in pieces, however much one of the pieces that were sent unfolds to."""
    layers = [each.strip().lower() for each in answer.headers.get("Content-Encoding", "").split(",")]
    layers = [each for each in layers if each not in {"", "identity"}]
    if not layers:
        return answer.iter_raw()
    if layers in (["gzip"], ["x-gzip"]):
        return _unpacked(answer.iter_raw())
    raise BoundError(
        f"the answer is encoded as {', '.join(layers)[:80]!r}, where at most one layer of gzip was asked for"
    )


def _unpacked(chunks: Iterable[bytes]) -> Generator[bytes]:
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        for chunk in chunks:
            rest = chunk
            while rest and not unpack.eof:
                yield unpack.decompress(rest, PIECE)
                rest = unpack.unconsumed_tail
        while piece := unpack.decompress(b"", PIECE):
            yield piece
    except zlib.error as error:
        raise httpx.DecodingError(f"the answer is no gzip ({error})") from error
    if not unpack.eof:
        raise httpx.RemoteProtocolError("the compressed answer ended early")


# --- the deadline: httpx has a limit for each read, and a byte a second keeps every one of them -----------------------

_latest: ContextVar[float] = ContextVar("latest", default=float("inf"))
"""The end of the exchange that this thread is in, on the monotonic clock."""


@contextmanager
def _until(latest: float) -> Generator[None]:
    token = _latest.set(latest)
    try:
        yield
    finally:
        _latest.reset(token)


def _left(timeout: float | None) -> float | None:
    """What one step may still take. Never 0 or less, which sockets understand as something else."""
    latest = _latest.get()
    if latest == float("inf"):
        return timeout
    left = latest - time.monotonic()
    return max(0.001, left if timeout is None else min(timeout, left))


class _Network(httpx.HTTPTransport):
    """The network, with connections that keep the deadline of the exchange they serve at the moment."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        pool: Any = self._pool  # httpx offers no way to hand its pool another network
        pool._network_backend = _Backend(pool._network_backend)


class _Backend:
    """Makes connections (httpcore's `NetworkBackend`)."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **options: Any) -> _Stream:
        return _Stream(self._backend.connect_tcp(host, port, _left(timeout), **options))


class _Stream:
    """One connection (httpcore's `NetworkStream`)."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), PIECE):
            self._stream.write(buffer[start : start + PIECE], _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def unsent(error: Exception) -> bool:
    """Whether the request definitely never left: no connection was made, so nothing can have happened."""
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)


def untrusted(error: BaseException | None) -> bool:
    """Whether a failed connection failed because the server's certificate was not accepted."""
    return caused_by(error, ssl.SSLCertVerificationError)


def caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether an error, or what it was made from, is of a kind."""
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def patiently(action: Callable[[], T], *, attempts: int, wait: Wait) -> T:
    """Run `action`, and again while it raises `TransientError`, which always means that nothing was changed.

    An answer that passed a bound of the exchange (`BoundError`) is not asked for again: the next run does that.

    Waits between attempts grow and are spread by chance. An error with `wait_seconds` is not waited for here: the
    action itself keeps the pause that the server asked for.

    Raises:
        TransientError: the last one, with the number of attempts and the time they took, after `attempts` attempts or
            as soon as the next wait would pass `LONGEST_WAIT` in total.
        PrintbridgeError: any other error of `action`, at once.
    """
    started = time.monotonic()
    tries, hinted = 0, False

    def again(error: Exception) -> bool | float:
        nonlocal hinted
        if not isinstance(error, TransientError) or caused_by(error, BoundError):
            return False
        hinted = error.wait_seconds is not None
        if time.monotonic() - started + (error.wait_seconds or 0.0) >= LONGEST_WAIT:
            return False
        log.info("attempt %d of %d failed: %s", tries, attempts, error.tried)
        return 0.0  # stamina counts, `wait` waits, so that a test can do without

    backoff = 0.0
    try:
        for attempt in stamina.retry_context(on=again, attempts=attempts, timeout=LONGEST_WAIT, wait_initial=0.5):
            if attempt.num > 1 and not hinted:
                wait(backoff * _CHANCE.uniform(0.5, 1.5))
            tries, backoff = attempt.num, attempt.next_wait
            with attempt:
                return action()
    except TransientError as error:
        often = "once" if tries == 1 else f"{tries} times in {time.monotonic() - started:.0f} s"
        raise TransientError(f"{error.tried}; tried {often}", error.remedy, wait_seconds=error.wait_seconds) from error
    raise AssertionError("unreachable: the last attempt returns or raises")


def http_date(text: str | None) -> datetime | None:
    """The time in a `Date` or `Retry-After` header as aware UTC, or None."""
    try:
        date = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def address(url: str, *, key: str) -> str:
    """The host and port of a configured address, fit for messages.

    Args:
        url: the configured address.
        key: the key in bridge.toml, for the message.

    Raises:
        ConfigError: not an https address (plain http is allowed only on this machine), or one with a password in it.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigError(
            f"{key} is not an http or https address", f"set {key}, for example to https://{host or 'host'}/"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"{key} holds a user name or password", f"take it out of {key}; secrets go to the environment"
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigError(f"{key} uses plain http to {host}, another machine", f"use https in {key}")
    shown_host = f"[{host}]" if ":" in host else host
    return f"{shown_host}:{parts.port}" if parts.port else shown_host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def shown(text: str, *secrets: str) -> str:
    """A foreign text made fit for a message: one short line without e-mail addresses and without our secrets."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "(secret)")
    text = re.sub(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+", "(e-mail)", text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= 300 else f"{text[:300]} ..."
