"""Balances: what a print user should have left, and balances that fell without a job of theirs.

What belongs here: the balance that our own changes and the known jobs explain, carried from one observation to the
next. What does not: the balance that a user should get (`differences.with_target`), and what a hold is called
(`reasons.py`).

A balance is raised to what the credits say. So whatever lowers it in PaperCut would be given back in silence: staff who
take credit away, jobs that are made anonymous before they are paid. Such a user is held, and a person decides.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from pipeline.domain.money.attribution import counts
from pipeline.domain.people.differences import EXACT

CARRIED = ("expected", "fell_at")
"""What print users know of their balance from one observation to the next; a print system does not say it."""

NOISE = 0.005
"""Costs and balances are doubles in PaperCut; what differs by less than half a cent has not fallen."""

LOGGED_WITHIN = timedelta(hours=1)
"""A database logs a job when it takes its cost; a few runs may still meet one without the other."""

IN_FILES_WITHIN = timedelta(days=2)
"""Files of jobs may be exported once a day."""

TIME = pl.Datetime("us", "UTC")

FALLEN = pl.Schema({"username": pl.String, "fallen": EXACT, "fell_at": TIME, "told": pl.Boolean})
"""Users whose balance fell: by how much, since when, and whether that is long enough ago for a person to be told."""


def carried(
    found: pl.DataFrame, known: pl.DataFrame, revisions: pl.DataFrame, written: pl.DataFrame, owned: pl.DataFrame
) -> pl.DataFrame:
    """Users as they were observed now, with the balance that is explained.

    What was expected at the last observation falls with each job seen since and rises with each change of ours. A rise
    by hand is believed; a user without a former observation as ours begins from its balance.

    Args:
        found: PrintUsers without `CARRIED`, complete; rows that were not observed anew are those of `known`.
        known: PrintUsers as last observed.
        revisions: PrintJobs: every revision of each job of which one was first seen since the first of `known`.
        written: PrintUserSync of changes since then.
        owned: username, coworker_id of the users that are ours now.

    Returns:
        PrintUsers.
    """
    former = _former_names(found, known)
    earlier = found.join(former, on="username", how="left").with_columns(was=pl.coalesce("former", "username"))
    before = known.select(
        "expected", "fell_at", was="username", then="balance", seen_at="observed_at", marked_then="marked"
    )
    rows = (
        earlier.join(before, on="was", how="left")
        .join(_debits(revisions, known, former), on="was", how="left")
        .join(_raised(written, known), on="was", how="left")
        .with_columns(
            pl.col("debit", "back", "raised", "doubtful").fill_null(0), sure=pl.col("sure").fill_null(value=True)
        )
    )
    ours = pl.col("username").is_in(owned["username"].implode()) & pl.col("marked_then")
    again = pl.col("seen_at") == pl.col("observed_at")
    rows = _explained(rows).with_columns(
        expected=pl.when(again).then("expected").when(ours & pl.col("sure")).then("explained").cast(EXACT),
        fell_at=pl.when(again).then("fell_at").when(ours & pl.col("sure") & pl.col("short")).then("since").cast(TIME),
    )
    return rows.select(*found.columns, *CARRIED)


def fallen(users: pl.DataFrame, revisions: pl.DataFrame, now: datetime, logged_within: timedelta) -> pl.DataFrame:
    """The users whose balance is lower than our own changes and the known jobs explain.

    Args:
        users: PrintUsers, complete.
        revisions: as for `carried`, of the jobs first seen since the first of `users`.
        now: the current time, UTC.
        logged_within: how long after its cost a job may come into the log.

    Returns:
        `FALLEN`, by user name.
    """
    debits = _debits(revisions, users, _NOBODY).rename({"was": "username"})
    return (
        users.join(debits, on="username", how="left")
        .filter(pl.col("sure").fill_null(value=True))
        .with_columns(fallen=pl.col("expected") - pl.col("debit").fill_null(0) - pl.col("balance"))
        .filter(pl.col("fallen") > NOISE)
        .with_columns(fell_at=pl.coalesce("fell_at", "observed_at"))
        .with_columns(told=pl.col("fell_at") <= pl.lit(now, TIME) - logged_within)
        .select(pl.col(name).cast(dtype) for name, dtype in FALLEN.items())
        .sort("username")
    )


_NOBODY = pl.DataFrame(schema={"username": pl.String, "former": pl.String})


def _former_names(found: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The users that have another name now, known by our mark (one without it names no customer): username, former."""
    gone = known.join(found, on="username", how="anti").select("marked_coworker_id", former="username")
    new = found.join(known, on="username", how="anti").select("username", "marked_coworker_id")
    both = new.join(gone, on="marked_coworker_id")
    return both.filter(pl.len().over("marked_coworker_id") == 1).select("username", "former")


def _debits(revisions: pl.DataFrame, known: pl.DataFrame, former: pl.DataFrame) -> pl.DataFrame:
    """What the jobs first seen since a user's observation took from its balance: was, debit, back, sure.

    A refund gives back, and so does a job that became somebody else's (`back` says how much in all; `debit` is less by
    it). Without its cost nobody can say (`sure`).
    """
    paid = pl.when(counts() & ~pl.col("shared_account")).then("cost").otherwise(pl.lit(0, EXACT))
    until = pl.col("first_seen_at").shift(-1).over("job_id", order_by="revision")
    is_latest = pl.col("until").is_null()
    stood = (pl.col("first_seen_at") < pl.col("seen_at")) & (is_latest | (pl.col("until") >= pl.col("seen_at")))
    return (
        revisions.with_columns(paid=paid, until=until)
        .join(former.rename({"username": "new_name"}), left_on="username", right_on="new_name", how="left")
        .with_columns(was=pl.coalesce("former", "username"))
        .join(known.select(was="username", seen_at="observed_at"), on="was")
        .filter(is_latest != stood)
        .with_columns(moved=pl.when(is_latest).then("paid").otherwise(-pl.col("paid")))
        .group_by("was", "job_id")
        .agg(moved=pl.when(pl.col("moved").is_not_null().all()).then(pl.col("moved").sum()))
        .group_by("was")
        .agg(
            debit=pl.col("moved").sum().cast(EXACT),
            back=(-pl.col("moved").filter(pl.col("moved") < 0)).sum().cast(EXACT),
            sure=pl.col("moved").is_not_null().all(),
        )
    )


def _raised(written: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """What we changed of each balance since its observation: was, raised (done), doubtful (nobody knows whether)."""
    changes = written.with_columns(by=pl.col("target") - pl.col("balance"))
    return (
        changes.join(known.select(was="username", seen_at="observed_at"), left_on="username", right_on="was")
        .filter(pl.col("happened_at") >= pl.col("seen_at"))
        .group_by(was="username")
        .agg(
            raised=pl.col("by").filter(pl.col("outcome") == "done").sum().cast(EXACT),
            doubtful=pl.col("by").filter(pl.col("outcome") == "unknown").sum().cast(EXACT),
        )
    )


def _explained(rows: pl.DataFrame) -> pl.DataFrame:
    """The balance that is explained now, whether the user was short at the last observation, and since when.

    - What stood above the expected was given by hand, less what jobs gave back that were read after the balance.
    - A balance that we raised although it had fallen was let go by a person: from there it begins anew.
    - Of a change that nobody knows the outcome of, the lower balance is believed: nobody is held for a lost answer.
    """
    expected = pl.coalesce("expected", "then")
    surplus = pl.max_horizontal(pl.lit(0, EXACT), pl.col("then") - expected - pl.col("back"))
    before = expected + surplus - pl.col("debit")
    short, let_go = before - pl.col("then") > NOISE, pl.col("raised") > 0
    base = pl.when(short & let_go).then("then").otherwise(before)
    explained = base + pl.col("raised") + pl.min_horizontal(pl.lit(0, EXACT), "doubtful")
    close = (explained - pl.col("balance")).abs() <= NOISE
    return rows.with_columns(
        short=short & ~let_go,
        since=pl.coalesce("fell_at", "seen_at"),
        explained=pl.when(close).then("balance").otherwise(explained),
    )
