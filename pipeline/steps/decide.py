"""Decide: the tables that say who gets a print user, what a job costs whom, and what would change.

What belongs here: reading what a rule needs, calling the rule, storing its answer. What does not: the rules themselves
(`pipeline.domain`), or any effect on a service.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from pipeline.domain import tables
from pipeline.domain.money import attribution, charges, reversals
from pipeline.domain.money.history import access_news, charged_times, kept
from pipeline.domain.money.sharing import sharing_news
from pipeline.domain.people import accounts, balances, plan, writes
from pipeline.domain.people.ownership import under_current_names
from pipeline.domain.people.reasons import REASONS
from pipeline.domain.rules import SiteRules
from pipeline.errors import MissingError, PrintbridgeError
from pipeline.site import Site
from pipeline.steps.look import LISTS
from pipeline.steps.run import Made, Number, Run, numbered
from pipeline.store import assignments, changes, defaults, history, invitations, jobs, memory, ownership
from pipeline.store.lines import lines_of_site, open_uses, retried_sales
from pipeline.store.sql import Connection, read

HORIZON = timedelta(days=60)
"""Jobs printed or first seen longer ago are settled: the nightly re-read looks back 45 days."""


@dataclass(frozen=True)
class PlanMade(Made):
    """A plan, and whether that many changes are safe."""

    verdict: plan.Verdict = field(default_factory=lambda: plan.Verdict({}, {}))


def decide_accounts(site: Site, run: Run) -> Made:
    """One row per e-mail: who pays, which credits pool, which access, and for everyone left out the reason.

    What has changed of it, of who shares credits, and of the rules of the site is kept as history: a job is decided by
    what held when it was printed. A dry run keeps no rules, so that a model can be tried with `printbridge plan`.
    """
    now = site.clock()

    def change(con: Connection) -> None:
        history.record_access(con, site.key, news, now)
        memory.note(con, site.key, memory.ACCESS_SEEN, "", now)
        history.record_sharing(con, site.key, sharing, now)
        memory.note(con, site.key, memory.SHARING_SEEN, "", now)
        memory.remember(con, site.key, memory.LISTS, json.dumps(lists), now)
        if not run.dry:
            history.record_rules(con, site.key, kept(site.rules), now)

    with site.store.connect() as con:
        frame = tables.checked("print_accounts", _accounts(con, site.rules, now))
        lists = {name: memory.recall(con, memory.ACCOUNT, memory.state_of(table)) for table, name in LISTS.items()}
        last_look = memory.written(con, site.key, memory.ACCESS_SEEN)
        customers, known = read(con, "nexudus_customers"), history.access(con, site.key)
        teams, shared = read(con, "nexudus_teams"), history.sharing(con, site.key)
        last_sharing = memory.written(con, site.key, memory.SHARING_SEEN)
        news = access_news(frame, customers, known, last_look, now)
        sharing = sharing_news(teams, customers, shared, last_sharing, now)
        site.store.commit(change)
        site.store.replace("print_accounts", frame, site.key)
    left_out = frame.drop_nulls("reason")
    reasons = numbered(REASONS, dict(left_out.group_by("reason").len().iter_rows()))
    return Made(frame, {"users": frame.height - left_out.height, **_named("left_out_{}", reasons)})


def decide_charges(site: Site) -> Made:
    """The ledger lines that mature jobs need now: credits used, money charged, waived, held, or given back."""
    rules, now = site.rules, site.clock()
    with site.store.connect() as con:
        names = ownership.names(con, site.key)
        recent = jobs.concerning(con, site.key, now - HORIZON, names)
        times = charged_times(history.past(con, site.key), rules)
        decided = _charges(con, site, recent, names, lines_of_site(con, site.key, recent))
        decided = tables.checked("print_charges", _with_retried(con, site, decided, recent, names))
        nobodys = jobs.ownerless(con, site.key, now - HORIZON, names, times, examples=1)
        waiting = _immature(recent, names, rules, now)
        youngest: datetime | None = waiting.select(pl.col("printed_at").min()).item()
        wake_at = (youngest + timedelta(minutes=rules.maturity_minutes)).isoformat() if youngest else ""
        site.store.replace("print_charges", decided, site.key)
        site.store.commit(lambda con: memory.remember(con, site.key, memory.WAKE, wake_at, now))
    totals = numbered(tables.KINDS, dict(decided.group_by("kind").agg(pl.col("amount_cents").sum()).iter_rows()))
    held = decided.filter(state="held")
    return Made(
        decided,
        {
            "unattributed_jobs": int(nobodys["jobs"].sum()), "waiting_to_mature": waiting.height, "held": held.height,
            "held_cents": int(held["amount_cents"].sum()), **_named("{}_cents", totals),
        },
    )  # fmt: skip


def plan_users(site: Site, run: Run) -> PlanMade:
    """What would change among the print users: create, update, rename, adjust balance, remove; each with its reason.

    A run that invites asks for everybody who has no user yet, in a commit before the plan that creates them.
    """
    rules, now = site.rules, site.clock()
    with site.store.connect() as con:
        # Decided again because the charges of this run have used credits since the stored table was made.
        wanted = _accounts(con, rules, now)
        owned = ownership.owned(con, site.key)
        users = read(con, "print_users", site.key)
        # What a person gave to another customer, or waived, is not owed by the user who printed it.
        names = ownership.names(con, site.key)
        recent = jobs.concerning(con, site.key, now - HORIZON, names)
        recent = recent.join(assignments.assigned(con, site.key), on="job_id", how="anti")
        unsettled = under_current_names(
            attribution.unsettled(
                recent, names, lines_of_site(con, site.key, recent), rules, history.past(con, site.key)
            ),
            names,
            owned,
        )
        fallen = _fallen(con, site, users, now)
        removed = ownership.removed_since(con, site.key, now)
        lapsed = plan.without_credit(wanted, owned, now)
        if run.invites and not run.dry and rules.invite == "by_hand":
            new = wanted.filter(pl.col("reason").is_null()).join(users, on="username", how="anti")["coworker_id"]
            site.store.commit(lambda con: invitations.ask(con, site.key, new, operator=f"run {run.id}", at=now))
        invited = invitations.asked(con, site.key, now)
    gone = _gone(site, plan.missing(wanted, owned))
    made = plan.user_sync_plan(
        site.printing.as_kept(wanted), users,
        owned=owned, unsettled=unsettled, gone=gone, rules=rules, now=now, fallen=fallen,
        printed=recent.group_by("username").agg(pl.col("printed_at").max()), password_length=_password_length(site),
        invited=invited,
    )  # fmt: skip
    with site.store.connect() as con:
        tried = changes.repeated(con, site.key, made["username"].to_list(), writes.TRIES)
    frame = tables.checked("user_sync_plan", writes.without_effect(made, tried, rules))
    events: list[ownership.Event] = [
        {"username": name, "state": "owned", "without_credit_since": since, "reason": "credits came or went"}
        for name, since in lapsed.iter_rows()
    ]
    with site.store.connect():
        site.store.commit(lambda con: ownership.record(con, site.key, events, now))
        site.store.replace("user_sync_plan", frame, site.key)
    verdict = plan.verdict(frame, owned.height, removed)
    numbers: dict[str, Number] = {
        "plan_id": plan.plan_id(frame), "verdict": "; ".join(verdict.blocked.values()) or "safe",
        **_named("{}s", verdict.counts),
    }  # fmt: skip
    return PlanMade(frame, numbers, verdict=verdict)


def recent_jobs(con: Connection, site: str, now: datetime) -> pl.DataFrame:
    """The latest revision of every job that may still need a decision, whoever printed it."""
    return jobs.recent(con, site, now - HORIZON)


def _charges(
    con: Connection, site: Site, printed: pl.DataFrame, names: pl.DataFrame, lines: pl.DataFrame
) -> pl.DataFrame:
    """The lines that some jobs need now, on top of those that they have."""
    grants = read(con, "nexudus_credits")
    return charges.print_charges(
        printed,
        accounts=read(con, "print_accounts", site.key),
        customers=read(con, "nexudus_customers"),
        names=names,
        grants=grants,
        uses=open_uses(con, grants),
        ledger=lines,
        rules=site.rules,
        now=site.clock(),
        past=history.past(con, site.key),
        assigned=assignments.assigned(con, site.key),
    )


def _with_retried(
    con: Connection, site: Site, decided: pl.DataFrame, recent: pl.DataFrame, names: pl.DataFrame
) -> pl.DataFrame:
    """What was decided, and the jobs whose sale a person let be sent again although credits would pay by now.

    Such a sale is taken back, and the credits pay; every other one is sent as it is, under its own reference, which a
    sale that Nexudus makes late after all still answers to.
    """
    sales = retried_sales(con, site.key)
    sales = sales.join(decided, on="job_id", how="anti").join(recent, on="job_id", how="semi")
    if sales.is_empty():
        return decided
    back = reversals.taken_back(sales.select(tables.columns("print_charges").names()), reversals.RETRIED)
    undone = pl.concat([lines_of_site(con, site.key, sales), back], how="diagonal_relaxed")
    anew = _charges(con, site, recent.join(sales, on="job_id", how="semi"), names, undone)
    paid = anew.filter(kind="credit").select("job_id")
    return pl.concat(
        [decided, back.join(paid, on="job_id", how="semi"), anew.join(paid, on="job_id", how="semi")]
    ).sort("printed_at", "job_id", "ref")


def _accounts(con: Connection, rules: SiteRules, now: datetime) -> pl.DataFrame:
    grants = read(con, "nexudus_credits")
    customers, teams = read(con, "nexudus_customers"), read(con, "nexudus_teams")
    ended = defaults.ended(con)
    return accounts.print_accounts(customers, grants, open_uses(con, grants), rules, now, teams=teams, ended=ended)


def _fallen(con: Connection, site: Site, users: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The users whose balance is lower than the jobs of the log and our own changes explain: `balances.FALLEN`."""
    revisions = jobs.changed_since(con, site.key, users.select(pl.col("observed_at").min()).item() or now)
    within = balances.IN_FILES_WITHIN if site.jobs.by_time else balances.LOGGED_WITHIN
    return balances.fallen(users, revisions, now, within)


def _immature(recent: pl.DataFrame, names: pl.DataFrame, rules: SiteRules, now: datetime) -> pl.DataFrame:
    """Chargeable jobs of our users that are too young to be charged."""
    young = pl.col("printed_at") > max(now - timedelta(minutes=rules.maturity_minutes), rules.charge_from)
    return attribution.attributed(recent.filter(attribution.counts() & young), names)


def _gone(site: Site, missing: pl.DataFrame) -> pl.DataFrame:
    """Of the customers that a complete list lacks, those that Nexudus says do not exist (404 by id)."""
    gone: list[int] = []
    for coworker_id in missing["coworker_id"]:
        try:
            site.nexudus.record("coworkers", coworker_id)
        except MissingError:
            gone.append(coworker_id)
    return pl.DataFrame({"coworker_id": gone}, schema={"coworker_id": pl.Int64})


def _password_length(site: Site) -> int | None:
    """The length to which passwords are padded; None where the print system does not say.

    So a plan needs no server. Applying a plan asks again, and tells what is wrong with its remedy.
    """
    try:
        return site.printing.password_length()
    except PrintbridgeError:
        return None


def _named(form: str, numbers: Mapping[str, int]) -> dict[str, Number]:
    return {form.format(name): number for name, number in numbers.items()}
