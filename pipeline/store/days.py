"""Reconciled days: one row per job of a day, replaced whole when the day is reconciled again.

What belongs here: replacing a day. What does not: the comparison (`pipeline.domain.money.reconcile`).
"""

from __future__ import annotations

from datetime import date

import polars as pl

from pipeline.store.sql import Connection, insert


def replace(con: Connection, site: str, day: date, frame: pl.DataFrame) -> None:
    """Put Reconciliation rows of one day in place of those that are there, inside a transaction."""
    con.execute("DELETE FROM reconciliation WHERE site = $site AND day = $day", {"site": site, "day": day})
    insert(con, "reconciliation", frame)
