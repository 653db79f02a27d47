"""What the run list, the launch form and the catalogue of Dagster say, from real runs.

What belongs here: tags, the switch for a dry run, freshness, numbers for plots. What does not: how pages look
(`test_browser.py`).
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.freshness import CronFreshnessPolicy, TimeWindowFreshnessPolicy

from assets import catalogue
from assets.tables import PERSONAL
from pipeline.dagster import runs
from pipeline.dagster.outcomes import failures, storage
from pipeline.domain import tables
from pipeline.reports import days
from tests.frames import jobs
from tests.harness import Harness, telling
from tests.worlds import credit, customer, world

SITES = ("london", "leeds")


@pytest.fixture(scope="module")
def harness() -> Generator[Harness, None, None]:
    """One site with a user and a job that has not been charged yet."""
    with telling(world([customer(101, PaperCutPayAsYouPrint=True), customer(102)], [credit(401, 102, 100)])) as running:
        assert running.run().ok
        running.print_job("c101@example.com", 30)
        running.advance(minutes=31)
        yield running


def launched(harness: Harness, form: dict[str, Any], **tags: str) -> dg.DagsterRun:
    """A run of the site as the launch form starts it; returned as the run list has it afterwards."""
    instance = storage()
    done = harness.defs.resolve_job_def("sync_site").execute_in_process(
        partition_key="london", instance=instance, run_config=form, tags=tags, raise_on_error=False
    )
    assert done.success
    found = instance.get_run_by_id(done.run_id)
    assert found
    return found


def test_a_dry_run_from_the_launch_form_writes_nothing_and_is_marked(harness: Harness) -> None:
    harness.forget_calls()
    harness.edit("coworkers", 102, PaperCutPayAsYouPrint=True)
    run = launched(harness, {"resources": {"sites": {"config": {"dry_run": True}}}})
    assert harness.writes() == {}, "a dry run may not write"
    assert harness.sales() == [], "nothing may be charged"
    assert harness.sites.store.read("print_charges", "london").height == 1, "the charge must be there to look at"
    said = {name: run.tags.get(name) for name in (runs.DRY_RUN_TAG, runs.SITE_TAG, runs.REASON_TAG)}
    assert said == {runs.DRY_RUN_TAG: "true", runs.SITE_TAG: "london", runs.REASON_TAG: "by hand"}


@pytest.mark.parametrize("form", [{}, {"resources": {"sites": {"config": {"dry_run": False}}}}])
def test_the_tag_makes_a_dry_run_as_well(harness: Harness, form: dict[str, Any]) -> None:
    harness.forget_calls()
    run = launched(harness, form, **{runs.DRY_RUN_TAG: "true", runs.REASON_TAG: "a test"})
    assert harness.writes() == {}, "a dry run may not write"
    assert run.tags[runs.REASON_TAG] == "a test", "what was said at the start stays"


def test_the_launch_form_names_the_switch_and_leaves_it_off(harness: Harness) -> None:
    schema = harness.defs.resolve_job_def("sync_site").run_config_schema.config_type.fields
    switch = schema["resources"].config_type.fields["sites"].config_type.fields["config"].config_type.fields["dry_run"]
    assert (switch.default_value, switch.is_required) == (False, False), "without a word a run does what it always did"
    assert "nothing is written to Nexudus or PaperCut" in switch.description


def test_a_failed_dry_run_from_the_launch_form_alarms_nobody(harness: Harness) -> None:
    harness.fault("london", "database", "drop_before", times=1000)
    harness.defs.resolve_job_def("sync_site").execute_in_process(
        partition_key="london", instance=storage(), raise_on_error=False,
        run_config={"resources": {"sites": {"config": {"dry_run": True}}}},
    )  # fmt: skip
    harness.heal()
    assert failures(storage()) == [], "nobody waits for a dry run"


def test_every_run_has_the_same_numbers_to_plot(harness: Harness) -> None:
    quiet, busy = harness.run("london"), harness.run("london")
    assert quiet.ok
    assert busy.ok
    for asset, metadata in quiet.metadata.items():
        numbers = {name for name, value in metadata.items() if isinstance(value, int | float)}
        assert numbers == {name for name, value in busy.metadata[asset].items() if isinstance(value, int | float)}
        assert "dagster/row_count" in numbers, f"{asset} must say how many rows it has"
    assert quiet.metadata["print_user_sync"].keys() >= set(tables.OUTCOMES)
    assert quiet.metadata["nexudus_print_charges"].keys() >= set(tables.STATES)
    assert quiet.metadata["print_charges"].keys() >= {f"{kind}_cents" for kind in tables.KINDS} | {"held_cents"}
    assert "data:image/svg+xml;base64," in quiet.metadata["print_jobs"]["per_day"]


def test_the_tags_of_the_catalogue_are_true() -> None:
    for name, tags in catalogue.TAGS.items():
        columns = set(tables.columns(name).names()) if name in tables.TABLES else PERSONAL
        personal = bool(columns & (PERSONAL - {"reason", "detail"}))
        assert (tags.get("personal_data") == "yes") == personal, f"{name}: does it hold data of people?"


# --- freshness -------------------------------------------------------------------------------------------------------


def windows(harness: Harness, replace: dict[str, str]) -> dict[str, dg.FreshnessPolicy]:
    """What is promised with something put into bridge.toml for a moment."""
    harness.reconfigure({"[nexudus]": "\n".join([*replace.values(), "[nexudus]"])})
    try:
        return catalogue.freshness(harness.settings)
    finally:
        harness.reconfigure({"\n".join([*replace.values(), "[nexudus]"]): "[nexudus]"})


def test_freshness_is_promised_only_where_something_runs_without_a_change(harness: Harness) -> None:
    promised = catalogue.freshness(harness.settings)
    assert promised.keys() == {*runs.SYNC, "monthly_print_report"}, "with one site nobody makes the report of all"
    for name in runs.SYNC:
        policy = promised[name]
        assert isinstance(policy, TimeWindowFreshnessPolicy)
        assert policy.fail_window.to_timedelta() >= timedelta(hours=25), "a night may be an hour longer"
        assert policy.warn_window, "a read that is due every hour is missed after three"
        assert policy.warn_window.to_timedelta() == timedelta(hours=3)
    monthly = promised["monthly_print_report"]
    assert isinstance(monthly, CronFreshnessPolicy)
    assert (monthly.deadline_cron, monthly.timezone) == ("0 12 1 * *", "Europe/London")


def test_a_schedule_of_office_hours_promises_no_more_than_the_night(harness: Harness) -> None:
    for every in ('every = "*/2 8-18 * * 1-5"', 'every = "0 3 * * *"'):
        policy = windows(harness, {"every": every})["print_charges"]
        assert isinstance(policy, TimeWindowFreshnessPolicy)
        assert policy.warn_window is None, f"{every}: at night nothing looks, and nothing is wrong"
    policy = windows(harness, {"complete": "complete_read_minutes = 1440"})["print_charges"]
    assert isinstance(policy, TimeWindowFreshnessPolicy)
    assert policy.warn_window is None, "a read once a day is missed after more than a day"


# --- the chart -------------------------------------------------------------------------------------------------------


def test_a_day_of_the_chart_is_a_day_of_the_site() -> None:
    now = datetime(2026, 11, 5, 12, tzinfo=UTC)
    table = jobs("""
        job_id  printed_at   pages  cost
        1       11-04T23:30  3      5
        2       11-04T22:30  4      7
    """)
    found = days.per_day(table, "Europe/Paris", now)
    assert (found.height, found["day"][-1].isoformat()) == (days.DAYS, "2026-11-05")
    assert found.tail(2).select("pages", "credits").rows() == [(4, 7.0), (3, 5.0)]
    assert "7 pages and 12 credits" in days.picture(found)


def test_a_month_without_a_job_has_a_chart() -> None:
    quiet = days.per_day(jobs("job_id"), "Europe/London", datetime(2026, 11, 5, tzinfo=UTC))
    assert "0 pages and 0 credits, 2026-10-07 to 2026-11-05" in days.picture(quiet)
