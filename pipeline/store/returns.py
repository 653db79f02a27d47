"""Returns: rows of reports that take pages back, and the print that each was found to take back; only appended.

What belongs here: the record of these rows and of what people decided about them. What does not: when a match is sure
(`pipeline.domain.money.returns`).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import polars as pl

from pipeline.domain.money.returns import Match
from pipeline.store.sql import Connection, insert, query

OPEN, TAKEN, WAIVED = "open", "taken", "waived"
"""The states of a row: a person has to decide; it took pages of a print back; it takes nothing back."""


def known(con: Connection, site: str) -> pl.DataFrame:
    """Every row of a site as it stands: the columns of `return_event`, by row id."""
    return query(
        con,
        "SELECT * FROM return_event WHERE site = $site QUALIFY n = max(n) OVER (PARTITION BY row_id) ORDER BY row_id",
        site=site,
    )


def taken(con: Connection, site: str) -> pl.DataFrame:
    """What was taken back of the prints of a site: job_id, pages; one row for each row of a report."""
    return known(con, site).filter(state=TAKEN).select("job_id", "pages")


def found(con: Connection, site: str, rows: pl.DataFrame, matches: Collection[Match], at: datetime) -> None:
    """Record new rows (RETURNS) with what each takes back, inside a transaction."""
    told = pl.DataFrame(
        [(each.row_id, each.job_id, ", ".join(each.prints), each.reason) for each in matches],
        schema={"row_id": pl.String, "job_id": pl.String, "prints": pl.String, "reason": pl.String}, orient="row",
    )  # fmt: skip
    events = rows.select("row_id", "stamped_at", "username", "printer", "pages").join(told, on="row_id")
    insert(
        con, "return_event",
        events.with_columns(
            site=pl.lit(site), n=pl.lit(0, pl.Int64), operator=pl.lit("printbridge"),
            state=pl.when(pl.col("job_id").is_null()).then(pl.lit(OPEN)).otherwise(pl.lit(TAKEN)),
            happened_at=pl.lit(at, pl.Datetime("us", "UTC")),
        ),
    )  # fmt: skip


def decide(
    con: Connection, site: str, row_id: str, job_id: str | None, *, operator: str, reason: str, at: datetime
) -> None:
    """Append what a person decided about a row, inside a transaction: its print, or None: it takes nothing back."""
    con.execute(
        "INSERT INTO return_event SELECT * REPLACE (n + 1 AS n, $state AS state, $job AS job_id, $operator AS operator,"
        " $reason AS reason, $at AS happened_at) FROM return_event WHERE site = $site AND row_id = $row"
        " QUALIFY n = max(n) OVER ()",
        {
            "site": site, "row": row_id, "job": job_id, "operator": operator, "reason": reason, "at": at,
            "state": WAIVED if job_id is None else TAKEN,
        },
    )  # fmt: skip
