"""What records of the Nexudus sandbox look like: fields, kinds, defaults, and their form on the wire.

What belongs here: one `Entity` per record type (`nexudus-api.md` 4) and the conversion of single values. What does not:
what happens when a record is written (`rules.py`), lists (`lists.py`), HTTP (`service.py`).

A record is kept as a dict of the values that differ from the entity's defaults. Dates are kept as text of fixed width
(`2026-04-06T12:35:24.0050623Z`), so that they compare as text and keep the seven digits that the service writes.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, cast

Record = dict[str, Any]
Kind = Literal["text", "flag", "whole", "decimal", "date", "ref", "list"]

ENUMS: dict[str, dict[int, str]] = {
    "eCoworkerType": {1: "Individual", 2: "Company"},
    "eGender": {1: "NotSet", 2: "Male", 3: "Female", 4: "Other", 5: "RatherNotSay"},
    "eTaxRateType": {1: "Default", 2: "Reduced", 3: "Exempt"},
    "eAttendance": {
        1: "WorkingFromOffice",
        2: "WorkingFromHome",
        3: "WorkingFromAbroad",
        4: "NotWorking",
        5: "Undefined",
    },
    "eChargePeriod": {1: "Minutes", 2: "Days", 3: "Weeks", 4: "Months", 5: "Uses", 6: "FourWeekMonths"},
    "eRepeatCycle": {1: "PricePlan", 2: "Day", 3: "Week", 4: "Month", 5: "Year", 6: "LastDayOfMonth"},
    "eLastMinuteAdjustmentType": {1: "Disabled", 2: "Fixed", 3: "Gradual"},
    "eAvailableAs": {0: "None", 1: "RecurrentOrOneOff", 2: "OnlyRecurrent", 3: "OnlyOneOff"},
    "eSystemProductType": {
        0: "None",
        1: "DayPass",
        2: "CreditBundle",
        3: "Stationery",
        4: "BookingFeature",
        5: "BookingProducts",
        99: "Other",
    },
}

REFERENCES = {
    "Coworker": "coworkers",
    "Business": "businesses",
    "InvoicingBusiness": "businesses",
    "Product": "products",
    "ExtraService": "extraservices",
    "CoworkerInvoice": "coworkerinvoices",
    "PayingMember": "coworkers",
    "User": "users",
    "Tariff": "",
}
"""Domain name of a reference (its key is the name + `Id`) -> the entity it points to; empty: not in the sandbox."""


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a record. `enum` names its enumeration, `places` the decimals that the service keeps at least."""

    kind: Kind
    default: Any = None
    enum: str = ""
    places: int = 0

    def parse(self, value: Any) -> Any:
        """A JSON value as it is kept; `None` gives the default.

        Raises:
            ValueError, TypeError, ArithmeticError: the value does not fit the kind.
        """
        if value is None:
            return self.default
        parsers: dict[Kind, Callable[[Any], Any]] = {
            "text": str,
            "flag": _flag,
            "whole": self._whole,
            "ref": self._whole,
            "decimal": self._decimal,
            "date": lambda text: stamp_of(str(text)),
            "list": lambda items: [int(item) for item in items],
        }
        return parsers[self.kind](value)

    def given(self, value: Any) -> Any:
        """A value from a world file or the screens, as it will be served: odd ones stay as they are, null stays null.

        Raises:
            ValueError, TypeError, ArithmeticError: an amount that is no number, which nothing could be charged with.
        """
        if value is None or self.kind in {"text", "flag"}:
            return value
        expected: dict[str, tuple[type, ...]] = {"whole": (int, str) if self.enum else (int,), "date": (str,)}
        if not isinstance(value, expected.get(self.kind, object)) or (self.kind == "list" and isinstance(value, str)):
            return cast("Any", value)
        try:
            return self.parse(value)
        except (ValueError, TypeError, ArithmeticError):
            if self.kind != "decimal" or isinstance(value, Decimal):
                return value
            raise

    def _whole(self, value: Any) -> int:
        if isinstance(value, str) and self.enum:
            for number, word in ENUMS[self.enum].items():
                if word.casefold() == value.casefold():
                    return number
        exact = Decimal(str(value))
        most = 2**63 if self.kind == "ref" else 2**31
        if not exact.is_finite() or not -most <= exact < most or exact != int(exact):
            message = f"{str(value)[:40]} is not a whole number"
            raise ValueError(message)
        return int(exact)

    def _decimal(self, value: Any) -> Decimal:
        number = Decimal(str(value))
        if not number.is_finite():
            message = f"{value} is not a finite number"
            raise ValueError(message)
        places = -int(number.as_tuple().exponent)
        return number if places >= self.places else number.quantize(Decimal(1).scaleb(-self.places))


@dataclass(frozen=True)
class Entity:
    """One record type.

    Args:
        name: the domain name, which prefixes filters (`Coworker_Email`).
        title: the word in messages ("Product Sale ... was successfully created.").
        fields: every key of a record, in wire order.
        order: the default order of lists.
        required: keys without which a create is refused; `required_on_update` come on top for a full replacement.
        verbs: what HTTP verbs the service offers.
    """

    name: str
    module: str
    path: str
    title: str
    first_id: int
    fields: Mapping[str, Field]
    order: str = "Id"
    required: tuple[str, ...] = ()
    required_on_update: tuple[str, ...] = ()
    read_only: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset({"GET", "POST", "PUT", "DELETE"})
    defaults: Record = field(init=False)
    dates: tuple[str, ...] = field(init=False)
    lists: tuple[str, ...] = field(init=False)
    keys: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "defaults", {name: item.default for name, item in self.fields.items()})
        put(self, "dates", tuple(name for name, item in self.fields.items() if item.kind == "date"))
        put(self, "lists", tuple(name for name, item in self.fields.items() if item.kind == "list"))
        put(self, "keys", {name.casefold(): name for name in self.fields})

    def full(self, values: Record) -> Record:
        """Every key of the record."""
        return {**self.defaults, **values}

    def sparse(self, values: Record) -> Record:
        """Only the values that differ from the defaults."""
        defaults = self.defaults
        return {name: value for name, value in values.items() if name not in defaults or value != defaults[name]}


def fields(text: str) -> dict[str, Field]:
    """Fields from lines of `kind: Name Name=default ...`; the base fields that every entity has come last.

    Kinds are those of `Field`, plus `price` (a decimal with five places) and the names of enumerations. Without a
    default a flag is false, a list is null, and everything else is null.
    """
    return dict(_field_lines(text + BASE_FIELDS))


def _field_lines(text: str) -> Iterator[tuple[str, Field]]:
    for line in filter(None, (line.strip() for line in text.splitlines())):
        kind, _, names = line.partition(":")
        for entry in names.split():
            name, _, default = entry.partition("=")
            yield name, _field(kind, default)


def _field(kind: str, default: str) -> Field:
    value: Any = json.loads(default, parse_float=Decimal) if default else None
    match kind:
        case "flag":
            return Field("flag", value if default else False)
        case "price":
            return Field("decimal", value, places=5)
        case "text" | "whole" | "decimal" | "date" | "ref" | "list":
            return Field(kind, value)
        case _:
            return Field("whole", value, enum=kind)


BASE_FIELDS = """
    whole: Id=0
    date: UpdatedOn CreatedOn
    text: UniqueId UpdatedBy
    flag: IsNew
    text: SystemId ToStringText LocalizationDetails CustomFields
"""
BASE_READ_ONLY = frozenset(re.findall(r"\w+(?=[ \n=])", re.sub(r"\w+:", "", BASE_FIELDS)))

# Dates ------------------------------------------------------------------------------------------------------------


def stamp(moment: datetime) -> str:
    """A moment of the server: UTC with seven digits, the last one made up from the microsecond."""
    moment = moment.astimezone(UTC)
    return f"{_seconds(moment)}.{moment.microsecond:06d}{moment.microsecond % 10}Z"


def stamp_of(text: str) -> str:
    """A date from the wire (any ISO-8601 form; without a zone it is UTC) in the form that is kept.

    Raises:
        ValueError: not a date, or one outside of the years 1 to 9999.
    """
    moment = datetime.fromisoformat(text.strip())
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error
    return f"{_seconds(moment)}.{moment.microsecond:06d}0Z"


def _seconds(moment: datetime) -> str:
    """Date and time of fixed width, also in the year 1."""
    return moment.replace(microsecond=0, tzinfo=None).isoformat()


_KEPT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z")


def trimmed(kept: Any) -> Any:
    """The form in answers to writes: no trailing zeros of the fraction (`nexudus-api.md` 2.6); odd values as given."""
    return kept[:-1].rstrip("0").rstrip(".") + "Z" if is_date(kept) else kept


def whole_seconds(kept: Any) -> Any:
    """The form in reads: no fraction; odd values as given."""
    return kept[:19] + "Z" if is_date(kept) else kept


def is_date(kept: Any) -> bool:
    """Whether a kept value is a date, and not something odd that was given in its place."""
    return isinstance(kept, str) and _KEPT.fullmatch(kept) is not None


# Values -----------------------------------------------------------------------------------------------------------


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "false": False, "1": True, "0": False}
    try:
        return words[str(value).strip().casefold()]
    except KeyError:
        message = f"{value!r} is neither true nor false"
        raise ValueError(message) from None


_MARK = f"\ue000{secrets.token_hex(8)}:"
_DECIMAL = re.compile(f'"{_MARK}([^"]*)"')
"""A decimal, marked so that it can lose its quotes: the json module cannot write decimals. No text has this mark."""

LONGEST = 40
"""A number with more digits before or behind the point is written with an exponent."""


def _marked(value: object) -> str:
    if not isinstance(value, Decimal):
        message = f"{type(value).__name__} has no JSON form"
        raise TypeError(message)
    exponent = int(value.as_tuple().exponent)
    if value.adjusted() > LONGEST or exponent < -LONGEST:
        return f"{_MARK}{value:E}"
    text = f"{value:f}"
    return f"{_MARK}{text}" if "." in text else f"{_MARK}{text}.0"


def dump(value: object) -> bytes:
    """JSON as the service writes it: UTF-8, no white space, decimals with their own number of places (`0.01000`).

    Half of a surrogate pair, which UTF-8 cannot hold, is written as its escape.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_marked)
    if _MARK in text:
        text = _DECIMAL.sub(r"\1", text)
    return text.encode("utf-8", "backslashreplace")


def load(body: bytes | str) -> Any:
    """JSON with numbers that have a fraction as Decimal.

    Raises:
        ValueError: not JSON, nested beyond reason, or with an infinity.
    """
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
    except RecursionError as error:
        message = "the JSON is nested too deeply"
        raise ValueError(message) from error


def _no_constant(name: str) -> None:
    message = f"{name} is no JSON"
    raise ValueError(message)
