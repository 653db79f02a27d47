"""Grants: does what Nexudus says is left of a credit follow from what was left before and from our uses of it?

What belongs here: comparing two observations of a credit, and the findings of a day. What does not: which uses the
number contains (`pipeline.store.lines.contained_uses`), who is left with which credits (`credits.py`), and the books of
jobs (`reconcile.py`).

What is left may change in four ways: a use of ours or its return, which the ledger has; a top-up, which raises the
total by as much; a renewal, which makes the credit full again and moves its dates or raises its total; and by hand,
without a trace in any field. The last one is found here: it is the customer's money or the operator's.
"""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from pipeline.domain.rules import SiteRules
from pipeline.domain.tables import columns

TIME = pl.Datetime("us", "UTC")

OBSERVED = pl.Schema({
    "credit_id": pl.Int64, "coworker_id": pl.Int64, "total_uses": pl.Int64, "remaining_uses": pl.Int64,
    "used_cents": pl.Int64, "valid_from": TIME, "expires_at": TIME, "unexplained_cents": pl.Int64,
})  # fmt: skip
"""One observation of a credit. used_cents: what the ledger used of it and the number contains, less what was given
back; unexplained_cents: how much more is left than there should be (negative: less), since it last agreed."""

CREDIT = "credit "
"""Begins the name that a credit has among the jobs of a day."""

_VALIDITY = ("valid_from", "expires_at")


def judged(seen: pl.DataFrame, before: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """Hold what is seen of some credits against the observation before.

    A credit that is seen for the first time is taken as it is. An expired one can pay for nothing any more, so whatever
    Nexudus makes of its number is right.

    Args:
        seen: the columns of `OBSERVED` but for the last.
        before: `OBSERVED`, at most one row for each credit.
        at: when it was seen, aware UTC.

    Returns:
        `OBSERVED`, by credit_id; and right: what should be left.
    """
    former = before.select("credit_id", pl.exclude("credit_id", "coworker_id").name.prefix("former_"))
    known = pl.col("former_total_uses").is_not_null()
    granted = pl.col("total_uses") - pl.col("former_total_uses")
    used = pl.col("used_cents") - pl.col("former_used_cents")
    right = pl.col("former_remaining_uses") - pl.col("former_unexplained_cents") + granted - used
    moved = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"former_{name}")) for name in _VALIDITY)
    left, total = pl.col("remaining_uses"), pl.col("total_uses")
    # Between the renewal and this look some of the uses since the look before may have come.
    renewed = (moved & (left <= total) & (left >= total - pl.max_horizontal(used, 0))) | (
        (granted > 0) & (left == total)
    )
    expired = pl.col("expires_at") <= pl.lit(at, TIME)
    as_it_is = ~known | renewed | expired
    return (
        seen.join(former, on="credit_id", how="left")
        .with_columns(right=pl.when(as_it_is).then(left).otherwise(right))
        .with_columns(unexplained_cents=left - pl.col("right"))
        .select(*OBSERVED.names(), "right")
        .sort("credit_id")
    )


def regranted(seen: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The rows of seen whose observation cannot wait: new ones, other totals or dates, what did not agree before."""
    same = [pl.col(name).eq_missing(pl.col(f"former_{name}")) for name in ("total_uses", *_VALIDITY)]
    former = before.select("credit_id", pl.col("unexplained_cents", "total_uses", *_VALIDITY).name.prefix("former_"))
    quiet = pl.all_horizontal(*same, pl.col("former_unexplained_cents").eq_missing(0))
    return seen.join(former, on="credit_id", how="left").filter(~quiet).select(seen.columns)


def findings(open_: pl.DataFrame, rules: SiteRules, day: date) -> pl.DataFrame:
    """The rows of a day of credits that do not agree.

    Args:
        open_: credits with an unexplained difference: credit_id, coworker_id, remaining_uses, unexplained_cents.
        rules: the choices of the site.
        day: the day on which they were found.

    Returns:
        Reconciliation; its job_id is `name_of` the credit.
    """
    return open_.select(
        *(pl.lit(0).alias(name) for name in ("printed_cents", "ledger_cents", "sale_cents", "nexudus_cents")),
        site=pl.lit(rules.name),
        day=pl.lit(day),
        job_id=name_of("credit_id"),
        explained_cents=pl.lit(0),
        unexplained_cents=pl.col("unexplained_cents").abs(),
        finding=sentence(),
    ).select(pl.col(name).cast(dtype) for name, dtype in columns("reconciliation").items())


def name_of(column: str) -> pl.Expr:
    """What a credit is called among the jobs of a day."""
    return pl.format(CREDIT + "{}", column)


def sentence() -> pl.Expr:
    """What is wrong with a credit, and what a person can do, from its columns."""
    off = pl.col("unexplained_cents")
    what = pl.when(off > 0).then(pl.lit("more: they were put back")).otherwise(pl.lit("less: they were taken"))
    return pl.format(
        "Credit {} of customer {}: {} are left in Nexudus, by its total and our uses it should be {}; {} {} there"
        " without a line of ours. A slip: set what is left to {}. On purpose: `printbridge held accept {}`.",
        "credit_id", "coworker_id", "remaining_uses", pl.col("remaining_uses") - off, off.abs(), what,
        pl.col("remaining_uses") - off, "credit_id",
    )  # fmt: skip
