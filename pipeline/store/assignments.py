"""Assignments: the jobs of no known customer that a person gave to one, or waived; only appended.

What belongs here: the record of these decisions, and the newest one of each job. What does not: which jobs may be
assigned (`pipeline.operations.held`), and what they cost whom (`pipeline.domain.money.charges`).
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from pipeline.domain.names import account_key
from pipeline.store.sql import Connection, query, read


def assigned(con: Connection, site: str) -> pl.DataFrame:
    """What people decided of the jobs of a site.

    Returns:
        job_id, coworker_id (null: waived), email_key (that of the customer in Nexudus now, null if it is gone),
        operator, reason, happened_at; one row per job, by job_id.
    """
    rows = query(
        con,
        "SELECT job_id, coworker_id, operator, reason, happened_at FROM assignment_event WHERE site = $site"
        " QUALIFY n = max(n) OVER (PARTITION BY job_id) ORDER BY job_id",
        site=site,
    )
    if rows.is_empty():
        return rows.with_columns(email_key=pl.lit(None, pl.String))
    keys = read(con, "nexudus_customers").select("coworker_id", email_key=account_key())
    return rows.join(keys, on="coworker_id", how="left", maintain_order="left")


def record(
    con: Connection, site: str, job_id: str, coworker_id: int | None, *, operator: str, reason: str, at: datetime
) -> None:
    """Append a decision about one job inside a transaction: its customer, or None to waive it."""
    con.execute(
        "INSERT INTO assignment_event SELECT $site, $job, coalesce(max(n) + 1, 0), $customer, $operator, $reason, $at"
        " FROM assignment_event WHERE site = $site AND job_id = $job",
        {"site": site, "job": job_id, "customer": coworker_id, "operator": operator, "reason": reason, "at": at},
    )
