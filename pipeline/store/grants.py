"""Grants: how each credit was seen, one row for each time at which it had changed; only appended.

What belongs here: the record of these observations, and the newest one of each credit. What does not: the credits as
they were read last (`nexudus_credits`), and whether two observations agree (`pipeline.domain.money.grants`).
"""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from pipeline.domain.money.grants import OBSERVED, judged, name_of
from pipeline.store import days
from pipeline.store.lines import contained_uses
from pipeline.store.sql import Connection, insert, query


def newest(con: Connection) -> pl.DataFrame:
    """The newest observation of every credit: `OBSERVED`, and n, day (of an open difference), by credit_id."""
    return query(
        con,
        "SELECT * EXCLUDE (happened_at, actor, reason) FROM grant_event"
        " QUALIFY n = max(n) OVER (PARTITION BY credit_id) ORDER BY credit_id",
    )


def differing(con: Connection) -> pl.DataFrame:
    """The credits that do not agree, as `newest`."""
    return newest(con).filter(pl.col("unexplained_cents") != 0)


def observe(con: Connection, seen: pl.DataFrame, *, day: date, at: datetime, actor: str) -> None:
    """Record how some credits are seen, inside a transaction; those of which a use is still under way are left out.

    Args:
        con: an open connection.
        seen: NexudusCredits.
        day: the day of which a difference becomes a finding.
        at: now, UTC.
        actor: who looks.
    """
    if seen.is_empty():
        return
    uses = contained_uses(con, seen)
    known = seen.join(uses, on="credit_id", how="left").filter(pl.col("sure").fill_null(value=True))
    former = newest(con)
    now = judged(known.with_columns(pl.col("used_cents").fill_null(0)), former, at)
    changed = now.join(former.select(OBSERVED.names()), on=OBSERVED.names(), how="anti", nulls_equal=True)
    dated = changed.join(former.select("credit_id", "day"), on="credit_id", how="left")
    differs = pl.col("unexplained_cents") != 0
    _append(
        con, dated.with_columns(day=pl.when(differs).then(pl.coalesce("day", pl.lit(day)))), former,
        at=at, actor=actor, reason="seen in Nexudus",
    )  # fmt: skip


def accept(con: Connection, credits_: pl.DataFrame, *, at: datetime, operator: str, reason: str) -> None:
    """Take what is left of some credits as right, inside a transaction: rows of `differing`."""
    agreed = credits_.with_columns(unexplained_cents=pl.lit(0, pl.Int64), day=pl.lit(None, pl.Date))
    _append(con, agreed, credits_, at=at, actor=operator, reason=reason)


def _append(
    con: Connection, rows: pl.DataFrame, former: pl.DataFrame, *, at: datetime, actor: str, reason: str
) -> None:
    """Append observations; what agrees now is no finding of any day any more."""
    number = former.select("credit_id", former_n="n")
    insert(
        con,
        "grant_event",
        rows.select(*OBSERVED.names(), "day")
        .join(number, on="credit_id", how="left")
        .with_columns(
            n=pl.col("former_n").add(1).fill_null(0),
            happened_at=pl.lit(at, pl.Datetime("us", "UTC")),
            actor=pl.lit(actor),
            reason=pl.lit(reason),
        )
        .drop("former_n"),
    )
    days.forget(con, rows.filter(unexplained_cents=0).select(name=name_of("credit_id"))["name"].to_list())
