"""Refunds in every form that PaperCut may store, read as what of a job's cost stays charged (`papercut-api.md` 6.2).

What belongs here: the query for what an account got back for its jobs, and one rule for flag, status, costs and
transactions. What does not: the rows of the log themselves (`database.py`), and what follows for a charge (`domain`).

Which form a server uses is not documented: a refund may set `refunded`, name itself in `refund_status`, lower
`usage_cost` with or without `original_usage_cost`, or show in the account's transactions alone. What PaperCut charged
and gave back in transactions that name the job is believed first. Where a part was given back and nothing says how
much, the cost is unknown, and a person decides. An adjustment by hand that names no job leaves the job as it is.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa

from pipeline.services.printing import as_credits

_NAMES: list[sa.ColumnClause[Any]] = [sa.column(name) for name in ("account_id", "usage_log_id", "amount")]
TRANSACTION = sa.table("tbl_account_transaction", *_NAMES)

_WHOLE = frozenset({"REFUNDED", "FULL", "FULLY_REFUNDED", "FULL_REFUND"})
_PART = "PART"
_NOTHING = Decimal(0)


class Row(NamedTuple):
    """One row of the log as far as refunds go; amounts in credits, status in upper case."""

    cost: Decimal
    original: Decimal | None = None
    flagged: bool = False
    status: str = ""
    debited: Decimal = _NOTHING
    credited: Decimal = _NOTHING


class Charged(NamedTuple):
    """What stays charged (None: nothing says how much), and whether all of it was given back."""

    cost: Decimal | None
    refunded: bool


def charged(row: Row) -> Charged:
    """What of a job's cost stays charged; the cost of a job that was refunded in full is kept as it is."""
    if row.cost <= 0:
        return Charged(row.cost, refunded=row.flagged)
    whole, part = Charged(row.cost, refunded=True), _PART in row.status
    lowered = row.original is not None and _NOTHING < row.cost < row.original
    if row.credited:
        before = row.debited or (row.original if lowered else None)
        if before is None:  # its first transaction is gone, and the cost may or may not be lowered already
            return Charged(None, refunded=False) if part or not row.flagged else whole
        left = before - row.credited
        return Charged(left, refunded=False) if left > 0 else whole
    if part:
        return Charged(row.cost if lowered else None, refunded=False)
    if row.flagged:
        return Charged(None, refunded=False) if lowered and row.status not in _WHOLE else whole
    return Charged(None if row.status in _WHOLE else row.cost, refunded=False)


def settle(connection: sa.Connection, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The columns of a read with cost and refunded as they stand after every refund.

    Args:
        connection: a connection to PaperCut's database.
        columns: of each row job_id, account_id, cost, original_cost, refunded, refund_status, and others.

    Returns:
        The columns without account_id, original_cost and refund_status; a cost that is no number is left as it is.
    """
    given_back = _given_back(connection, columns["job_id"])
    costs, flags = list(columns["cost"]), list(columns["refunded"])
    facts = zip(*(columns[name] for name in ("job_id", "account_id", "original_cost", "refund_status")), strict=True)
    for place, (job_id, account_id, original, status) in enumerate(facts):
        debited, credited = given_back.get((job_id, account_id), (_NOTHING, _NOTHING))
        flagged, told = _text(flags[place]) == "Y", _text(status)
        cost = _amount(costs[place])
        if cost is None or not (credited or flagged or told):
            continue
        stays = charged(Row(cost, _amount(original), flagged, told, debited, credited))
        costs[place], flags[place] = stays.cost, "Y" if stays.refunded else "N"
    left_out = ("account_id", "original_cost", "refund_status")
    return {name: values for name, values in columns.items() if name not in left_out} | {
        "cost": costs, "refunded": flags,
    }  # fmt: skip


def _given_back(connection: sa.Connection, jobs: list[Any]) -> dict[tuple[Any, Any], tuple[Decimal, Decimal]]:
    """For each job and account with a transaction that gave something back: what was taken, and what was given back."""
    ids = [job for job in jobs if job is not None]
    if not ids:
        return {}
    amount, job = TRANSACTION.c.amount, TRANSACTION.c.usage_log_id
    taken = sa.func.sum(sa.case((amount < 0, -amount), else_=0))
    given = sa.func.sum(sa.case((amount > 0, amount), else_=0))
    rows = connection.execute(
        sa.select(job, TRANSACTION.c.account_id, taken, given)
        .where(job >= min(ids), job <= max(ids))
        .group_by(job, TRANSACTION.c.account_id)
        .having(given > 0)
    )
    return {(row[0], row[1]): (_amount(row[2]) or _NOTHING, _amount(row[3]) or _NOTHING) for row in rows}


def _amount(value: float | Decimal | None) -> Decimal | None:
    try:
        return None if value is None else as_credits(value)
    except ValueError:
        return None


def _text(value: Any) -> str:
    return str(value or "").strip().upper()
