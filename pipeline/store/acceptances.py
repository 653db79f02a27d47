"""Acceptances: the differences of the books that a person took as they are, by day and job; only appended.

What belongs here: the record of these decisions, and the newest one of each row of a day. What does not: what a row
becomes by it (`pipeline.domain.money.acceptance`), and credits that were changed by hand (`grants.py`).
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from pipeline.domain.money.acceptance import agreed
from pipeline.store import days
from pipeline.store.sql import Connection, insert, query, read


def accepted(con: Connection, site: str) -> pl.DataFrame:
    """What people accepted at a site: day, job_id, cents, operator, reason; one row per day and job."""
    return query(
        con,
        "SELECT day, job_id, cents, operator, reason FROM acceptance_event WHERE site = $site"
        " QUALIFY n = max(n) OVER (PARTITION BY day, job_id) ORDER BY day, job_id",
        site=site,
    )


def accept(con: Connection, rows: pl.DataFrame, *, at: datetime, operator: str, reason: str) -> None:
    """Take the unexplained cents of some rows of Reconciliation as they are, inside a transaction."""
    last = query(con, "SELECT site, day, job_id, max(n) AS last FROM acceptance_event GROUP BY ALL")
    events = rows.select("site", "day", "job_id", cents="unexplained_cents").join(
        last, on=["site", "day", "job_id"], how="left"
    )
    insert(
        con,
        "acceptance_event",
        events.select(
            pl.exclude("last"),
            n=pl.col("last").add(1).fill_null(0),
            operator=pl.lit(operator),
            reason=pl.lit(reason),
            happened_at=pl.lit(at, pl.Datetime("us", "UTC")),
        ),
    )
    for site, day in rows.select("site", "day").unique(maintain_order=True).iter_rows():
        of_day = read(con, "reconciliation", site).filter(day=day)
        days.replace(con, site, day, agreed(of_day, accepted(con, site)))
