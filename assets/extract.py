"""Extract: what Nexudus and the print system have, complete or an error.

What belongs here: these assets and their words. What does not: reading (`pipeline.steps.read`).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.tables import SITE, described, shown, site_of
from pipeline.dagster.runs import run_of
from pipeline.reports.days import picture
from pipeline.site import Sites
from pipeline.steps.read import read_jobs, read_lists, read_users

LISTS = {
    "nexudus_customers": """Every customer of the Nexudus account: flags, home location, status.

Complete at least every `complete_read_minutes` and whenever the totals disagree; in between only what changed. PINs
and card numbers are kept as keyed digests.""",
    "nexudus_credits": """Every printing credit of every customer: what was granted, what is left, from when to when it
is valid.""",
    "nexudus_teams": """Every team of the Nexudus account: its paying customer, its members, and whether they share the
payer's printing credits. Always read whole; empty where no site takes credits with `team_credits = "as_nexudus"`.""",
}


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            name, group_name="extract", kinds={"rest", "duckdb"}, owners=["team:operations"], description=description,
            metadata=described(name),
        )
        for name, description in LISTS.items()
    ],
    can_subset=True,
)  # fmt: skip
def nexudus_lists(
    context: dg.AssetExecutionContext, sites: dg.ResourceParam[Sites]
) -> Iterator[dg.MaterializeResult[Any]]:
    """The lists of the Nexudus account that the run asks for, read at the same time."""
    names = [key.to_user_string() for key in context.selected_asset_keys]
    for name, made in read_lists(sites, names).items():
        yield shown(made, asset_key=name)


@dg.asset(
    group_name="extract", kinds={"papercut", "duckdb"}, owners=["team:operations"], partitions_def=SITE,
    metadata=described("print_users"),
)  # fmt: skip
def print_users(context: dg.AssetExecutionContext, sites: dg.ResourceParam[Sites]) -> dg.MaterializeResult[Any]:
    """PaperCut's users with flags and balances, read before the jobs: a print in between can only under-grant."""
    return shown(read_users(site_of(context, sites), run_of(context, sites)))


@dg.asset(
    group_name="extract", kinds={"papercut", "duckdb"}, owners=["team:operations"], partitions_def=SITE,
    deps=[print_users], metadata=described("print_jobs"),
)  # fmt: skip
def print_jobs(context: dg.AssetExecutionContext, sites: dg.ResourceParam[Sites]) -> dg.MaterializeResult[Any]:
    """Print jobs since the cursor, with a look-back window; a row that changed is stored as its next revision."""
    made = read_jobs(site_of(context, sites), run_of(context, sites))
    return shown(made, per_day=dg.MetadataValue.md(picture(made.days)))
