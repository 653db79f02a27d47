"""Clocks: every minute of a year is in one day and one month of the site, also where an hour is missing or twice."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from pipeline.domain.money.reconcile import day_bounds, site_day

ZONES = (
    "Europe/London",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Asia/Kolkata",
    "Pacific/Chatham",
)
"""Changes by an hour and by half an hour, on both halves of the globe, offsets of half and quarter hours, and none."""


@pytest.mark.parametrize("zone", ZONES)
def test_every_minute_of_a_year_is_in_one_day_and_in_the_month_of_the_clock_on_the_wall(zone: str) -> None:
    start = datetime(2026, 12, 30, tzinfo=UTC)
    minutes = pl.datetime_range(start, start + timedelta(days=370), "1m", time_zone="UTC", eager=True).alias("at")
    days = minutes.to_frame().with_columns(day=site_day("at", zone))
    spans = days.group_by("day").agg(first=pl.col("at").min(), last=pl.col("at").max(), minutes=pl.len()).sort("day")
    for day, first, last, number in spans.rows()[1:-1]:
        begin, end = day_bounds(day, zone)
        assert (first, last) == (begin, end - timedelta(minutes=1)), f"{day} in {zone} has other bounds than minutes"
        assert number == (end - begin) // timedelta(minutes=1), f"{day} in {zone}: a minute is lost or twice"
    lengths = {number for _, _, _, number in spans.rows()[1:-1]}
    assert len(lengths) == (1 if zone == "Asia/Kolkata" else 3), f"the clock changes of {zone} were not met: {lengths}"


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("last", [date(2026, 11, 30), date(2026, 12, 31), date(2028, 2, 29)])
def test_a_job_at_the_last_minute_of_a_month_is_in_that_month(zone: str, last: date) -> None:
    wall = datetime(last.year, last.month, last.day, 23, 59, tzinfo=ZoneInfo(zone))
    times = pl.DataFrame({"at": [wall.astimezone(UTC), (wall + timedelta(minutes=1)).astimezone(UTC)]})
    assert times.select(site_day("at", zone)).to_series().to_list() == [last, last + timedelta(days=1)]
