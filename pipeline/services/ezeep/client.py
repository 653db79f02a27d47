"""The REST API of ezeep Blue: its token, complete lists, and writes whose outcome is always named.

What belongs here: signing in, sending one call, what an answer means, paging (`ezeep-api.md` 1 to 5). What does not:
which calls make up one change of a user (`system.py`), and what a record says (`records.py`).

Written after ezeep's documents only; nobody has run it against a live organisation yet. What the documents leave open
is taken so that it errs to the safe side: an answer that is not one of the documented ones never counts as done.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import httpx

from pipeline.errors import (
    ConfigError,
    MissingError,
    PermanentError,
    PrintbridgeError,
    RejectedError,
    TransientError,
    UnknownOutcomeError,
)
from pipeline.services.http import (
    LONGEST_WAIT,
    Client,
    Reply,
    Wait,
    address,
    connect,
    exchange,
    patiently,
    shown,
    unsent,
)

log = logging.getLogger(__name__)

Record = dict[str, Any]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

READ_ATTEMPTS = 6
WRITE_ATTEMPTS = 3  # a write is sent again only after a definite "not done"
BODY_LIMIT = 8 * 1024 * 1024
"""Bytes of an answer: a page of users is far less."""
EXCHANGE_SECONDS = 60.0
"""How long one exchange may take, from the connection to the last byte."""
MOST_PAGES = 10_000
"""More pages than that are a list that leads in a circle."""
TOKEN_RESERVE = 60.0
"""Seconds before its end at which a token is not used any more."""


class EzeepClient(Client):
    """One ezeep organisation. May be used from several threads; a context manager.

    Args:
        account_url: for example https://account.ezeep.com: token, users, invitations.
        api_url: for example https://api2.ezeep.com: groups and who is in them.
        client_id: of the OAuth client.
        client_secret: its secret, kept in memory only.
        invitations_path: where invitations are made; the vendor's pages name two.
        connections: calls at once.
        transport: what carries the bytes instead of the network (tests).
        wait: waits so many seconds.

    Raises:
        ConfigError: an address is not safe to use.
    """

    def __init__(
        self, account_url: str, api_url: str, client_id: str, client_secret: str, *,
        invitations_path: str = "/v1/userinvitations/", connections: int = 4,
        transport: httpx.BaseTransport | None = None, wait: Wait = time.sleep,
    ) -> None:  # fmt: skip
        self.host = address(account_url, key="account_url in [sites.*.ezeep]")
        address(api_url, key="api_url in [sites.*.ezeep]")
        self._account, self._api = account_url.rstrip("/"), api_url.rstrip("/")
        self._invitations = f"{self._account}/{invitations_path.strip('/')}/"
        self._client = httpx.BasicAuth(client_id, client_secret)
        self._secret, self._wait = client_secret, wait
        self._http = connect(read_seconds=30.0, connections=connections, transport=transport)
        self._sign_in = threading.Lock()
        self._token, self._expires = "", 0.0  # on the monotonic clock

    # Reads: each raises TransientError, ConfigError, PermanentError; of one record also MissingError

    def users(self) -> list[Record]:
        """Every user of the organisation with its invitations, complete or an error."""
        return self._listed(f"{self._account}/v1/users/")

    def user(self, id_: str) -> Record:
        """One user by id."""
        return self._object("GET", f"{self._account}/v1/users/{id_}/")

    def invitations(self) -> list[Record]:
        """Every invitation: id, email, expire_date, delivery_status, invitation_status."""
        return self._listed(self._invitations)

    def organizations(self) -> list[Record]:
        """The organisations that the token reaches: id, name."""
        return self._listed(f"{self._account}/v1/organizations/")

    def groups(self) -> list[Record]:
        """Every group: id, name, organization_id."""
        return self._listed(f"{self._api}/printing/v1/groups/")

    def members(self) -> list[Record]:
        """Every user on the printing side: id, groups (a list of group_id)."""
        return self._listed(f"{self._api}/printing/v1/users/")

    def member(self, id_: str) -> Record:
        """One user on the printing side, by id."""
        return self._object("GET", f"{self._api}/printing/v1/users/{id_}/")

    def printers(self) -> list[Record]:
        """Every printer: id, name."""
        return self._listed(f"{self._api}/printing/v1/printers/")

    # Writes: each raises RejectedError, MissingError, TransientError or ConfigError where nothing was done, and
    # UnknownOutcomeError where it may have been

    def invite(self, email: str, expires: str) -> Record:
        """Invite a person: ezeep makes an unverified user and sends its own e-mail.

        Args:
            email: whom.
            expires: until when, as YYYY-MM-DDThh:mm:ss in UTC.
        """
        return self._object("POST", self._invitations, {"email": email, "expire_date": expires})

    def send_again(self, invitation_id: str) -> None:
        """Send the e-mail of an invitation again."""
        self._request("PATCH", f"{self._invitations}{invitation_id}/", {})

    def change_user(self, id_: str, fields: Mapping[str, str]) -> None:
        """Set some of first_name, last_name, email of a user."""
        self._request("PATCH", f"{self._account}/v1/users/{id_}/", dict(fields))

    def delete_user(self, id_: str) -> None:
        """Delete a user with its login."""
        self._request("DELETE", f"{self._account}/v1/users/{id_}/")

    def make_group(self, name: str, organization_id: str) -> str:
        """Make a group; its id."""
        url, body = f"{self._api}/printing/v1/groups/", {"name": name, "organization_id": organization_id}
        found = self._object("POST", url, body).get("id")
        if isinstance(found, str) and found:
            return found
        raise self._unusable("POST", url, "a group without an id")

    def set_groups(self, id_: str, group_ids: list[str]) -> None:
        """Put a user into exactly these groups: whatever is left out is left."""
        body = {"groups": [{"group_id": group_id} for group_id in group_ids]}
        self._request("PUT", f"{self._api}/printing/v1/users/{id_}/", body)

    # One call

    def _listed(self, url: str) -> list[Record]:
        """The records of every page: `next` is followed until it is null (`ezeep-api.md` 3.1)."""
        found: dict[str, Record] = {}
        count, pages, following = None, 0, url
        while following:
            if urlsplit(following)[:2] != urlsplit(url)[:2] or pages == MOST_PAGES:
                raise PermanentError(
                    f"{self._shown(url)}: ezeep at {self.host} continues the list somewhere else, or without end",
                    "report it with this message; nothing was done with the list",
                )
            page = self._object("GET", following)
            results, count = page.get("results"), page.get("count")
            if not isinstance(results, list) or not isinstance(count, int):
                raise self._unusable("GET", url, "a page without results and count")
            for each in cast("list[object]", results):
                record = cast("Record", each) if isinstance(each, dict) else {}
                found[str(record.get("id") or f"without an id, {len(found)}")] = record
            pages, following = pages + 1, str(page.get("next") or "")
        if count != len(found):
            raise TransientError(
                f"{self._shown(url)}: the list from ezeep at {self.host} ended short: {len(found)} of {count}",
                "nothing, the next run reads it again; if it stays, see whether somebody edits many users right now",
            )
        return list(found.values())

    def _object(self, method: Method, url: str, body: Record | None = None) -> Record:
        answer = self._request(method, url, body)
        if isinstance(answer, dict):
            return cast("Record", answer)
        raise self._unusable(method, url, "another answer than an object")

    def _request(self, method: Method, url: str, body: Record | None = None) -> object:
        """One call: everything that goes to ezeep passes here, and the request for a token."""
        attempts = READ_ATTEMPTS if method == "GET" else WRITE_ATTEMPTS
        return patiently(lambda: self._once(method, url, body), attempts=attempts, wait=self._wait)

    def _once(self, method: Method, url: str, body: Record | None) -> object:
        token = self._signed_in()
        reply = self._sent(method, url, token, body)
        if reply.status == 401:
            self._forget(token)
            reply = self._sent(method, url, self._signed_in(), body)
        if reply.status == 204:
            return None
        if 200 <= reply.status < 300:
            try:
                return json.loads(reply.content) if reply.content.strip() else None
            except ValueError:
                raise self._unusable(method, url, "a page that is no JSON") from None
        raise self._refused(method, url, reply)

    def _sent(self, method: Method, url: str, token: str, body: Record | None) -> Reply:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        return self._exchanged(method, url, self._http.build_request(method, url, headers=headers, json=body))

    def _exchanged(self, method: str, url: str, request: httpx.Request, *, reads: bool = False) -> Reply:
        try:
            reply = exchange(self._http, request, limit=BODY_LIMIT, seconds=EXCHANGE_SECONDS)
        except httpx.HTTPError as error:
            log.debug("%s %s %s", method, self._shown(url), type(error).__name__)
            came = f"{type(error).__name__}: {shown(str(error), self._secret)}"
            if unsent(error):
                raise TransientError(
                    f"{method} {self._shown(url)}: ezeep at {self.host} cannot be reached ({came}); nothing was sent",
                    "check account_url and api_url in [sites.*.ezeep], and the network; the next run tries again",
                ) from error
            raise self._unusable("GET" if reads else method, url, came) from error
        log.debug("%s %s %s", method, self._shown(url), reply.status)
        return reply

    def _refused(self, method: str, url: str, reply: Reply) -> PrintbridgeError:
        """What an answer other than success means (`ezeep-api.md` 5)."""
        tried = f"{method} {self._shown(url)}: ezeep at {self.host} answered {reply.status}"
        said = f"{tried}: {shown(reply.content.decode('utf-8', 'replace'), self._secret)}"
        status = reply.status
        error: PrintbridgeError = self._unusable(method, url, said)
        if status == 429:
            hint = reply.headers.get("Retry-After", "")
            seconds = min(float(hint), LONGEST_WAIT) if hint.isdecimal() else None
            error = TransientError(tried, "nothing, the next run tries again", wait_seconds=seconds)
        elif status in {400, 409, 422} and method != "GET":
            error = RejectedError(said, "do what it says, in ezeep or in the customer's record")
        elif status == 404 and method != "POST":
            error = MissingError(tried, "nothing, the next run reads the users again")
        elif status in {401, 403}:
            secrets = "client_id_env and client_secret_env in [sites.*.ezeep]"
            error = ConfigError(said, f"check {secrets}, and what the client may do in ezeep")
        elif 300 <= status < 500:
            error = ConfigError(said, "check account_url, api_url and invitations_path in [sites.*.ezeep]")
        return error

    def _unusable(self, method: str, url: str, came: str) -> PrintbridgeError:
        """An answer that says nothing about what happened."""
        tried = f"{method} {self._shown(url)}: ezeep at {self.host} gave no usable answer ({came})"
        if method == "GET":
            return TransientError(tried, "nothing, the next run tries again; if it stays, look at ezeep's status page")
        return UnknownOutcomeError(
            f"{tried}; it may have been carried out",
            "do not repeat it by hand: the next run looks at the user again before anything is sent",
        )

    def _shown(self, url: str) -> str:
        """The path of an address, without what stands for a person in it."""
        return urlsplit(url).path

    # The token

    def _signed_in(self) -> str:
        """A token that holds for a while yet; it lives in memory only.

        Raises:
            ConfigError: ezeep does not accept the client.
            TransientError: ezeep cannot be reached, or gave no token.
        """
        with self._sign_in:
            if self._token and time.monotonic() < self._expires:
                return self._token
            url = f"{self._account}/oauth/access_token/"
            form = {"grant_type": "client_credentials", "scope": "printing"}
            request = self._http.build_request("POST", url, data=form)
            request = next(self._client.auth_flow(request))
            reply = self._exchanged("POST", url, request, reads=True)
            if reply.status in {400, 401, 403}:
                raise ConfigError(
                    f"ezeep at {self.host} does not accept the client ({reply.status})",
                    "check the values of client_id_env and client_secret_env in [sites.*.ezeep]",
                )
            try:
                answer: Record = json.loads(reply.content) if reply.status == 200 else {}
                self._token, lasts = str(answer["access_token"]), float(answer["expires_in"])
            except (ValueError, KeyError, TypeError):
                raise self._unusable("GET", url, f"HTTP {reply.status} without a token") from None
            self._expires = time.monotonic() + max(0.0, lasts - TOKEN_RESERVE)
            return self._token

    def _forget(self, token: str) -> None:
        """The token was refused: take another, unless another thread has."""
        with self._sign_in:
            if self._token == token:
                self._token = ""
