"""Findings: what in the warehouse needs a person, as frames and lists of one site.

What belongs here: the questions that checks, alerts, `held list` and `explain` share, so that all of them say the same.
What does not: words about an answer (`causes.py`, `assets/checks.py`), and questions to a service (`doctor.py`).
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import polars as pl

from pipeline.domain.money import attribution
from pipeline.domain.money.credits import oversized_grants
from pipeline.domain.money.grants import CREDIT, sentence
from pipeline.domain.money.history import charged_times
from pipeline.domain.people.reasons import FAULTS, LEAVES
from pipeline.domain.rules import SiteRules
from pipeline.effects.deleted import IS_GONE
from pipeline.site import Site
from pipeline.steps.decide import HORIZON, recent_jobs
from pipeline.steps.reconcile import answers_for
from pipeline.store import assignments, changes, grants, history, jobs, memory, ownership
from pipeline.store.lines import deleted_sales
from pipeline.store.sql import Connection, read

EXAMPLES = 20
"""How many jobs without an owner are named; a place may have very many."""

FREE_DAYS, FREE_JOBS = 7, 3
"""A printer costs nothing when its last jobs did: so many in a row, or every one of so many days."""

HELD = {
    "no_seat": "no seat", "above_max_credits": "too large a credit", "foreign": "foreign name", "disabled": "disabled",
    "by_hand": "by hand",
    "fell": "balance fell", "no_effect": "no effect",
}  # fmt: skip
"""What a held row of a plan is told as, by its code; whatever is not named is `other`."""

AGAIN = 2
"""A change that failed so often in a row is refused, and not only unlucky."""


def sentences(con: Connection, site: str, name: str) -> list[str]:
    """What was remembered as a JSON list, or by id, of a site or of `memory.ACCOUNT`."""
    said: list[Any] | dict[str, Any] = json.loads(memory.recall(con, site, name) or "[]")
    return [str(each) for each in (said.values() if isinstance(said, dict) else said)]


def odd_customers(con: Connection) -> dict[str, str]:
    """The customers whose record cannot be read: id, and a sentence that begins with it."""
    return json.loads(memory.recall(con, memory.ACCOUNT, memory.problems("nexudus_customers")) or "{}")


# --- jobs and money --------------------------------------------------------------------------------------------------


def ownerless(con: Connection, site: Site, *, decided: bool = False) -> pl.DataFrame:
    """The chargeable jobs that nobody is charged for.

    Args:
        con: an open connection.
        site: the site.
        decided: also those that a person has assigned or waived.

    Returns:
        PrintJobs and why ("never ours" or "shared account"), by time.
    """
    recent = recent_jobs(con, site.key, site.clock())
    names, past = ownership.names(con, site.key), history.past(con, site.key)
    assigned = None if decided else assignments.assigned(con, site.key)
    return attribution.unattributed(recent, names, site.rules, past, assigned)


def ownerless_in_short(con: Connection, site: Site) -> pl.DataFrame:
    """How many such jobs there are that no person has decided: as of `pipeline.store.jobs.ownerless`."""
    names, past = ownership.names(con, site.key), history.past(con, site.key)
    times = charged_times(past, site.rules)
    return jobs.ownerless(con, site.key, site.clock() - HORIZON, names, times, examples=EXAMPLES)


def free_printers(con: Connection, site: Site) -> pl.DataFrame:
    """The printers of which the last jobs cost nothing although the site charges for prints.

    Returns:
        printer, jobs (how many in a row), since (the first of them, UTC), job_id (the last of them); by printer.
    """
    since, past = site.clock() - timedelta(days=FREE_DAYS), history.past(con, site.key)
    times = charged_times(past, site.rules)
    if site.rules.pricing_model == "free_unlimited":
        times = times.clear()
    return jobs.free_printers(con, site.key, since, times, in_a_row=FREE_JOBS)


def oversized(con: Connection, rules: SiteRules) -> pl.DataFrame:
    """The credits above `max_credits`, which count for nothing: NexudusCredits."""
    return oversized_grants(read(con, "nexudus_credits"), rules)


def unexplained(con: Connection, site: str) -> pl.DataFrame:
    """The jobs of which PaperCut, the ledger and Nexudus disagree: Reconciliation, by day and job."""
    return read(con, "reconciliation", site).filter(pl.col("unexplained_cents") != 0).sort("day", "job_id")


def differing_jobs(con: Connection, site: str) -> pl.DataFrame:
    """Of these, the jobs: of a credit, `changed_credits` says what it is now."""
    return unexplained(con, site).filter(~pl.col("job_id").str.starts_with(CREDIT))


def untold(con: Connection, site: str) -> pl.DataFrame:
    """Of these, the jobs of which more is wrong than that a sale was deleted: that is told with its held line."""
    rows = differing_jobs(con, site)
    if rows.is_empty():
        return rows
    gone = deleted_sales(con, site).group_by("job_id").agg(gone_cents=pl.col("amount_cents").sum())
    told = (pl.col("unexplained_cents") == pl.col("gone_cents")).fill_null(value=False)
    return rows.join(gone, on="job_id", how="left", maintain_order="left").filter(~told).select(rows.columns)


def changed_credits(con: Connection, site: Site) -> pl.DataFrame:
    """The credits of which more or less is left than our uses explain, and which this site answers for.

    Returns:
        `grants.OBSERVED`, and sentence: what is wrong and what to do; by credit.
    """
    rows = grants.differing(con)
    if rows.is_empty():
        return rows.with_columns(sentence=pl.lit(""))
    mine = read(con, "nexudus_credits").filter(answers_for(site))
    return rows.join(mine, on="credit_id", how="semi", maintain_order="left").with_columns(sentence=sentence())


def is_deleted() -> pl.Expr:
    """Whether a held line is that of a sale that was deleted in Nexudus."""
    return pl.col("detail").str.contains(IS_GONE, literal=True)


# --- people ----------------------------------------------------------------------------------------------------------


def left_out(con: Connection, site: str) -> pl.DataFrame:
    """The customers who would print if something in their record were put right: PrintAccounts, by customer."""
    faults = pl.col("reason").is_in(list(FAULTS)) & (pl.col("access") != "none")
    return read(con, "print_accounts", site).filter(faults).sort("coworker_id")


def lost_marks(con: Connection, site: str) -> pl.DataFrame:
    """Users on record as ours that do not carry our mark any more, so that nothing is done to them.

    Returns:
        username, coworker_id; marked_coworker_id of the mark that is there, if one is; wanted: the customer may print;
        leaves: there is evidence that the customer may not, in the words of a removal (null without any); able: the
        user can print; by username.
    """
    accounts = read(con, "print_accounts", site)
    users = read(con, "print_users", site).select("username", "internal", "disabled", "marked", "marked_coworker_id")
    of_customer = accounts.unique("coworker_id", keep="first", maintain_order=True)
    by_email = accounts.select("email_key", now="coworker_id", email_reason="reason", email_found=True)
    by_customer = of_customer.select("coworker_id", customer_reason="reason", customer_found=True)
    found = (
        ownership.owned(con, site)
        .filter(state="owned")
        .join(users, on="username")
        .join(by_email, on="email_key", how="left")
        .join(by_customer, on="coworker_id", how="left")
    )
    named = pl.col("marked_coworker_id")
    right = named.is_null() | (named == pl.col("coworker_id"))  # the mark of some systems, a group, names nobody
    passed_on = pl.col("marked_coworker_id").eq(pl.col("now")).fill_null(value=False)
    reason = pl.when("email_found").then("email_reason").otherwise("customer_reason")
    known = pl.col("email_found").fill_null(value=False) | pl.col("customer_found").fill_null(value=False)
    return (
        found.filter(~(pl.col("marked") & (right | passed_on)) | ~pl.col("internal"))
        .with_columns(code=reason, wanted=known & reason.is_null())
        .select(
            "username", "coworker_id", "marked_coworker_id", "wanted",
            leaves=pl.col("code").replace_strict(
                LEAVES, default=None, return_dtype=pl.String
            ),
            able=~pl.col("disabled"),
        )
        .sort("username")
    )  # fmt: skip


def held_rows(con: Connection, site: Site) -> pl.DataFrame:
    """The rows of the last plan that wait for a person, without those that another finding tells.

    Returns:
        UserSyncPlan and cause (a kind of `causes.KINDS`); by username.
    """
    told = pl.concat([lost_marks(con, site.key).select("username"), _stays(con, site.key).select("username")]).unique()
    return (
        read(con, "user_sync_plan", site.key)
        .filter(pl.col("action") == "hold", pl.col("code").ne_missing("unlogged"))
        .join(told, on="username", how="anti")
        .with_columns(cause=pl.format("user held: {}", pl.col("code").replace_strict(HELD, default="other")))
        .sort("username", "reason")
    )


def failing(con: Connection, site: str) -> pl.DataFrame:
    """The changes of the last plan that did not succeed in any of the last runs that tried them.

    Returns:
        PrintUserSync, the last try of each, and tries (how many in a row, `AGAIN` or more); by username.
    """
    plan = read(con, "user_sync_plan", site).select("action", "username")
    return changes.failing(con, site).filter(pl.col("tries") >= AGAIN).join(plan, on=["action", "username"], how="semi")


def _stays(con: Connection, site: str) -> pl.DataFrame:
    """The users of customers whose record is at fault: they are told with the record."""
    return ownership.owned(con, site).join(left_out(con, site), on="coworker_id", how="semi")
