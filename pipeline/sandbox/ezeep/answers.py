"""Answers of the ezeep sandbox: JSON, the label of an invention, and every way to fail.

What belongs here: status codes and the exact keys of bodies (`ezeep-api.md` 5). What does not: when they are given.
"""

from __future__ import annotations

from pipeline.sandbox.nexudus.answers import Answer
from pipeline.sandbox.nexudus.records import dump

INVENTION = "X-Sandbox-Invention"
"""The header of an answer whose form no public source states; its value says what was invented."""

ERROR_BODY = "body of an error"
"""No source shows one: it has the form of Django REST framework, as the lists do."""


def reply(status: int, value: object, *, invention: str = "") -> Answer:
    """An answer with a JSON body, labelled when something about it was invented."""
    return Answer(status, dump(value), "application/json", _label(invention))


def gone(*, invention: str = "") -> Answer:
    """The answer to a deletion."""
    return Answer(204, b"", "", _label(invention))


def moved(address: str) -> Answer:
    """The answer to a collection without its last slash; documented for `/oauth/authorize` only."""
    return Answer(301, b"", "", {"Location": address, **_label("redirect to the slash")})


def _label(invention: str) -> dict[str, str]:
    return {INVENTION: invention} if invention else {}


class FailureError(Exception):
    """A call that fails: the status code and the JSON body of its answer."""

    def __init__(self, status: int, body: object, invention: str = ERROR_BODY) -> None:
        self.answer = reply(status, body, invention=invention)
        super().__init__(f"HTTP {status}: {body}")


class InvalidError(FailureError):
    """A field of the request breaks a rule."""

    def __init__(self, name: str, message: str, *, status: int = 400, invention: str = ERROR_BODY) -> None:
        super().__init__(status, {name: [message]}, invention)


class AbsentError(FailureError):
    """There is no such record or address."""

    def __init__(self, detail: str = "Not found.") -> None:
        super().__init__(404, {"detail": detail})


class DeniedError(FailureError):
    """The token is missing, unknown or over, or lacks a scope."""

    def __init__(self, status: int = 401, detail: str = "Authentication credentials were not provided.") -> None:
        super().__init__(status, {"detail": detail})


class SignInError(FailureError):
    """The token endpoint refuses, in the words of OAuth 2.0 (RFC 6749, 5.2)."""

    def __init__(self, error: str, *, status: int = 400) -> None:
        super().__init__(status, {"error": error})
