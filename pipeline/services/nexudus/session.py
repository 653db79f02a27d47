"""The session with one Nexudus account: sign-in, sending, pauses that the service asks for, the outcome of a call.

What belongs here: one call, from the token to the error or the body (`nexudus-api.md`; section numbers below are its).
What answers mean is in `nexudus_wire.py`. What does not belong: which calls make up a list or a write (`nexudus.py`).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx

from pipeline.clock import Clock, system_clock
from pipeline.errors import ConfigError, PrintbridgeError, RejectedError, TransientError
from pipeline.services.http import (
    LONGEST_WAIT,
    Client,
    OversizeError,
    Wait,
    address,
    connect,
    exchange,
    http_date,
    patiently,
    shown,
    untrusted,
)
from pipeline.services.nexudus.wire import (
    MEANINGS,
    UNREADABLE,
    Kind,
    decode,
    encode,
    field,
    outcome,
    role,
    values,
    wait_hint,
    words,
)

log = logging.getLogger(__name__)

READ_ATTEMPTS = 8
WRITE_ATTEMPTS = 3  # a write is sent again only after a definite "not done"
BODY_LIMIT = 12 * 1024 * 1024
"""Bytes of an answer: 1000 customers are about 6 MB, and a text may take four times its bytes in memory."""
VALUES_LIMIT = 600_000
"""Values in an answer: 1000 customers have about 230,000; an empty list of 3 bytes takes 64 in memory."""
EXCHANGE_SECONDS = 60.0
"""How long one exchange may take, from the connection to the last byte."""


@dataclass(frozen=True)
class _Token:
    text: str
    expires: float  # on the monotonic clock
    replaced: float | None  # when a refused token made us take this one


@dataclass(frozen=True)
class Answer:
    """What one sending came to."""

    kind: Kind
    body: object = None
    came: str = ""  # what came back, for messages
    hint: float | None = None  # seconds to wait, if the service said so
    cause: Exception | None = None


class Session(Client):
    """One Nexudus account, signed in when it must be. May be used from several threads; a context manager.

    Args:
        base_url: for example https://spaces.nexudus.com.
        email: the API user, an administrator with "API Access" switched on.
        password: its password, kept in memory only.
        transport: what carries the bytes instead of the network (tests).
        connections: calls at once, also the threads that read the pages of a list.
        wait: waits so many seconds.
        clock: the time to compare the service's clock with.
        seconds: how long one exchange may take in all.

    Raises:
        ConfigError: `base_url` is not safe to use.
    """

    def __init__(
        self,
        base_url: str,
        email: str,
        password: str,
        *,
        transport: httpx.BaseTransport | None = None,
        connections: int = 4,
        wait: Wait = time.sleep,
        clock: Clock = system_clock,
        seconds: float = EXCHANGE_SECONDS,
    ) -> None:
        self.host = address(base_url, key="base_url in [nexudus]")
        self.skew_seconds: float | None = None
        """The service's clock minus ours, from the last answer; None before the first."""
        self._root = f"{base_url.rstrip('/')}/api/"
        self._email, self._password = email, password
        self._connections, self._wait, self._clock, self._seconds = connections, wait, clock, seconds
        self._http = connect(read_seconds=seconds, connections=connections, transport=transport)
        self._sign_in = threading.Lock()
        self._token: _Token | None = None
        self._paused_until = 0.0  # on the monotonic clock

    def request(self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: object = None) -> Any:
        """One call: everything that goes to Nexudus passes here.

        Args:
            method: GET, POST, PUT or DELETE.
            path: below `/api/`, for example `billing/coworkerproducts`.
            params: the query.
            body: what to send as JSON; Decimals and aware times are written exactly.

        Returns:
            The parsed JSON; fractions are Decimals. A write returns its envelope (3.2).

        Raises:
            TransientError: definitely not done: throttled or unreachable, also after waiting and trying again; for
                reads also an answer that could not be used.
            PermanentError: not done: a right is missing, a limit is used up, or (ConfigError) the password is wrong.
            RejectedError: the service says what is wrong with the request.
            MissingError: no such record (deleting a record that is gone is a success).
            UnknownOutcomeError: a write was sent and its outcome is not known. It is never sent again here.
        """
        content = self._encoded(method, path, body)
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if content else {})
        request = self._http.build_request(method, self._root + path, params=params, content=content, headers=headers)

        def once() -> Any:
            token = self._bearer()
            answer = self._send(request, token, judged_as=method)
            if answer.kind == "denied" and (newer := self._bearer(refused=token)) is not token:
                answer = self._send(request, newer, judged_as=method)
            if answer.kind != "done":
                raise self._error(method, path, answer) from answer.cause
            return answer.body

        return patiently(once, attempts=READ_ATTEMPTS if method == "GET" else WRITE_ATTEMPTS, wait=self._wait)

    def _encoded(self, method: str, path: str, body: object) -> bytes:
        """The body as JSON, exactly, or an error: a record that Nexudus gave may hold a number that no double keeps."""
        try:
            return b"" if body is None else json.dumps(body, default=encode, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise RejectedError(
                f"{method} {path}: a value cannot be written exactly ({shown(str(error))}); nothing was sent",
                "correct that value in Nexudus, then run again",
            ) from error

    def _send(self, request: httpx.Request, token: _Token | None, *, judged_as: str) -> Answer:
        """Send once and judge. A pause that the service asks for holds for every thread of this client."""
        self._keep_pause()
        if token:
            request.headers["Authorization"] = f"Bearer {token.text}"
        path = request.url.path
        try:
            reply = exchange(self._http, request, limit=BODY_LIMIT, seconds=self._seconds)
            if (found := values(reply.content)) > VALUES_LIMIT:
                raise OversizeError(f"the answer holds about {found} values, more than {VALUES_LIMIT}")
        except httpx.HTTPError as error:
            log.debug("%s %s %s", request.method, path, type(error).__name__)
            came = f"gave no usable answer ({type(error).__name__}: {shown(str(error))})"
            return Answer(outcome(judged_as, error), came=came, cause=error)
        log.debug("%s %s %s", request.method, path, reply.status)
        now = self._clock()
        if served := http_date(reply.headers.get("Date")):
            self.skew_seconds = (served - now).total_seconds()
        body, text = decode(reply.content), reply.content[:4000].decode("utf-8", "replace")
        said = f"{reply.reason} {text}"
        kind = outcome(judged_as, reply.status, body, said)
        hint = None
        if kind == "throttled":
            hint = wait_hint(said, reply.headers.get("Retry-After"), served or now)
            self._paused_until = max(self._paused_until, time.monotonic() + (1.0 if hint is None else hint))
        came = "" if kind == "done" else f"answered HTTP {reply.status} ({words(body, said, self._password)})"
        return Answer(kind, None if body is UNREADABLE else body, came, hint)

    def _keep_pause(self) -> None:
        until = self._paused_until
        left = until - time.monotonic()
        if left > LONGEST_WAIT:
            raise TransientError(
                f"Nexudus at {self.host} asked for a pause that lasts another {left:.0f} s, so nothing was sent",
                "nothing, a later run tries again; if it stays, ask Nexudus about the request limit of this account",
                wait_seconds=left,
            )
        if left > 0:
            self._wait(left)
            if self._paused_until == until:
                self._paused_until = 0.0

    def _bearer(self, refused: _Token | None = None) -> _Token:
        """The token, taken anew shortly before it expires or once after it was refused; one sign-in at a time."""
        with self._sign_in:
            token, now = self._token, time.monotonic()
            if token and refused is None and now < token.expires:
                return token
            if token and refused is not None and token is not refused:
                return token  # another thread was faster
            if token and token is refused and token.replaced is not None and now - token.replaced < 5.0:
                return token  # a token this new is not the reason: do not sign in again for every refused call
            self._token = self._new_token(now, replaced=now if refused else None)
            return self._token

    def _new_token(self, now: float, *, replaced: float | None) -> _Token:
        """Sign in by password: the same call for the first and every later token (1.2)."""
        form = {"grant_type": "password", "username": self._email, "password": self._password}
        request = self._http.build_request("POST", self._root + "token", data=form)
        answer = self._send(request, None, judged_as="GET")  # a sign-in changes nothing: it may be repeated
        text, lasts, error = (field(answer.body, key) for key in ("access_token", "expires_in", "error"))
        if answer.kind == "done" and isinstance(text, str):
            seconds = float(lasts) if isinstance(lasts, int | Decimal) else 3600.0
            return _Token(text, now + max(seconds - 60.0, seconds / 2), replaced)
        if answer.kind == "denied" or error:
            raise ConfigError(
                f"POST token: Nexudus at {self.host} refused the sign-in of the API user "
                f"({shown(str(error or 'HTTP 401'))})",
                "check the variables that email_env and password_env in [nexudus] name, and that the user is an "
                'administrator with "API Access" switched on (its Status tab in Nexudus)',
            )
        if answer.kind == "done":
            answer = Answer("passing", came="answered the sign-in without a token")
        raise self._error("POST", "token", answer) from answer.cause

    def _error(self, method: str, path: str, answer: Answer) -> PrintbridgeError:
        tried = f"{method} {path}: Nexudus at {self.host} {answer.came}"
        reach = f"check base_url in [nexudus] and the network between here and {self.host}"
        if answer.kind == "unreached" and untrusted(answer.cause):
            return ConfigError(f"{tried}: its certificate is not trusted", reach)
        kind, addition, remedy = MEANINGS[answer.kind]
        error = kind(tried + addition, remedy.format(reach=reach, right=f"give the API user {role(method, path)}"))
        if isinstance(error, TransientError):
            error.wait_seconds = answer.hint
        return error
