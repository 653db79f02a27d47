"""Accounts, print users and ownership as text tables, and the plan that they lead to.

What belongs here: frames of people. What does not: jobs, credits and the ledger (`tests/frames.py`).
"""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from pipeline.domain import tables
from pipeline.domain.people.plan import OWNED, user_sync_plan
from pipeline.domain.rules import SiteRules
from tests.frames import NOW, START, rules, table

UNSETTLED = pl.Schema({"username": pl.String, "unsettled": pl.Decimal(18, 6)})
GONE = pl.Schema({"coworker_id": pl.Int64})


def accounts(text: str = "username") -> pl.DataFrame:
    """PrintAccounts with 45 credits; customer 1 is `a`, 2 is `b`, ... and the e-mail is the user name."""
    return table(
        tables.columns("print_accounts"),
        text,
        site="london", coworker_id=lambda row: ord(row["username"][0]) - 96,
        email_key=lambda row: row["username"], email=lambda row: row["username"],
        full_name=lambda row: f"Customer {row['coworker_id']}",
        access="credits", free=False, pay=False, restricted=lambda row: row["access"] == "credits", credits=45,
        pin_digest="pin", registered_at=START,
    ).pipe(_named)  # fmt: skip


def users(text: str = "username") -> pl.DataFrame:
    """PrintUsers, ours, in step with `accounts`."""
    return table(
        tables.columns("print_users"),
        text,
        site="london", full_name=lambda row: f"Customer {ord(row['username'][0]) - 96}",
        email=lambda row: row["username"], balance=Decimal(45), restricted=True, disabled=False, internal=True,
        marked=True, marked_coworker_id=lambda row: ord(row["username"][0]) - 96 if row["marked"] else None,
        observed_at=NOW,
    )  # fmt: skip


def owned(text: str = "username") -> pl.DataFrame:
    return table(
        OWNED,
        text,
        coworker_id=lambda row: ord(row["username"][0]) - 96, email_key=lambda row: row["username"], access="credits",
        state="owned", owned_from=START, pin_digest="pin",
    )  # fmt: skip


def unsettled(text: str = "username unsettled") -> pl.DataFrame:
    return table(UNSETTLED, text)


def gone(*ids: int) -> pl.DataFrame:
    return pl.DataFrame({"coworker_id": list(ids)}, schema=GONE)


def planned(
    accounts_: pl.DataFrame,
    users_: pl.DataFrame,
    owned_: pl.DataFrame,
    *,
    open_jobs: pl.DataFrame | None = None,
    gone_: pl.DataFrame | None = None,
    site: SiteRules | None = None,
    fallen: pl.DataFrame | None = None,
    password_length: int | None = None,
    invited: pl.DataFrame | None = None,
) -> pl.DataFrame:
    plan = user_sync_plan(
        accounts_,
        users_,
        owned=owned_,
        unsettled=unsettled() if open_jobs is None else open_jobs,
        gone=gone() if gone_ is None else gone_,
        rules=site or rules(),
        now=NOW,
        fallen=fallen,
        password_length=password_length,
        invited=invited,
    )
    return tables.checked("user_sync_plan", plan)


def steps(plan: pl.DataFrame) -> list[str]:
    """Each row as `action username changes target`."""
    return [
        " ".join(filter(None, (action, name, changes, None if target is None else f"{target.normalize():f}")))
        for action, name, changes, target in plan.select("action", "username", "changes", "target").rows()
    ]


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """Names of people who are left out are no user names."""
    return frame.with_columns(username=pl.when(pl.col("reason").is_null()).then("username"))
