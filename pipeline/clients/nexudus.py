"""The Nexudus REST API: complete lists, single records, and writes whose outcome is always named.

What belongs here: sign-in, sending, pauses, paging and putting lists together (`nexudus-api.md`; section numbers below
are its). What answers and texts mean is in `nexudus_wire.py`. What does not belong: which customers or credits count,
what is charged, and the look-up of a write with an unknown outcome (the ledger does that).
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, Self, TypeVar, cast

import httpx

from pipeline.clients import LONGEST_WAIT, Wait, address, connect, exchange, http_date, patiently, shown, untrusted
from pipeline.clients.nexudus_wire import (
    MEANINGS,
    MODULES,
    UNREADABLE,
    Kind,
    Record,
    decode,
    encode,
    field,
    ignored_filter,
    minute,
    moment,
    outcome,
    query,
    replacement,
    role,
    rows,
    wait_hint,
    words,
)
from pipeline.clock import Clock, system_clock
from pipeline.errors import (
    BridgeError,
    ConfigError,
    MissingError,
    PermanentError,
    TransientError,
)

__all__ = ["NexudusClient", "Record", "minute", "moment", "outcome", "replacement"]

log = logging.getLogger(__name__)
A = TypeVar("A")
B = TypeVar("B")

PAGE_SIZE = 1000  # the documented maximum (2.1)
BATCH_SIZE = 100
READ_ATTEMPTS = 8
WRITE_ATTEMPTS = 3  # a write is sent again only after a definite "not done"
BODY_LIMIT = 64 * 1024 * 1024  # 1000 customers are about 8 MB


@dataclass(frozen=True)
class _Token:
    text: str
    expires: float  # on the monotonic clock
    replaced: float | None  # when a refused token made us take this one


@dataclass(frozen=True)
class _Answer:
    kind: Kind
    body: object = None
    came: str = ""  # what came back, for messages
    hint: float | None = None  # seconds to wait, if the service said so
    cause: Exception | None = None


BY_ID: Mapping[str, str] = {"orderBy": "Id"}
"""The only order that stays while records are edited during paging (2.3)."""


class _Page(NamedTuple):
    rows: list[Record]
    total: int


class NexudusClient:
    """One Nexudus account. May be used from several threads; a context manager.

    Args:
        base_url: for example https://spaces.nexudus.com.
        email: the API user, an administrator with "API Access" switched on.
        password: its password, kept in memory only.
        transport: what carries the bytes instead of the network (tests).
        connections: calls at once, also the threads that read the pages of a list.
        wait: waits so many seconds.
        clock: the time to compare the service's clock with.

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
    ) -> None:
        self.host = address(base_url, key="base_url in [nexudus]")
        self.skew_seconds: float | None = None
        """The service's clock minus ours, from the last answer; None before the first."""
        self._root = f"{base_url.rstrip('/')}/api/"
        self._email, self._password = email, password
        self._connections, self._wait, self._clock = connections, wait, clock
        self._http = connect(read_seconds=60.0, connections=connections, transport=transport)
        self._sign_in = threading.Lock()
        self._token: _Token | None = None
        self._paused_until = 0.0  # on the monotonic clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

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
        content = b"" if body is None else json.dumps(body, default=encode, allow_nan=False).encode()
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

    def _send(self, request: httpx.Request, token: _Token | None, *, judged_as: str) -> _Answer:
        """Send once and judge. A pause that the service asks for holds for every thread of this client."""
        self._keep_pause()
        if token:
            request.headers["Authorization"] = f"Bearer {token.text}"
        path = request.url.path
        try:
            reply = exchange(self._http, request, limit=BODY_LIMIT, seconds=300.0)
        except httpx.HTTPError as error:
            log.debug("%s %s %s", request.method, path, type(error).__name__)
            came = f"gave no usable answer ({type(error).__name__}: {shown(str(error))})"
            return _Answer(outcome(judged_as, error), came=came, cause=error)
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
        return _Answer(kind, None if body is UNREADABLE else body, came, hint)

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
            answer = _Answer("passing", came="answered the sign-in without a token")
        raise self._error("POST", "token", answer) from answer.cause

    def _error(self, method: str, path: str, answer: _Answer) -> BridgeError:
        tried = f"{method} {path}: Nexudus at {self.host} {answer.came}"
        reach = f"check base_url in [nexudus] and the network between here and {self.host}"
        if answer.kind == "unreached" and untrusted(answer.cause):
            return ConfigError(f"{tried}: its certificate is not trusted", reach)
        kind, addition, remedy = MEANINGS[answer.kind]
        error = kind(tried + addition, remedy.format(reach=reach, right=f"give the API user {role(method, path)}"))
        if isinstance(error, TransientError):
            error.wait_seconds = answer.hint
        return error

    # Lists and records

    def count(self, entity: str, **filters: object) -> int:
        """How many records a list has; one request of one row. Filters as in `records`."""
        return self._page(entity, query(entity, filters), page=1, size=1).total

    def records(self, entity: str, *, needs: Sequence[str] = (), **filters: object) -> list[Record]:
        """A list, complete or an error (`money-safety.md` 2.3).

        Args:
            entity: for example `coworkers`.
            needs: keys that every record must have; rows that lack one (lists are summaries, 2.7) are read again by id.
            **filters: in the documented form, for example `Coworker_Email="a@example.com"` or
                `from_Coworker_UpdatedOn=` an aware time; times are rounded to the minute so that the range grows.

        Returns:
            Every record once, by rising Id.

        Raises:
            TransientError: the pages did not add up twice.
            PermanentError: the service ignored a filter, or never gives a needed key; as `request` otherwise.
            ValueError: a filter name that the service would silently ignore.
        """
        read, totals = self._pass(entity, query(entity, filters))
        if totals != {len(read)}:
            read, totals = self._pass(entity, query(entity, filters))
        if totals != {len(read)}:
            raise TransientError(
                f"the list of {entity} from Nexudus at {self.host} ended short: {len(read)} of {max(totals)} "
                "(read twice)",
                "nothing, the next run reads it again; if it stays, see whether somebody edits many records right now",
            )
        if name := ignored_filter(entity, filters, read.values()):
            raise PermanentError(
                f"Nexudus at {self.host} ignored the filter {name} on {entity}: rows outside it came back",
                "report it with this message; nothing was done with the list",
            )
        return self._with_needs(entity, read, needs)

    def _pass(self, entity: str, filters: Mapping[str, str]) -> tuple[dict[int, Record], set[int]]:
        """One reading of all pages: the rows by Id, and every total that was stated on the way."""
        first = self._page(entity, filters, page=1)
        # A server that ignores `size` gives 25 a page; a first page shorter than that is an error, not a page size.
        whole = len(first.rows) >= min(first.total, 25)
        pages = math.ceil(first.total / len(first.rows)) if first.rows and whole else 1
        others = self._each(lambda page: self._page(entity, filters, page=page), range(2, pages + 1))
        read = {row["Id"]: row for page in (first, *others) for row in page.rows}
        return dict(sorted(read.items())), {page.total for page in (first, *others)}

    def newest(self, entity: str, **filters: object) -> tuple[int, datetime | None]:
        """How many records a list has, and when the one that was changed last was changed; one request of one row."""
        order = {"orderBy": "UpdatedOn", "dir": "Descending"}
        page = self._page(entity, query(entity, filters), page=1, size=1, order=order)
        return page.total, moment(page.rows[0]["UpdatedOn"]) if page.rows else None

    def _page(
        self,
        entity: str,
        filters: Mapping[str, str],
        *,
        page: int,
        size: int = PAGE_SIZE,
        order: Mapping[str, str] = BY_ID,
    ) -> _Page:
        params = {**filters, "page": str(page), "size": str(size), **order}
        answer = self.request("GET", _path(entity), params=params)
        listed, total = rows(answer), field(answer, "TotalItems")
        if listed is None or not isinstance(total, int):
            raise TransientError(
                f"GET {_path(entity)}: Nexudus at {self.host} answered page {page} without Records, Ids or TotalItems",
                "nothing, the next run reads it again; if it stays, report it with this message",
            )
        return _Page(listed, total)

    def _with_needs(self, entity: str, read: dict[int, Record], needs: Sequence[str]) -> list[Record]:
        def lacking() -> list[int]:
            return [key for key, row in read.items() if any(need not in row for need in needs)]

        def fill(found: Iterable[Record], asked: Iterable[int]) -> None:
            full = {record["Id"]: record for record in found}
            for key in asked:
                if key in full:
                    read[key] |= full[key]
                else:
                    del read[key]  # GET by id says that it is gone since the list was read

        if short := lacking():
            fill(self.batch(entity, short), short)
        if short := lacking():
            fill(filter(None, self._each(lambda key: self._found(entity, key), short)), short)
        if short := lacking():
            raise PermanentError(
                f"Nexudus at {self.host} does not give {', '.join(needs)} of {len(short)} {entity}, first {short[0]}",
                f"give the API user {role('GET', f'{_path(entity)}/1')}",
            )
        return list(read.values())

    def record(self, entity: str, id_: int) -> Record:
        """One full record by id. Raises MissingError when it does not exist; otherwise as `request`."""
        answer = self.request("GET", f"{_path(entity)}/{id_}")
        if field(answer, "Id") == id_:
            return cast("Record", answer)
        raise TransientError(
            f"GET {_path(entity)}/{id_}: Nexudus at {self.host} answered with something else than this record",
            "nothing, the next run reads it again; if it stays, report it with this message",
        )

    def batch(self, entity: str, ids: Sequence[int]) -> list[Record]:
        """Full records by id, 100 a request; ids that do not exist (GET by id says 404) are left out. As `request`."""

        def chunk(start: int) -> list[Record]:
            asked = ids[start : start + BATCH_SIZE]
            params = {"id": f"[{','.join(map(str, asked))}]", "size": str(len(asked))}
            answer = self.request("GET", f"{_path(entity)}/", params=params)  # an array, or an envelope (2.8)
            found = {row["Id"]: row for row in rows(answer) or [] if row["Id"] in asked}
            rest = [self._found(entity, key) for key in asked if key not in found]
            return [*found.values(), *filter(None, rest)]

        return [record for records in self._each(chunk, range(0, len(ids), BATCH_SIZE)) for record in records]

    def _found(self, entity: str, id_: int) -> Record | None:
        try:
            return self.record(entity, id_)
        except MissingError:
            return None

    def _each(self, read: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """The reads over several threads, in order; the first error ends them all."""
        with ThreadPoolExecutor(self._connections) as pool:
            return list(pool.map(read, items))

    # Writes: each raises as `request`; an UnknownOutcomeError means that it may have happened

    def create(self, entity: str, body: Mapping[str, Any]) -> Record:
        """Create a record. Returns `Value`: the full record, or only its Id (3.2)."""
        value = self.request("POST", _path(entity), body=dict(body)).get("Value")
        if isinstance(field(value, "Id"), int):
            return cast("Record", value)
        answer = _Answer("unknown", came="answered with success but without the Id of the new record")
        raise self._error("POST", _path(entity), answer)

    def update(self, entity: str, body: Mapping[str, Any]) -> Record:
        """Replace a record: all of it, with its Id, since PUT clears what is left out (see `replacement`)."""
        if not body.get("Id"):
            raise ValueError("PUT needs the Id of the record in its body")
        value = self.request("PUT", _path(entity), body=dict(body)).get("Value")
        return cast("Record", value) if isinstance(value, dict) else {}

    def delete(self, entity: str, id_: int) -> None:
        """Delete a record; one that is already gone is a success (3.6)."""
        self.request("DELETE", f"{_path(entity)}/{id_}")


def _path(entity: str) -> str:
    return f"{MODULES[entity][0]}/{entity}"
