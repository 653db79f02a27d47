"""The one code location: assets, checks, jobs, schedules and resources, wired to a configuration.

What belongs here: assembly. What does not: anything that could be wrong on its own. `build_defs` makes the same wiring
for tests with other settings; `defs` is what Dagster loads.
"""

from __future__ import annotations

import dagster as dg

from assets import catalogue, checks, extract, load, report, transform
from pipeline.configuration import load_settings
from pipeline.dagster import schedules
from pipeline.dagster.looks import Looks
from pipeline.dagster.resources import for_runs
from pipeline.home import home, prepared_home
from pipeline.settings import Settings
from pipeline.site import Sites

ASSETS = (
    extract.nexudus_lists,
    extract.print_users,
    extract.print_jobs,
    transform.print_accounts,
    transform.print_charges,
    load.nexudus_print_charges,
    transform.user_sync_plan,
    load.print_user_sync,
    transform.reconciliation,
    report.monthly_print_report,
    report.monthly_print_report_all,
)


def build_defs(settings: Settings, *, sites: Sites | None = None) -> dg.Definitions:
    """The code location for a configuration.

    Args:
        settings: the configuration; its sites become the partitions.
        sites: what the runs use; by default made of the settings and the environment.
    """
    sites = sites or Sites(settings, home())
    partitions, looks = schedules.Partitions.of(settings), Looks(sites)
    return dg.Definitions(
        assets=[
            asset.map_asset_specs(lambda spec: catalogue.entry(partitions.placed(spec), settings)) for asset in ASSETS
        ],
        asset_checks=checks.CHECKS,
        jobs=schedules.jobs(),
        schedules=schedules.schedules(sites, looks),
        sensors=schedules.sensors(sites, looks),
        executor=dg.in_process_executor,
        resources={"sites": for_runs(sites)},
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster dev`, the web server and the daemon load."""
    settings = load_settings()
    prepared_home()
    return build_defs(settings)
