"""Which jobs count, and whose they are.

What belongs here: whether a job is chargeable at all, the customer who had its user name when it was printed, and the
jobs that are nobody's or that nothing has paid yet (design 4 and 5, `rules.md` 5). What does not: what a job costs and
what pays for it (`charges.py`), and the user names themselves (`domain.people.ownership`).

Every function takes the frames of one site, in any row order. Times are UTC.
"""

from __future__ import annotations

import polars as pl

from pipeline.domain.money.history import NO_PAST, Past, charged_since
from pipeline.domain.money.reversals import standing
from pipeline.domain.rules import SiteRules
from pipeline.domain.tables import columns


def counts() -> pl.Expr:
    """Whether a job is chargeable: allowed, not refunded, and printed if it is a print (`papercut-api.md` 5.2)."""
    return pl.col("allowed") & ~pl.col("refunded") & (pl.col("printed") | (pl.col("job_type") != "PRINT"))


def attributed(jobs: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """The jobs of users that are or were ours, with their customer.

    A job belongs to the latest owner of its user name who had it when the job was printed, or else, for a job from
    before the name was ours, to the earliest one. Jobs charged to a shared account are nobody's.

    Args:
        jobs: PrintJobs.
        names: username, owned_from (UTC), coworker_id, email_key; one row per owner of a name.

    Returns:
        The columns of jobs, and coworker_id, email_key.
    """
    return owned(jobs, names).filter("ours").drop("ours")


def unattributed(
    jobs: pl.DataFrame, names: pl.DataFrame, rules: SiteRules, past: Past = NO_PAST,
    assigned: pl.DataFrame | None = None,
) -> pl.DataFrame:  # fmt: skip
    """The chargeable jobs since `charge_from` that nobody is charged for.

    Args:
        jobs: PrintJobs, the latest revision of each job.
        names: as for `attributed`.
        rules: the site's choices now.
        past: what held in former times.
        assigned: as for `print_charges`; what a person decided is left out.

    Returns:
        The columns of jobs, and why: "shared account" or "never ours"; by (printed_at, job_id).
    """
    if assigned is not None:
        jobs = jobs.join(assigned, on="job_id", how="anti")
    return (
        owned(jobs.filter(counts() & charged_since(past, rules)), names)
        .filter(~pl.col("ours"))
        .with_columns(why=pl.when("shared_account").then(pl.lit("shared account")).otherwise(pl.lit("never ours")))
        .select(*jobs.columns, "why")
        .sort("printed_at", "job_id")
    )


def unsettled(
    jobs: pl.DataFrame, names: pl.DataFrame, ledger: pl.DataFrame, rules: SiteRules, past: Past = NO_PAST
) -> pl.DataFrame:
    """The cost of each user's jobs that nothing has paid yet, for the balance equation (design 4).

    Settled is a job with a live line that is not held, or with one that a person voided (then nothing is owed).

    Args:
        jobs: PrintJobs, the latest revision of each job.
        names: as for `attributed`.
        ledger: all lines of these jobs: PrintCharges with state in STATES.
        rules: the site's choices now.
        past: what held in former times.

    Returns:
        username, unsettled (Decimal, credits), by username; only users with unsettled jobs.
    """
    stands, held = pl.col("stands"), pl.col("state") == "held"
    settled = standing(ledger).filter((stands == "voided") | ((stands == "live") & ~held))
    return (
        attributed(jobs.filter(counts() & charged_since(past, rules)), names)
        .join(settled, on="job_id", how="anti")
        .group_by("username")
        .agg(unsettled=pl.col("cost").sum().cast(columns("print_jobs")["cost"]))
        .sort("username")
    )


def owned(jobs: pl.DataFrame, names: pl.DataFrame, assigned: pl.DataFrame | None = None) -> pl.DataFrame:
    """The jobs with coworker_id and email_key where somebody owned the name, and whether they are `ours`.

    What a person assigned is that customer's, and what a person waived is nobody's, whoever had the name.
    """
    owners = names.select("username", "owned_from", owner=pl.struct("coworker_id", "email_key")).sort(
        "owned_from", pl.col("owner").struct.field("coworker_id")
    )
    first = owners.unique("username", keep="first", maintain_order=True).select("username", first="owner")
    owned = (
        jobs.sort("printed_at", "job_id")
        .join_asof(owners, left_on="printed_at", right_on="owned_from", by="username", check_sortedness=False)
        .join(first, on="username", how="left", maintain_order="left")
        .with_columns(owner=pl.coalesce("owner", "first"))
        .with_columns(
            pl.col("owner").struct.field("coworker_id"),
            pl.col("owner").struct.field("email_key"),
            ours=pl.col("owner").is_not_null() & ~pl.col("shared_account"),
        )
        .drop("owner", "first", "owned_from")
    )
    return owned if assigned is None or assigned.is_empty() else _given(owned, assigned)


def _given(owned: pl.DataFrame, assigned: pl.DataFrame) -> pl.DataFrame:
    """The jobs of `owned` in their order, with what a person decided in place of the owner."""
    given = assigned.select("job_id", given_to=pl.struct("coworker_id", "email_key"))
    decided, to = pl.col("given_to").is_not_null(), pl.col("given_to").struct
    return (
        owned.join(given, on="job_id", how="left", maintain_order="left")
        .with_columns(
            *(
                pl.when(decided).then(to.field(name)).otherwise(name).alias(name)
                for name in ("coworker_id", "email_key")
            ),
            ours=pl.when(decided)
            .then(to.field("coworker_id").is_not_null() & ~pl.col("shared_account"))
            .otherwise("ours"),
        )
        .drop("given_to")
    )
