"""From the records of Nexudus to the contract tables.

What belongs here: naming, typing and trimming what Nexudus answers. What does not: fetching it, or any rule
about it. Fields that nobody needs are not kept, so no personal data enters the warehouse by accident.

Every value goes through one reading (`pipeline/services/reading.py`), here and where it is written later (`pin`,
`card`), so what is written is what was digested. What an odd value stands for:

    flags (Active, Archived, PaperCut...)       true, false, 1, 0, or these as text; null and all else: unreadable, for
                                                a guess would give or take access that nobody gave or took
    Ezeep...                                    the same, but what cannot be read is none: only an ezeep site needs it
    AccessPincode, AccessCardId, KeyFobNumber   trimmed; a number is its digits; null or blank: none
    Email                                       trimmed; null or blank: none; a control character: unreadable, for
                                                without it the e-mail would be another person's
    FullName, TeamNames, CompanyName            trimmed; a number is its text, a list is joined by commas; control
                                                characters become spaces; null: none; a name is cut at 254
    CoworkerType                                1, 2, Individual, Company; else unreadable: it decides who pays
    ids of others                               a number, also as text; null or 0: none, where none may be
    RemainingUses, Quantity                     a whole number, also as text; null: unreadable, not 0
    TotalUses                                   the same, but null: 0, for no rule needs it
    Price, TotalPrice                           cents; none where it is null or no whole number of cents
    dates                                       0 to 7 digits of a second; any offset, none: UTC; year 1: no date;
                                                ExpireDate in 9999: never; else before 1900 or after 9000: unreadable
    UpdatedOn                                   must be a date, not a year after the read: a later read begins there
    ShareExtraServices, TransferCredits...      flags, as above: null would share, or not share, what nobody decided
    PayingMemberId                              null or 0: nobody pays, so nothing is shared
    CoworkerIds, else TeamMembers               ids, a list or joined by commas; each counts once; null or blank: none
    a sale with our reference                   is always kept, with null for what cannot be read, so that it agrees
                                                with no line: left out it would be sold again
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import polars as pl

from pipeline.domain import tables
from pipeline.domain.money.references import found_in
from pipeline.domain.names import email_key
from pipeline.errors import PermanentError
from pipeline.services.nexudus import wire
from pipeline.services.reading import (
    LARGEST,
    LARGEST_ID,
    OddValueError,
    Problem,
    Read,
    address,
    flag,
    key,
    kind,
    number,
    optional_flag,
    optional_key,
    problem,
    rows_of,
    secret,
    text,
    whole,
)

Record = Mapping[str, Any]
Digest = Callable[[str | None], str | None]
Moment = Callable[[str], datetime]
Row = tuple[Any, ...]

CUSTOMER_FIELDS = (
    "Id", "Email", "FullName", "CoworkerType", "Active", "Archived", "PaperCutFreePrinting", "PaperCutPayAsYouPrint",
    "InvoicingBusinessId", "AccessPincode", "UpdatedOn",
)  # fmt: skip
"""The fields of a customer without which no decision is safe."""

EZEEP_FLAGS = {
    "ezeep_blue": ("EzeepBluePrintingEnabled", "EzeepBlueFreePrinting"),
    "ezeep": ("EzeepPrintingEnabled", "EzeepFreePrinting"),
}
"""The flags of a customer that an ezeep site goes by: may print, and prints for free."""


def customer_fields(flags: Iterable[str]) -> tuple[str, ...]:
    """The fields of a customer that sites need which go by these flags (`SiteRules.flags`)."""
    of_ezeep = (field for name in dict.fromkeys(flags) for field in EZEEP_FLAGS.get(name, ()))
    return (*CUSTOMER_FIELDS, *of_ezeep)


CREDIT_FIELDS = (
    "Id", "CoworkerId", "ExtraServiceId", "ExtraServiceIsPrintingCredit", "RemainingUses", "Notes", "UpdatedOn",
)  # fmt: skip
"""The fields of a credit without which no decision is safe."""

TEAM_FIELDS = (
    "Id", "PayingMemberId", "ShareExtraServices", "TransferCreditsToPayingMember", "CoworkerIds", "UpdatedOn",
)  # fmt: skip
"""The fields of a team without which no decision is safe."""

SALES = pl.Schema(
    {
        "remote_id": pl.Int64, "ref": pl.String, "coworker_id": pl.Int64, "quantity": pl.Int64,
        "total_cents": pl.Int64, "invoiced": pl.Boolean, "sold_at": pl.Datetime("us", "UTC"),
    }
)  # fmt: skip
"""The columns of `read_sales`. In a sale with a reference of ours, null is what cannot be read."""

PRODUCTS = pl.Schema(
    {
        "product_id": pl.Int64, "name": pl.String, "business_id": pl.Int64, "price_cents": pl.Int64,
        "archived": pl.Boolean, "currency": pl.String,
    }
)  # fmt: skip
"""The columns of `read_products`."""

LONGEST_NAME = 254  # Nexudus' own limit (`nexudus-api.md` 4.2)
_KINDS = {1: "individual", 2: "company", "individual": "individual", "company": "company", "1": "individual",
          "2": "company"}  # fmt: skip
_AHEAD = timedelta(days=366)
"""A change later than this after the read is absurd; less is a clock that differs."""


# --- customers --------------------------------------------------------------------------------------------------------


def read_customers(records: Iterable[Record], digest: Digest, moment: Moment, read_at: datetime) -> Read:
    """Nexudus coworkers as NexudusCustomers, and those that cannot be read.

    Args:
        records: API records with at least CUSTOMER_FIELDS.
        digest: makes the keyed digest of a PIN or card number.
        moment: reads a time as Nexudus writes it.
        read_at: start of the read, UTC.
    """

    def row(record: Record) -> Row:
        return (
            key(record, "Id"),
            address(record["Email"], "Email"),
            (text(record["FullName"], "FullName") or "")[:LONGEST_NAME],
            _kind(record["CoworkerType"]),
            flag(record, "Active"),
            flag(record, "Archived"),
            optional_key(record.get("TariffId"), "TariffId") is not None or _has_contracts(record),
            flag(record, "PaperCutFreePrinting"),
            flag(record, "PaperCutPayAsYouPrint"),
            *(optional_flag(record, field) for pair in EZEEP_FLAGS.values() for field in pair),
            optional_key(record["InvoicingBusinessId"], "InvoicingBusinessId"),
            digest(secret(record["AccessPincode"], "AccessPincode")),
            digest(secret(record.get("AccessCardId"), "AccessCardId")),
            digest(secret(record.get("KeyFobNumber"), "KeyFobNumber")),
            text(record.get("TeamNames"), "TeamNames"),
            text(record.get("CompanyName"), "CompanyName"),
            _date(record, "RegistrationDate", moment) or _date(record, "CreatedOn", moment),
            _updated_on(record, moment, read_at),
            read_at,
        )

    rows, problems = rows_of(records, row, "Id", _changed_at)
    columns = tables.columns("nexudus_customers")
    frame = pl.DataFrame(rows, schema={name: columns[name] for name in columns if name != "email_key"}, orient="row")
    return Read(frame.with_columns(email_key=email_key("email")).select(columns.names()), problems)


def customers(records: Iterable[Record], digest: Digest, moment: Moment, read_at: datetime) -> pl.DataFrame:
    """As `read_customers`, for those who need every record. Raises PermanentError where one cannot be read."""
    return read_customers(records, digest, moment, read_at).whole()


def pin(record: Record) -> str | None:
    """The PIN of one customer as it is written: what `read_customers` digests.

    Raises:
        PermanentError: it cannot be read; the message does not show it.
    """
    return card(record, "AccessPincode")


def card(record: Record, field: str) -> str | None:
    """A card number of one customer (AccessCardId, KeyFobNumber or AccessPincode), as it is written. As `pin`."""
    try:
        return secret(record.get(field), field)
    except OddValueError as error:
        raise PermanentError(
            f"Customer {problem(record.get('Id'), error)}; nothing was written", "correct it in Nexudus"
        ) from error


def _kind(value: object) -> str:
    form = value.strip().lower() if isinstance(value, str) else value
    found = _KINDS.get(form) if isinstance(form, str | int) and not isinstance(form, bool) else None
    if found is None:
        raise OddValueError("CoworkerType", f"is {kind(value)} where Individual or Company belongs")
    return found


def _has_contracts(record: Record) -> bool:
    contracts = record.get("CoworkerContractIds")
    if isinstance(contracts, list):
        return bool(cast("list[object]", contracts))
    return (text(contracts, "CoworkerContractIds") or "0") != "0"


# --- credits ----------------------------------------------------------------------------------------------------------


def read_credits(records: Iterable[Record], moment: Moment, read_at: datetime) -> Read:
    """Nexudus coworker extra services as NexudusCredits, and those that cannot be read.

    What is surely no printing credit is left out in silence: bookings and time are none of ours.

    Args:
        records: API records with at least CREDIT_FIELDS.
        moment: reads a time as Nexudus writes it.
        read_at: start of the read, UTC.
    """

    def row(record: Record) -> Row | None:
        if not flag(record, "ExtraServiceIsPrintingCredit"):
            return None
        total = record.get("TotalUses")
        return (
            key(record, "Id"),
            key(record, "CoworkerId"),
            optional_key(record.get("BusinessId"), "BusinessId"),
            key(record, "ExtraServiceId"),
            0 if total is None else whole(total, "TotalUses"),
            whole(record["RemainingUses"], "RemainingUses"),
            _date(record, "ValidFrom", moment),
            _expiry(record, moment),
            _reference(record["Notes"]),
            _updated_on(record, moment, read_at),
            read_at,
        )

    rows, problems = rows_of(records, row, "Id", _changed_at)
    return Read(pl.DataFrame(rows, schema=tables.columns("nexudus_credits"), orient="row"), problems)


def credits_of(records: Iterable[Record], moment: Moment, read_at: datetime) -> pl.DataFrame:
    """As `read_credits`, for those who need every record. Raises PermanentError where one cannot be read."""
    return read_credits(records, moment, read_at).whole()


# --- teams ------------------------------------------------------------------------------------------------------------


def read_teams(records: Iterable[Record], moment: Moment, read_at: datetime) -> Read:
    """Nexudus teams as NexudusTeams, and those that cannot be read.

    Args:
        records: API records with at least TEAM_FIELDS.
        moment: reads a time as Nexudus writes it.
        read_at: start of the read, UTC.
    """

    def row(record: Record) -> Row:
        return (
            key(record, "Id"),
            text(record.get("Name"), "Name") or "",
            optional_key(record.get("BusinessId"), "BusinessId"),
            optional_key(record["PayingMemberId"], "PayingMemberId"),
            flag(record, "ShareExtraServices"),
            flag(record, "TransferCreditsToPayingMember"),
            ",".join(map(str, _members(record))),
            _updated_on(record, moment, read_at),
            read_at,
        )

    rows, problems = rows_of(records, row, "Id", _changed_at)
    return Read(pl.DataFrame(rows, schema=tables.columns("nexudus_teams"), orient="row"), problems)


def _members(record: Record) -> list[int]:
    """The ids of a team's members, each once, rising."""
    value = record["CoworkerIds"]
    name, value = ("CoworkerIds", value) if value else ("TeamMembers", record.get("TeamMembers"))
    if isinstance(value, str):
        parts: list[object] = [part for part in value.split(",") if part.strip()]
    elif isinstance(value, list):
        parts = cast("list[object]", value)
    else:
        parts = [] if value is None else [value]
    return sorted({whole(part, name, 1, LARGEST_ID) for part in parts})


# --- sales and products -----------------------------------------------------------------------------------------------


def read_sales(records: Iterable[Record]) -> Read:
    """Nexudus coworker products as SALES, and those that cannot be read.

    `ref` is ours where a valid one stands in PurchaseOrder or Notes. A sale with one is kept and is a problem too:
    it is there, whatever else of it cannot be read.
    """
    damaged: list[Problem] = []

    def row(record: Record) -> Row:
        ref = _reference(record.get("PurchaseOrder")) or _reference(record.get("Notes"))
        readings: list[Callable[[], object]] = [
            lambda: key(record, "CoworkerId"),
            lambda: whole(record["Quantity"], "Quantity"),
            lambda: cents(record.get("TotalPrice"), "TotalPrice"),
            lambda: "Invoiced" in record and flag(record, "Invoiced"),
            lambda: _date(record, "SaleDate", wire.moment) or _date(record, "CreatedOn", wire.moment),
        ]
        found: list[object] = [key(record, "Id"), ref]
        for reading in readings:
            try:
                found.append(reading())
            except (OddValueError, KeyError) as error:
                if ref is None:
                    raise
                damaged.append(problem(record["Id"], error, _changed_at(record)))
                found.append(None)
        return tuple(found)

    rows, problems = rows_of(records, row, "Id", _changed_at)
    return Read(pl.DataFrame(rows, schema=SALES, orient="row"), problems + damaged)


def sales(records: Iterable[Record]) -> pl.DataFrame:
    """The frame of `read_sales`: every sale with a reference of ours, and all others that can be read."""
    return read_sales(records).frame


def read_products(records: Iterable[Record]) -> Read:
    """Nexudus products as PRODUCTS, and those that cannot be read."""

    def row(record: Record) -> Row:
        return (
            key(record, "Id"),
            text(record.get("Name"), "Name") or "",
            optional_key(record.get("BusinessId"), "BusinessId"),
            cents(record.get("Price"), "Price"),
            flag(record, "Archived"),
            text(record.get("CurrencyCode"), "CurrencyCode"),
        )

    rows, problems = rows_of(records, row, "Id", _changed_at)
    return Read(pl.DataFrame(rows, schema=PRODUCTS, orient="row"), problems)


def cents(amount: object, field: str | None = None) -> int | None:
    """An amount of money in whole cents; None where it is absent or no whole number of cents.

    Args:
        amount: as Nexudus writes it: a number, or its text.
        field: where an amount that cannot be read at all is an `OddValueError` of this field, and not None.
    """
    if amount is None:
        return None
    amount = number(amount)
    if amount is None:
        if field:
            raise OddValueError(field, f"is no amount of money up to {LARGEST}")
        return None
    scaled = Decimal(amount) * 100
    return int(scaled) if scaled == scaled.to_integral_value() else None


def _reference(value: object) -> str | None:
    """A reference of ours in a field for texts, in whatever form it comes."""
    return found_in(value if isinstance(value, str) else repr(value)) if value is not None else None


# --- dates ------------------------------------------------------------------------------------------------------------


def _date(record: Record, field: str, moment: Moment) -> datetime | None:
    value = record.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise OddValueError(field, f"is {kind(value)} where a date belongs")
    form = value.strip()
    if not form or form.startswith("0001-"):
        return None
    try:
        found = moment(form)
    except PermanentError as error:
        raise OddValueError(field, "is no date") from error
    if 1900 <= found.year <= 9000:
        return found
    raise OddValueError(field, "is a date before 1900 or after 9000")


def _expiry(record: Record, moment: Moment) -> datetime | None:
    value = record.get("ExpireDate")
    never = isinstance(value, str) and value.strip().startswith("9999-")
    return None if never else _date(record, "ExpireDate", moment)


def _updated_on(record: Record, moment: Moment, read_at: datetime) -> datetime:
    if "UpdatedOn" not in record:
        raise OddValueError("UpdatedOn", "is missing")
    found = _date(record, "UpdatedOn", moment)
    if found is None or found > read_at + _AHEAD:
        raise OddValueError("UpdatedOn", "is no date" if found is None else "is more than a year after the read")
    return found


def _changed_at(record: Record) -> datetime | None:
    try:
        return _date(record, "UpdatedOn", wire.moment)
    except OddValueError:
        return None
