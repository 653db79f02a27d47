"""Whose printing credits a customer may use beside its own: those of the customers who pay for its teams.

What belongs here: who shares with whom now, what of it is news, and from when to when it held (docs/adr/0014). What
does not: what is left of a credit (`credits.py`), and which e-mail an account belongs to (`payers.py`).

A team shares if it has a paying customer and the credits are shared or combined: Nexudus itself pools combined credits
in the payer's account, so in both ways it is the payer's credits that the members use, and nobody else's. A payer who
is suspended, archived or not in Nexudus shares nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from pipeline.domain.money.history import SHARING, TIME

EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""From when on holds what a first look finds: nothing is known of the time before, as with access."""


def shared(teams: pl.DataFrame, customers: pl.DataFrame) -> pl.DataFrame:
    """Who may use whose credits now.

    Args:
        teams: NexudusTeams.
        customers: NexudusCustomers.

    Returns:
        coworker_id, payer_id; each pair once, in order.
    """
    able = customers.filter(pl.col("active") & ~pl.col("archived")).select(payer_id="coworker_id")
    return (
        teams.filter(pl.col("shares") | pl.col("combines"))
        .join(able, on="payer_id", how="semi")
        .select("payer_id", coworker_id=pl.col("members").str.split(","))
        .explode("coworker_id")
        .filter(pl.col("coworker_id").fill_null("") != "")
        .select(pl.col("coworker_id").cast(pl.Int64), "payer_id")
        .filter(pl.col("coworker_id") != pl.col("payer_id"))
        .unique()
        .sort("coworker_id", "payer_id")
    )


def sharing_news(
    teams: pl.DataFrame, customers: pl.DataFrame, known: pl.DataFrame, last_look: datetime | None, now: datetime
) -> pl.DataFrame:
    """The changes of who shares with whom since the last look.

    Args:
        teams: NexudusTeams.
        customers: NexudusCustomers.
        known: `SHARING`, all of it.
        last_look: when this was looked at last; None if never.
        now: the time of this look, UTC.

    Returns:
        `SHARING`: a row for each customer whose payers differ from the last ones known. It holds from the last change
        of a record behind it (a team of one of the payers, or a payer), if that lies between the two looks, else from
        this look on; at the first look since ever.
    """
    found = shared(teams, customers).group_by("coworker_id", maintain_order=True).agg(pl.col("payer_id"))
    wanted = found.select("coworker_id", payers=pl.col("payer_id").cast(pl.List(pl.String)).list.join(","))
    latest = known.sort("held_from").unique("coworker_id", keep="last", maintain_order=True)
    news = (
        wanted.join(latest.select("coworker_id", before="payers"), on="coworker_id", how="full", coalesce=True)
        .with_columns(pl.col("payers", "before").fill_null(""))
        .filter(pl.col("payers") != pl.col("before"))
    )
    if last_look is None:
        return news.with_columns(held_from=pl.lit(EVER, TIME)).select(SHARING.names()).sort("coworker_id")
    times = pl.concat(
        [
            teams.select(payer_id="payer_id", told="updated_on"),
            customers.select(payer_id="coworker_id", told="updated_on"),
        ]
    ).filter(pl.col("told") > last_look, pl.col("told") <= now)
    behind = _payers(news.with_columns(payers=pl.concat_str("payers", "before", separator=",")))
    told = behind.join(times, on="payer_id").group_by("coworker_id").agg(pl.col("told").max())
    return (
        news.join(told, on="coworker_id", how="left")
        .with_columns(held_from=pl.col("told").fill_null(pl.lit(now, TIME)).cast(TIME))
        .select(SHARING.names())
        .sort("coworker_id")
    )


def periods(sharing: pl.DataFrame) -> pl.DataFrame:
    """From when to when a payer shared with a customer.

    Args:
        sharing: `SHARING`, in any order.

    Returns:
        coworker_id, payer_id, shared_from, shared_until (null: until now).
    """
    ordered = sharing.sort("coworker_id", "held_from").with_columns(
        shared_from="held_from", shared_until=pl.col("held_from").shift(-1).over("coworker_id")
    )
    return _payers(ordered).select("coworker_id", "payer_id", "shared_from", "shared_until")


def _payers(frame: pl.DataFrame) -> pl.DataFrame:
    """A row for each of the customers in `payers`, as payer_id."""
    return (
        frame.with_columns(payer_id=pl.col("payers").str.split(","))
        .explode("payer_id")
        .filter(pl.col("payer_id") != "")
        .with_columns(pl.col("payer_id").cast(pl.Int64))
    )
