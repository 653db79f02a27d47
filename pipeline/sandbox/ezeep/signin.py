"""Sign-in of the ezeep sandbox: the token endpoint and the tokens given out (`ezeep-api.md` 2).

What belongs here: who may call, and for how long. What does not: what a call does.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

from pipeline.sandbox.core import Core
from pipeline.sandbox.ezeep.answers import SignInError, reply
from pipeline.sandbox.ezeep.calls import Call
from pipeline.sandbox.ezeep.routes import serves
from pipeline.sandbox.ezeep.switches import choice
from pipeline.sandbox.nexudus.answers import Answer

if TYPE_CHECKING:
    from pipeline.sandbox.ezeep.site import EzeepSite

TOKEN_SECONDS = 3600
ISSUER = "https://account.ezeep.com"
SCOPES = frozenset({"printing", "reporting", "webhooks", "webhooks.readonly"})


class Grant(NamedTuple):
    """Until when a token is good, and for what."""

    until: datetime
    scopes: frozenset[str]


@dataclass
class SignIn:
    """The one partner of an organisation and the tokens given out."""

    core: Core
    organization: str
    client_id: str
    client_secret: str
    access: dict[str, Grant] = field(default_factory=dict[str, Grant])
    refresh: set[str] = field(default_factory=set[str])
    """Each of them works once."""

    def token(self, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """The answer to a request for a token.

        Raises:
            SignInError: the client is unknown, or the request is none that is served.
        """
        if "application/x-www-form-urlencoded" not in headers.get("content-type", ""):
            raise SignInError("invalid_request")
        if not self._is_client(headers.get("authorization", "")):
            raise SignInError("invalid_client", status=401)
        form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        kind, scopes = form.get("grant_type"), frozenset(form.get("scope", "").split())
        if kind not in ("client_credentials", "refresh_token"):
            raise SignInError("unsupported_grant_type")
        if not scopes or not scopes <= SCOPES:
            raise SignInError("invalid_scope")
        if kind == "refresh_token" and form.get("refresh_token") not in self.refresh:
            raise SignInError("invalid_grant")
        given = {"access_token": self._new_token(scopes), "token_type": "Bearer", "expires_in": TOKEN_SECONDS}
        if kind == "refresh_token":
            self.refresh.remove(form["refresh_token"])
            return given | {"scope": " ".join(sorted(scopes)), "refresh_token": self._new_refresh()}
        if choice(self.core, "ezeep_refresh_token") == "with_client_credentials":
            given["refresh_token"] = self._new_refresh()
        return given | {"scope": ""}

    def scopes(self, headers: Mapping[str, str]) -> frozenset[str] | None:
        """What the token of a call is good for; None without a token that is known and not over."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        grant = self.access.get(token.strip()) if scheme.casefold() == "bearer" else None
        return grant.scopes if grant and grant.until > self.core.clock.now() else None

    def _is_client(self, header: str) -> bool:
        scheme, _, value = header.partition(" ")
        try:
            name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:
            return False
        return scheme.casefold() == "basic" and (name, secret) == (self.client_id, self.client_secret)

    def _new_refresh(self) -> str:
        token = secrets.token_urlsafe(32)
        self.refresh.add(token)
        return token

    def _new_token(self, scopes: frozenset[str]) -> str:
        """A token that looks like a JWT. Its signature is made up: nobody but the service can check one anyway."""
        now = self.core.clock.now()
        until = now + timedelta(seconds=TOKEN_SECONDS)
        claims = {
            "iss": ISSUER,
            "exp": int(until.timestamp()),
            "iat": int(now.timestamp()),
            "scopes": sorted(scopes),
            "sub": self.client_id,
            "org": self.organization,
        }
        head = {"alg": "RS256", "typ": "JWT"}
        parts = [json.dumps(part, separators=(",", ":")).encode() for part in (head, claims)]
        token = ".".join(_base64(part) for part in (*parts, secrets.token_bytes(256)))
        self.access = {name: grant for name, grant in self.access.items() if grant.until > now}
        self.access[token] = Grant(until, scopes)
        return token


def _base64(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


@serves("account", "POST", "/oauth/access_token/", "access_token", scopes=None)
def _token(site: EzeepSite, call: Call) -> Answer:
    given = site.signin.token(call.headers, call.body)
    invented = "refresh_token" in given and given["scope"] == ""
    return reply(200, given, invention="refresh token for client credentials" if invented else "claims of the token")
