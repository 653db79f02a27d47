"""Sign-in of the Nexudus sandbox: the token endpoint, bearer tokens and HTTP Basic (`nexudus-api.md` 1.2 to 1.4).

What belongs here: who may call. What does not: what a call does.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import parse_qs

from pipeline.sandbox.core import Core
from pipeline.sandbox.nexudus.records import Record
from pipeline.sandbox.nexudus.switches import choice

TOKEN_SECONDS = 604_799
"""The life of an access token in the documented answer (sample 09)."""


@dataclass
class SignIn:
    """The one administrator of the sandbox and the tokens given out."""

    core: Core
    email: str
    password: str
    access: dict[str, datetime] = field(default_factory=dict[str, datetime])
    refresh: dict[str, datetime] = field(default_factory=dict[str, datetime])

    def token(self, headers: Mapping[str, str], body: bytes) -> tuple[int, Record]:
        """Status and body of `POST /api/token`; a form is the only accepted body."""
        if "application/x-www-form-urlencoded" not in headers.get("content-type", ""):
            return 400, {"error": "unsupported_grant_type"}
        form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        match form.get("grant_type"):
            case "password":
                if not self._is_known(form.get("username", ""), form.get("password", "")):
                    description = "The user name or password is incorrect."
                    return 400, {"error": "invalid_grant", "error_description": description}
            case "refresh_token":
                if not self._may_refresh(headers, form.get("refresh_token", "")):
                    return 400, {"error": "invalid_grant"}
            case _:
                return 400, {"error": "unsupported_grant_type"}
        return 200, self._new_tokens()

    def allows(self, headers: Mapping[str, str]) -> bool:
        """Whether the `Authorization` header names a valid token or the administrator."""
        scheme, _, value = headers.get("authorization", "").partition(" ")
        match scheme.casefold():
            case "bearer":
                expires = self.access.get(value.strip())
                return expires is not None and expires > self.core.clock.now()
            case "basic":
                try:
                    email, _, password = base64.b64decode(value, validate=True).decode().partition(":")
                except ValueError:
                    return False
                return self._is_known(email, password)
            case _:
                return False

    def _is_known(self, email: str, password: str) -> bool:
        return email.casefold() == self.email.casefold() and password == self.password

    def _may_refresh(self, headers: Mapping[str, str], token: str) -> bool:
        if choice(self.core, "refresh_needs_client_id") == "yes" and headers.get("client_id") != self.email:
            return False
        expires = self.refresh.get(token)
        return expires is not None and expires > self.core.clock.now()

    def _new_tokens(self) -> Record:
        """Fresh tokens; earlier refresh tokens end, earlier access tokens live on (`nexudus-api.md` 1.2)."""
        now = self.core.clock.now()
        seconds = int(choice(self.core, "token_seconds"))
        access, refresh = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
        self.access = {token: end for token, end in self.access.items() if end > now}
        self.access[access] = now + timedelta(seconds=seconds)
        self.refresh = {refresh: now + timedelta(days=int(choice(self.core, "refresh_days")))}
        return {"access_token": access, "token_type": "bearer", "expires_in": seconds, "refresh_token": refresh}
