"""Transform: the tables that decide, made by the pure functions of `pipeline.domain`.

What belongs here: reading what a rule needs, calling the rule, storing its answer. What does not: the rules themselves,
or any effect on a service.
"""

from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from assets.tables import SITE, SITE_DAY, described, dimensions, numbered, stored
from pipeline import ledger, ownership, safety, warehouse
from pipeline.domain import accounts, charges, plan, records, schemas
from pipeline.domain.jobs import latest
from pipeline.domain.ownership import under_current_names
from pipeline.domain.reconcile import day_bounds, reconcile, summary
from pipeline.domain.rules import SiteRules
from pipeline.errors import MissingError
from pipeline.resources import Bridge
from pipeline.warehouse import Connection

from assets.extract import LISTS, papercut_print_jobs, papercut_users  # isort: skip

HORIZON = timedelta(days=60)
"""Jobs printed or first seen longer ago are settled: the nightly re-read looks back 45 days."""


@dg.asset(
    group_name="transform", kinds={"polars", "duckdb"}, owners=["team:operations"], partitions_def=SITE,
    deps=list(LISTS),
    metadata=described("print_accounts"),
)  # fmt: skip
def print_accounts(context: dg.AssetExecutionContext, bridge: dg.ResourceParam[Bridge]) -> dg.MaterializeResult[Any]:
    """One row per e-mail: who pays, which credits pool, which access, and for everyone left out the reason."""
    site = context.partition_key
    with bridge.warehouse.transaction() as con:
        frame = _accounts(con, bridge.settings.site(site).rules(site), bridge.clock())
        warehouse.replace(con, "print_accounts", schemas.checked("print_accounts", frame), site)
    left_out = frame.drop_nulls("reason")
    reasons = numbered(schemas.REASONS, dict(left_out.group_by("reason").len().iter_rows()))
    return stored(frame, users=frame.height - left_out.height, **{f"left_out_{name}": n for name, n in reasons.items()})


@dg.asset(
    group_name="transform", kinds={"polars", "duckdb"}, owners=["team:finance"], partitions_def=SITE,
    deps=[print_accounts, papercut_print_jobs],
    metadata=described("print_charges"),
)  # fmt: skip
def print_charges(context: dg.AssetExecutionContext, bridge: dg.ResourceParam[Bridge]) -> dg.MaterializeResult[Any]:
    """The ledger lines that mature jobs need now: credits used, money charged, waived, held, or given back.

    Empty when everything is decided. Credits come first, earliest expiry first; what decided stands in `rule`.
    """
    site, now = context.partition_key, bridge.clock()
    rules = bridge.settings.site(site).rules(site)
    with bridge.warehouse.transaction() as con:
        jobs = recent_jobs(con, site, now)
        grants = warehouse.read(con, "nexudus_credits")
        names = ownership.names(con, site)
        decided = charges.print_charges(
            jobs,
            warehouse.read(con, "print_accounts", site),
            warehouse.read(con, "nexudus_customers"),
            names,
            grants,
            ledger.open_uses(con, grants),
            ledger.lines(con, site, jobs),
            rules,
            now,
        )
        unattributed = charges.unattributed(jobs, names, rules)
        waiting = _immature(jobs, names, rules, now)
        warehouse.replace(con, "print_charges", schemas.checked("print_charges", decided), site)
        youngest: datetime | None = waiting.select(pl.col("printed_at").min()).item()
        wake_at = (youngest + timedelta(minutes=rules.maturity_minutes)).isoformat() if youngest else ""
        warehouse.change_bookmark(con, site, "wake_at", wake_at, now)
    totals = numbered(schemas.KINDS, dict(decided.group_by("kind").agg(pl.col("amount_cents").sum()).iter_rows()))
    held = decided.filter(state="held")
    return stored(
        decided,
        unattributed_jobs=unattributed.height,
        waiting_to_mature=waiting.height,
        held=held.height,
        held_cents=int(held["amount_cents"].sum()),
        **{f"{kind}_cents": cents for kind, cents in totals.items()},
    )


@dg.asset(
    group_name="transform", kinds={"polars", "duckdb"}, owners=["team:operations"], partitions_def=SITE,
    deps=[papercut_users, print_accounts, "nexudus_print_charges"],
    metadata=described("user_sync_plan"),
)  # fmt: skip
def user_sync_plan(context: dg.AssetExecutionContext, bridge: dg.ResourceParam[Bridge]) -> dg.MaterializeResult[Any]:
    """What would change among the print users: create, update, rename, adjust balance, remove; each with its reason."""
    site, now = context.partition_key, bridge.clock()
    rules = bridge.settings.site(site).rules(site)
    with bridge.warehouse.connect() as con:
        # Computed again because the charges of this run have used credits since the stored table was made.
        wanted = _accounts(con, rules, now)
        owned = ownership.owned(con, site)
        users = warehouse.read(con, "papercut_users", site)
        jobs = recent_jobs(con, site, now)
        names = ownership.names(con, site)
        unsettled = under_current_names(
            charges.unsettled(jobs, names, ledger.lines(con, site, jobs), rules), names, owned
        )
        removed = ownership.removed_since(con, site, now)
        lapsed = plan.without_credit(wanted, owned, now)
        events = [
            {"username": name, "state": "owned", "without_credit_since": since, "reason": "credits came or went"}
            for name, since in lapsed.iter_rows()
        ]
    gone = _gone(bridge, plan.missing(wanted, owned))
    frame = plan.user_sync_plan(wanted, users, owned, unsettled, gone, rules, now)
    with bridge.warehouse.transaction() as con:
        ownership.record(con, site, events, now)
        warehouse.replace(con, "user_sync_plan", schemas.checked("user_sync_plan", frame), site)
    verdict = plan.verdict(frame, owned.height, removed)
    # Without names: they are e-mails, and Dagster keeps what it shows.
    nameless = frame.with_columns(username=pl.lit(""), new_username=pl.lit(None, pl.String))
    return stored(
        frame,
        plan=dg.MetadataValue.md(plan.markdown(nameless, verdict)),
        plan_id=plan.plan_id(frame),
        verdict="; ".join(verdict.blocked.values()) or "safe",
        **{f"{action}s": count for action, count in verdict.counts.items()},
    )


@dg.asset(
    group_name="transform", kinds={"polars", "duckdb"}, owners=["team:finance"], partitions_def=SITE_DAY,
    deps=["nexudus_print_charges"], metadata=described("reconciliation"),
)  # fmt: skip
def reconciliation(context: dg.AssetExecutionContext, bridge: dg.ResourceParam[Bridge]) -> dg.MaterializeResult[Any]:
    """PaperCut, the ledger and Nexudus, job by job, for one day of one site.

    The unexplained difference must be 0; anything else stops new charges of the site until a person resumes them.
    A list in Nexudus may lag, so a difference while a charge is younger than the settle time only turns the check red.
    """
    site, day = dimensions(context)
    frame, settled = reconciled(bridge, site, date.fromisoformat(day))
    with bridge.warehouse.transaction() as con:
        con.execute("DELETE FROM reconciliation WHERE site = $site AND day = $day", {"site": site, "day": day})
        warehouse.insert(con, "reconciliation", schemas.checked("reconciliation", frame))
        totals = summary(frame)
        stopped = safety.states(con, site).get("charges", ("open", ""))[0] == "stopped"
        if totals["unexplained_cents"] and settled and not stopped:
            reason = (
                f"{totals['unexplained_cents']} cents of {day} cannot be explained; see the reconciliation of that day"
            )
            safety.record(con, site, "charges", state="stopped", reason=reason, at=bridge.clock())
    return stored(frame, **totals)


def reconciled(bridge: Bridge, site: str, day: date) -> tuple[pl.DataFrame, bool]:
    """The Reconciliation of a day, not yet stored, and whether every charge in it is older than the settle time."""
    rules = bridge.settings.site(site).rules(site)
    start, end = day_bounds(day, rules.timezone)
    with bridge.warehouse.connect() as con:
        jobs = latest(
            warehouse.query(
                con,
                "SELECT * FROM papercut_print_jobs WHERE site = $site AND job_id IN (SELECT job_id FROM"
                " papercut_print_jobs WHERE site = $site AND printed_at >= $start AND printed_at < $end)",
                site=site, start=start, end=end,
            )
        )  # fmt: skip
        names = ownership.names(con, site)
    listed: list[dict[str, Any]] = []
    if rules.charge_product_id:
        listed = bridge.nexudus.records(
            "coworkerproducts",
            CoworkerProduct_Product=rules.charge_product_id,
            from_CoworkerProduct_SaleDate=start,
            to_CoworkerProduct_SaleDate=end,
        )
    sales = records.sales(listed)
    with bridge.warehouse.connect() as con:
        known = ledger.lines_of(con, site, jobs, sales)
    now = bridge.clock()
    young = known.filter(pl.col("happened_at") > now - timedelta(minutes=bridge.settings.site(site).settle_minutes))
    return reconcile(jobs, known, sales, rules, day, now, names), young.is_empty()


def _accounts(con: Connection, rules: SiteRules, now: datetime) -> pl.DataFrame:
    grants = warehouse.read(con, "nexudus_credits")
    customers = warehouse.read(con, "nexudus_customers")
    return accounts.print_accounts(customers, grants, ledger.open_uses(con, grants), rules, now)


def _immature(jobs: pl.DataFrame, names: pl.DataFrame, rules: SiteRules, now: datetime) -> pl.DataFrame:
    """Chargeable jobs of our users that are too young to be charged."""
    young = pl.col("printed_at") > max(now - timedelta(minutes=rules.maturity_minutes), rules.charge_from)
    return charges.attributed(jobs.filter(charges.counts() & young), names)


def recent_jobs(con: Connection, site: str, now: datetime) -> pl.DataFrame:
    """The latest revision of every job that may still need a decision."""
    rows = warehouse.query(
        con,
        "SELECT * FROM papercut_print_jobs WHERE site = $site AND (printed_at >= $since OR first_seen_at >= $since)",
        site=site, since=now - HORIZON,
    )  # fmt: skip
    return latest(rows)


def _gone(bridge: Bridge, missing: pl.DataFrame) -> pl.DataFrame:
    """Of the customers that a complete list lacks, those that Nexudus says do not exist (404 by id)."""
    gone: list[int] = []
    for coworker_id in missing["coworker_id"]:
        try:
            bridge.nexudus.record("coworkers", coworker_id)
        except MissingError:
            gone.append(coworker_id)
    return pl.DataFrame({"coworker_id": gone}, schema={"coworker_id": pl.Int64})
