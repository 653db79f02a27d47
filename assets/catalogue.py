"""What the catalogue says of each asset beside its own words: tags to filter by, and how fresh it must be.

What belongs here: promises about the whole graph that depend on the configuration. What does not: an asset's own words,
columns and owners; they stand where it is made.

Freshness is Dagster's: each half minute its daemon holds the newest materialisation of any site against a time. It
writes an event only when the answer changes, so an asset that stays fresh costs no storage. What is promised must be
true while nothing at all happens, because a look that finds no change starts no run: the tables of a site are made
again at every complete read of Nexudus, and in any case by the nightly re-read; the report on the first of a month. A
reconciliation has no promise: it is made for days that changed, and there may be none for weeks. A single site that
stands still is told by an alert, as Dagster does not look at partitions.
"""

from datetime import timedelta

import dagster as dg

from pipeline.dagster.runs import SYNC
from pipeline.settings import Settings

NIGHTLY = timedelta(hours=26)
"""A day, one more hour when the clocks are put back, and one for the runs of the night."""

LEAST_OFTEN = timedelta(hours=1)
"""Between two looks of a schedule that looks in every hour of every day."""

REPORT_BY, REPORT_FROM = "0 12 1 * *", timedelta(hours=6)
"""The report of a month is made on the first at six; at noon it is late."""

TAGS: dict[str, dict[str, str]] = {
    "nexudus_customers": {"reads": "nexudus", "personal_data": "yes"},
    "nexudus_credits": {"reads": "nexudus"},
    "nexudus_teams": {"reads": "nexudus"},
    "print_users": {"reads": "papercut", "personal_data": "yes"},
    "print_jobs": {"reads": "papercut", "personal_data": "yes"},
    "print_accounts": {"personal_data": "yes"},
    "print_charges": {"money": "yes", "personal_data": "yes"},
    "nexudus_print_charges": {"money": "yes", "personal_data": "yes", "writes": "nexudus"},
    "user_sync_plan": {"personal_data": "yes"},
    "print_user_sync": {"personal_data": "yes", "writes": "papercut"},
    "reconciliation": {"money": "yes", "reads": "nexudus"},
    "monthly_print_report": {"money": "yes", "personal_data": "yes"},
    "monthly_print_report_all": {"money": "yes", "personal_data": "yes"},
}
"""Which assets read or write a service, hold money, or hold data of people."""


def freshness(settings: Settings) -> dict[str, dg.FreshnessPolicy]:
    """For each asset that is made again by itself how old it may become; others have no promise.

    Args:
        settings: the configuration.

    Returns:
        The policies by asset. Nothing warns before a complete read was missed, and that only where the schedule
        looks around the clock; where it looks in office hours, only the night counts.
    """
    all_day = settings.every.split()[1:] == ["*"] * 4
    missed = LEAST_OFTEN + 2 * timedelta(minutes=settings.complete_read_minutes)
    warn = missed if all_day and missed < NIGHTLY else None
    found = {name: dg.FreshnessPolicy.time_window(fail_window=NIGHTLY, warn_window=warn) for name in SYNC}
    zone = next(iter(settings.sites.values())).timezone
    monthly = dg.FreshnessPolicy.cron(REPORT_BY, REPORT_FROM, zone)
    reports = ("monthly_print_report", "monthly_print_report_all")[: min(2, len(settings.sites))]
    return {**found, **dict.fromkeys(reports, monthly)}


def entry(spec: dg.AssetSpec, settings: Settings) -> dg.AssetSpec:
    """An asset's spec with its tags and its promise."""
    name = spec.key.to_user_string()
    policy = freshness(settings).get(name)
    tagged = spec.merge_attributes(tags=TAGS[name])
    return tagged.replace_attributes(freshness_policy=policy) if policy else tagged
