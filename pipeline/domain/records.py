"""From the services' records to the contract tables.

What belongs here: naming, typing and trimming what Nexudus and PaperCut answer. What does not: fetching it, or any rule
about it. Fields that nobody needs are not kept, so no personal data enters the warehouse by accident.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from pipeline.domain import schemas
from pipeline.domain.references import found_in
from pipeline.domain.users import email_key

Record = Mapping[str, Any]
Digest = Callable[[str | None], str | None]
Moment = Callable[[str], datetime]

CUSTOMER_FIELDS = (
    "Id", "Email", "FullName", "CoworkerType", "Active", "Archived", "PaperCutFreePrinting", "PaperCutPayAsYouPrint",
    "InvoicingBusinessId", "AccessPincode", "UpdatedOn",
)  # fmt: skip
"""The fields of a customer without which no decision is safe."""

CREDIT_FIELDS = (
    "Id", "CoworkerId", "ExtraServiceId", "ExtraServiceIsPrintingCredit", "RemainingUses", "Notes", "UpdatedOn",
)  # fmt: skip
"""The fields of a credit without which no decision is safe."""

USER_PROPERTIES = (
    "full-name", "email", "primary-card-number", "notes", "internal", "disabled-print", "restricted", "balance",
)  # fmt: skip
"""The PaperCut properties that the plan needs (`papercut-api.md` 4.1), in the order that `user_rows` expects."""

_USER_ROWS = pl.Schema(
    {
        "username": pl.String, "full_name": pl.String, "email": pl.String, "card_number": pl.String,
        "notes": pl.String, "internal": pl.Boolean, "disabled_print": pl.Boolean, "restricted": pl.Boolean,
        "balance": pl.Decimal(18, 6),
    }
)  # fmt: skip

_COMPANY = (2, "Company")

SALES = pl.Schema(
    {
        "remote_id": pl.Int64, "ref": pl.String, "coworker_id": pl.Int64, "quantity": pl.Int64,
        "total_cents": pl.Int64, "invoiced": pl.Boolean,
    }
)  # fmt: skip
"""The columns of `sales`."""


def customers(records: Iterable[Record], digest: Digest, moment: Moment, read_at: datetime) -> pl.DataFrame:
    """Nexudus coworkers as NexudusCustomers.

    Args:
        records: API records with at least CUSTOMER_FIELDS.
        digest: makes the keyed digest of a PIN or card number.
        moment: reads a time as Nexudus writes it.
        read_at: start of the read, UTC.
    """
    rows = [
        {
            "coworker_id": record["Id"],
            "email": _text(record["Email"]),
            "full_name": _text(record["FullName"]) or "",
            "kind": "company" if record["CoworkerType"] in _COMPANY else "individual",
            "active": record["Active"],
            "archived": record["Archived"],
            "member": bool(record.get("TariffId")) or bool(record.get("CoworkerContractIds")),
            "free": record["PaperCutFreePrinting"],
            "pay": record["PaperCutPayAsYouPrint"],
            "business_id": record["InvoicingBusinessId"],
            "pin_digest": digest(record["AccessPincode"]),
            "access_card_digest": digest(record.get("AccessCardId")),
            "key_fob_digest": digest(record.get("KeyFobNumber")),
            "team": _text(record.get("TeamNames")),
            "company": _text(record.get("CompanyName")),
            "registered_at": _time(record.get("RegistrationDate") or record.get("CreatedOn"), moment),
            "updated_on": moment(record["UpdatedOn"]),
            "read_at": read_at,
        }
        for record in records
    ]
    columns = schemas.columns("nexudus_customers")
    frame = pl.DataFrame(rows, schema={name: columns[name] for name in columns if name != "email_key"}, orient="row")
    return frame.with_columns(email_key=email_key("email")).select(columns.names())


def credits_of(records: Iterable[Record], moment: Moment, read_at: datetime) -> pl.DataFrame:
    """Nexudus coworker extra services as NexudusCredits; what is not a printing credit is left out.

    Args:
        records: API records with at least CREDIT_FIELDS.
        moment: reads a time as Nexudus writes it.
        read_at: start of the read, UTC.
    """
    rows = [
        {
            "credit_id": record["Id"],
            "coworker_id": record["CoworkerId"],
            "business_id": record.get("BusinessId"),
            "extra_service_id": record["ExtraServiceId"],
            "total_uses": record.get("TotalUses") or 0,
            "remaining_uses": record["RemainingUses"] or 0,
            "valid_from": _time(record.get("ValidFrom"), moment),
            "expires_at": _time(record.get("ExpireDate"), moment),
            "last_use": found_in(record.get("Notes")),
            "updated_on": moment(record["UpdatedOn"]),
            "read_at": read_at,
        }
        for record in records
        if record["ExtraServiceIsPrintingCredit"]
    ]
    return pl.DataFrame(rows, schema=schemas.columns("nexudus_credits"), orient="row")


def sales(records: Iterable[Record]) -> pl.DataFrame:
    """Nexudus coworker products as SALES; `ref` is ours where a valid one stands in PurchaseOrder or Notes."""
    rows = [
        {
            "remote_id": record["Id"],
            "ref": found_in(record.get("PurchaseOrder")) or found_in(record.get("Notes")),
            "coworker_id": record["CoworkerId"],
            "quantity": record["Quantity"],
            "total_cents": cents(record.get("TotalPrice")),
            "invoiced": bool(record.get("Invoiced")),
        }
        for record in records
    ]
    return pl.DataFrame(rows, schema=SALES, orient="row")


def mark(site: str, coworker_id: int) -> str:
    """The text in PaperCut's notes that says a user is ours, and whose."""
    return f"printbridge:{site}:{coworker_id}"


def marked_notes(notes: str, site: str, coworker_id: int) -> str:
    """Notes with our mark: in place of an earlier one of the site, else behind the text that is there."""
    ours = mark(site, coworker_id)
    text, found = re.subn(rf"printbridge:{site}:\d+\b", ours, notes)
    return text if found else f"{notes.rstrip()} {ours}".strip()


def user_rows(usernames: Sequence[str], answers: Sequence[Mapping[str, str]]) -> pl.DataFrame:
    """Property answers of PaperCut (texts) in the columns that a query on its database gives.

    Args:
        usernames: the users asked for.
        answers: for each of them, the texts of USER_PROPERTIES.
    """
    rows = [
        (
            name, answer["full-name"], answer["email"], answer["primary-card-number"], answer["notes"],
            answer["internal"].lower() == "true", answer["disabled-print"].lower() == "true",
            answer["restricted"].lower() == "true", Decimal(answer["balance"]).quantize(Decimal("0.000001")),
        )
        for name, answer in zip(usernames, answers, strict=True)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=_USER_ROWS, orient="row")


def papercut_users_of(rows: pl.DataFrame, site: str, digest: Digest, observed_at: datetime) -> pl.DataFrame:
    """PaperCut's users as PaperCutUsers: cards become digests, and of the notes only our mark is kept.

    Args:
        rows: username, full_name, email, card_number, notes, internal, disabled_print, restricted, balance.
        site: the site whose mark counts.
        digest: makes the keyed digest of a card number.
        observed_at: start of the read, UTC.
    """
    cards = {card: digest(card) for card in rows["card_number"].drop_nulls().unique()}
    marked = pl.col("notes").str.extract(rf"printbridge:{site}:(\d+)\b").cast(pl.Int64)
    return rows.select(
        pl.lit(site).alias("site"),
        pl.col("username").str.to_lowercase(),
        pl.col("full_name").fill_null(""),
        pl.col("email").fill_null(""),
        "balance",
        "restricted",
        pl.col("disabled_print").alias("disabled"),
        "internal",
        marked.is_not_null().alias("marked"),
        marked.alias("marked_coworker_id"),
        pl.col("card_number").replace_strict(cards, default=None, return_dtype=pl.String).alias("card_digest"),
        pl.lit(observed_at, dtype=pl.Datetime("us", "UTC")).alias("observed_at"),
    ).sort("username")


def cents(amount: Decimal | int | None) -> int | None:
    """An amount of money in whole cents; None where it is absent or no whole number of cents."""
    if amount is None:
        return None
    scaled = Decimal(amount) * 100
    return int(scaled) if scaled == scaled.to_integral_value() else None


def _time(value: str | None, moment: Moment) -> datetime | None:
    return moment(value) if value else None


def _text(value: str | None) -> str | None:
    return (value or "").strip() or None
