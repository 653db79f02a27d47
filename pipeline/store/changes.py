"""What was done to print users: one row for each planned change that was tried, only appended.

What belongs here: appending rows and asking what was tried. What does not: whose a user is (`ownership.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import polars as pl

from pipeline.domain import tables
from pipeline.store.sql import Connection, insert, query


def append(con: Connection, rows: pl.DataFrame) -> None:
    """Append rows of PrintUserSync inside a transaction, once their contract holds."""
    insert(con, "print_user_sync", tables.checked("print_user_sync", rows))


def since(con: Connection, site: str, at: datetime) -> pl.DataFrame:
    """What was tried at `at` or later: PrintUserSync."""
    return query(con, "SELECT * FROM print_user_sync WHERE site = $site AND happened_at >= $at", site=site, at=at)


def repeated(con: Connection, site: str, usernames: Collection[str], times: int) -> pl.DataFrame:
    """What was tried last with some users: of each change, by its fields, the last tries: PrintUserSync."""
    return query(
        con,
        "SELECT * FROM print_user_sync WHERE site = $site AND ask IS NOT NULL AND list_contains($names, username)"
        " QUALIFY row_number() OVER (PARTITION BY username, action, changes ORDER BY happened_at DESC) <= $times",
        site=site, names=list(usernames), times=times,
    )  # fmt: skip


def failed_of_last_plan(con: Connection, site: str) -> pl.DataFrame:
    """Of the plan that was applied last, the rows that are not done: PrintUserSync, by user name."""
    return query(
        con,
        "SELECT * FROM print_user_sync WHERE site = $site AND plan_id ="
        " (SELECT arg_max(plan_id, happened_at) FROM print_user_sync WHERE site = $site) AND outcome <> 'done'"
        " ORDER BY username",
        site=site,
    )


def last_of(con: Connection, site: str, customers: Collection[int], limit: int = 5) -> pl.DataFrame:
    """What was tried last on the users of some customers, under whatever name, the newest first: PrintUserSync."""
    return query(
        con,
        "SELECT * FROM print_user_sync WHERE site = $site AND list_contains($customers, coworker_id)"
        " ORDER BY happened_at DESC LIMIT $limit",
        site=site, customers=list(customers), limit=limit,
    )  # fmt: skip


def failing(con: Connection, site: str) -> pl.DataFrame:
    """The changes whose last try did not succeed: PrintUserSync, the last try, and tries (in a row); by username."""
    return query(
        con,
        """
        WITH tried AS (
            SELECT *, max(CASE WHEN outcome = 'done' THEN happened_at END) OVER (PARTITION BY action, username) AS good
            FROM print_user_sync WHERE site = $site
        )
        SELECT * EXCLUDE (good), count(*) OVER (PARTITION BY action, username) AS tries FROM tried
        WHERE good IS NULL OR happened_at > good
        QUALIFY happened_at = max(happened_at) OVER (PARTITION BY action, username) ORDER BY username, action
        """,
        site=site,
    )
