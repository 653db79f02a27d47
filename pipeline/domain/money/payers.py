"""Which account pays for a customer's job, and whose credits pool for it.

What belongs here: finding the payer (`rules.md` U7) and the pool (U6, and what a team shares). What does not: who gets
a print user (`pipeline.domain.people`), and what pays in which order (`credits.py`).
"""

from __future__ import annotations

import polars as pl

from pipeline.domain.money.history import ACCESS, TIME
from pipeline.domain.names import account_key


def with_payer(
    jobs: pl.DataFrame, accounts: pl.DataFrame, customers: pl.DataFrame, access: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Find the account that pays for each job (U7), and whether it printed for free or paid when the job was printed.

    The account that was preferred for the e-mail when the job was printed pays, as long as it is there; what it may do
    is what held then. Where nothing is known of that time, it is the account of the customer's e-mail now. If it is
    gone, the account that has the e-mail now pays, unless that one had an e-mail of its own: then it is another person.

    Args:
        jobs: with printed_at, coworker_id and email_key as in the mapping of user names, in order of printed_at.
        accounts: PrintAccounts.
        customers: NexudusCustomers.
        access: `history.ACCESS`.

    Returns:
        The columns of jobs, in their order, with coworker_id and email_key of the account where there is one; and free,
        pay, and gone: nobody can be charged, because the customer is archived or not in Nexudus.
    """
    access = pl.DataFrame(schema=ACCESS) if access is None else access
    there = customers.filter(~pl.col("archived")).select("coworker_id", key_today=account_key())
    payers = accounts.select(key_today="email_key", free="free", pay="pay", reason="reason", payer="coworker_id")
    known = _then(jobs, access).join(there, on="coworker_id", how="left", maintain_order="left")
    known = (
        known.with_columns(key_today=pl.coalesce("key_today", "email_key"))
        .join(payers, on="key_today", how="left", maintain_order="left")
        .join(
            there.select(then_payer="coworker_id", then_key="key_today"),
            on="then_payer", how="left", maintain_order="left",
        )
        .join(_strangers(access), on=["payer", "email_key"], how="left", maintain_order="left")
    )  # fmt: skip
    is_there = pl.col("then_key").is_not_null()
    left = pl.col("payer").is_null() | pl.col("reason").eq_missing("archived")
    stranger = pl.col("stranger").fill_null(value=False) & (pl.col("payer") != pl.col("coworker_id"))
    return known.with_columns(
        coworker_id=pl.when(is_there)
        .then("then_payer")
        .when(stranger)
        .then("coworker_id")
        .otherwise(pl.coalesce("payer", "coworker_id")),
        email_key=pl.when(is_there).then("then_key").otherwise("key_today"),
        free=pl.coalesce("then_free", "free", pl.lit(value=False)),
        pay=pl.coalesce("then_pay", "pay", pl.lit(value=False)),
        gone=~is_there & (left | stranger),
    ).select(*jobs.columns, "free", "pay", "gone")


def pooled(
    left: pl.DataFrame, accounts: pl.DataFrame, customers: pl.DataFrame, sharing: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Pool credits by e-mail for jobs that were printed: those of active accounts (U6), and the preferred account's.

    The preferred account counts even when it is suspended: it was active when its user printed. The credits of a payer
    are in the pool of every e-mail one of whose accounts it shared with, for the jobs of that time; what the e-mail has
    itself is its own and not the team's. A payer who is archived by now pays nothing more.

    Args:
        left: credit_id, coworker_id and whatever is known of a grant (`credits.usable`).
        accounts: PrintAccounts.
        customers: NexudusCustomers.
        sharing: `sharing.periods`; nobody shares without it.

    Returns:
        The columns of left, and email_key, team (whether another's account shares it), shared_from, shared_until; a
        credit stands once for each e-mail and time in which it may pay.
    """
    there = customers.filter(~pl.col("archived"))
    owners = (
        there.select("coworker_id", "active", email_key=account_key())
        .join(accounts.select("email_key", preferred="coworker_id"), on="email_key")
        .filter(pl.col("active") | (pl.col("coworker_id") == pl.col("preferred")))
        .select("coworker_id", "email_key")
    )
    never = pl.lit(None, TIME)
    own = left.join(owners, on="coworker_id").with_columns(
        team=pl.lit(value=False), shared_from=never, shared_until=never
    )
    if sharing is None or sharing.is_empty():
        return own
    times = owners.join(sharing, on="coworker_id").select("email_key", "shared_from", "shared_until", "payer_id")
    others = (
        left.join(there, on="coworker_id", how="semi")
        .join(times, left_on="coworker_id", right_on="payer_id")
        .join(own, on=["credit_id", "email_key"], how="anti")
        .with_columns(team=pl.lit(value=True))
    )
    return pl.concat([own, others.select(own.columns)])


def _then(jobs: pl.DataFrame, access: pl.DataFrame) -> pl.DataFrame:
    """The jobs with the payer of their e-mail when they were printed, and its access; from before, the first known."""
    held = access.sort("held_from", "coworker_id").select(
        "email_key", "held_from", then=pl.struct(then_payer="coworker_id", then_free="free", then_pay="pay")
    )
    first = held.unique("email_key", keep="first", maintain_order=True).select("email_key", first="then")
    return (
        jobs.join_asof(held, left_on="printed_at", right_on="held_from", by="email_key", check_sortedness=False)
        .join(first, on="email_key", how="left", maintain_order="left")
        .with_columns(then=pl.coalesce("then", "first"))
        .unnest("then")
        .drop("held_from", "first")
    )


def _strangers(access: pl.DataFrame) -> pl.DataFrame:
    """The customers that had another e-mail of their own than one that they have or had: payer, email_key, stranger."""
    own = access.filter(~pl.col("email_key").str.starts_with("#")).select("coworker_id", "email_key")
    return (
        own.join(own.rename({"email_key": "other"}), on="coworker_id")
        .filter(pl.col("other") != pl.col("email_key"))
        .select("email_key", payer="coworker_id", stranger=True)
        .unique()
    )
