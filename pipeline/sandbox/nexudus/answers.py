"""Answers of the Nexudus sandbox: the write envelope, and every way to fail (`nexudus-api.md` 3.2, 3.3, 3.6 and 7).

What belongs here: status codes and the exact keys of bodies. What does not: when they are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.sandbox.nexudus.records import Record, dump


class Answer(NamedTuple):
    """An HTTP answer. `reason` is given where the service has a status line of its own."""

    status: int
    body: bytes
    media_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = {}
    reason: str = ""


def json_answer(status: int, value: object) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, dump(value))


def envelope(message: str, value: object) -> Record:
    """The body of a successful write (sample 02)."""
    return {
        "Status": 200,
        "Message": message,
        "Value": value,
        "OpenInDialog": False,
        "OpenInWindow": False,
        "RedirectURL": None,
        "JavaScript": None,
        "Errors": None,
        "WasSuccessful": True,
    }


def error(name: str, message: str, value: object = None) -> Record:
    """One entry of `Errors`; names of references lose their `Id`."""
    return {"AttemptedValue": value, "Message": message, "PropertyName": name.removesuffix("Id")}


class FailureError(Exception):
    """A call that fails: the status code and the JSON body of its answer."""

    def __init__(self, status: int, body: object) -> None:
        self.status = status
        self.body: Any = body
        super().__init__(f"HTTP {status}: {body}")


class InvalidError(FailureError):
    """The record breaks rules: HTTP 400 with a body that says 500 (sample 07)."""

    def __init__(self, *errors: Record) -> None:
        # Sample 07 names the e-mail first although its list starts with the full name: longest text, then name.
        first = min(errors, key=lambda entry: (-len(entry["Message"]), entry["PropertyName"]))
        message = f"{first['PropertyName']}: {first['Message']}"
        body = {"Status": 500, "Message": message, "Value": None, "WasSuccessful": False, "Errors": list(errors)}
        super().__init__(400, body)


class RefusedError(FailureError):
    """A failure in the clothes of a success: HTTP 200 with `WasSuccessful` false."""

    def __init__(self, message: str) -> None:
        super().__init__(200, envelope(message, None) | {"Status": 500, "WasSuccessful": False})


class GenericError(FailureError):
    """The catch-all failure."""

    def __init__(self, status: int = 500) -> None:
        message = "Ooops! There was a problem while running this action. Please try again or contact support."
        super().__init__(status, {"Message": message})


class AbsentError(FailureError):
    """There is no such record, entity or address."""

    def __init__(self) -> None:
        super().__init__(404, "Not found")


class DeniedError(FailureError):
    """Sign-in failed or a right is missing: both 401, unless the switch says 403 (`nexudus-api.md` 1.4)."""

    def __init__(self, status: int = 401, body: object = None) -> None:
        super().__init__(status, body or {"Message": "Authorization has been denied for this request."})


def throttled(style: str, seconds: float) -> Answer:
    """The answer "too many requests" in one of three styles (`nexudus-api.md` 7, sample 10).

    Args:
        style: `429_text`, `429_retry_after` or `409_legacy`.
        seconds: how long the caller should wait.
    """
    hint = max(seconds, 0.1)
    match style:
        case "409_legacy":
            headers = {"Retry-After": str(max(round(hint), 1)), "Cache-Control": "no-cache"}
            return Answer(409, b"", "", headers, "You must wait before accessing this url again.")
        case "429_retry_after":
            return Answer(429, b"", "", {"Retry-After": str(max(round(hint + 0.49), 1))})
        case _:
            return json_answer(429, {"Message": f"Too many requests. Wait {hint:.1f} seconds before trying again."})
