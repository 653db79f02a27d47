"""Tolerant reading: what a record of any service gives, beside what of it cannot be read.

What belongs here: one value at a time, taken for what it plainly means, and the reason where it means nothing. What
does not: which fields a record has and what an odd one stands for; that is a table in each service's `records.py`.

Nothing here raises for what a service sends: a record that cannot be read is left out of the frame and named by its id
and field, so that it harms itself only. It is never taken for a record that is gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, cast

import polars as pl

from pipeline.errors import PermanentError

Record = Mapping[str, Any]

LARGEST = 10**12
"""Numbers of credits, cents and pages beyond this, on either side of 0, are absurd."""
LARGEST_ID = 2**63 - 1
LONGEST_SECRET = 64
"""Characters of a PIN or card number."""
LONGEST_ID = 200
"""Characters of an id or name that a message shows."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]+")
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}(\.0{0,9})?")
_FLAGS: dict[object, bool] = {"true": True, "1": True, 1: True, "false": False, "0": False, 0: False}


class Problem(NamedTuple):
    """A record that cannot be read.

    Attributes:
        id: its id or name, as text.
        field: the field that cannot be read, as the service calls it.
        why: what is wrong with it, without its value, which may be secret.
        changed_at: when the record was changed last, if that can be read.
    """

    id: str
    field: str
    why: str
    changed_at: datetime | None = None

    def __str__(self) -> str:
        return f"{self.id}: {self.field} {self.why}"


class Read(NamedTuple):
    """What a list gave.

    Attributes:
        frame: the records that can be read.
        problems: the others. None of them may be taken for gone.
    """

    frame: pl.DataFrame
    problems: list[Problem]

    def whole(self) -> pl.DataFrame:
        """The frame, for those who need every record.

        Raises:
            PermanentError: a record cannot be read; the first ones are named.
        """
        if not self.problems:
            return self.frame
        named = "; ".join(map(str, self.problems[:3]))
        more = f"; and {len(self.problems) - 3} more" if len(self.problems) > 3 else ""
        raise PermanentError(
            f"{len(self.problems)} records cannot be read: {named}{more}", "correct these fields where they are kept"
        )


class OddValueError(Exception):
    """A value that cannot be read."""

    def __init__(self, field: str, why: str) -> None:
        self.field, self.why = field, why
        super().__init__(f"{field} {why}")


def problem(id_: object, error: OddValueError | KeyError, changed_at: datetime | None = None) -> Problem:
    """What an error of the readers below says of a record; a KeyError is a field that is not there."""
    huge = isinstance(id_, int) and abs(id_) > LARGEST_ID
    shown = "(a number beyond all bounds)" if huge else plain(str(id_))[:LONGEST_ID] or "(without a name)"
    if isinstance(error, OddValueError):
        return Problem(shown, error.field, error.why, changed_at)
    return Problem(shown, str(error.args[0]), "is missing", changed_at)


# --- one value --------------------------------------------------------------------------------------------------------


def flag(record: Record, field: str) -> bool:
    """A yes or no: true, false, 1, 0, or these as text. Nothing else, and not null: it gives or takes access."""
    value = record[field]
    if value is True or value is False:
        return value
    found = _FLAGS.get(value.strip().lower() if isinstance(value, str) else number(value))
    if found is None:
        raise OddValueError(field, f"is {kind(value)} where yes or no belongs")
    return found


def optional_flag(record: Record, field: str) -> bool | None:
    """A yes or no that few need: None where it is not there or means neither; whoever needs it says what follows."""
    try:
        return flag(record, field)
    except (OddValueError, KeyError):
        return None


def whole(value: object, field: str, low: int = -LARGEST, high: int = LARGEST) -> int:
    """A whole number, also as text (`"500"`) or with a fraction of zeros (`500.0`)."""
    if type(value) is int:
        number = value
    elif isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        number = int(value.strip().partition(".")[0])
    elif isinstance(value, Decimal | float):
        exact = Decimal(repr(value)) if isinstance(value, float) else value
        # Compared before it is written out: 1e999999999 has a thousand million digits.
        if not exact.is_finite() or not low <= exact <= high or exact != exact.to_integral_value():
            raise OddValueError(field, f"is no whole number from {low} to {high}")
        number = int(exact)
    else:
        raise OddValueError(field, f"is {kind(value)} where a whole number belongs")
    if low <= number <= high:
        return number
    raise OddValueError(field, f"is not between {low} and {high}")


def number(value: object) -> Decimal | None:
    """An exact number, also as text, up to `LARGEST` on either side of 0; None for anything else."""
    try:
        if isinstance(value, str | float):
            value = Decimal(value.strip() if isinstance(value, str) else repr(value))
    except ArithmeticError:
        return None
    if type(value) is int:
        value = Decimal(value)
    if isinstance(value, Decimal) and value.is_finite() and -LARGEST <= value <= LARGEST:
        return value
    return None


def key(record: Record, field: str) -> int:
    """The id of a record, or of one that it must name."""
    value = record[field]
    if type(value) is int and 0 < value <= LARGEST_ID:
        return value
    return whole(value, field, 1, LARGEST_ID)


def optional_key(value: object, field: str) -> int | None:
    """The id of a record that may be named; null and 0 mean none."""
    if value is None or (type(value) is int and value == 0):
        return None
    return whole(value, field, 0, LARGEST_ID) or None


def text(value: object, field: str) -> str | None:
    """A text for people: trimmed, without control characters and half characters; several are joined by commas."""
    if type(value) is str:
        return plain(value) or None
    if value is None:
        return None
    if isinstance(value, list):
        parts = [text(part, field) for part in cast("list[object]", value) if not isinstance(part, list)]
        return ", ".join(part for part in parts if part) or None
    if isinstance(value, str):
        return plain(value) or None
    if isinstance(value, float | Decimal) or (type(value) is int and abs(value) <= LARGEST_ID):
        return str(value)
    raise OddValueError(field, f"is {kind(value)} where a text belongs")


def plain(value: str) -> str:
    """A text without control characters and half characters, trimmed."""
    value = value.strip()
    if value.isprintable():
        return value
    return _CONTROL.sub(" ", joined(value)).strip()


def joined(value: str) -> str:
    """A text with its half characters (surrogates) put together, or replaced where the other half is missing."""
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def address(value: object, field: str) -> str | None:
    """An e-mail: trimmed, else exactly as it is, for what is taken out of it would make it another person's."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise OddValueError(field, f"is {kind(value)} where an e-mail belongs")
    trimmed = value.strip()
    whole_text = trimmed.isprintable() or not (_CONTROL.search(trimmed) or joined(trimmed) != trimmed)
    if not whole_text or "\ufffd" in trimmed:
        raise OddValueError(field, "holds a control character or half a character")
    return trimmed or None


def secret(value: object, field: str) -> str | None:
    """A PIN or card number: trimmed; a number stands for its digits. No message shows it."""
    if value is None:
        return None
    if isinstance(value, str):
        trimmed = value.strip()
        if not trimmed.isprintable() or any(each > "\uffff" for each in trimmed):
            raise OddValueError(field, "holds a character that cannot be typed or sent")
    else:
        trimmed = str(whole(value, field, 0, 10**LONGEST_SECRET))
    if len(trimmed) > LONGEST_SECRET:
        raise OddValueError(field, f"is longer than {LONGEST_SECRET} characters")
    return trimmed or None


def kind(value: object) -> str:
    """What kind of thing stands where another belongs, in a few words, never the thing itself."""
    if value is None:
        return "null"
    names: dict[type, str] = {str: "another text", bool: "yes or no", list: "a list", dict: "an object"}
    return names.get(type(value), "another number")


def rows_of(
    records: Any, row: Callable[[Record], tuple[Any, ...] | None], id_field: str, changed_at: Callable[[Record], Any]
) -> tuple[list[tuple[Any, ...]], list[Problem]]:
    """Every record as a row, and those that cannot be read; a record that comes twice counts as it came last.

    Args:
        records: the records of one list.
        row: makes the row, which begins with the id, or None for a record that is none of ours.
        id_field: the field with the id.
        changed_at: when a record was changed last, or None.
    """
    rows: dict[object, tuple[Any, ...]] = {}
    problems: dict[object, Problem] = {}
    for record in records:
        try:
            found = row(record)
        except (OddValueError, KeyError) as error:
            found_problem = problem(record.get(id_field), error, changed_at(record))
            problems[found_problem.id] = found_problem
        else:
            if found is not None:
                rows[found[0]] = found
    kept = [each for id_, each in rows.items() if str(id_) not in problems] if problems else list(rows.values())
    return kept, list(problems.values())
