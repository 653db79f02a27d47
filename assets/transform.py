"""Transform: the tables that decide.

What belongs here: these assets and their words. What does not: reading and storing (`pipeline.steps.decide`,
`pipeline.steps.reconcile`), and the rules, which are pure functions (`pipeline.domain`).
"""

from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from assets.extract import LISTS, print_jobs, print_users
from assets.tables import SITE, SITE_DAY, described, dimensions, shown, site_of
from pipeline.dagster.runs import run_of
from pipeline.domain.people import plan
from pipeline.site import Sites
from pipeline.steps.decide import decide_accounts, decide_charges, plan_users
from pipeline.steps.reconcile import reconcile_day


@dg.asset(
    group_name="transform", kinds={"polars", "duckdb"}, owners=["team:operations"], partitions_def=SITE,
    deps=list(LISTS), metadata=described("print_accounts"),
)  # fmt: skip
def print_accounts(context: dg.AssetExecutionContext, sites: dg.ResourceParam[Sites]) -> dg.MaterializeResult[Any]:
    """One row per e-mail: who pays, which credits pool, which access, and for everyone left out the reason."""
    return shown(decide_accounts(site_of(context, sites), run_of(context, sites)))


@dg.asset(
    group_name="transform", kinds={"polars", "duckdb"}, owners=["team:finance"], partitions_def=SITE,
    deps=[print_accounts, print_jobs], metadata=described("print_charges"),
)  # fmt: skip
def print_charges(context: dg.AssetExecutionContext, sites: dg.ResourceParam[Sites]) -> dg.MaterializeResult[Any]:
    """The ledger lines that mature jobs need now: credits used, money charged, waived, held, or given back.

    Empty when everything is decided. Credits come first, earliest expiry first; what decided stands in `rule`.
    """
    return shown(decide_charges(site_of(context, sites)))


@dg.asset(
    group_name="transform", kinds={"polars", "duckdb"}, owners=["team:operations"], partitions_def=SITE,
    deps=[print_users, print_accounts, "nexudus_print_charges"], metadata=described("user_sync_plan"),
)  # fmt: skip
def user_sync_plan(context: dg.AssetExecutionContext, sites: dg.ResourceParam[Sites]) -> dg.MaterializeResult[Any]:
    """What would change among the print users: create, update, rename, adjust balance, remove; each with its reason."""
    made = plan_users(site_of(context, sites), run_of(context, sites))
    # Without names: they are e-mails, and Dagster keeps what it shows.
    nameless = made.frame.with_columns(username=pl.lit(""), new_username=pl.lit(None, pl.String))
    return shown(made, plan=dg.MetadataValue.md(plan.markdown(nameless, made.verdict)))


@dg.asset(
    group_name="transform", kinds={"polars", "duckdb"}, owners=["team:finance"], partitions_def=SITE_DAY,
    deps=["nexudus_print_charges"], metadata=described("reconciliation"),
)  # fmt: skip
def reconciliation(context: dg.AssetExecutionContext, sites: dg.ResourceParam[Sites]) -> dg.MaterializeResult[Any]:
    """PaperCut, the ledger and Nexudus, job by job, for one day of one site.

    The unexplained difference must be 0; anything else stops new charges of the site until a person resumes them.
    A list in Nexudus may lag, so a difference while a charge is younger than the settle time only turns the check red.
    """
    site, day = dimensions(context)
    return shown(reconcile_day(sites[site], date.fromisoformat(day)))
