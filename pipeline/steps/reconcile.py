"""Reconcile: the print system, the ledger and Nexudus held against each other for one day of one site.

What belongs here: reading the three, storing the answer, and the stop that an unexplained cent leads to. What does not:
the comparison itself (`pipeline.domain.money.reconcile`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import polars as pl

from pipeline.domain import tables
from pipeline.domain.money.acceptance import agreed
from pipeline.domain.money.grants import findings
from pipeline.domain.money.reconcile import day_bounds, reconcile, summary
from pipeline.domain.money.references import JOB_LENGTH
from pipeline.effects.credits import ENTITY as CREDITS
from pipeline.effects.deleted import settle_deleted
from pipeline.services.nexudus import records
from pipeline.services.nexudus.wire import moment
from pipeline.site import Site
from pipeline.steps.run import Made
from pipeline.store import acceptances, assignments, days, grants, history, jobs, ownership, stops
from pipeline.store.lines import by_hand, lines_of, products_of
from pipeline.store.sql import Connection


@dataclass(frozen=True)
class Day:
    """Reconciliation of one day, not yet stored.

    lines, sales: what was compared, of the ledger and of Nexudus.
    doubtful_cents: unexplained cents of jobs that were printed or that the ledger knows, once every charge among them
    is older than the settle time. A sale of no such job is nothing that a charge can double.
    """

    frame: pl.DataFrame
    doubtful_cents: int
    lines: pl.DataFrame
    sales: pl.DataFrame


def reconcile_day(site: Site, day: date) -> Made:
    """Reconcile one day and store the answer; an unexplained difference of a job stops the charges of the site.

    A list in Nexudus may lag, so a difference while a charge is younger than the settle time only turns the check red.
    So does a sale under a reference of ours for a job that nobody printed: somebody typed it.
    So does a credit of which more or less is left than our uses explain: that is told, and doubles no charge.
    A confirmed sale that was deleted in Nexudus becomes a held line: a person decides whether it is charged again.
    """
    compared, credits_ = compare(site, day), _credits(site)

    def change(con: Connection) -> pl.DataFrame:
        grants.observe(con, credits_, day=day, at=site.clock(), actor="reconciliation")
        wrong = grants.differing(con).filter(day=day).join(credits_, on="credit_id", how="semi")
        rows = pl.concat([compared.frame, findings(wrong, site.rules, day)])
        days.replace(con, site.key, day, tables.checked("reconciliation", rows))
        return rows

    frame = site.store.commit(change)
    totals = summary(frame)

    def stop(con: Connection) -> None:
        if "charges" not in stops.stopped(con, site.key):
            reason = f"{compared.doubtful_cents} cents of {day} cannot be explained; see the reconciliation of that day"
            stops.record(con, site.key, "charges", state="stopped", reason=reason, at=site.clock())

    if compared.doubtful_cents:
        site.store.commit(stop)
    settle_deleted(site, f"reconcile {day}", compared.lines, compared.sales)
    return Made(frame, {**totals})


def _credits(site: Site) -> pl.DataFrame:
    """The credits that this site answers for, read now: NexudusCredits."""
    at, parts = site.clock(), [tables.empty("nexudus_credits")]
    for service in site.rules.credit_ids:
        listed = site.nexudus.records(CREDITS, needs=records.CREDIT_FIELDS, CoworkerExtraService_ExtraService=service)
        parts.append(records.read_credits(listed, moment, at).frame)
    return pl.concat(parts).unique("credit_id", maintain_order=True).filter(answers_for(site))


def answers_for(site: Site) -> pl.Expr:
    """Whether a credit (extra_service_id, business_id) is told at this site.

    One that several sites count is told at the site of its location, or else at the first of them.
    """
    mine = pl.lit(value=False)
    for service in site.rules.credit_ids:
        claiming = sorted((each for each in site.sites if service in each.rules.credit_ids), key=lambda each: each.key)
        others = [each.rules.business_id for each in claiming if each.key != site.key]
        of_mine = pl.col("business_id").eq_missing(site.rules.business_id)
        of_nobody = ~pl.col("business_id").is_in([*others, site.rules.business_id]).fill_null(value=False)
        first = pl.lit(claiming[0].key == site.key)
        mine |= (pl.col("extra_service_id") == service) & (of_mine | (of_nobody & first))
    return mine


def compare(site: Site, day: date) -> Day:
    """What the three say of one day in the site's own zone.

    Raises:
        PrintbridgeError: Nexudus could not be read completely.
    """
    start, end = day_bounds(day, site.rules.timezone)
    with site.store.connect() as con:
        printed = jobs.between(con, site.key, start, end)
        names = ownership.names(con, site.key)
        given, past = assignments.assigned(con, site.key), history.past(con, site.key)
        products = products_of(con, site.key, site.rules.charge_product_id)
    listed: list[dict[str, Any]] = []
    for product in products:
        listed += site.nexudus.records(
            "coworkerproducts",
            CoworkerProduct_Product=product,
            from_CoworkerProduct_SaleDate=start,
            to_CoworkerProduct_SaleDate=end,
        )
    sales = records.sales(listed)
    with site.store.connect() as con:
        known = lines_of(con, site.key, printed, sales)
        paid = by_hand(con, known.filter(kind="sale")["ref"].to_list())
    now = site.clock()
    young = known.filter(pl.col("happened_at") > now - timedelta(minutes=site.settings.settle_minutes))
    frame = reconcile(
        printed, known, sales, rules=site.rules, day=day, now=now, names=names, assigned=given, by_hand=paid, past=past
    )
    padded = pl.col("job_id").str.zfill(JOB_LENGTH)
    with site.store.connect() as con:  # a sale names its job, on whatever day that was printed
        logged = jobs.padded(con, site.key, frame.select(padded)["job_id"].to_list())
        frame = agreed(frame, acceptances.accepted(con, site.key))
    job_is_known = padded.is_in(logged) | pl.col("job_id").is_in(known["job_id"].implode())
    doubtful = frame.filter(job_is_known)["unexplained_cents"].sum()
    return Day(frame, int(doubtful) if young.is_empty() else 0, known, sales)
