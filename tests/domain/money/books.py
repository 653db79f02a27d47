"""The three books of one day as text tables, and what reconciliation says of them.

What belongs here: what the tests of reconciliation share. What does not: expectations.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl

from pipeline.domain import tables
from pipeline.domain.money.reconcile import reconcile
from pipeline.domain.money.references import references
from pipeline.domain.rules import SiteRules
from tests.frames import LEDGER, NOW, moment, rules, table

DAY = date(2026, 11, 20)
SALES = pl.Schema(
    {"remote_id": pl.Int64, "ref": pl.String, "coworker_id": pl.Int64, "quantity": pl.Int64, "total_cents": pl.Int64,
     "invoiced": pl.Boolean}
)  # fmt: skip
ZONES = ["Europe/London", "America/New_York", "Australia/Sydney", "America/Santiago", "Africa/Cairo", "Asia/Kathmandu"]
NAMES = pl.DataFrame({"username": ["c1@example.com", "c2@example.com"]})


def lines(text: str = "job_id") -> pl.DataFrame:
    """Ledger lines: a confirmed sale of 50 cents to customer 1; `undoes` is the kind and sequence it reverses."""
    frame = table(
        LEDGER,
        text,
        site="london", revision=0, kind="sale", seq=0, printed_at=moment("11-20T09:00"), username="c1@example.com",
        coworker_id=1, amount_cents=50, state="confirmed", rule="money", ref="",
    )  # fmt: skip
    frame = frame.with_columns(ref=references(frame)) if frame.height else frame
    undone = pl.col("kind").str.starts_with("undo_")
    originals = frame.with_columns(kind=pl.col("kind").str.strip_prefix("undo_"))
    return frame.with_columns(undoes=pl.when(undone).then(references(originals)) if frame.height else "undoes")


def sales(text: str = "job_id") -> pl.DataFrame:
    """Sales in Nexudus: `job_id seq site kind` make the reference; 50 cents to customer 1."""
    schema = pl.Schema({**SALES, "job_id": pl.String, "seq": pl.Int64, "site": pl.String, "kind": pl.String})
    frame = table(
        schema,
        text,
        seq=0, site="london", kind="sale", ref="", coworker_id=1, quantity=50,
        total_cents=lambda row: row["quantity"], remote_id=lambda row: int(row["job_id"]), invoiced=False,
    )  # fmt: skip
    return frame.with_columns(ref=references(frame) if frame.height else "ref").select(SALES.names())


def compared(
    jobs_: pl.DataFrame, ledger: pl.DataFrame, sales_: pl.DataFrame, site: SiteRules | None = None, **more: Any
) -> pl.DataFrame:
    compared = reconcile(jobs_, ledger, sales_, rules=site or rules(), day=DAY, now=NOW, names=NAMES, **more)
    return tables.checked("reconciliation", compared)


def only(frame: pl.DataFrame) -> dict[str, Any]:
    assert frame.height == 1, frame
    return frame.row(0, named=True)
