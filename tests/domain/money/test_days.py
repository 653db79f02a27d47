"""The calendar of a site: days of 23, 24 and 25 hours, and every moment in one of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from pipeline.domain.money.reconcile import day_bounds, site_day
from tests.domain.money.books import ZONES


def moments(zone: str) -> list[tuple[date, float]]:
    """Each day of 2026 with its length in hours."""
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]
    return [(day, (end - start).total_seconds() / 3600) for day in days for start, end in [day_bounds(day, zone)]]


@pytest.mark.parametrize(
    ("zone", "short", "long"),
    [
        ("Europe/London", [date(2026, 3, 29)], [date(2026, 10, 25)]),
        ("America/New_York", [date(2026, 3, 8)], [date(2026, 11, 1)]),
        ("Australia/Sydney", [date(2026, 10, 4)], [date(2026, 4, 5)]),
        ("America/Santiago", [date(2026, 9, 6)], [date(2026, 4, 4)]),
        ("Africa/Cairo", [date(2026, 4, 24)], [date(2026, 10, 29)]),
        ("Asia/Kathmandu", [], []),
    ],
)
def test_days_are_23_24_or_25_hours_long(zone: str, short: list[date], long: list[date]) -> None:
    lengths = moments(zone)
    assert [day for day, hours in lengths if hours == 23] == short
    assert [day for day, hours in lengths if hours == 25] == long
    assert {hours for _, hours in lengths} <= {23, 24, 25}


@pytest.mark.parametrize("zone", ZONES)
def test_every_moment_belongs_to_the_day_whose_bounds_hold_it(zone: str) -> None:
    days = pl.DataFrame({"day": pl.date_range(date(2026, 12, 25), date(2027, 1, 5), eager=True)})
    for start in (date(2026, 3, 5), date(2026, 4, 1), date(2026, 9, 1), date(2026, 10, 1), date(2026, 10, 28)):
        days = pl.concat([days, pl.DataFrame({"day": [start + timedelta(days=number) for number in range(28)]})])
    bounds = [(day, *day_bounds(day, zone)) for day in days["day"]]
    tick = timedelta(microseconds=1)
    probes = [(day, start) for day, start, _ in bounds] + [(day, end - tick) for day, _, end in bounds]
    frame = pl.DataFrame(
        {"day": [day for day, _ in probes], "at": [at for _, at in probes]},
        schema={"day": pl.Date, "at": pl.Datetime("us", "UTC")},
    )
    wrong = frame.filter(site_day("at", zone) != pl.col("day"))
    assert wrong.height == 0, wrong


@pytest.mark.parametrize("zone", ZONES)
def test_every_minute_of_the_odd_days(zone: str) -> None:
    odd = [day for day, hours in moments(zone) if hours != 24] or [date(2026, 6, 1)]
    for day in odd:
        start, end = day_bounds(day, zone)
        minutes = pl.DataFrame(
            {"at": pl.datetime_range(start - timedelta(hours=2), end + timedelta(hours=2), "1m", eager=True)}
        )
        inside = minutes.filter(site_day("at", zone) == day)["at"]
        expected = minutes.filter(pl.col("at") >= start, pl.col("at") < end)["at"]
        assert inside.equals(expected), f"{zone} {day}"


def test_month_and_year_end() -> None:
    assert day_bounds(date(2026, 12, 31), "America/New_York") == (
        datetime(2026, 12, 31, 5, tzinfo=UTC),
        datetime(2027, 1, 1, 5, tzinfo=UTC),
    )
    late = pl.DataFrame({"at": [datetime(2026, 12, 1, 4, 59, tzinfo=UTC), datetime(2026, 12, 1, 5, tzinfo=UTC)]})
    assert late.select(site_day("at", "America/New_York"))["at"].to_list() == [date(2026, 11, 30), date(2026, 12, 1)]
    assert late.select(site_day(pl.col("at"), "UTC"))["at"].to_list() == [date(2026, 12, 1)] * 2
