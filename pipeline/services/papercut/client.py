"""The XML-RPC web services of one PaperCut server: users, balances, properties, and the look-ups that `doctor` makes.

What belongs here: sending a call, and one method per call that printbridge needs (`papercut-api.md`; section numbers
below are its). The XML and what answers mean is in `papercut_wire.py`. What does not belong: who becomes a user and
with which balance (`domain/`), when it is written (`assets/load.py`), and print jobs, which this interface does not
give (`joblogs/`). Calls that act on groups, on administrators or on all settings of a user at once are left out on
purpose (`money-safety.md` 2.2).
"""

from __future__ import annotations

import logging
import ssl
import time
import xmlrpc.client
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx

from pipeline.errors import (
    ConfigError,
    MissingError,
    PermanentError,
    PrintbridgeError,
    RejectedError,
    TransientError,
    UnknownOutcomeError,
    UnsafeError,
)
from pipeline.services.http import Client, Wait, address, connect, exchange, patiently, shown, unsent, untrusted
from pipeline.services.papercut.wire import (
    Kind,
    NoSuchCallError,
    UnreadableError,
    amount,
    decode,
    encode,
    exact,
    flattened,
    outcome,
    refusal,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

READS = frozenset({
    "isUserExists", "listUserAccounts", "getTotalUsers", "getUserProperty", "getUserProperties",
    "listPrinters", "getPrinterCostSimple", "getConfigValue",
})  # fmt: skip
"""Calls that change nothing: tried again when that can help."""
WRITES = frozenset({
    "addNewInternalUser", "setUserProperty", "setUserProperties", "adjustUserAccountBalance", "deleteExistingUser",
    "renameUserAccount",
})  # fmt: skip
"""Calls that change something: sent once, and again only when no connection was made. No other call is possible."""

PAGE_SIZE = 1000  # the recommended page (`papercut-api.md` 3.1)
BODY_LIMIT = 2 * 1024 * 1024
"""Bytes of an answer: a page of 1000 names has less than half a million, every character written as a reference."""
EXCHANGE_SECONDS = 60.0
"""How long one exchange may take, from the connection to the last byte."""
READ_ATTEMPTS = 4
WRITE_ATTEMPTS = 2
READ_BY_PEOPLE = frozenset({"full-name", "email", "notes", "department", "office"})
"""Properties whose text may be simplified, so that PaperCut keeps it as it was sent."""
COMMENT_LENGTH = 255  # `txn_comment` (`papercut-api.md` 4.6)


def _context(ca_file: Path | None) -> ssl.SSLContext:
    """Checks certificate and name, against `ca_file` alone or this machine's authorities (`money-safety.md` 8.7)."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"ca_file {ca_file} cannot be read ({error})", "set ca_file to the certificate as PEM"
        ) from error
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the server's own certificate may be the pin
    return context


def _as_text(value: object) -> object:
    """A property as text: PaperCut's are texts, and a number or flag among them stands for its text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


class PaperCutClient(Client):
    """One PaperCut server. May be used from several threads; a context manager.

    Args:
        url: for example https://papercut.example:9192/rpc/api/xmlrpc.
        token: the value of `auth.webservices.auth-token`, kept in memory only.
        ca_file: a certificate (PEM) to trust instead of the system's authorities.
        transport: what carries the bytes instead of the network (tests).
        connections: calls at once.
        wait: waits so many seconds.
        seconds: how long one exchange may take in all.

    Raises:
        ConfigError: the address is not safe to use, or `ca_file` cannot be read.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        ca_file: Path | None = None,
        transport: httpx.BaseTransport | None = None,
        connections: int = 4,
        wait: Wait = time.sleep,
        seconds: float = EXCHANGE_SECONDS,
    ) -> None:
        self.host = address(url, key="url in [sites.*.papercut]")
        self._url, self._token, self._wait, self._seconds = url, token, wait, seconds
        verify = _context(ca_file)
        self._http = connect(read_seconds=30.0, connections=connections, transport=transport, verify=verify)

    def call(self, method: str, *arguments: object) -> Any:
        """One call: everything that goes to PaperCut passes here.

        Args:
            method: one of `READS` or `WRITES`, without the `api.` in front.
            arguments: exact types; the token is put in front of them here.

        Raises:
            TransientError: nothing was changed: no connection, or a read without a usable answer, also tried again.
            ConfigError: PaperCut does not let us in, or has no such method; the address or certificate is wrong.
            RejectedError: PaperCut carried nothing out and says why. Its raw words are on `__cause__`.
            UnknownOutcomeError: a write was sent and its outcome is not known. It is never sent again here.
            ValueError: a method that this client does not know.
        """
        if method not in READS | WRITES:
            raise ValueError(f"{method} is not among the calls of this client")
        reads = method in READS
        content = encode(method, (self._token, *arguments))
        return patiently(
            lambda: self._once(method, content, reads=reads),
            attempts=READ_ATTEMPTS if reads else WRITE_ATTEMPTS,
            wait=self._wait,
        )

    def _once(self, method: str, content: bytes, *, reads: bool) -> Any:
        headers = {"Content-Type": "text/xml", "Accept": "text/xml", "Accept-Encoding": "identity"}
        request = self._http.build_request("POST", self._url, content=content, headers=headers)
        try:
            reply = exchange(self._http, request, limit=BODY_LIMIT, seconds=self._seconds)
            log.debug("POST %s %s", method, reply.status)
            kind = outcome(reads=reads, answer=reply.status)
            if kind == "answered":
                return decode(reply.content)
            raise self._error(kind, method, f"HTTP {reply.status}")
        except xmlrpc.client.Fault as fault:
            raw = str(fault.faultString).replace(self._token, "(secret)") if self._token else str(fault.faultString)
            raise refusal(f"{method}: PaperCut at {self.host}", raw) from xmlrpc.client.Fault(fault.faultCode, raw)
        except (httpx.HTTPError, UnreadableError) as error:
            log.debug("POST %s %s", method, type(error).__name__)
            if unsent(error) and untrusted(error):
                raise ConfigError(
                    f"{method}: the certificate of PaperCut at {self.host} is not trusted ({shown(str(error))})",
                    "set ca_file in [sites.*.papercut] to the server's certificate (PEM); url must use the name in it",
                ) from error
            came = f"{type(error).__name__}: {shown(str(error), self._token)}"
            raise self._error(outcome(reads=reads, answer=error), method, came) from error

    def _error(self, kind: Kind, method: str, came: str) -> PrintbridgeError:
        tried = f"{method}: PaperCut at {self.host} gave no usable answer ({came})"
        reach = f"check that PaperCut runs, and url in [sites.*.papercut] and the network between here and {self.host}"
        match kind:
            case "unknown":
                remedy = "do not repeat it by hand: the next run looks at the user again before anything is sent"
                return UnknownOutcomeError(f"{tried}; it may have been carried out", remedy)
            case "misplaced":
                return ConfigError(
                    tried, "url in [sites.*.papercut] must lead to /rpc/api/xmlrpc of the PaperCut server"
                )
            case "unreached":
                return TransientError(f"{tried}; nothing was sent", reach)
            case _:
                return TransientError(tried, f"nothing, the next run tries again; if it stays, {reach}")

    def _either(self, method: str, *arguments: object, more: object) -> Any:
        """The shorter form of a call, or, where this version of PaperCut lacks it, the one with `more` at the end."""
        try:
            return self.call(method, *arguments)
        except NoSuchCallError as error:
            if f"{method}(" not in str(error.__cause__):
                raise
            return self.call(method, *arguments, more)

    def _typed(self, kind: type[T], method: str, answer: object) -> T:
        if isinstance(answer, kind) and (kind is bool or not isinstance(answer, bool)):
            return answer
        raise PermanentError(
            f"{method}: PaperCut at {self.host} answered with {type(answer).__name__} instead of {kind.__name__}",
            "report it with the version of PaperCut",
        )

    def _texts(self, method: str, answer: object) -> list[str]:
        return [self._typed(str, method, item) for item in cast("list[object]", self._typed(list, method, answer))]

    def _ok(self, method: str, answer: object) -> None:
        """A write answers true (1.3). Anything else says nothing about what happened."""
        if answer is not True:
            raise self._error("unknown", method, f"it answered {shown(repr(answer))} instead of true")

    def _about(self, user: str, action: Callable[[], T]) -> T:
        """A call about one user: whether a refusal means that there is no such user is asked, not read from its text.

        Raises:
            MissingError: PaperCut refused, and the user does not exist.
        """
        try:
            return action()
        except RejectedError as error:
            if self.user_exists(user):
                raise
            raise MissingError(
                f"{error.tried}: PaperCut has no such user", "nothing, the next run reads the users again"
            ) from error.__cause__

    # Reads: each raises as `call`

    def users(self) -> list[str]:
        """Every user name, complete or an error; special entries (`!!...!!`) are left out (3.1, 8.2).

        Raises:
            TransientError: two readings do not agree with the number of users that PaperCut states.
            UnsafeError: PaperCut says it has no users at all, which is a failure until a person says otherwise.
        """
        names, total, before = list[str](), 0, set[str]()
        for _ in range(2):
            total = self.total_users()
            listed = self._listed("listUserAccounts", total)
            names = [name for name in listed if not name.startswith("!!")]
            once = len(set(names)) == len(names) > 0
            # More names than the total are complete too, if a second reading gives the same ones.
            if once and (total in {len(names), len(listed)} or (set(names) == before and len(names) > total)):
                return names
            before = set(names)
        if not names and not total:
            raise UnsafeError(
                f"PaperCut at {self.host} says that it has no users at all",
                "check that url in [sites.*.papercut] leads to the right server; on a new one, create one user by hand",
            )
        raise TransientError(
            f"the list of users from PaperCut at {self.host} ended short: {len(set(names))} of {total} (read twice)",
            "nothing, the next run reads it again; if it stays, see in PaperCut whether its user list is complete",
        )

    def total_users(self) -> int:
        """The number of users that PaperCut states."""
        return self._typed(int, "getTotalUsers", self.call("getTotalUsers"))

    def user_exists(self, user: str) -> bool:
        """Whether a user of this name exists."""
        return self._typed(bool, "isUserExists", self.call("isUserExists", user))

    def properties(self, user: str, names: Sequence[str]) -> dict[str, str]:
        """Properties of one user by name, all texts (4.1); the PIN cannot be read.

        Raises:
            MissingError: no such user.
        """
        method = "getUserProperties"
        answer = self._about(user, lambda: self.call(method, user, list(names)))
        listed = cast("list[object]", self._typed(list, method, answer))
        values = [self._typed(str, method, _as_text(value)) for value in listed]
        if len(values) != len(names):
            raise PermanentError(
                f"{method}: PaperCut at {self.host} answered {len(names)} names with {len(values)} values",
                "report it with the version of PaperCut",
            )
        return dict(zip(names, values, strict=True))

    def balance(self, user: str) -> Decimal:
        """The balance in credits, exact to a hundredth of a cent. Raises MissingError when there is no such user."""
        return amount(self.properties(user, ["balance"])["balance"])

    def config_value(self, key: str) -> str:
        """A configuration value; an unknown key reads as an empty text (section 2)."""
        return self._typed(str, "getConfigValue", self.call("getConfigValue", key))

    def printers(self) -> list[str]:
        r"""Every printer as `server\printer`, devices as `device\name`; template entries are left out (3.5)."""
        return [name for name in self._listed("listPrinters", 0) if not name.startswith("!!")]

    def printer_cost(self, server: str, printer: str) -> Decimal:
        """The simple price of a page in credits."""
        method = "getPrinterCostSimple"
        return amount(repr(self._typed(float, method, self.call(method, server, printer))))

    def _listed(self, method: str, expected: int) -> list[str]:
        """All pages: to the first short page, or past it while fewer than `expected` came, and never in a circle."""
        names: list[str] = []
        while True:
            page = self._texts(method, self.call(method, len(names), PAGE_SIZE))
            fresh = set(page).difference(names)
            names += page
            if not fresh or (len(page) < PAGE_SIZE and len(names) >= expected):
                return names

    # Writes: each raises as `call`; MissingError when there is no such user

    def create_user(
        self, username: str, *, password: str, full_name: str, email: str, card: str = "", pin: str = ""
    ) -> None:
        """Create an internal user. Group rules may set balance and restriction: set both afterwards (4.3).

        Raises:
            RejectedError: refused, for example because the user exists: ask `user_exists`.
        """
        method, person = "addNewInternalUser", (flattened(full_name), flattened(email))
        self._ok(method, self._either(method, username, password, *person, card, pin, more=False))

    def set_properties(self, user: str, properties: Mapping[str, str]) -> None:
        """Set properties of one user; all values are texts (4.1), those that people read `flattened`."""
        method = "setUserProperties"
        pairs = [[name, flattened(value) if name in READ_BY_PEOPLE else value] for name, value in properties.items()]
        self._ok(method, self._about(user, lambda: self.call(method, user, pairs)))

    def adjust_balance(self, user: str, credits_: Decimal | int, comment: str) -> None:
        """Add credits to a balance (or take them, if negative). It happens again each time it is called (4.6).

        Args:
            user: the user name.
            credits_: the difference.
            comment: our reference first; PaperCut keeps 255 characters.
        """
        method, said = "adjustUserAccountBalance", flattened(comment)[:COMMENT_LENGTH]
        difference = exact(credits_)
        self._ok(method, self._about(user, lambda: self._either(method, user, difference, said, more="")))

    def delete_user(self, user: str) -> None:
        """Delete a user: the balance and the card are lost, the print history stays (3.1)."""
        method = "deleteExistingUser"
        self._ok(method, self._about(user, lambda: self._either(method, user, more=False)))

    def rename_user(self, user: str, new_name: str) -> None:
        """Rename a user, who keeps e-mail, card, balance and history (3.1)."""
        method = "renameUserAccount"
        self._ok(method, self._about(user, lambda: self.call(method, user, new_name)))
