"""Reconciled days: one row per job of a day, replaced whole when the day is reconciled again.

What belongs here: replacing a day, and forgetting what was put right. What does not: the comparison
(`pipeline.domain.money.reconcile`).
"""

from __future__ import annotations

from datetime import date

import polars as pl

from pipeline.store.sql import Connection, insert


def replace(con: Connection, site: str, day: date, frame: pl.DataFrame) -> None:
    """Put Reconciliation rows of one day in place of those that are there, inside a transaction."""
    con.execute("DELETE FROM reconciliation WHERE site = $site AND day = $day", {"site": site, "day": day})
    insert(con, "reconciliation", frame)


def forget(con: Connection, names: list[str]) -> None:
    """Remove the rows of some names that are no jobs, of every day and site, inside a transaction."""
    if names:
        con.execute("DELETE FROM reconciliation WHERE list_contains($names, job_id)", {"names": names})
