"""Load: what was decided is carried out in Nexudus and in the print system.

What belongs here: these assets and their words. What does not: the gates and the order of the work
(`pipeline.steps.charge`, `pipeline.steps.sync_users`), and the writes (`pipeline.effects`).
"""

from typing import Any

import dagster as dg

from assets.tables import SITE, described, shown, site_of
from assets.transform import print_charges, user_sync_plan
from pipeline.dagster.runs import run_of
from pipeline.site import Sites
from pipeline.steps.charge import charge
from pipeline.steps.sync_users import sync_users


@dg.asset(
    group_name="load", kinds={"rest"}, owners=["team:finance"], partitions_def=SITE,
    deps=[print_charges], metadata=described("print_charges"),
)  # fmt: skip
def nexudus_print_charges(
    context: dg.AssetExecutionContext, sites: dg.ResourceParam[Sites]
) -> dg.MaterializeResult[Any]:
    """Sales created or undone and credits written back in Nexudus, each reference once in effect."""
    return shown(charge(site_of(context, sites), run_of(context, sites)))


@dg.asset(
    group_name="load", kinds={"papercut"}, owners=["team:operations"], partitions_def=SITE,
    deps=[user_sync_plan], metadata=described("print_user_sync"),
)  # fmt: skip
def print_user_sync(context: dg.AssetExecutionContext, sites: dg.ResourceParam[Sites]) -> dg.MaterializeResult[Any]:
    """The plan applied to PaperCut: what happened to each row. Only users that are ours are ever written to."""
    return shown(sync_users(site_of(context, sites), run_of(context, sites)))
