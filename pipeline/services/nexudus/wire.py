"""What Nexudus' answers mean, and the forms in which it writes times, numbers, filters and errors.

What belongs here: pure functions over the wire of `nexudus-api.md` sections 2, 3 and 7; section numbers below are its.
What does not: sending anything (`nexudus.py`), and business rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, cast

from pipeline.errors import (
    MissingError,
    PermanentError,
    PrintbridgeError,
    RejectedError,
    TransientError,
    UnknownOutcomeError,
)
from pipeline.services.http import http_date, shown, unsent

Record = dict[str, Any]
Kind = Literal[
    "done",       # a parsed success
    "throttled",  # definitely not done: the service asks for a pause
    "unreached",  # definitely not done: no connection was made
    "denied",     # definitely not done: the token is old, or a right or a daily limit is missing
    "missing",    # the record is not there
    "rejected",   # the service says what is wrong with the request
    "refused",    # a read that will not work until a person acts
    "passing",    # a read that failed in a way that passes
    "unknown",    # a write that may have happened
]  # fmt: skip

MEANINGS: dict[Kind, tuple[type[PrintbridgeError], str, str]] = {
    "throttled": (TransientError, "", "nothing, the next run tries again; if it stays, set `every` to look less often"),
    "unreached": (TransientError, "; nothing was sent", "{reach}"),
    "passing": (TransientError, "", "nothing, the next run tries again; if it stays, {reach}"),
    "denied": (
        PermanentError,
        ", also after a new sign-in",
        "{right}; if it has that, a daily limit on new records may be used up: wait a day",
    ),
    "missing": (MissingError, "", "nothing if the record was deleted on purpose"),
    "rejected": (RejectedError, "", "correct what Nexudus names, then run again"),
    "refused": (PermanentError, "", "{right}; if it has that, {reach}"),
    "unknown": (
        UnknownOutcomeError,
        "; it may have been carried out",
        "do not repeat it by hand: the next runs look for it before anything is sent again",
    ),
}
"""Kind -> the error, what the sentence adds, and the remedy."""

MODULES = {
    "coworkers": ("spaces", "Coworker"),
    "teams": ("spaces", "Team"),
    "products": ("billing", "Product"),
    "coworkerproducts": ("billing", "CoworkerProduct"),
    "productextraservices": ("billing", "ProductExtraService"),
    "extraservices": ("billing", "ExtraService"),
    "coworkerextraservices": ("billing", "CoworkerExtraService"),
    "tariffs": ("billing", "Tariff"),
    "tariffextraservices": ("billing", "TariffExtraService"),
    "charges": ("billing", "Charge"),
    "coworkerinvoices": ("billing", "CoworkerInvoice"),
    "coworkerinvoicelines": ("billing", "CoworkerInvoiceLine"),
    "businesses": ("sys", "Business"),
    "users": ("sys", "User"),
    "simpletimezones": ("sys", "SimpleTimeZone"),
    "currencies": ("sys", "Currency"),
}
"""Entity -> module in the address and name in filters and roles (`nexudus-api.md` 1.1, 2.4)."""

READ_ONLY = frozenset({
    "CreatedOn", "UpdatedOn", "UpdatedBy", "UniqueId", "IsNew", "SystemId", "ToStringText", "LocalizationDetails",
    "CustomFields",
})  # fmt: skip
UNREADABLE = object()
"""Stands for a body that is not JSON."""

_THROTTLE = re.compile(r"you must wait|wait \d+(\.\d+)? seconds?", re.IGNORECASE)
_HINT = re.compile(r"wait (\d+(?:\.\d+)?) seconds?", re.IGNORECASE)
_FOREIGN = re.compile(r"<(!doctype|html|head|body)\b|<\?xml|no http resource was found", re.IGNORECASE)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?")
_REFUSALS = frozenset({400, 404, 405, 422})


# --- what an answer means ---------------------------------------------------------------------------------------------


def outcome(method: str, answer: int | Exception, body: object = None, said: str = "") -> Kind:
    """What an answer means; the only place that decides it (`money-safety.md` 3.2, `nexudus-api.md` 3.3, 3.6, 7).

    Args:
        method: the HTTP method; everything but GET is a write.
        answer: the HTTP status, or the exception that came instead of an answer.
        body: the parsed JSON, or `UNREADABLE`.
        said: reason phrase and text of the body, where throttling and foreign pages show.
    """
    if isinstance(answer, Exception):
        return "unreached" if unsent(answer) else "passing" if method == "GET" else "unknown"
    if answer == 401:
        return "denied"
    if answer == 429 or (answer == 409 and _THROTTLE.search(said)):
        return "throttled"
    # A foreign page is no proof that a record is gone, and a POST names no record that could be missing.
    if answer == 404 and method != "POST" and not is_foreign(said) and (method == "DELETE" or not errors(body)):
        return "done" if method == "DELETE" else "missing"
    return _read_outcome(answer, body) if method == "GET" else _write_outcome(answer, body)


def _read_outcome(status: int, body: object) -> Kind:
    if 200 <= status < 300 and body is not UNREADABLE and field(body, "WasSuccessful") is not False:
        return "done"
    if errors(body):
        return "rejected"
    # 400 without Errors is the generic failure that comes in bursts (3.3); 404 here is somebody else's page.
    passing = status >= 500 or 200 <= status < 300 or status in {400, 404, 408, 409, 425}
    return "passing" if passing else "refused"


def _write_outcome(status: int, body: object) -> Kind:
    successful = field(body, "WasSuccessful")
    if 200 <= status < 300 and successful is True:
        return "done"
    if errors(body) and (status in _REFUSALS or (status == 200 and successful is False)):
        return "rejected"
    return "unknown"


def errors(body: object) -> list[Any]:
    """The named errors of an envelope that is not a success (3.3)."""
    named = field(body, "Errors")
    return cast("list[Any]", named) if isinstance(named, list) and field(body, "WasSuccessful") is not True else []


def rows(answer: object) -> list[Record] | None:
    """The records of a list, from its envelope or as a bare array (2.2, 2.8); None if the answer is no such list.

    A record without a readable Id could be counted but not told from another, so with one it is no list.
    """
    listed: object = cast("object", answer) if isinstance(answer, list) else field(answer, "Records")
    records = cast("list[Record]", listed) if isinstance(listed, list) else [None]
    for record in records:
        id_ = field(record, "Id")
        if isinstance(record, dict) and isinstance(id_, str) and re.fullmatch("[0-9]{1,18}", id_.strip()):
            record["Id"] = int(id_)
        elif type(id_) is not int:
            return None
    return cast("list[Record]", records)


def is_foreign(said: str) -> bool:
    """Whether a text is somebody else's page (a proxy, an unknown route) and not the API speaking."""
    return _FOREIGN.search(said) is not None


def words(body: object, said: str, *secrets: str) -> str:
    """What the service said, for a person: the named errors, else the message, else the beginning of the text."""
    if named := errors(body):
        said = "; ".join(f"{field(error, 'PropertyName')}: {field(error, 'Message')}" for error in named)
    elif message := field(body, "Message"):
        said = str(message)
    elif is_foreign(said):
        said = "a page instead of JSON"
    return shown(said, *secrets)


def role(method: str, path: str) -> str:
    """The role that a call needs, by name (1.4)."""
    _, entity, key = f"{path}//".split("/")[:3]
    right = {"POST": "Create", "PUT": "Edit", "DELETE": "Delete"}.get(method, "Read" if key else "List")
    return f"the role {MODULES[entity][1]}-{right}" if entity in MODULES else "the rights of an administrator"


def field(body: object, key: str) -> object:
    """One field of a JSON object; None if the body is no object or lacks it."""
    return cast("Record", body).get(key) if isinstance(body, dict) else None


def wait_hint(said: str, retry_after: str | None, now: datetime) -> float | None:
    """Seconds the service asks to wait: its text first, then `Retry-After` in seconds or as a date (section 7)."""
    if found := _HINT.search(said):
        return float(found[1])
    if not retry_after:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", retry_after.strip()):
        return float(retry_after)
    date = http_date(retry_after)
    return max(0.0, (date - now).total_seconds()) if date else None


# --- the forms of the wire --------------------------------------------------------------------------------------------


def moment(text: str) -> datetime:
    """A time of Nexudus as aware UTC: 0 to 7 fraction digits, with `Z`, an offset, or nothing, which means UTC (2.6).

    Raises:
        PermanentError: not a time, or one that is outside every calendar in UTC.
    """
    form = _MOMENT.fullmatch(f"{text}T00:00" if len(text) == 10 else text)
    try:
        whole = datetime.fromisoformat(form[1] + (form[3] or "Z") if form else "").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        remedy = "report it with this message"
        raise PermanentError(f"Nexudus sent {shown(text)!r} where a time belongs", remedy) from error
    fraction = (form[2] if form else None) or "0"
    return whole + timedelta(microseconds=int(fraction.ljust(6, "0")[:6]))


def minute(time_: datetime) -> str:
    """A time rounded DOWN to the minute in the form of range filters, UTC: seconds may be ignored there (2.5)."""
    return time_.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")


def replacement(record: Mapping[str, Any]) -> Record:
    """What to PUT back: a record read by id less the keys that only the service writes (3.4)."""
    return {key: value for key, value in record.items() if key not in READ_ONLY}


def query(entity: str, filters: Mapping[str, object]) -> dict[str, str]:
    """Filters as text; ranges of times only ever grow wider (2.4, 2.5).

    Raises:
        ValueError: a name that Nexudus would silently ignore, and then return everything.
    """
    form = re.compile(rf"(from_|to_)?{MODULES[entity][1]}_\w+|Id|UniqueId")
    if wrong := [name for name in filters if not form.fullmatch(name)]:
        raise ValueError(f"{wrong[0]!r} is no filter of {entity}: Nexudus would ignore it and return everything")

    def text(name: str, value: object) -> str:
        if isinstance(value, datetime):
            return minute(value + timedelta(seconds=59, microseconds=999_999) if name.startswith("to_") else value)
        return str(value).lower() if isinstance(value, bool) else str(value)

    return {name: text(name, value) for name, value in filters.items()}


def ignored_filter(entity: str, filters: Mapping[str, object], rows: Iterable[Record]) -> str | None:
    """The name of a filter that some row contradicts, which means that the service ignored it (2.1); else None.

    Numbers, flags and times are compared, times with a minute to spare; how texts match is unknown (2.4).
    """
    tests = {name: value for name, value in filters.items() if isinstance(value, int | datetime)}
    for row in rows:
        for name, value in tests.items():
            key = re.sub(rf"^(from_|to_)?({MODULES[entity][1]}_)?", "", name)
            have = row.get(key, row.get(f"{key}Id"))
            if isinstance(value, datetime):
                wrong = _outside(name, have, value)
            else:
                wrong = isinstance(have, int) and not _within(name, have, value)
            if wrong:
                return name
    return None


def _outside(name: str, have: object, value: datetime) -> bool:
    """Whether a time is surely outside a range; one that is no time proves nothing."""
    try:
        late = (moment(have) - value).total_seconds() if isinstance(have, str) else 0.0
    except PermanentError:
        return False
    return late < -120 if name.startswith("from_") else late > 120


def _within(name: str, have: int, value: object) -> bool:
    bound = cast("int", value)
    if name.startswith("from_"):
        return have >= bound
    return have <= bound if name.startswith("to_") else have == bound


def decode(content: bytes) -> object:
    """JSON with exact numbers (money is never a float), or `UNREADABLE`.

    A number that nothing can hold, or that is none (`NaN`), becomes a Decimal that is no number: it harms its record.
    """
    try:
        try:
            return json.loads(content, parse_float=Decimal, parse_constant=_number)
        except ArithmeticError:
            pass  # one exponent is beyond all bounds
        except ValueError as error:
            if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
                raise
            # one number has too many digits
        return json.loads(content, parse_float=_number, parse_int=_number, parse_constant=_number)
    except (ValueError, RecursionError):
        return UNREADABLE


def _number(text: str) -> Decimal | int:
    try:
        return int(text) if text.lstrip("-").isdecimal() else Decimal(text)
    except (ValueError, ArithmeticError):
        return Decimal("NaN")


def values(content: bytes) -> int:
    """About how many values a JSON text holds; never fewer. What a few bytes take in memory depends on them."""
    return sum(content.count(sign) for sign in (b",", b"[", b"{"))


def encode(value: object) -> object:
    """The `default` of `json.dumps`: exact decimals, and times as `YYYY-MM-DDTHH:MM:SSZ` (2.6)."""
    if isinstance(value, Decimal) and Decimal(repr(float(value))) == value:
        return float(value)  # the shortest text of the double is exactly this number
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    raise TypeError(f"{value!r} has no exact form in JSON")
