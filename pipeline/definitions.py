"""The one code location: assets, checks, jobs, schedules and resources, wired to a configuration.

What belongs here: assembly. What does not: anything that could be wrong on its own. `build_defs` makes the same wiring
for tests with other settings; `defs` is what Dagster loads.
"""

from __future__ import annotations

import dagster as dg

from assets import catalogue, checks, extract, report, transform
from assets.load import access, adoption, charges, user_sync
from pipeline import automation
from pipeline.resources import Bridge, for_runs
from pipeline.settings import Settings, home, load_settings, prepared_home

ASSETS = (
    extract.nexudus_lists,
    extract.papercut_users,
    extract.papercut_print_jobs,
    transform.print_accounts,
    transform.print_charges,
    charges.nexudus_print_charges,
    transform.user_sync_plan,
    user_sync.papercut_user_sync,
    transform.reconciliation,
    report.monthly_print_report,
    report.monthly_print_report_all,
)

set_flags = access.set_flags
mark_user = adoption.mark_user
"""Writes that an operator asks for by command and that no run makes; the command gets them here."""


def build_defs(settings: Settings, *, bridge: Bridge | None = None) -> dg.Definitions:
    """The code location for a configuration.

    Args:
        settings: the configuration; its sites become the partitions.
        bridge: what the runs use; by default one made of the settings and the environment.
    """
    bridge = bridge or Bridge(settings, home())
    partitions = automation.Partitions.of(settings)
    return dg.Definitions(
        assets=[
            asset.map_asset_specs(lambda spec: catalogue.entry(partitions.placed(spec), settings)) for asset in ASSETS
        ],
        asset_checks=checks.CHECKS,
        jobs=automation.jobs(),
        schedules=automation.schedules(bridge),
        sensors=automation.sensors(bridge),
        executor=dg.in_process_executor,
        resources={"bridge": for_runs(bridge)},
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster dev`, the web server and the daemon load."""
    settings = load_settings()
    prepared_home()
    return build_defs(settings)
