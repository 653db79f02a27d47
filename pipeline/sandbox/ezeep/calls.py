"""One call as the ezeep sandbox sees it: its parts, and reading what it sends.

What belongs here: the fields of a request, each with what it may be, and the page that a list call asks for. What does
not: what a call does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import urlencode

from pipeline.sandbox.core import Core
from pipeline.sandbox.ezeep.answers import AbsentError, FailureError, InvalidError
from pipeline.sandbox.ezeep.switches import choice

Json = dict[str, Any]
Item = TypeVar("Item")

REQUIRED = "This field is required."


class Call(NamedTuple):
    """A call: the service (`account` or `api`), the path below it, and what came with it."""

    service: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    address: str
    """Of the service, as the caller reaches it: links in answers begin with it."""
    parameters: Mapping[str, str] = {}
    """The parts of the path that stand for something: `id`."""

    def content(self) -> Json:
        """The JSON object in the body.

        Raises:
            FailureError: there is none.
        """
        try:
            content: Any = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise FailureError(400, {"detail": "JSON parse error"}) from error
        if not isinstance(content, dict):
            raise InvalidError("non_field_errors", "Invalid data. Expected a dictionary.")
        return cast("Json", content)


def text(content: Json, name: str, *, most: int = 255, required: bool = True) -> str:
    """A text of a request, "" when it may be left out and is.

    Raises:
        InvalidError: it is missing, no text, or too long.
    """
    value = content.get(name)
    if value is None or value == "":
        if required:
            raise InvalidError(name, REQUIRED if value is None else "This field may not be blank.")
        return ""
    if not isinstance(value, str):
        raise InvalidError(name, "Not a valid string.")
    if len(value) > most:
        raise InvalidError(name, f"Ensure this field has no more than {most} characters.")
    return value


def flag(content: Json, name: str, *, default: bool) -> bool:
    """A truth value of a request.

    Raises:
        InvalidError: it is something else.
    """
    value = content.get(name, default)
    if not isinstance(value, bool):
        raise InvalidError(name, "Must be a valid boolean.")
    return value


def address(content: Json) -> str:
    """The e-mail address of a request.

    Raises:
        InvalidError: it is missing, or no address.
    """
    email = text(content, "email", most=254).strip()
    name, _, host = email.rpartition("@")
    if not name or "." not in host or any(character.isspace() for character in email):
        raise InvalidError("email", "Enter a valid email address.")
    return email


def moment(content: Json, name: str) -> datetime:
    """A date or time of a request, UTC where it has no zone.

    Raises:
        InvalidError: it is missing, or none.
    """
    try:
        return instant(text(content, name))
    except (ValueError, OverflowError) as error:
        raise InvalidError(name, "Datetime has wrong format. Use YYYY-MM-DDThh:mm:ss.") from error


def instant(value: str) -> datetime:
    """A date or time in ISO-8601 as a moment, UTC where it has no zone.

    Raises:
        ValueError: it is none.
    """
    found = datetime.fromisoformat(value)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def stamp(at: datetime, timespec: str = "microseconds") -> str:
    """A moment as the service writes it."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def page(core: Core, call: Call, items: Sequence[Item], show: Callable[[Item], Json]) -> Json:
    """The page of a list that a call asks for.

    The account service counts in `page` and `per_page`, the other one in `limit` and `offset`.

    Raises:
        AbsentError: there is no such page.
    """
    most = max(int(choice(core, "ezeep_page_size")), 1)
    by_number = call.service == "account"
    size = min(_number(call.query, "per_page" if by_number else "limit", most) or most, most)
    if by_number:
        begin = (_number(call.query, "page", 1) - 1) * size
        if begin < 0 or (begin and begin >= len(items)):
            raise AbsentError("Invalid page.")
    else:
        begin = _number(call.query, "offset", 0)

    def link(start: int) -> str:
        place = {"page": start // size + 1, "per_page": size} if by_number else {"limit": size, "offset": start}
        return f"{call.address}{call.path}?{urlencode({**call.query, **place})}"

    return {
        "count": len(items),
        "next": link(begin + size) if begin + size < len(items) else None,
        "previous": link(max(begin - size, 0)) if begin > 0 else None,
        "results": [show(item) for item in items[begin : begin + size]],
    }


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    """A number of the query; one that is none counts as not given, as in Django REST framework."""
    given = query.get(name, "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else default
